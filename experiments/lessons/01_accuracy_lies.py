# %% [markdown]
# # 1. Accuracy lies
#
# A program predicts *mole* every time, without looking at the picture. How good is it, and which score
# reveals this?
#
# The pictures show seven kinds of pigmented spots on the skin. Most are common moles (`nv`); melanomas
# (`mel`) are rare, and some kinds are rarer still. No number of correctly classified moles makes up for a
# missed melanoma. Yet accuracy, the score that nearly everybody reports first, counts pictures, and most
# pictures are moles.

# %%
import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinmnist.experiment.metrics import score
from skinmnist.features.extract import extract_features
from skinmnist.teaching.notebook_api import (
    BLUE,
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
shares = table.class_counts / len(table)
show_table(
    pd.DataFrame({"pictures": table.class_counts, "share": shares}, index=pd.Index(names, name="class")),
    "Pictures of each class in the table.",
)

# %% [markdown]
# ## Predict
#
# > Three programs classify every picture in this table.
# >
# > - **Always nv** ignores the picture and predicts `nv`.
# > - **Plain** is a logistic regression on features of colour, border and texture.
# > - **Balanced** is the same regression, trained with equal weight for every class.
# >
# > Which of the three has the highest accuracy? Which has the lowest? Which finds the most melanomas? Write
# > down your three answers before you read on.

# %% [markdown]
# ## The experiment
#
# Each picture is classified by a program trained on other lesions: the table is split into five folds, and
# each fold is classified by a model trained on the other four. All pictures of a lesion stay in one fold;
# lesson 3 shows why.

# %%
numbers = extract_features(table.pixels, table.shape)
folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
programs = {
    "always nv": DummyClassifier(strategy="most_frequent"),
    "plain": LogisticRegression(C=0.02, max_iter=2000, tol=1e-2),
    "balanced": LogisticRegression(C=0.02, max_iter=2000, tol=1e-2, class_weight="balanced"),
}
answers, scores = {}, {}
for name, program in programs.items():
    pipeline = make_pipeline(StandardScaler(), program)
    chances = cross_val_predict(
        pipeline, numbers, labels, groups=table.lesion_ids, cv=folds, method="predict_proba"
    )
    answers[name] = chances.argmax(axis=1)
    scores[name] = score(labels, answers[name], chances, names)

shown = ["accuracy", "balanced_accuracy", "macro_f1", "recall_mel", "precision_mel", "macro_auc"]
board = pd.DataFrame(scores).T.reindex(columns=shown).rename_axis("program")
show_table(board, "Six scores of three programs, on pictures of held-out lesions.")

# %%
drawn, axes = figure(height=210)
for place, name in enumerate(reversed(programs)):
    low, high = sorted((scores[name]["balanced_accuracy"], scores[name]["accuracy"]))
    axes.plot([low, high], [place, place], color=MUTED, linewidth=2, zorder=1)
    axes.plot(scores[name]["balanced_accuracy"], place, "o", color=BLUE, markersize=11)
    axes.plot(scores[name]["accuracy"], place, "s", color=VERMILLION, markersize=10)
axes.plot([], [], "s", color=VERMILLION, label="accuracy")
axes.plot([], [], "o", color=BLUE, label="balanced accuracy")
axes.set(yticks=range(3), yticklabels=list(reversed(programs)), xlim=(0, 1), ylim=(-0.5, 2.5), xlabel="score")
axes.grid(axis="x")
axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1), ncols=2)
show(
    drawn,
    "Accuracy and balanced accuracy of three programs. "
    + "; ".join(
        f"{name}: accuracy {scores[name]['accuracy']:.2f}, balanced {scores[name]['balanced_accuracy']:.2f}"
        for name in programs
    )
    + ".",
    cover=True,
)

# %%
blind, plain, fair = (scores[name] for name in programs)
say(
    f"The program that looks at nothing is right about **{blind['accuracy']:.0%}** of the pictures: that "
    "is the share of `nv`. Its balanced accuracy, the mean of the seven recalls, is "
    f"{blind['balanced_accuracy']:.3f}: one class of {len(names)}. It finds no melanoma. The balanced "
    f"regression finds **{fair['recall_mel']:.0%}** of them, and its accuracy is {fair['accuracy']:.2f}, "
    f"against {plain['accuracy']:.2f} for the plain one, which finds {plain['recall_mel']:.0%}."
)
claim(
    "Accuracy flatters the program that looks at nothing, against balanced accuracy",
    blind["accuracy"] - blind["balanced_accuracy"],
    at_least=0.4,
)
claim(
    "Accuracy prefers the plain regression to the balanced one",
    plain["accuracy"] - fair["accuracy"],
    at_least=0.03,
)
claim(
    "Balanced accuracy prefers the balanced regression to the plain one",
    fair["balanced_accuracy"] - plain["balanced_accuracy"],
    at_least=0.05,
)
claim(
    "The balanced regression finds more melanomas than the plain one",
    fair["recall_mel"] - plain["recall_mel"],
    at_least=0.03,
)

# %% [markdown]
# ## Class by class
#
# A mean hides which classes pay. The recall of a class is the share of its pictures that are classified
# correctly. Here are the recalls of the two regressions.

# %%
drawn, axes = figure(height=300)
order = np.argsort(-table.class_counts)
for place, code in enumerate(reversed(order)):
    before, after = (scores[name][f"recall_{names[code]}"] for name in ("plain", "balanced"))
    axes.annotate(
        "", (after, place), (before, place), arrowprops={"arrowstyle": "->", "color": MUTED, "lw": 1.6}
    )
    axes.plot(before, place, "s", color=VERMILLION, markersize=9)
    axes.plot(after, place, "o", color=BLUE, markersize=10)
axes.plot([], [], "s", color=VERMILLION, label="plain")
axes.plot([], [], "o", color=BLUE, label="balanced")
ticks = [f"{names[code]} ({table.class_counts[code]:,})" for code in reversed(order)]
axes.set(yticks=range(len(order)), yticklabels=ticks, xlim=(-0.03, 1.03), xlabel="recall")
axes.grid(axis="x")
axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2)
recalls = [
    f"{names[code]} {scores['plain']['recall_' + names[code]]:.2f} to "
    f"{scores['balanced']['recall_' + names[code]]:.2f}"
    for code in order
]
show(drawn, f"Recall of each class, from plain to balanced training: {', '.join(recalls)}.")
say(
    f"`nv` pays: its recall goes from {plain['recall_nv']:.2f} to {fair['recall_nv']:.2f}. There are so many "
    "moles that even a small share of them costs much accuracy."
)

# %% [markdown]
# ## Which number answers which question
#
# | question | score |
# |---|---|
# | How often is it right on patients like these? | accuracy, compared with that of *always nv* |
# | Does it recognise every class? | balanced accuracy, macro-F1 |
# | How many melanomas does it find? | recall of `mel` |
# | If it predicts melanoma, is it one? | precision of `mel` |
# | Does it rank suspicious spots above harmless ones, whatever the threshold? | AUC, average precision |
# | Can I trust its probabilities? | calibration: lesson 7 |
#
# No single score is *the* right one. But it is always wrong to report a score without the majority baseline,
# or a mean without the scores of the classes.

# %%
finding(
    f"The majority baseline has an accuracy of {blind['accuracy']:.2f} and finds no melanoma; weighting the "
    f"classes alike finds {fair['recall_mel']:.0%} of them and looks worse by accuracy "
    f"({fair['accuracy']:.2f} against {plain['accuracy']:.2f})."
)

# %% [markdown]
# ## Exercises
#
# **1.** A second blind program predicts at random, choosing each class as often as it occurs in the table. Is
# its accuracy higher or lower than that of *always nv*? Work it out on paper from the shares, then check.

# %% tags=["solution"]
# A picture is of class k with probability p_k, and is called k with probability p_k.
rng = np.random.default_rng(0)
guesses = rng.choice(len(names), size=len(table), p=shares)
say(
    f"On paper: the sum of the squared shares, {np.sum(shares**2):.3f}. Simulated: "
    f"{np.mean(guesses == labels):.3f}. That is less than {shares.max():.3f}: guessing in proportion "
    "never beats always naming the largest class."
)

# %% [markdown]
# **2.** For a hospital, a missed melanoma is as bad as twenty false alarms. Which of the three programs has
# the lowest cost?

# %% tags=["solution"]
melanoma = names.index("mel")
for name, answer in answers.items():
    missed = np.sum((labels == melanoma) & (answer != melanoma))
    alarms = np.sum((labels != melanoma) & (answer == melanoma))
    say(f"- {name}: {missed} missed, {alarms} false alarms, cost {20 * missed + alarms:,}")

# %% [markdown]
# ## References
#
# - Brodersen, Ong, Stephan & Buhmann, "The balanced accuracy and its posterior distribution", ICPR 2010.
# - Saito & Rehmsmeier, "The precision-recall plot is more informative than the ROC plot when evaluating
#   binary classifiers on imbalanced datasets", PLOS ONE 10(3), 2015.
# - Maier-Hein et al., "Metrics reloaded: recommendations for image analysis validation", Nature Methods 21,
#   2024.
# - Tschandl, Rosendahl & Kittler, "The HAM10000 dataset", Scientific Data 5, 180161, 2018.
