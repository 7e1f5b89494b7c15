# %% [markdown]
# # 2. The oversampling leak
#
# Can a model that has nothing to learn classify nearly every picture correctly?
#
# Public notebooks on these pictures often load the table, copy the rare classes until all classes are equally
# large, split the rows into training and test sets, train, and report. Every line looks sensible. This lesson
# does the same with labels that mean **nothing**, so any score above chance is an error of the method.

# %%
import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from skinmnist.experiment.splits import assign_folds
from skinmnist.features.extract import extract_features
from skinmnist.teaching.notebook_api import (
    BLUE,
    INK,
    LINE,
    MUTED,
    VERMILLION,
    claim,
    figure,
    finding,
    open_table,
    say,
    show,
    show_table,
)

# %%
table = open_table()
names, labels = list(table.class_names), table.labels
numbers = extract_features(table.pixels, table.shape)

# Every lesion gets the diagnosis of another lesion at random, so no picture says anything about its label.
lesions, first, of_lesion = np.unique(table.lesion_ids, return_index=True, return_inverse=True)
meaningless = np.random.default_rng(0).permutation(labels[first])[of_lesion]

# %% [markdown]
# ## Predict
#
# > The labels are shuffled. The model is the simplest there is: it finds the nearest training picture and
# > predicts its label. Everything it learns, including the scaling, comes from the training set. What
# > balanced accuracy do you expect
# >
# > - if the rows of all classes are copied to equal numbers **before** the split, and
# > - if only rows of the training set are copied, **after** the split?
# >
# > Chance is one in seven.

# %% [markdown]
# ## The experiment

# %%
# Fitted as one, so the scaling and the thirty components also come from the training part.
model = make_pipeline(StandardScaler(), PCA(30, svd_solver="covariance_eigh"), KNeighborsClassifier(1))
fold = assign_folds(table, 5)[0]


def resample_first(sampler, labels):
    """Resample everything, then split: the leak."""
    rows, made = sampler.fit_resample(numbers, labels)
    train, test, train_labels, test_labels = train_test_split(
        rows, made, test_size=0.2, stratify=made, random_state=0
    )
    answers = model.fit(train, train_labels).predict(test)
    return np.mean(answers == test_labels), balanced_accuracy_score(test_labels, answers)


def split_first(sampler, labels):
    """Split by lesion, then resample the training part, five times: honest."""
    answers = np.empty_like(labels)
    for held_out in range(5):
        train = fold != held_out
        # imbalanced-learn's pipeline applies the sampler in `fit`, and never in `predict`.
        honest = make_pipeline(sampler, *(clone(step) for _, step in model.steps))
        answers[~train] = honest.fit(numbers[train], labels[train]).predict(numbers[~train])
    return np.mean(answers == labels), balanced_accuracy_score(labels, answers)


samplers = {"copies": RandomOverSampler(random_state=0), "SMOTE": SMOTE(k_neighbors=3, random_state=0)}
results = {}
for kind, given in {"meaningless": meaningless, "true": labels}.items():
    for name, sampler in samplers.items():
        results[kind, name, "before the split"] = resample_first(sampler, given)
        results[kind, name, "after the split"] = split_first(sampler, given)
board = pd.DataFrame(results, index=["accuracy", "balanced accuracy"]).T
board.index.names = ["labels", "sampler", "resampled"]
show_table(board, "The same pipeline around a nearest neighbour, resampled before and after the split.")

# %%
chance = 1 / len(names)
drawn, axes = figure(height=250)
rows = [(kind, name) for kind in ("meaningless", "true") for name in samplers]
for place, (kind, name) in enumerate(reversed(rows)):
    honest, leaky = (results[kind, name, f"{when} the split"][1] for when in ("after", "before"))
    axes.plot([honest, leaky], [place, place], color=LINE, linewidth=5, solid_capstyle="butt", zorder=1)
    axes.plot(honest, place, "o", color=BLUE, markersize=10)
    axes.plot(leaky, place, "s", color=VERMILLION, markersize=10)
axes.axvline(chance, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
axes.annotate("chance", (chance + 0.015, 3.62), color=MUTED, va="center")
axes.plot([], [], "o", color=BLUE, label="after the split")
axes.plot([], [], "s", color=VERMILLION, label="before")
ticks = [f"{name}, {kind} labels" for kind, name in reversed(rows)]
axes.set(yticks=range(4), yticklabels=ticks, xlim=(0, 1), ylim=(-0.5, 3.9), xlabel="balanced accuracy")
axes.legend(loc="lower center", bbox_to_anchor=(0.3, 1), ncols=2)
show(
    drawn,
    "Balanced accuracy when resampled after and before the split. "
    + "; ".join(
        f"{name} of {kind} labels: {results[kind, name, 'after the split'][1]:.2f} after, "
        f"{results[kind, name, 'before the split'][1]:.2f} before"
        for kind, name in rows
    )
    + f". Chance is {chance:.2f}.",
    cover=True,
)

# %%
copied, smoted = (results["meaningless", name, "before the split"][0] for name in samplers)
say(
    f"On meaningless labels, copying first reaches an accuracy of **{copied:.0%}** and SMOTE first "
    f"{smoted:.0%}. On the true labels, copying first gives a balanced accuracy of "
    f"{results['true', 'copies', 'before the split'][1]:.2f}; the same model with the split first has "
    f"{results['true', 'copies', 'after the split'][1]:.2f}."
)
for name in samplers:
    claim(
        f"{name}: resampling before the split raises balanced accuracy on labels that mean nothing",
        results["meaningless", name, "before the split"][1]
        - results["meaningless", name, "after the split"][1],
        at_least=0.5,
    )
    claim(
        f"{name}: resampling after the split stays near chance on them",
        results["meaningless", name, "after the split"][1] - chance,
        at_most=0.06,
    )
    claim(
        f"{name}: the leak also raises balanced accuracy on the true labels",
        results["true", name, "before the split"][1] - results["true", name, "after the split"][1],
        at_least=0.2,
    )

# %% [markdown]
# ## Why
#
# Count the duplicates. After copying, a rare picture occurs many times, and the split puts copies on both
# sides. The nearest neighbour of a held-out copy is its duplicate in the training set, which has the right
# label by construction. SMOTE makes no copies but mixes neighbours with the **same label**, and a mixture
# lies next to its parents.

# %%
counts = table.class_counts
copies = counts.max() / counts
with_copy = 1 - 0.2 ** (
    copies - 1
)  # The chance that not all other copies went to the test part, a fifth of the rows.
drawn, axes = figure(height=250)
order = np.argsort(counts)
axes.barh(range(len(order)), with_copy[order], color=VERMILLION, height=0.6)
ticks = [f"{names[code]}: {copies[code]:.0f} of each" for code in order]
axes.set(
    yticks=range(len(order)), yticklabels=ticks, xlim=(0, 1.12), xlabel="share of test pictures with a copy"
)
for place, code in enumerate(order):
    axes.text(with_copy[code] + 0.02, place, f"{with_copy[code]:.0%}", va="center", color=INK)
summary = [f"{names[code]} {with_copy[code]:.0%}" for code in order]
show(
    drawn,
    f"Share of the copied test pictures that have a copy among the training rows: {', '.join(summary)}.",
)
say(
    f"Each class is a seventh of the copied test, and only `{names[int(counts.argmax())]}` has no copies. "
    f"So a model that knows nothing but its training pictures scores about {np.mean(with_copy):.0%}, and "
    "more if it guesses `nv` elsewhere."
)

# %% [markdown]
# ## What to do instead
#
# Resampling is part of *training*. Put the sampler into a pipeline of imbalanced-learn, which applies it in
# `fit` and never in `predict`, and pass the pipeline, not the resampled table, to the cross-validation. The
# scaling and the principal components belong in the pipeline as well: if they were fitted on all rows, they
# would have seen the test set.
#
# ```python
# from imblearn.pipeline import make_pipeline
#
# pipeline = make_pipeline(SMOTE(random_state=0), StandardScaler(), PCA(30), KNeighborsClassifier(1))
# cross_val_predict(pipeline, numbers, labels, groups=table.lesion_ids, cv=StratifiedGroupKFold(5))
# ```
#
# You can test any evaluation by shuffling the labels, as here: a score above chance then reveals a leak.

# %%
finding(
    f"Copying the rare classes before the split lets a nearest-neighbour model reach {copied:.0%} "
    "accuracy on labels without meaning; copied after the split, its balanced accuracy is "
    f"{results['meaningless', 'copies', 'after the split'][1]:.2f}, near chance ({chance:.2f})."
)

# %% [markdown]
# ## Exercises
#
# **1.** A colleague splits first, but resamples the test set as well, "to balance it". No picture is on both
# sides. Which scores of the nearest-neighbour model change, and which do not?

# %% tags=["solution"]
model.fit(numbers[fold != 0], labels[fold != 0])
test, answers = labels[fold == 0], model.predict(numbers[fold == 0])
copied_rows, copied_labels = RandomOverSampler(random_state=0).fit_resample(numbers[fold == 0], test)
copied_answers = model.predict(copied_rows)
say(
    f"Accuracy goes from {np.mean(answers == test):.3f} to "
    f"{np.mean(copied_answers == copied_labels):.3f}: on a balanced test it *is* about the balanced "
    f"accuracy, which goes from {balanced_accuracy_score(test, answers):.3f} to "
    f"{balanced_accuracy_score(copied_labels, copied_answers):.3f}. Nothing leaks, but precision now "
    "describes patients who do not exist, and each rare picture counts many times."
)

# %% [markdown]
# **2.** *Under*sampling before the split reduces the large classes to the size of the smallest. Does this
# leak?

# %% tags=["solution"]
from imblearn.under_sampling import RandomUnderSampler

few = [resample_first(RandomUnderSampler(random_state=seed), meaningless)[1] for seed in range(10)]
say(
    f"On meaningless labels: {np.mean(few):.2f} in the mean of ten draws, near chance ({chance:.2f}). It "
    "makes no copies. (Any rest above chance comes from other pictures of the same lesion: lesson 3.) But "
    "the test part no longer resembles the clinic, as in exercise 1."
)

# %% [markdown]
# ## References
#
# - Santos, Soares, Abreu, Araújo & Santos, "Cross-validation for imbalanced datasets: avoiding overoptimistic
#   and overfitting approaches", IEEE Computational Intelligence Magazine 13(4), 2018.
# - Kapoor & Narayanan, "Leakage and the reproducibility crisis in machine-learning-based science",
#   Patterns 4(9), 2023.
# - Vandewiele et al., "Overly optimistic prediction results on imbalanced data: a case study of flaws and
#   benefits when applying over-sampling", Artificial Intelligence in Medicine 111, 2021.
# - Chawla, Bowyer, Hall & Kegelmeyer, "SMOTE", Journal of Artificial Intelligence Research 16, 2002.
