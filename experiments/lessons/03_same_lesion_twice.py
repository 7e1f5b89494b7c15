# %% [markdown]
# # 3. The same lesion twice
#
# Many spots were photographed more than once. What does a score mean if the test set contains a lesion that
# is also in the training set, seen from another angle?
#
# A split *by picture* assigns each picture on its own, so pictures of one lesion end up on both sides. A
# split *by lesion* keeps them together. Both are stratified, and both look sound in a notebook, but only the
# second answers the question that matters: how well does the model perform on the next patient?

# %%
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinmnist.datasets.table import to_images
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
lesions, of_lesion, pictures = np.unique(table.lesion_ids, return_inverse=True, return_counts=True)
several = pictures[of_lesion] > 1
say(
    f"{np.mean(several):.0%} of the pictures show a lesion that appears more than once; for melanomas it "
    f"is {np.mean(several[labels == names.index('mel')]):.0%}, for moles "
    f"{np.mean(several[labels == names.index('nv')]):.0%}."
)

# %%
# For each of six classes, the lesion with the most pictures.
biggest = [
    max(np.unique(of_lesion[labels == code]), key=lambda lesion: pictures[lesion])
    for code in np.argsort(-table.class_counts)[:6]
]
drawn, axes = figure(height=460, rows=6, columns=4)
for lesion, row in zip(biggest, axes, strict=True):
    shown = np.flatnonzero(of_lesion == lesion)[:4]
    for place, axis in enumerate(row):
        axis.axis("off")
        if place < len(shown):
            axis.imshow(to_images(table.pixels[shown[[place]]], table.shape)[0], interpolation="none")
    row[0].set_title(f"one {names[labels[shown[0]]]}", loc="left", fontsize=11, color=MUTED)
show(
    drawn,
    "Six rows of up to four pictures; each row shows one and the same lesion, of the classes "
    f"{', '.join(names[labels[np.flatnonzero(of_lesion == lesion)[0]]] for lesion in biggest)}. Within a "
    "row the pictures differ by a turn, a zoom or the light, much less than between rows.",
)

# %% [markdown]
# ## Predict
#
# > Three models are evaluated with a split by picture and with a split by lesion: a nearest neighbour, a
# > random forest, and a logistic regression with equal class weights.
# >
# > Which model gains most from having the same lesion on both sides? By how much does its balanced accuracy
# > rise?

# %% [markdown]
# ## The experiment

# %%
numbers = extract_features(table.pixels, table.shape)
models = {
    "nearest neighbour": make_pipeline(StandardScaler(), PCA(30, random_state=0), KNeighborsClassifier(1)),
    "random forest": RandomForestClassifier(15, max_features=16, random_state=0),
    "logistic regression": make_pipeline(
        StandardScaler(), LogisticRegression(C=0.02, max_iter=2000, tol=1e-2, class_weight="balanced")
    ),
}
answers = {}
for name, model in models.items():
    for split in ("image", "lesion"):
        fold = assign_folds(table, 5, split=split)[0]
        answers[name, split] = np.empty_like(labels)
        for held_out in range(5):
            train = fold != held_out
            model.fit(numbers[train], labels[train])
            answers[name, split][~train] = model.predict(numbers[~train])

balanced = {key: balanced_accuracy_score(labels, answer) for key, answer in answers.items()}
board = pd.DataFrame(
    {
        name: {
            "by picture": balanced[name, "image"],
            "by lesion": balanced[name, "lesion"],
            "gained": balanced[name, "image"] - balanced[name, "lesion"],
        }
        for name in models
    }
).T.rename_axis("model")
show_table(board, "Balanced accuracy of the same models on the same pictures, split in two ways.")

# %%
drawn, axes = figure(height=210)
for place, name in enumerate(reversed(models)):
    honest, leaky = balanced[name, "lesion"], balanced[name, "image"]
    axes.plot([honest, leaky], [place, place], color=LINE, linewidth=5, solid_capstyle="butt", zorder=1)
    axes.plot(honest, place, "o", color=BLUE, markersize=10)
    axes.plot(leaky, place, "s", color=VERMILLION, markersize=10)
    axes.text(leaky + 0.02, place, f"+{leaky - honest:.3f}", va="center", color=INK)
axes.plot([], [], "o", color=BLUE, label="by lesion")
axes.plot([], [], "s", color=VERMILLION, label="by picture")
axes.set(yticks=range(3), yticklabels=list(reversed(models)), xlim=(0, 0.85), ylim=(-0.5, 2.5))
axes.set_xlabel("balanced accuracy")
axes.grid(axis="x")
axes.legend(loc="lower center", bbox_to_anchor=(0.35, 1), ncols=2)
summary = [
    f"{name} {balanced[name, 'lesion']:.2f} by lesion, {balanced[name, 'image']:.2f} by picture"
    for name in models
]
show(drawn, f"Balanced accuracy under both splits: {'; '.join(summary)}.", cover=True)

# %% [markdown]
# ## Who benefits
#
# The gain must come from pictures with a sibling in the training set: another picture of the same lesion.
# Therefore, evaluate these pictures and the others separately.

# %%
fold = assign_folds(table, 5, split="image")[0]
sibling = np.zeros(len(table), dtype=bool)
for held_out in range(5):
    seen = np.isin(of_lesion, of_lesion[fold != held_out])
    sibling |= (fold == held_out) & seen
right = {key: answer == labels for key, answer in answers.items()}
gains = {
    name: [
        100 * (right[name, "image"][rows].mean() - right[name, "lesion"][rows].mean())
        for rows in (sibling, ~sibling)
    ]
    for name in models
}
show_table(
    pd.DataFrame(gains, index=["with a sibling", "without"]).T.rename_axis("model"),
    "Percentage points of accuracy that a split by picture adds, for test pictures with and without a "
    "sibling among the training rows.",
    digits=1,
)
nearest = "nearest neighbour"
say(
    f"When pictures are split one by one, {np.mean(sibling):.0%} of them have a sibling on the other side. "
    f"On these, the {nearest} gains {gains[nearest][0]:.0f} points; on the others, "
    f"{gains[nearest][1]:.0f}. The split does not make a model better. It repeats some questions of the "
    "training."
)
for name in models:
    claim(
        f"{name}: a split by picture raises balanced accuracy",
        balanced[name, "image"] - balanced[name, "lesion"],
        at_least={nearest: 0.04, "random forest": 0.005, "logistic regression": 0.01}[name],
    )
claim(
    "Memory benefits most: the nearest neighbour gains more than the forest",
    (balanced[nearest, "image"] - balanced[nearest, "lesion"])
    - (balanced["random forest", "image"] - balanced["random forest", "lesion"]),
    at_least=0.01,
)
claim(
    "The nearest neighbour gains on pictures with a sibling more than on others, in points",
    gains[nearest][0] - gains[nearest][1],
    at_least=4,
)

# %% [markdown]
# ## What to do instead
#
# Split by the unit that will be new in practice: the lesion, or better the patient, or better still the
# hospital. In scikit-learn, use `StratifiedGroupKFold` with `groups=lesion_ids`. In skinmnist, this is the
# default if metadata are found. If there are no metadata, state this next to the score.

# %%
finding(
    "A split by picture raises the nearest neighbour's balanced accuracy from "
    f"{balanced[nearest, 'lesion']:.2f} to {balanced[nearest, 'image']:.2f}, as {np.mean(sibling):.0%} "
    "of the test pictures have a sibling among the training rows."
)

# %% [markdown]
# ## Exercises
#
# **1.** Which classes gain most, and why?

# %% tags=["solution"]
for code in np.argsort(-table.class_counts):
    own = labels == code
    gain = right[nearest, "image"][own].mean() - right[nearest, "lesion"][own].mean()
    say(
        f"- `{names[code]}`: {100 * gain:+.0f} points of recall; {np.mean(sibling[own]):.0%} of its "
        "pictures have a sibling"
    )
say("Rare classes have more pictures per lesion and fewer other lesions to learn from.")

# %% [markdown]
# **2.** A colleague splits by lesion, but chooses the number of neighbours on the test set. Is this the same
# kind of mistake?

# %% tags=["solution"]
say(
    "Yes, it is related: information from the test part went into the model. Here it is one number "
    "instead of many pictures, so the effect is smaller. `skinmnist compare --demonstrate-leaks` measures "
    "this leak, too."
)

# %% [markdown]
# ## References
#
# - Tschandl, Rosendahl & Kittler, "The HAM10000 dataset", Scientific Data 5, 180161, 2018: `lesion_id`
#   identifies pictures of the same lesion.
# - Kapoor & Narayanan, "Leakage and the reproducibility crisis in machine-learning-based science",
#   Patterns 4(9), 2023.
# - Cassidy, Kendrick, Brodzicki, Jaworek-Korjakowska & Yap, "Analysis of the ISIC image datasets: usage,
#   benchmarks and recommendations", Medical Image Analysis 75, 2022: duplicates across the public sets.
