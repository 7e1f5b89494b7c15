# %% [markdown]
# # 6. Move the threshold instead
#
# Does resampling teach a model something, or does it only change the predictions? One strategy changes
# neither the table nor the training, and costs nothing: divide by the class frequencies.
#
# A model that predicts "70 % mole, 20 % melanoma" has already accounted for the high frequency of moles.
# Divide each probability by the frequency of its class, and choose the class with the largest result. This is
# Bayes' rule in reverse. The reference study (docs/study.md) compares every method with such a free control
# on the real tables.

# %%
import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import RandomUnderSampler
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.preprocessing import StandardScaler

from skinmnist.experiment.metrics import score
from skinmnist.experiment.splits import assign_folds
from skinmnist.features.extract import extract_features
from skinmnist.teaching.notebook_api import (
    BLUE,
    GREEN,
    INK,
    PURPLE,
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
fold = assign_folds(table, 5)[0]
# The class frequencies that each picture's model was trained with: those of the other four folds.
by_fold = np.stack([np.bincount(labels[fold != part]) / np.sum(fold != part) for part in range(5)])
frequencies = by_fold[fold]

# %% [markdown]
# ## Predict
#
# > A logistic regression is trained on the original table, and on resampled tables. Then the probabilities of
# > the first model are divided by the class frequencies.
# >
# > - Which model has the highest balanced accuracy?
# > - At *equal* balanced accuracy, which model is right more often?
# > - Which model ranks best (AUC)? Does dividing change a ranking at all?

# %% [markdown]
# ## The experiment

# %%
samplers = {
    "as it is": "passthrough",
    "RandomOverSampler": RandomOverSampler(random_state=0),
    "SMOTE": SMOTE(k_neighbors=5, random_state=0),
    "RandomUnderSampler": RandomUnderSampler(random_state=0),
}
chances = {}
for name, sampler in samplers.items():
    steps = [
        StandardScaler(),
        PCA(40, svd_solver="covariance_eigh"),
        LogisticRegression(C=0.02, tol=1e-3, max_iter=2000),
    ]
    if sampler != "passthrough":
        steps.insert(2, sampler)
    chances[name] = cross_val_predict(
        make_pipeline(*steps), numbers, labels, cv=PredefinedSplit(fold), method="predict_proba"
    )


def scaled(weights):
    """Return rows that sum to one."""
    return weights / weights.sum(axis=1, keepdims=True)


chances["divided"] = scaled(chances["as it is"] / frequencies)
scores = {name: score(labels, chance.argmax(axis=1), chance, names) for name, chance in chances.items()}
columns = ["accuracy", "balanced_accuracy", "macro_f1", "recall_mel"]
board = pd.DataFrame(scores).T.reindex(columns=columns).rename_axis("training")
show_table(
    board, "One model, trained in several ways; the last row is the first one with its probabilities divided."
)

# %% [markdown]
# Dividing by the full frequency is one point on a line. Divide by the frequency to the power of τ instead:
# τ = 0 leaves the model unchanged, τ = 1 optimises balanced accuracy, and other values are compromises. A
# single trained model provides all of them.

# %%
powers = np.linspace(0, 1.25, 51)
moved = np.stack([(chances["as it is"] / frequencies**power).argmax(axis=1) for power in powers])


def balanced_and_plain(answers, rows):
    """Return balanced accuracy and accuracy of answers on some rows."""
    right, truth = answers[rows] == labels[rows], labels[rows]
    return np.mean([right[truth == code].mean() for code in range(len(names))]), right.mean()


everywhere = np.ones(len(labels), dtype=bool)
line = np.array([balanced_and_plain(answers, everywhere) for answers in moved])

drawn, axis = figure(height=330)
axis.plot(*line.T, color=BLUE, linewidth=2.5, label="moved threshold")
styles = {
    "as it is": ("o", BLUE),
    "RandomOverSampler": ("s", VERMILLION),
    "SMOTE": ("^", GREEN),
    "RandomUnderSampler": ("D", PURPLE),
}
for name, (marker, colour) in styles.items():
    place = scores[name]["balanced_accuracy"], scores[name]["accuracy"]
    axis.plot(*place, marker, color=colour, markersize=10, label=name)
axis.plot(
    *line[np.argmin(np.abs(powers - 1))],
    "o",
    color="white",
    markeredgecolor=BLUE,
    markeredgewidth=2,
    markersize=10,
)
axis.annotate("τ = 1", line[np.argmin(np.abs(powers - 1))], (9, 4), textcoords="offset points", color=INK)
axis.set(xlabel="balanced accuracy", ylabel="accuracy")
axis.margins(0.12)
axis.grid()
axis.legend(loc="lower left")
summary = [
    f"{name} {scores[name]['balanced_accuracy']:.2f} and {scores[name]['accuracy']:.2f}" for name in styles
]
show(
    drawn,
    "Balanced accuracy against accuracy. A line shows one model with its threshold moved, from "
    f"{line[0, 0]:.2f} and {line[0, 1]:.2f} to {line[-1, 0]:.2f} and {line[-1, 1]:.2f}. Points: "
    f"{'; '.join(summary)}.",
    cover=True,
)


# %% [markdown]
# ## At equal balanced accuracy
#
# With which point on the line should a sampler be compared? With the point that has the same balanced
# accuracy. But a point *chosen* and *evaluated* on the same pictures looks too good, which would be a small
# leak. Therefore, τ is chosen five times: on four folds, to match the balanced accuracy of the sampler on
# these folds. It is then evaluated on the fifth.


# %%
def move_to(balanced_of):
    """Return the answers of the untouched model, each fold at the τ chosen on the other four."""
    answers = np.empty_like(labels)
    for part in range(5):
        others = fold != part
        reached = np.array([balanced_and_plain(one, others)[0] for one in moved])
        target = min(balanced_and_plain(balanced_of, others)[0], reached.max())
        answers[~others] = moved[np.argmax(reached >= target)][~others]
    return answers


ahead = {}
for name in ("RandomOverSampler", "SMOTE", "RandomUnderSampler"):
    answers = chances[name].argmax(axis=1)
    pairs = [balanced_and_plain(one, everywhere) for one in (move_to(answers), answers)]
    ahead[name] = np.subtract(*pairs)
show_table(
    pd.DataFrame(ahead, index=["balanced accuracy", "accuracy"]).T.rename_axis("against"),
    "Lead of the moved threshold, on pictures that were not used to choose τ.",
)
gained = ", ".join(f"{100 * gain[1]:+.1f} points ({name})" for name, gain in ahead.items())
say(
    f"Dividing raises balanced accuracy from {scores['as it is']['balanced_accuracy']:.2f} to "
    f"**{scores['divided']['balanced_accuracy']:.2f}**; RandomOverSampler reaches "
    f"{scores['RandomOverSampler']['balanced_accuracy']:.2f}, SMOTE "
    f"{scores['SMOTE']['balanced_accuracy']:.2f}. Moved to the same balanced accuracy, the untouched model "
    f"is right more often by {gained}."
)
claim(
    "Dividing by the frequencies raises balanced accuracy",
    scores["divided"]["balanced_accuracy"] - scores["as it is"]["balanced_accuracy"],
    at_least=0.05,
)
for name in ("RandomOverSampler", "SMOTE"):
    claim(
        f"Dividing is not behind {name} in balanced accuracy by more than noise",
        scores["divided"]["balanced_accuracy"] - scores[name]["balanced_accuracy"],
        at_least=-0.03,
    )
    claim(
        f"Moved to the balanced accuracy of {name}, the untouched model keeps it, up to noise",
        ahead[name][0],
        at_least=-0.03,
    )
    claim(
        f"Moved to the balanced accuracy of {name}, it is not less often right by more than noise",
        ahead[name][1],
        at_least=-0.02,
    )

# %% [markdown]
# ## Does dividing change a ranking?
#
# You will read that moving the threshold changes neither the ranking of the pictures nor the AUC. For *two*
# classes that is true: dividing multiplies all odds by the same number. For more classes it is not. Consider
# two pictures with the same probability of melanoma. The first is otherwise probably a mole, and the second a
# rare `df`. Dividing raises `df` most, which leaves less probability for melanoma in the second picture.


# %%
def ranking(chances, code):
    """Return the AUC of a class against the rest, the mean of the five folds."""
    areas = [roc_auc_score(labels[fold == part] == code, chances[fold == part, code]) for part in range(5)]
    return np.mean(areas)


pair = [names.index("nv"), names.index("mel")]
of_pair = np.isin(labels, pair)
two = {
    name: np.mean(
        [
            roc_auc_score(labels[rows] == pair[1], scaled(chances[name][rows][:, pair])[:, 1])
            for rows in (of_pair & (fold == part) for part in range(5))
        ]
    )
    for name in ("as it is", "divided")
}
seven = {
    name: [ranking(chances[name], code) for code in range(len(names))] for name in ("as it is", "divided")
}
ranks = pd.DataFrame(seven, index=[f"{name} against the rest" for name in names])
ranks.loc["only mel against nv"] = two
ranks["change"] = ranks["divided"] - ranks["as it is"]
show_table(ranks.rename_axis("ranking"), "AUC of the untouched model, before and after dividing.", digits=4)

largest = ranks["change"].iloc[:-1].abs().max()
say(
    f"Between two classes, the AUC stays the same. Among {len(names)}, the AUC of a class against the rest "
    f"changes by up to **{largest:.3f}**, although nothing was learned or forgotten. A sampler changes the "
    "class mix and so the AUC, too. Compare rankings at the *same* mix: first multiply the sampler's "
    "probabilities by the frequencies."
)
codes = range(len(names))
rankings = {}
for name in samplers:
    given_back = chances[name] if name == "as it is" else scaled(chances[name] * frequencies)
    rankings[name] = {
        "as trained": np.mean([ranking(chances[name], code) for code in codes]),
        "at the natural mix": np.mean([ranking(given_back, code) for code in codes]),
    }
at_equal_mix = pd.DataFrame(rankings).T.rename_axis("training")
show_table(at_equal_mix, "Macro-AUC, mean of seven classes.")
natural = at_equal_mix["at the natural mix"]
claim("Between two classes, dividing changes no ranking (AUC)", abs(np.subtract(*two.values())), at_most=1e-9)
claim("Among seven, it changes that of a class against the rest (AUC)", largest, at_least=0.002)
for name in ("RandomOverSampler", "SMOTE"):
    claim(
        f"{name} does not rank better than no resampling at the same mix (AUC) by more than noise",
        natural["as it is"] - natural[name],
        at_least=-0.01,
    )

# %% [markdown]
# ## What follows
#
# - Compare a sampler with a moved threshold, not with the untouched model. The report includes the row *prior
#   correction* for this purpose.
# - The fair comparison is at *equal balanced accuracy*, because every point on the line is free. Do not
#   choose and evaluate a point on the same pictures. Lesson 11 also draws the lines of the samplers.
# - Compare AUCs at the same class mix.
# - For networks, the same idea can be built into the loss, as an offset of the logits (Menon et al.; lesson
#   9).
# - If a model's probabilities are poor, such as those of a small forest in which "0 of 40 trees" vote for a
#   class, dividing exaggerates tiny numbers. In this case, it may be better to resample, or to calibrate
#   first (lesson 7).

# %%
finding(
    "Dividing the probabilities of an untouched model by the class frequencies gives a balanced accuracy "
    f"of {scores['divided']['balanced_accuracy']:.2f}, against "
    f"{scores['RandomOverSampler']['balanced_accuracy']:.2f} with oversampling and "
    f"{scores['SMOTE']['balanced_accuracy']:.2f} with SMOTE, without any new training."
)

# %% [markdown]
# ## Exercises
#
# **1.** A missed melanoma costs ten times as much as any other mistake. Change the decision, not the
# training.

# %% tags=["solution"]
melanoma = names.index("mel")
costs = np.ones(len(names))
costs[melanoma] = 10
decisions = (chances["as it is"] * costs).argmax(axis=1)
say(
    "The expected cost of not answering a class is its probability times its cost, so multiply before "
    f"deciding. Melanomas found: {np.mean(decisions[labels == melanoma] == melanoma):.0%} instead of "
    f"{scores['as it is']['recall_mel']:.0%}; accuracy {np.mean(decisions == labels):.2f} instead of "
    f"{scores['as it is']['accuracy']:.2f}."
)

# %% [markdown]
# **2.** Here, the frequencies were counted on the training set of each fold. Would counting them on the whole
# table be a leak?

# %% tags=["solution"]
overall = table.class_counts / len(table)
say(
    "In principle, yes: they are learned, so they belong to the training rows. In practice, stratified "
    f"folds have nearly the same frequencies; they differ by at most "
    f"{100 * np.abs(by_fold - overall).max():.2f} percentage points here."
)

# %% [markdown]
# ## References
#
# - Elor & Averbuch-Elor, "To SMOTE, or not to SMOTE?", arXiv:2201.08528, 2022.
# - Menon, Jayasumana, Rawat, Jain, Veit & Kumar, "Long-tail learning via logit adjustment",
#   arXiv:2007.07314, 2020.
# - Saerens, Latinne & Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities",
#   Neural Computation 14(1), 2002.
# - Collell, Prelec & Patil, "A simple plug-in bagging ensemble based on threshold-moving for classifying
#   binary and multiclass imbalanced data", Neurocomputing 275, 2018.
