# %% [markdown]
# # 10. Turn the dials
#
# When does an imbalance strategy help at all? Not "on this table", but in general: how rare must a class be,
# how similar the classes, and how many the pictures?
#
# A real table is a single point. The synthetic table has dials: the frequency of the common class relative to
# the others (**imbalance**), the similarity of the classes (**overlap**), and the number of pictures
# (**size**). Turn one dial at a time to see when a strategy pays off.

# %%
import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinmnist import make_lesions
from skinmnist.experiment.splits import assign_folds
from skinmnist.features.extract import extract_features
from skinmnist.teaching.notebook_api import (
    BLUE,
    GREEN,
    MUTED,
    VERMILLION,
    claim,
    figure,
    finding,
    lesson_seed,
    open_table,
    say,
    show,
    show_table,
)

# %% [markdown]
# ## Predict
#
# > Class weights, SMOTE and a moved threshold (lesson 6) are compared with no strategy in terms of balanced
# > accuracy.
# >
# > - When do they gain most: with weak or with strong imbalance? What is their effect at 1 : 1?
# > - How large is the gain if the classes look nearly the same, or very different?
# > - Does the gain grow or shrink with more pictures of the *same* mixture?

# %% [markdown]
# ## The experiment
#
# A small logistic regression is trained on each table and tested on many new pictures, with the same number
# for each class, so that every recall is precise.

# %%
strategies = ("class weights", "SMOTE", "moved threshold")


def gains(rows, codes, new_rows, new_codes):
    """Return the balanced accuracy without a strategy, and what each strategy adds to it."""
    space = make_pipeline(StandardScaler(), PCA(min(30, len(rows) // 4), random_state=0)).fit(rows)
    rows, new_rows = space.transform(rows), space.transform(new_rows)
    regression = LogisticRegression(C=0.05, tol=1e-3, max_iter=2000)
    counts = np.bincount(codes)
    chances = regression.fit(rows, codes).predict_proba(new_rows)
    answers = {
        "nothing": chances.argmax(axis=1),
        "moved threshold": (chances / counts).argmax(axis=1),
    }
    regression.set_params(class_weight="balanced").fit(rows, codes)
    answers["class weights"] = regression.predict(new_rows)
    sampler = SMOTE(k_neighbors=min(5, counts.min() - 1), random_state=0)
    regression.set_params(class_weight=None).fit(*sampler.fit_resample(rows, codes))
    answers["SMOTE"] = regression.predict(new_rows)
    balanced = {name: balanced_accuracy_score(new_codes, answer) for name, answer in answers.items()}
    return balanced["nothing"], {name: balanced[name] - balanced["nothing"] for name in strategies}


def draw(size, ratio, overlap, seed):
    """Draw a table; return the features of its pictures and their classes."""
    drawn_table = make_lesions(
        size,
        [1, 1, 1, 1, ratio, 1, 1],  # The fifth class is nv.
        pictures_per_lesion=1,
        overlap=overlap,
        size=8,
        random_state=10_000 * lesson_seed() + seed,
    )
    return extract_features(drawn_table.pixels, drawn_table.shape), drawn_table.labels


# %% [markdown]
# Start at the end of the dial. At 1 : 1, all weights are one, SMOTE has nothing to add, and dividing by equal
# frequencies changes no decision: by construction, all three strategies *have no effect*. This is not a
# finding about imbalance, but only a check that the experiment works. The dials below start at values at
# which strategies can have an effect.

# %%
overlaps = {0.2: "far apart", 0.5: "as in HAM10000", 0.8: "nearly alike"}
fresh = {overlap: draw(700, 1, overlap, seed=99) for overlap in overlaps}
_, at_rest = gains(*draw(420, 1, 0.5, seed=1), *fresh[0.5])
claim(
    "At 1 : 1 the three strategies change nothing (largest gain or loss)",
    max(map(abs, at_rest.values())),
    at_most=1e-9,
)

ratios, sizes = (3, 10, 30), (420, 1260)
found = {
    (overlap, ratio, size): gains(*draw(size, ratio, overlap, seed=size), *fresh[overlap])
    for overlap in overlaps
    for ratio in ratios
    for size in sizes
}

# %%
best = {key: max(gain.values()) for key, (_, gain) in found.items()}
drawn, axes = figure(height=270, columns=len(sizes), sharey=True)
limit = max(map(abs, best.values()))
for axis, size in zip(axes, sizes, strict=True):
    cells = np.array([[best[overlap, ratio, size] for ratio in ratios] for overlap in overlaps])
    axis.imshow(cells, cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto")
    for (row, column), gain in np.ndenumerate(cells):
        colour = "#fffffe" if abs(gain) > 0.6 * limit else "#1c2128"
        axis.text(column, row, f"{gain:+.2f}".replace("-", "−"), ha="center", va="center", color=colour)
    axis.set(xticks=range(len(ratios)), xticklabels=[f"{ratio} : 1" for ratio in ratios])
    axis.set(
        yticks=range(len(overlaps)), yticklabels=[text.replace(" in ", " in\n") for text in overlaps.values()]
    )
    axis.set_title(f"{size:,} pictures", fontsize=11, color=MUTED)
    axis.set_xlabel("nv : any other")
    for spine in axis.spines.values():
        spine.set_visible(False)
summary = [
    f"{overlaps[overlap]}, {ratio} to 1, {size:,} pictures {gain:+.2f}"
    for (overlap, ratio, size), gain in best.items()
]
show(drawn, f"What the best of three strategies adds to balanced accuracy: {'; '.join(summary)}.", cover=True)

# %%
table_of_gains = pd.DataFrame(
    [
        {
            "classes": overlaps[overlap],
            "imbalance": f"{ratio} : 1",
            "pictures": size,
            "nothing": nothing,
            **gain,
        }
        for (overlap, ratio, size), (nothing, gain) in found.items()
    ]
).set_index("classes")
show_table(table_of_gains, "Balanced accuracy without a strategy, and what each strategy adds.", digits=2)


def mean_gain(**dials):
    """Return the mean gain of all strategies over the tables with the given dials."""
    wanted = [
        np.mean(list(gain.values()))
        for (overlap, ratio, size), (_, gain) in found.items()
        if all(
            {"overlap": overlap, "ratio": ratio, "size": size}[dial] == value for dial, value in dials.items()
        )
    ]
    return round(float(np.mean(wanted)), 3) + 0.0  # Adding zero turns "−0" into "0".


say(
    "Averaged over the three strategies and the other dials: "
    + ", ".join(f"{mean_gain(ratio=ratio):+.3f} at {ratio} : 1" for ratio in ratios)
    + "; "
    + ", ".join(
        f"{mean_gain(overlap=overlap):+.3f} where classes are {text}" for overlap, text in overlaps.items()
    )
    + "; "
    + ", ".join(f"{mean_gain(size=size):+.3f} with {size:,} pictures" for size in sizes)
    + "."
)
strong = [gain.values() for (_, ratio, _), (_, gain) in found.items() if ratio == ratios[-1]]
spread = float(np.mean([max(values) - min(values) for values in strong]))
say(
    f"At {ratios[-1]} : 1, the best and the worst of the three differ by {spread:.3f} on average. At strong "
    "imbalance, *whether* you use a strategy matters more than *which*. At weak imbalance, neither matters "
    "much."
)
claim(
    "On synthetic tables, strategies gain more at strong imbalance than at weak imbalance",
    mean_gain(ratio=ratios[-1]) - mean_gain(ratio=ratios[0]),
    at_least=0.03,
)
claim(
    "At strong imbalance, the mean gain exceeds the difference between the best and the worst strategy",
    mean_gain(ratio=ratios[-1]) - spread,
    at_least=0.02,
)

# %% [markdown]
# ## The same dial on the table at hand
#
# Imbalance can be increased on any table, including a real one: select `nv`, `bkl` and `mel`, keep all moles,
# and keep fewer and fewer pictures of the other two classes. (The similarity of the classes in a real table
# cannot be changed.)

# %%
table = open_table(3000)
names = list(table.class_names)
kinds = [names.index(name) for name in ("nv", "bkl", "mel")]
fold = assign_folds(table, 3)[0]
numbers = extract_features(table.pixels, table.shape)
own = {kind: np.flatnonzero((fold != 0) & (table.labels == kind)) for kind in kinds}
most = min(len(rows) for rows in own.values())
test = np.flatnonzero((fold == 0) & np.isin(table.labels, kinds))
by_ratio = {}
for ratio in (2, 6, 18):
    repeats = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        kept = [rng.permutation(own[kind])[: most if kind == kinds[0] else most // ratio] for kind in kinds]
        rows = np.concatenate(kept)
        codes, truth = (np.searchsorted(sorted(kinds), table.labels[part]) for part in (rows, test))
        repeats.append(gains(numbers[rows], codes, numbers[test], truth)[1])
    by_ratio[ratio] = {name: float(np.mean([gain[name] for gain in repeats])) for name in strategies}

drawn, axis = figure(height=250)
for name, colour, marker in zip(strategies, (BLUE, GREEN, VERMILLION), ("o", "^", "s"), strict=True):
    values = [by_ratio[ratio][name] for ratio in by_ratio]
    axis.plot(
        range(len(by_ratio)), values, marker=marker, color=colour, linewidth=2, markersize=8, label=name
    )
axis.axhline(0, color=MUTED, linewidth=1)
axis.set(xticks=range(len(by_ratio)), xticklabels=[f"{ratio} : 1" for ratio in by_ratio])
axis.set(xlabel="nv : any other, in training", ylabel="gain in balanced accuracy")
axis.legend(loc="upper left")
summary = [
    f"{ratio} to 1: " + ", ".join(f"{name} {value:+.2f}" for name, value in row.items())
    for ratio, row in by_ratio.items()
]
show(drawn, f"Gain in balanced accuracy on the table at hand as it is thinned. {'; '.join(summary)}.")
mean_by_ratio = {ratio: float(np.mean(list(row.values()))) for ratio, row in by_ratio.items()}
claim(
    "On the table at hand, too, strategies gain more at strong imbalance than at weak imbalance",
    mean_by_ratio[18] - mean_by_ratio[2],
    at_least=0.03,
)

# %%
finding(
    f"Three strategies gain on average {mean_gain(ratio=ratios[0]):+.2f} balanced accuracy at "
    f"{ratios[0]} : 1 and {mean_gain(ratio=ratios[-1]):+.2f} at {ratios[-1]} : 1, where the best and the "
    f"worst differ by {spread:.2f}."
)

# %% [markdown]
# ## Exercises
#
# **1.** If the classes look nearly the same, is imbalance the problem?

# %% tags=["solution"]
hard, _ = gains(*draw(1260, 1, max(overlaps), seed=2), *fresh[max(overlaps)])
say(
    f"No: even without imbalance, the balanced accuracy there is {hard:.2f}; chance is "
    f"{1 / 7:.2f}. Strategies move mistakes from one class to another. They cannot add what the pictures do "
    "not show. (Japkowicz & Stephen turn this dial, too: they vary the complexity of the concept.)"
)

# %% [markdown]
# **2.** Turn the dials yourself: 100 : 1, 2,000 pictures. First predict, then run it.

# %% tags=["solution"]
nothing, gain = gains(*draw(2000, 100, 0.5, seed=3), *fresh[0.5])
say(f"No strategy: {nothing:.2f}. " + ", ".join(f"{name} {value:+.2f}" for name, value in gain.items()) + ".")

# %% [markdown]
# ## References
#
# - Japkowicz & Stephen, "The class imbalance problem: a systematic study", Intelligent Data Analysis 6(5),
#   2002.
# - He & Garcia, "Learning from imbalanced data", IEEE Transactions on Knowledge and Data Engineering 21(9),
#   2009.
# - Elor & Averbuch-Elor, "To SMOTE, or not to SMOTE?", arXiv:2201.08528, 2022.
# - Moniz & Monteiro, "No free lunch in imbalanced learning", Knowledge-Based Systems 227, 2021.
