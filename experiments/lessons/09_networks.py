# %% [markdown]
# # 9. Networks
#
# A network sees its pictures in small batches, again and again. What can be done about imbalance *there*,
# and what does a method gain when all get exactly the same amount of training?
#
# Networks need no copies: what matters is how often a class turns up in a batch, and how a mistake is
# counted. Here four ways are compared, each with the same number of steps of the same size from the same
# start:
#
# - **none**: batches as the table is, plain cross-entropy;
# - **balanced batches**: every class equally often in each batch, which is random oversampling without the
#   copies;
# - **focal loss**: pictures that are already answered well count less (Lin et al.);
# - **logit adjustment**: the logarithm of the class frequencies is added inside the loss (Menon et al.).

# %%
import warnings

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import balanced_accuracy_score
from sklearn.neural_network import MLPClassifier

from skinmnist.analysis.operating_points import change_prior
from skinmnist.datasets.table import to_images, to_rows
from skinmnist.experiment.metrics import score
from skinmnist.experiment.splits import assign_folds
from skinmnist.models.cnn.classifier import CNNClassifier
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
train = assign_folds(table, 3)[0] != 0


def shrink(factor):
    """Average squares of pixels, so that a network learns in seconds; return rows and their shape."""
    images = to_images(table.pixels, table.shape).astype(np.float32)
    height, width = (side - side % factor for side in table.shape[:2])
    images = images[:, :height, :width]  # A row or column that fills no square is left out.
    n, _, _, channels = images.shape
    squares = images.reshape(n, height // factor, factor, width // factor, factor, channels)
    small = squares.mean(axis=(2, 4)).round().astype(np.uint8)
    return to_rows(small), small.shape[1:]


pixels, shape = shrink(max(1, table.shape[0] // 14))

# %% [markdown]
# ## Predict
#
# > - Which of the three strategies raises the balanced accuracy most? Does any of them not raise it at all?
# > - Which raises the accuracy?
# > - One of the three was made for imbalance between *easy and hard* pictures, not between classes. Which?

# %% [markdown]
# ## The experiment

# %%
strategies = {
    "none": {},
    "balanced batches": {"balance": "balanced_batches"},
    "focal loss": {"loss": "focal"},
    "logit adjustment": {"loss": "logit_adjusted"},
}
scores, chances = {}, {}
for name, strategy in strategies.items():
    network = CNNClassifier(
        shape, steps=220, batch_size=64, channels=(16, 32), pairs=(0, 1), coarse_share=0, views=2, **strategy
    )
    network.fit(pixels[train], labels[train])
    chances[name] = network.predict_proba(pixels[~train])
    scores[name] = score(labels[~train], chances[name].argmax(axis=1), chances[name], names)
moved = change_prior(chances["none"], np.bincount(labels[train]).astype(float))
scores["none, divided"] = score(labels[~train], moved.argmax(axis=1), moved, names)

columns = ["accuracy", "balanced_accuracy", "macro_f1", "recall_mel", "macro_auc"]
board = pd.DataFrame(scores).T.reindex(columns=columns).rename_axis("strategy")
show_table(
    board,
    "One network, four trainings of the same length, one third of the lesions held out. The last row is "
    "the first network with its probabilities divided by the class frequencies (lesson 6).",
)

# %%
drawn, axes = figure(height=270)
for place, name in enumerate(reversed(scores)):
    found = scores[name]
    axes.plot(
        [found["balanced_accuracy"], found["accuracy"]], [place, place], color=MUTED, linewidth=2, zorder=1
    )
    axes.plot(found["balanced_accuracy"], place, "o", color=BLUE, markersize=10)
    axes.plot(found["accuracy"], place, "s", color=VERMILLION, markersize=10)
axes.plot([], [], "s", color=VERMILLION, label="accuracy")
axes.plot([], [], "o", color=BLUE, label="balanced accuracy")
axes.set(
    yticks=range(len(scores)), yticklabels=list(reversed(scores)), xlim=(0, 1), ylim=(-0.5, len(scores) - 0.5)
)
axes.set_xlabel("score on held-out lesions")
axes.grid(axis="x")
axes.legend(loc="lower center", bbox_to_anchor=(0.35, 1), ncols=2)
summary = [
    f"{name}: {found['accuracy']:.2f} and {found['balanced_accuracy']:.2f}" for name, found in scores.items()
]
show(
    drawn,
    f"Accuracy and balanced accuracy of one network after equally long trainings. {'; '.join(summary)}.",
    cover=True,
)

# %%
gain = {name: scores[name]["balanced_accuracy"] - scores["none"]["balanced_accuracy"] for name in scores}
say(
    f"Balanced batches change balanced accuracy by **{gain['balanced batches']:+.2f}**, logit adjustment by "
    f"{gain['logit adjustment']:+.2f}, focal loss by {gain['focal loss']:+.2f}. The accuracies are "
    + ", ".join(f"{scores[name]['accuracy']:.2f} ({name})" for name in strategies)
    + ". Focal loss looks away from what is easy, whichever class it is, and asks nobody how frequent it is."
)
claim("Balanced batches raise balanced accuracy", gain["balanced batches"], at_least=0.04)
claim("Logit adjustment raises balanced accuracy", gain["logit adjustment"], at_least=0.04)
claim(
    "Balanced batches raise it more than focal loss",
    gain["balanced batches"] - gain["focal loss"],
    at_least=0.03,
)
claim(
    "Balanced batches cost accuracy",
    scores["none"]["accuracy"] - scores["balanced batches"]["accuracy"],
    at_least=0.03,
)

# %% [markdown]
# ## Augmentation as oversampling
#
# A network learns a picture by heart when it meets it a hundred times. The mole of a rare class may be
# turned and mirrored, though: no spot on the skin has a top. So instead of a hundred copies, show eight
# views in turn. Here a *plain* network, without any augmentation of its own, gets both: as many rows, as
# many steps.

# %%
small, small_shape = shrink(max(1, table.shape[0] // 7))
small = small.astype(np.float32)
middle, scale = small[train].mean(axis=0), small[train].std()
rng = np.random.default_rng(0)
copies = np.concatenate(
    [
        rng.choice(np.flatnonzero(train & (labels == code)), np.bincount(labels[train]).max())
        for code in range(len(names))
    ]
)


def turn(rows):
    """Turn and mirror each picture at random, into one of its eight views."""
    images = to_images(rows, small_shape)
    views = [
        np.rot90(image, quarter, axes=(1, 2))
        for image in (images, images[:, :, ::-1])
        for quarter in range(4)
    ]
    chosen = rng.integers(8, size=len(rows))
    return to_rows(np.stack(views)[chosen, np.arange(len(rows))])


trained = {"exact copies": small[copies], "turned copies": turn(small[copies])}
learnt, held_out = {}, {}
for name, rows in trained.items():
    plain = MLPClassifier((64,), max_iter=15, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # Both stop after the same number of passes.
        plain.fit((rows - middle) / scale, labels[copies])
    seen, unseen = (plain.predict((small[part] - middle) / scale) for part in (train, ~train))
    learnt[name] = balanced_accuracy_score(labels[train], seen)
    held_out[name] = balanced_accuracy_score(labels[~train], unseen)
show_table(
    pd.DataFrame({"training pictures": learnt, "held-out pictures": held_out}).rename_axis("trained on"),
    "Balanced accuracy of a plain network, trained equally long on exact and on turned copies.",
)
by_heart = {name: learnt[name] - held_out[name] for name in trained}
say(
    f"On exact copies it learns by heart: {learnt['exact copies']:.2f} on what it has seen, "
    f"{held_out['exact copies']:.2f} on what it has not. On turned copies {learnt['turned copies']:.2f} "
    f"and {held_out['turned copies']:.2f}."
)
claim(
    "Turned copies are learnt less by heart than exact ones (training minus held-out balanced accuracy)",
    by_heart["exact copies"] - by_heart["turned copies"],
    at_least=0.03,
)

# %%
drawn, axes = figure(height=75, rows=1, columns=8)
melanomas = to_images(table.pixels[labels == names.index("mel")], table.shape)
lopsided = np.abs(melanomas - melanomas[:, :, ::-1].astype(float)).mean(axis=(1, 2, 3)).argmax()
image = melanomas[lopsided]
views = [np.rot90(picture, quarter) for picture in (image, image[:, ::-1]) for quarter in range(4)]
for axis, view in zip(axes, views, strict=True):
    axis.imshow(view, interpolation="none")
    axis.axis("off")
show(drawn, "One picture of a melanoma in its eight views: turned by quarters, and mirrored.")

# %%
finding(
    "At equal training, balanced batches and logit adjustment change a network's balanced accuracy by "
    f"{gain['balanced batches']:+.2f} and {gain['logit adjustment']:+.2f}, focal loss by "
    f"{gain['focal loss']:+.2f}; moving the threshold of the untouched network alone gives "
    f"{gain['none, divided']:+.2f}."
)

# %% [markdown]
# ## Exercises
#
# **1.** Train for *epochs* instead of steps: after oversampling to equal classes, how many times more steps
# does an epoch have here?

# %% tags=["solution"]
say(
    f"{len(copies):,} rows instead of {train.sum():,}: {len(copies) / train.sum():.1f} times as many "
    "steps. A comparison at equal epochs would have measured the length of training as well."
)

# %% [markdown]
# **2.** Balanced batches draw every class with equal chances. What would batches drawn by the *square root*
# of the frequencies do?

# %% tags=["solution"]
share = np.sqrt(table.class_counts) / np.sqrt(table.class_counts).sum()
say(
    f"They lie between: `nv` would be {share[names.index('nv')]:.0%} of a batch instead of "
    f"{1 / len(names):.0%} or {np.mean(labels == names.index('nv')):.0%}. In `CNNClassifier` it is "
    "`sqrt_batches`; the README shows how it does on the real table."
)

# %% [markdown]
# ## References
#
# - Buda, Maki & Mazurowski, "A systematic study of the class imbalance problem in convolutional neural
#   networks", Neural Networks 106, 2018.
# - Lin, Goyal, Girshick, He & Dollár, "Focal loss for dense object detection", ICCV 2017.
# - Menon, Jayasumana, Rawat, Jain, Veit & Kumar, "Long-tail learning via logit adjustment",
#   arXiv:2007.07314, 2020.
# - Shorten & Khoshgoftaar, "A survey on image data augmentation for deep learning", Journal of Big Data
#   6:60, 2019.
