# %% [markdown]
# # 4. What SMOTE draws
#
# SMOTE promises *new* pictures of rare classes. What do they look like, and where do they lie?
#
# SMOTE takes a picture of a rare class, finds its nearest neighbours of the same class, picks one of them,
# and draws a point on the straight line between the two. In two dimensions, this fills the gaps in a cloud of
# points, as every textbook shows. But pictures have far more than two dimensions.

# %%
import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from skinmnist.datasets.table import to_images
from skinmnist.experiment.splits import assign_folds
from skinmnist.resampling.registry import find_parents
from skinmnist.teaching.notebook_api import (
    BLUE,
    INK,
    LINE,
    MUTED,
    ORANGE,
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
# SMOTE computes differences, and on bytes 3 - 5 is 254.
pixels = table.pixels.astype(np.float32)
fold = assign_folds(table, 5)[0]
train = fold != 0

# %% [markdown]
# ## Predict
#
# > - Is a picture drawn by SMOTE sharper or blurrier than its parents?
# > - Do the synthetic pictures of a class differ more from each other than the real ones, or less?
# > - Suppose that the pixels carry no information, and that there are very many of them. SMOTE balances the
# >   two classes. How often does a nearest-neighbour model then predict the class that *was* rare?

# %% [markdown]
# ## Parents and children

# %%
nv = names.index("nv")


def draw_children(code, seed=0):
    """Return the real pictures of a class in the training part, and what SMOTE adds to them."""
    own, moles = pixels[train & (labels == code)], pixels[train & (labels == nv)]
    rows = np.vstack([moles, own])
    codes = np.r_[np.zeros(len(moles), int), np.ones(len(own), int)]
    sampler = SMOTE(k_neighbors=min(5, len(own) - 1), random_state=seed)
    made, _ = sampler.fit_resample(rows, codes)
    return own, made[len(rows) :]


families = []
for name in ("mel", "bkl", "bcc", "vasc"):
    own, children = draw_children(names.index(name))
    for child in children[:40]:
        parents = find_parents(child, own)
        if parents is not None and 0.35 < parents.position < 0.65:
            families.append((name, own[parents.first], child, own[parents.second]))
            break
drawn, axes = figure(height=470, rows=len(families), columns=3)
for row, (name, *pictures) in zip(axes, families, strict=True):
    for axis, picture in zip(row, pictures, strict=True):
        axis.imshow(
            to_images(picture[None], table.shape)[0].clip(0, 255).astype(np.uint8), interpolation="none"
        )
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, rotation=0, ha="right", va="center", color=INK)
for axis, title in zip(axes[0], ("a parent", "SMOTE's child", "its other parent"), strict=True):
    axis.set_title(title, fontsize=11, color=MUTED)
show(
    drawn,
    f"Rows of three pictures for {', '.join(name for name, *_ in families)}: two real pictures, and "
    "between them the picture that SMOTE draws, in which both parents shine through.",
    cover=True,
)

# %% [markdown]
# The child is a double exposure. No dermatoscope ever took such a picture: where the borders of the parents
# disagree, both are visible at half strength. To measure this, *detail* is the mean size of the second
# differences between neighbouring pixels, and *variety* is the total variance of a group of pictures.


# %%
def detail(rows):
    """Mean absolute second difference of pixels, along both axes, for each picture."""
    images = to_images(rows, table.shape)
    return sum(np.abs(np.diff(images, 2, axis=axis)).mean(axis=(1, 2, 3)) for axis in (1, 2))


measured = {}
for name in ("mel", "bkl", "bcc", "akiec", "vasc", "df"):
    own, children = draw_children(names.index(name))
    measured[name] = {
        "real": len(own),
        "drawn": len(children),
        "detail, drawn / real": detail(children).mean() / detail(own).mean(),
        "variety, drawn / real": children.var(axis=0).sum() / own.var(axis=0).sum(),
    }
board = pd.DataFrame(measured).T.astype({"real": int, "drawn": int}).rename_axis("class")
show_table(board, "Detail and variety of what SMOTE draws, beside the real pictures of the class.", digits=2)
least, most = (board["detail, drawn / real"].agg(which) for which in ("min", "max"))
say(
    f"The drawn pictures have {least:.2f} to {most:.2f} of the detail of the real ones, and "
    f"{board['variety, drawn / real'].min():.2f} to {board['variety, drawn / real'].max():.2f} of their "
    "variety. With independent random parents, two thirds of the variance would be left: "
    "the mean of u² + (1 − u)² for u between 0 and 1. SMOTE does not widen a class. It fills the "
    "inside."
)
claim("SMOTE's pictures are blurrier than real ones, in every class (ratio)", most, at_most=0.95)
claim(
    "SMOTE's pictures vary less than real ones, in every class (ratio)",
    board["variety, drawn / real"].max(),
    at_most=0.9,
)

# %% [markdown]
# ## The map

# %%
own, children = draw_children(names.index("mel"))
moles = pixels[train & (labels == nv)]
axes_of_pixels = PCA(60, random_state=0).fit(pixels[train])
drawn, axis = figure(height=330)
for rows, colour, marker, size, label in (
    (moles[:400], LINE, "o", 12, "nv"),
    (children[:400], ORANGE, "^", 14, "drawn mel"),
    (own, BLUE, "o", 16, "real mel"),
):
    places = axes_of_pixels.transform(rows)[:, :2]
    axis.scatter(*places.T, color=colour, marker=marker, s=size, linewidths=0, alpha=0.85, label=label)
axis.set(xlabel="first principal component", ylabel="second", xticks=[], yticks=[])
axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
explained = axes_of_pixels.explained_variance_ratio_
participation = 1 / np.sum(explained**2)
show(
    drawn,
    f"Pictures on the first two principal components, which hold {explained[:2].sum():.0%} of the "
    "variance. The melanomas that SMOTE drew lie among the real ones, inside their cloud, which overlaps "
    "with that of nv.",
)
say(
    f"On this map, SMOTE looks as in the textbook. But the map holds {explained[:2].sum():.0%} of the "
    f"variance, and a picture has {pixels.shape[1]:,} numbers. Neighbouring pixels are nearly equal, so "
    f"the pictures spread like about {participation:.0f} independent numbers of equal variance (the "
    "participation ratio of the variances)."
)

# %% [markdown]
# ## Why many dimensions differ from two
#
# The next experiment does not use pictures: the rows are pure noise, one in six belongs to the rare class,
# and there is nothing to learn. SMOTE balances the training set, and the five nearest neighbours vote on new
# rows. Half of the rows *should* be assigned to each class.

# %%
rng = np.random.default_rng(0)
dimensions = (2, 5, 10, 30, 100, 300, 1000)
votes = []
for dimension in dimensions:
    called = []
    for _ in range(4):
        rows, codes = rng.standard_normal((240, dimension)), np.repeat([0, 1], [200, 40])
        made, made_codes = SMOTE(random_state=0).fit_resample(rows, codes)
        model = KNeighborsClassifier(5).fit(made, made_codes)
        called.append(model.predict(rng.standard_normal((150, dimension))).mean())
    votes.append(float(np.mean(called)))
drawn, axis = figure(height=240)
axis.semilogx(dimensions, votes, "o-", color=VERMILLION, linewidth=2, markersize=8)
axis.axhline(0.5, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
axis.text(dimensions[-1], 0.46, "as it should be", color=MUTED, ha="right", va="top")
axis.set(xticks=[2, 10, 100, 1000], xticklabels=["2", "10", "100", "1,000"], ylim=(0, 1.05))
axis.minorticks_off()
axis.set(xlabel="dimensions of pure noise", ylabel="new rows called rare")
summary = [f"{share:.0%} in {dimension:,}" for dimension, share in zip(dimensions, votes, strict=True)]
show(
    drawn,
    f"Share of new rows of noise that are given to the class that was rare: {', '.join(summary)} dimensions.",
)
say(
    f"In 2 dimensions {votes[0]:.0%} of the new rows are called rare, in 1,000 dimensions "
    f"**{votes[-1]:.0%}**. In many dimensions, random rows are far apart, all at about the same distance. "
    "SMOTE's rows are closer to the middle, and so closer to *every* new row than any real row is. They "
    "win the vote, whatever the truth."
)
claim(
    "On noise, new rows go to the once rare class more often in many dimensions than in two",
    votes[-1] - votes[0],
    at_least=0.3,
)

# %% [markdown]
# Does this also happen with our pictures? Here is the same vote for melanomas and moles, using all pixels:

# %%
pair = np.isin(labels, [nv, names.index("mel")])
rows, codes = pixels[pair & train], (labels[pair & train] != nv).astype(int)
test, truth = pixels[pair & ~train], labels[pair & ~train] != nv
before = KNeighborsClassifier(5).fit(rows, codes).predict(test)
after = KNeighborsClassifier(5).fit(*SMOTE(random_state=0).fit_resample(rows, codes)).predict(test)
alarms = [100 * answers[~truth].mean() for answers in (before, after)]
found = [100 * answers[truth].mean() for answers in (before, after)]
say(
    f"False alarms on moles go from {alarms[0]:.0f}% to {alarms[1]:.0f}%, melanomas found from "
    f"{found[0]:.0f}% to {found[1]:.0f}%. Some of this is intended, and any imbalance strategy would "
    "do it (lesson 6). The part due to geometry depends on the model: nearest neighbours suffer most, "
    "because they rely on distances."
)
claim(
    "SMOTE on pixels makes nearest neighbours raise more false alarms, in points",
    alarms[1] - alarms[0],
    at_least=8,
)

# %%
finding(
    f"SMOTE's pictures are double exposures with {least:.2f} to {most:.2f} of the detail of real ones and "
    f"less variety; on noise, nearest neighbours give {votes[-1]:.0%} of new rows to the once rare class in "
    f"1,000 dimensions, and {votes[0]:.0%} in 2."
)

# %% [markdown]
# ## Exercises
#
# **1.** Show that, on average, a child of two independent rows of a class retains two thirds of the variance.

# %% tags=["solution"]
u = rng.random(100_000)
first, second = rng.standard_normal((2, 100_000))
say(
    "The variance of (1 − u)·a + u·b is the mean of (1 − u)² + u² = 2/3. Simulated: "
    f"{np.var((1 - u) * first + u * second):.3f}. SMOTE's parents are neighbours, hence alike, so it "
    "keeps a little more."
)

# %% [markdown]
# **2.** What would change if SMOTE operated on the first two components instead of on the pixels? Inspect the
# detail of the children.

# %% tags=["solution"]
flat = PCA(2).fit(own)
rebuilt = flat.inverse_transform(flat.transform(own))
say(
    "Two numbers cannot hold a picture: rebuilt from them, real melanomas keep "
    f"{detail(rebuilt).mean() / detail(own).mean():.2f} of their detail before SMOTE does anything. "
    "That is why skinmnist says what a sampler works on: *SMOTE on pixels* and *SMOTE on descriptors* "
    "are different methods."
)

# %% [markdown]
# ## References
#
# - Chawla, Bowyer, Hall & Kegelmeyer, "SMOTE: synthetic minority over-sampling technique", Journal of
#   Artificial Intelligence Research 16, 2002.
# - Blagus & Lusa, "SMOTE for high-dimensional class-imbalanced data", BMC Bioinformatics 14:106, 2013.
# - Beyer, Goldstein, Ramakrishnan & Shaft, "When is 'nearest neighbor' meaningful?", ICDT 1999.
