# %% [markdown]
# # 8. Is it really better?
#
# Method B scores slightly higher than method A. How often would that happen if neither were better?
#
# Every score depends on chance: on the assignment of rows to folds, on the seed of the sampler, and on the
# patients who happen to be in the table. This lesson compares methods that are equal by construction, so
# every difference is noise.

# %%
import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.preprocessing import StandardScaler

from skinmnist.analysis.significance import corrected_t_test
from skinmnist.datasets.table import to_images
from skinmnist.features.extract import extract_features
from skinmnist.teaching.notebook_api import (
    BLUE,
    INK,
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
labels = table.labels
numbers = extract_features(table.pixels, table.shape)
# One picture of each lesion, so that each can be assigned to a fold on its own.
_, one_each = np.unique(table.lesion_ids, return_index=True)

# %% [markdown]
# ## Predict
#
# > - SMOTE with a linear classifier is evaluated with 5-fold cross-validation twenty times, with a new seed
# >   for the folds and SMOTE each time. How far apart are the best and the worst of the twenty macro-F1
# >   scores?
# > - Two methods are equally good by construction. They are compared on the same folds with the usual paired
# >   t-test, at the 5 % level. In how many of a hundred such comparisons does the test call one of them
# >   *significantly better*? What if the cross-validation is repeated ten times for more certainty?
# > - Are ten repeats useful, then?

# %% [markdown]
# ## Twenty seeds of one method

# %%
seeds = 20
by_seed = []
for seed in range(seeds):
    model = make_pipeline(
        StandardScaler(),
        PCA(20, svd_solver="covariance_eigh"),
        SMOTE(k_neighbors=3, random_state=seed),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1),
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    answers = cross_val_predict(model, numbers[one_each], labels[one_each], cv=folds)
    by_seed.append(f1_score(labels[one_each], answers, average="macro"))
by_seed = np.array(by_seed)
spread = by_seed.max() - by_seed.min()

drawn, axis = figure(height=150)
axis.plot(by_seed, np.zeros(seeds), "|", color=BLUE, markersize=30, markeredgewidth=2)
for value, name in ((by_seed.min(), "worst"), (by_seed.max(), "best")):
    axis.annotate(f"{name} {value:.3f}", (value, 0.45), ha="center", color=INK)
axis.set(yticks=[], ylim=(-0.5, 0.9), xlabel="macro-F1 of the same method, one line for each seed")
axis.spines["left"].set_visible(False)
axis.margins(x=0.12)
show(
    drawn,
    f"Macro-F1 of one method with {seeds} seeds, from {by_seed.min():.3f} to {by_seed.max():.3f}; most "
    f"lie around {np.median(by_seed):.3f}.",
)
say(
    f"Best and worst seed are **{spread:.3f}** apart; the standard deviation is "
    f"{by_seed.std(ddof=1):.3f}. Trying {seeds} seeds and reporting the best gains "
    f"{by_seed.max() - by_seed.mean():.3f} over the mean, and shows nothing. An improvement of this size, "
    "seen with one seed, may be chance."
)
claim("The best and the worst of twenty seeds of one method differ (macro-F1)", spread, at_least=0.01)

# %% [markdown]
# ## Two methods that are equal
#
# What exactly does a test of two *methods* examine? It does not ask which of two trained models is better,
# but which method is better on average over all tables of patients that might have been collected. Its null
# hypothesis is: **over new tables of this size, the mean difference is zero.** On a given table, the
# difference is never zero: some patients suit one method, others the other. A good test accounts for the
# effect of this variation on the mean.
#
# We therefore need two methods whose difference is exactly zero over all patients, but not on any single
# table. Method *left* uses the left half of a picture, and method *right* uses the right half; otherwise,
# both classify by the nearest class mean. Before each comparison, every picture is mirrored or not at random.
# The two methods are then mirror images of each other, and neither can be better. In each fold, both are
# trained on the same patients and tested on the same other patients.
#
# The mean difference is tested in two ways:
#
# - the **usual** paired t-test, which treats the folds as independent;
# - the **corrected** one (Nadeau & Bengio), which accounts for the rows shared by the training sets of a
#   cross-validation: for J differences, it estimates the variance of the mean as (1/J + test/train) · s²
#   instead of s²/J.

# %%
names = list(table.class_names)
kinds = [names.index(name) for name in ("nv", "mel", "bkl", "bcc")]
wanted = (120, 60, 60, 60)
repeats = (1, 2, 5, 10)


def colours(halves):
    """Return the mean colours in a coarse grid over half pictures whose cut edge is on the right."""
    rows = [part for band in np.array_split(halves, 4, axis=1) for part in np.array_split(band, 2, axis=2)]
    return np.concatenate([part.mean(axis=(1, 2)) for part in rows], axis=1)


images = to_images(table.pixels, table.shape).astype(float)
half = table.shape[1] // 2
left, right = colours(images[:, :, :half]), colours(images[:, :, ::-1][:, :, :half])


def share_right(rows, codes, test):
    """Return the accuracy of the nearest class mean on the held-out rows."""
    train = ~test
    rows = (rows - rows[train].mean(axis=0)) / rows[train].std(axis=0)
    means = np.stack([rows[train & (codes == code)].mean(axis=0) for code in range(len(kinds))])
    distances = (means**2).sum(axis=1) - 2 * rows[test] @ means.T
    return np.mean(distances.argmin(axis=1) == codes[test])


def differences(rng):
    """Return the differences between the two methods, for 5 folds and the largest number of repeats."""
    patients = [
        rng.permutation(one_each[labels[one_each] == kind])[:n] for kind, n in zip(kinds, wanted, strict=True)
    ]
    chosen = np.concatenate(patients)
    codes = np.repeat(range(len(kinds)), [len(own) for own in patients])
    mirrored = rng.random((len(chosen), 1)) < 0.5
    seen_left = np.where(mirrored, right[chosen], left[chosen])
    seen_right = np.where(mirrored, left[chosen], right[chosen])
    found = []
    for _ in range(repeats[-1]):
        fold = rng.permutation(len(chosen)) % 5
        for held_out in range(5):
            test = fold == held_out
            found.append(share_right(seen_left, codes, test) - share_right(seen_right, codes, test))
    return found


comparisons = [differences(np.random.default_rng(seed)) for seed in range(100)]
overlaps = {"usual": 0.0, "corrected": 1 / 4}  # Test rows per training row, in 5 folds.
alarms, widths = ({name: [] for name in overlaps} for _ in range(2))
for times in repeats:
    for name, overlap in overlaps.items():
        tests = [corrected_t_test(found[: 5 * times], overlap) for found in comparisons]
        alarms[name].append(np.mean([test.p < 0.05 for test in tests]))
        widths[name].append(np.mean([test.high - test.low for test in tests]))

# %%
drawn, axes = figure(height=270, columns=2)
for name, colour, marker in (("usual", VERMILLION, "s"), ("corrected", BLUE, "o")):
    for axis, values in zip(axes, (alarms[name], widths[name]), strict=True):
        axis.plot(
            range(len(repeats)), values, marker=marker, color=colour, linewidth=2, markersize=9, label=name
        )
axes[0].axhline(0.05, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
axes[0].text(3.2, 0.06, "promised", color=MUTED, ha="right", va="bottom")
for axis, title in zip(axes, ("called “significantly better”", "width of the 95 % interval"), strict=True):
    axis.set(xticks=range(len(repeats)), xticklabels=repeats, ylim=(0, None), xlim=(-0.2, 3.3))
    axis.set_title(title, fontsize=11, color=MUTED)
    axis.set_xlabel("repeats of 5 folds")
axes[0].legend(loc="upper left")
summary = [
    f"{times} repeats: usual {u:.0%}, corrected {c:.0%}"
    for times, u, c in zip(repeats, *alarms.values(), strict=True)
]
show(
    drawn,
    f"Share of comparisons of two equal methods that a t-test calls significant. {'; '.join(summary)}. Mean "
    f"width of the corrected interval: {widths['corrected'][0]:.3f} with one repeat, "
    f"{widths['corrected'][-1]:.3f} with {repeats[-1]}.",
    cover=True,
)

# %%
scatter = [np.std([np.mean(found[: 5 * times]) for found in comparisons]) for times in repeats]
believed = {
    name: [
        np.mean([np.std(found[: 5 * n], ddof=1) for found in comparisons]) * np.sqrt(1 / (5 * n) + overlap)
        for n in repeats
    ]
    for name, overlap in overlaps.items()
}
show_table(
    pd.DataFrame(
        {
            "scatter of the mean": scatter,
            "assumed, usual": believed["usual"],
            "assumed, corrected": believed["corrected"],
            "width, usual": widths["usual"],
            "width, corrected": widths["corrected"],
        },
        index=pd.Index(repeats, name="repeats"),
    ),
    "The real scatter of the mean difference from table to table (standard deviation), the scatter that each "
    "test assumes, and the mean width of the 95 % interval.",
)

# %%
usual, corrected = alarms["usual"][-1], alarms["corrected"][-1]
narrower = widths["corrected"][-1] / widths["corrected"][0]
say(
    f"With {repeats[-1]} repeats the usual test calls one of two equal methods significantly better in "
    f"**{usual:.0%}** of the comparisons; with one it is {alarms['usual'][0]:.0%}. It promised 5%. Its "
    "interval shrinks as if every repeat brought new patients, but none does. The corrected test stays at "
    f"{corrected:.0%}."
)
say(
    f"Repeats are not useless, though. The *corrected* interval goes from {widths['corrected'][0]:.3f} to "
    f"**{widths['corrected'][-1]:.3f}**, for two reasons: the chance in the assignment to folds averages "
    f"out, and the spread s is estimated from {5 * repeats[-1]} differences instead of 5. What is left is "
    "the choice of patients, which the term test/train accounts for. More repeats cannot reduce it."
)
claim(
    "With ten repeats, the usual t-test raises more false alarms than the corrected one",
    usual - corrected,
    at_least=0.15,
)
claim("Repeats make the usual t-test worse", usual - alarms["usual"][0], at_least=0.1)
claim("The corrected t-test stays near the promised 5 %", corrected, at_most=0.15)
claim(
    "Ten repeats make the corrected interval narrower (ratio of widths to one repeat)",
    narrower,
    at_most=0.8,
)
claim(
    "At ten repeats, the usual test assumes much less scatter than there is (assumed / real)",
    believed["usual"][-1] / scatter[-1],
    at_most=0.6,
)

# %% [markdown]
# ## What to do instead
#
# - Compare on the **same folds**, and inspect the differences fold by fold.
# - Report a standard deviation or an interval, and do not trust differences that are smaller. The report
#   includes both.
# - Use the corrected test, and repeat the cross-validation if you can afford it. For several comparisons,
#   also correct for their number (Holm).
# - Choose the method, including its seeds, *before* you look at the test folds.
# - A difference that is certain may still be too small to matter. State beforehand which difference would
#   matter.

# %%
finding(
    f"Twenty seeds of one method differ by up to {spread:.3f} macro-F1; the usual t-test over ten repeats "
    f"of 5 folds calls one of two equal methods better in {usual:.0%} of the comparisons, the corrected "
    f"one in {corrected:.0%}, with intervals of {widths['corrected'][-1]:.3f} instead of "
    f"{widths['corrected'][0]:.3f} for one repeat."
)

# %% [markdown]
# ## Exercises
#
# **1.** You test five samplers that have no effect on one table, each at the 5 % level. How often does at
# least one look significant? Work it out, then simulate it.

# %% tags=["solution"]
rng = np.random.default_rng(0)
simulated = np.mean((rng.random((100_000, 5)) < 0.05).any(axis=1))
say(
    f"On paper, 1 − 0.95⁵ = {1 - 0.95**5:.1%} if they are independent; simulated {simulated:.1%}. Holm's "
    "correction brings it back below 5 %: `skinmnist.analysis.significance.holm`."
)

# %% [markdown]
# **2.** How narrow would the corrected interval be with a thousand repeats, and what would narrow it
# further?

# %% tags=["solution"]
from scipy.stats import t

reach = [t.ppf(0.975, 5 * n - 1) * np.sqrt(1 / (5 * n) + 1 / 4) for n in (1, 10, 1000)]
say(
    f"On paper, in units of s: {reach[0]:.2f} with one repeat, {reach[1]:.2f} with ten, {reach[2]:.2f} with "
    "a thousand, on either side. The first ten repeats gain nearly everything. After that, only more "
    "patients help: they make s smaller."
)

# %% [markdown]
# ## References
#
# - Nadeau & Bengio, "Inference for the generalization error", Machine Learning 52, 2003.
# - Bengio & Grandvalet, "No unbiased estimator of the variance of k-fold cross-validation", JMLR 5, 2004.
# - Bouckaert & Frank, "Evaluating the replicability of significance tests for comparing learning algorithms",
#   PAKDD 2004.
# - Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6,
#   1979.
# - Bouthillier et al., "Accounting for variance in machine learning benchmarks", MLSys 2021.
