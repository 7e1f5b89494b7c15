# %% [markdown]
# # 6. Move the threshold instead
#
# Does resampling teach a model something, or does it only make it answer differently? There is a strategy
# that touches neither the table nor the training, and costs nothing: divide by what is frequent anyway.
#
# A model that says "70 % mole, 20 % melanoma" has already taken into account that moles are frequent. Divide
# each probability by the frequency of its class, and decide by what is left. That is Bayes' rule, run
# backwards.

# %%
import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import RandomUnderSampler
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.preprocessing import StandardScaler

from skinmnist.analysis.operating_points import change_prior
from skinmnist.experiment.metrics import score
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
frequencies = table.class_counts / len(table)

# %% [markdown]
# ## Predict
#
# > A logistic regression is trained on the table as it is, and on resampled tables. Then the one that was
# > trained on the table as it is gets its probabilities divided by the class frequencies.
# >
# > - Whose balanced accuracy is highest?
# > - At *equal* balanced accuracy: who is right more often?
# > - Whose ranking (AUC) is best?

# %% [markdown]
# ## The experiment

# %%
samplers = {
    "as it is": "passthrough",
    "RandomOverSampler": RandomOverSampler(random_state=0),
    "SMOTE": SMOTE(k_neighbors=5, random_state=0),
    "RandomUnderSampler": RandomUnderSampler(random_state=0),
}
folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
chances = {}
for name, sampler in samplers.items():
    steps = [StandardScaler(), PCA(40, random_state=0), LogisticRegression(C=0.02, tol=1e-3, max_iter=2000)]
    if sampler != "passthrough":
        steps.insert(2, sampler)
    chances[name] = cross_val_predict(
        make_pipeline(*steps), numbers, labels, groups=table.lesion_ids, cv=folds, method="predict_proba"
    )
chances["divided"] = change_prior(chances["as it is"], table.class_counts.astype(float))

scores = {name: score(labels, chance.argmax(axis=1), chance, names) for name, chance in chances.items()}
columns = ["accuracy", "balanced_accuracy", "macro_f1", "recall_mel", "macro_auc"]
board = pd.DataFrame(scores).T.reindex(columns=columns).rename_axis("training")
show_table(board, "The same model five times; the last is the first one with its probabilities divided.")

# %% [markdown]
# Dividing by the whole frequency is one point of a line. Divide by the frequency to the power of τ: τ = 0
# leaves the model as it is, τ = 1 asks for balanced accuracy, anything else is a compromise. One trained
# model gives them all.

# %%
powers = np.linspace(0, 1.25, 51)
line = []
for power in powers:
    moved = (chances["as it is"] / frequencies**power).argmax(axis=1)
    recalls = [np.mean(moved[labels == code] == code) for code in range(len(names))]
    line.append((np.mean(recalls), np.mean(moved == labels)))
line = np.array(line)

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


# %%
def accuracy_on_the_line(balanced):
    """Return the best accuracy of the moved threshold at no less than a balanced accuracy."""
    reached = line[:, 0] >= min(balanced, line[:, 0].max())
    return line[reached, 1].max()


ahead = {
    name: accuracy_on_the_line(scores[name]["balanced_accuracy"]) - scores[name]["accuracy"]
    for name in ("RandomOverSampler", "SMOTE", "RandomUnderSampler")
}
say(
    f"Dividing raises balanced accuracy from {scores['as it is']['balanced_accuracy']:.2f} to "
    f"**{scores['divided']['balanced_accuracy']:.2f}**; RandomOverSampler reaches "
    f"{scores['RandomOverSampler']['balanced_accuracy']:.2f}, SMOTE "
    f"{scores['SMOTE']['balanced_accuracy']:.2f}. At equal balanced accuracy the moved threshold is right "
    "more often by " + ", ".join(f"{100 * gain:+.1f} points ({name})" for name, gain in ahead.items()) + "."
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
        f"At the balanced accuracy of {name}, the moved threshold is not less often right by more than noise",
        ahead[name],
        at_least=-0.015,
    )
    claim(
        f"{name} does not rank better than no resampling (AUC) by more than noise",
        scores["as it is"]["macro_auc"] - scores[name]["macro_auc"],
        at_least=-0.01,
    )

# %% [markdown]
# ## What follows
#
# - Compare a sampler with a moved threshold, not with the untouched model. That is
#   what the report's line *prior correction* is for.
# - The comparison at *equal balanced accuracy* is the fair one: every point on the line is for sale at no
#   cost.
# - For networks the same idea can be put into the loss, as an offset of the logits (Menon et al.); lesson 9.
# - Where a model's probabilities are poor, as those of a small forest that says "0 of 40 trees", dividing
#   makes too much of very little. Then resampling may still be the better way, or calibration first: lesson
#   7.

# %%
finding(
    "Dividing the probabilities of an untouched model by the class frequencies gives a balanced accuracy "
    f"of {scores['divided']['balanced_accuracy']:.2f}, against "
    f"{scores['RandomOverSampler']['balanced_accuracy']:.2f} of oversampling and "
    f"{scores['SMOTE']['balanced_accuracy']:.2f} of SMOTE, without training anything again."
)

# %% [markdown]
# ## Exercises
#
# **1.** A missed melanoma costs ten times what any other mistake costs. Change the decision, not the
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
# **2.** The frequencies were counted on the whole table, test parts included. Is that a leak?

# %% tags=["solution"]
from skinmnist.experiment.splits import assign_folds

fold = assign_folds(table, 5)[0]
others = [np.bincount(labels[fold != part], minlength=len(names)) / np.sum(fold != part) for part in range(5)]
say(
    "In principle, yes: count on the training part. In practice stratified folds all hold the same "
    "frequencies; they differ by at most "
    f"{100 * max(np.abs(other - frequencies).max() for other in others):.2f} percentage points here."
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
