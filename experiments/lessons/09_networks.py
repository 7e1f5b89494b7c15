# %% [markdown]
# # 9. Networks
#
# A network sees its pictures in small batches, again and again. How can imbalance be handled *in the
# batches*, and how much does each method gain with exactly the same amount of training?
#
# Networks need no copies: the important factors are the frequency of a class in the batches and the weight of
# a mistake. This lesson compares four strategies, each with the same number of steps of the same size from
# the same initial weights:
#
# - **none**: batches with the class mix of the table, plain cross-entropy;
# - **balanced batches**: every class is equally frequent in each batch, which is random oversampling without
#   the copies;
# - **focal loss**: pictures that the network already classifies well have less weight (Lin et al.);
# - **logit adjustment**: the logarithm of the class frequencies is added inside the loss (Menon et al.).

# %%
import warnings

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import balanced_accuracy_score
from sklearn.neural_network import MLPClassifier

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
seeds = range(3)
# Each seed holds out a different third of the lesions.
splits = [assign_folds(table, 3)[0] != seed for seed in seeds]


def shrink(factor):
    """Average squares of pixels, so that a network trains in seconds; return rows and their shape."""
    images = to_images(table.pixels, table.shape).astype(np.float32)
    height, width = (side - side % factor for side in table.shape[:2])
    images = images[:, :height, :width]  # Rows and columns that do not fill a square are dropped.
    n, _, _, channels = images.shape
    squares = images.reshape(n, height // factor, factor, width // factor, factor, channels)
    small = squares.mean(axis=(2, 4)).round().astype(np.uint8)
    return to_rows(small), small.shape[1:]


pixels, shape = shrink(max(1, min(table.shape[:2]) // 7))

# %% [markdown]
# ## Predict
#
# > - Which of the three strategies raises balanced accuracy most? Is there one that does not raise it at all?
# > - Which of them raises the accuracy?
# > - One of the three was designed for imbalance between *easy and hard* pictures, not between classes.
# >   Which?

# %% [markdown]
# ## The experiment

# %%
strategies = {
    "none": {},
    "balanced batches": {"balance": "balanced_batches"},
    "focal loss": {"loss": "focal"},
    "logit adjustment": {"loss": "logit_adjusted"},
}
columns = ["accuracy", "balanced_accuracy", "macro_f1", "recall_mel", "macro_auc"]


def score_of(chances, truth):
    """Return the scores of one network on held-out lesions."""
    found = score(truth, chances.argmax(axis=1), chances, names)
    return [found[column] for column in columns]


by_seed = {name: [] for name in (*strategies, "none, divided")}
for seed, train in zip(seeds, splits, strict=True):
    for name, strategy in strategies.items():
        network = CNNClassifier(
            shape,
            steps=120,
            batch_size=64,
            channels=(16, 32),
            pairs=(0, 1),
            coarse_share=0,
            views=2,
            random_state=seed,
            **strategy,
        )
        chances = network.fit(pixels[train], labels[train]).predict_proba(pixels[~train])
        by_seed[name].append(score_of(chances, labels[~train]))
        if name == "none":
            divided = chances / np.bincount(labels[train])
            divided /= divided.sum(axis=1, keepdims=True)
            by_seed["none, divided"].append(score_of(divided, labels[~train]))

by_seed = {name: pd.DataFrame(rows, columns=columns) for name, rows in by_seed.items()}
scores = pd.DataFrame({name: frame.mean() for name, frame in by_seed.items()}).T.rename_axis("strategy")
show_table(
    scores,
    f"Means of {len(seeds)} networks for each strategy, trained equally long; each seed holds out a "
    "different third of the lesions. The last row is the first with its probabilities divided by the class "
    "frequencies (lesson 6).",
)

# %%
drawn, axes = figure(height=270)
for place, name in enumerate(reversed(by_seed)):
    frame = by_seed[name]
    for column, colour, marker in (("balanced_accuracy", BLUE, "o"), ("accuracy", VERMILLION, "s")):
        axes.plot(frame[column], [place] * len(frame), "|", color=MUTED, markersize=14, zorder=1)
        axes.plot(frame[column].mean(), place, marker, color=colour, markersize=10)
axes.plot([], [], "s", color=VERMILLION, label="accuracy")
axes.plot([], [], "o", color=BLUE, label="balanced accuracy")
axes.plot([], [], "|", color=MUTED, markersize=12, label="one seed")
axes.set(yticks=range(len(by_seed)), yticklabels=list(reversed(by_seed)), xlim=(0, 1))
axes.set(ylim=(-0.5, len(by_seed) - 0.5), xlabel="score on held-out lesions")
axes.grid(axis="x")
axes.legend(loc="lower center", bbox_to_anchor=(0.35, 1), ncols=3)
summary = [
    f"{name}: {row['accuracy']:.2f} and {row['balanced_accuracy']:.2f}" for name, row in scores.iterrows()
]
show(
    drawn,
    f"Accuracy and balanced accuracy after equally long training, means of {len(seeds)} seeds, each seed as "
    f"a line. {'; '.join(summary)}.",
    cover=True,
)

# %%
balanced = pd.DataFrame({name: frame["balanced_accuracy"] for name, frame in by_seed.items()})
gains = balanced.sub(balanced["none"], axis=0)
gain, luck = gains.mean(), gains.std()
say(
    f"Balanced batches change balanced accuracy by **{gain['balanced batches']:+.2f}** (± "
    f"{luck['balanced batches']:.2f}, the standard deviation over seeds), logit adjustment by "
    f"{gain['logit adjustment']:+.2f} (± {luck['logit adjustment']:.2f}), focal loss by "
    f"{gain['focal loss']:+.2f} (± {luck['focal loss']:.2f}). The accuracies are "
    + ", ".join(f"{scores.loc[name, 'accuracy']:.2f} ({name})" for name in strategies)
    + ". Focal loss ignores easy pictures of any class, whatever its frequency."
)
say(
    "One network would not have been enough: two seeds of the *same* strategy differ by up to "
    f"{(balanced.max() - balanced.min()).max():.2f} in balanced accuracy."
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
    scores.loc["none", "accuracy"] - scores.loc["balanced batches", "accuracy"],
    at_least=0.03,
)

# %% [markdown]
# ## Augmentation as oversampling
#
# A network memorises a picture that it sees a hundred times. But a spot of a rare class may be rotated and
# mirrored, because no spot on the skin has a top. Instead of a hundred copies, you can therefore show its
# eight views in turn. Here, a *plain* network without any augmentation of its own is trained on both
# versions, with the same number of rows and steps.

# %%
small = pixels.astype(np.float32)


def turn(rows, rng):
    """Turn and mirror each picture at random, into one of its eight views."""
    images = to_images(rows, shape)
    views = [
        np.rot90(image, quarter, axes=(1, 2))
        for image in (images, images[:, :, ::-1])
        for quarter in range(4)
    ]
    chosen = rng.integers(8, size=len(rows))
    return to_rows(np.stack(views)[chosen, np.arange(len(rows))])


results = []
for seed, train in zip(seeds, splits, strict=True):
    rng = np.random.default_rng(seed)
    largest = np.bincount(labels[train]).max()
    copies = np.concatenate(
        [rng.choice(np.flatnonzero(train & (labels == code)), largest) for code in range(len(names))]
    )
    middle, scale = small[train].mean(axis=0), small[train].std()
    for name, rows in (("exact copies", small[copies]), ("turned copies", turn(small[copies], rng))):
        plain = MLPClassifier((64,), max_iter=12, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # Both stop after the same number of passes.
            plain.fit((rows - middle) / scale, labels[copies])
        for part, where in ((train, "training pictures"), (~train, "held-out pictures")):
            found = balanced_accuracy_score(labels[part], plain.predict((small[part] - middle) / scale))
            results.append((name, where, found))
results = pd.DataFrame(results, columns=["trained on", "pictures", "score"])
learnt = results.pivot_table("score", "trained on", "pictures")
show_table(
    learnt[["training pictures", "held-out pictures"]],
    f"Balanced accuracy of a plain network, trained equally long on exact and on turned copies; means of "
    f"{len(seeds)} seeds.",
)
by_heart = learnt["training pictures"] - learnt["held-out pictures"]
exact, turned = (learnt.loc[name] for name in ("exact copies", "turned copies"))
say(
    f"On exact copies it memorises: {exact['training pictures']:.2f} on training pictures, "
    f"{exact['held-out pictures']:.2f} on held-out ones. On turned copies it has "
    f"{turned['training pictures']:.2f} and {turned['held-out pictures']:.2f}."
)
claim(
    "Turned copies are memorised less than exact ones (training minus held-out balanced accuracy)",
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
    f"{gain['none, divided']:+.2f} (means of {len(seeds)} seeds)."
)

# %% [markdown]
# ## Exercises
#
# **1.** Suppose that training is measured in *epochs* instead of steps. How many times as many steps does an
# epoch have here after oversampling to equal classes?

# %% tags=["solution"]
say(
    f"{len(copies):,} rows instead of {train.sum():,}: {len(copies) / train.sum():.1f} times as many "
    "steps. A comparison at equal epochs would have measured the length of training as well."
)

# %% [markdown]
# **2.** Balanced batches draw every class with equal probability. What would be the effect of drawing batches
# by the *square root* of the frequencies?

# %% tags=["solution"]
share = np.sqrt(table.class_counts) / np.sqrt(table.class_counts).sum()
say(
    f"They lie between: `nv` would be {share[names.index('nv')]:.0%} of a batch instead of "
    f"{1 / len(names):.0%} or {np.mean(labels == names.index('nv')):.0%}. In `CNNClassifier` it is "
    "`sqrt_batches`; the reference study (docs/study.md) has its results on the real tables."
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
