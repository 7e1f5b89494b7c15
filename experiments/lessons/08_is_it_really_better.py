# %% [markdown]
# # 8. Is it really better?
#
# Method B scores a little more than method A. How often would that have happened if they were the same
# method?
#
# Every score hangs on luck: on how the folds were dealt, on the seed of the sampler, on who happened to be
# in the table. This lesson compares methods with *themselves*. Whatever difference it finds is noise, by
# construction.

# %%
import numpy as np
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from skinmnist.analysis.significance import corrected_t_test
from skinmnist.experiment.splits import assign_folds
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
)

# %%
table = open_table()
labels = table.labels
numbers = StandardScaler().fit_transform(extract_features(table.pixels, table.shape))
numbers = PCA(20, random_state=0).fit_transform(numbers)

# %% [markdown]
# ## Predict
#
# > - SMOTE and a linear classifier are scored by 5 folds, twenty times, each time with another seed for
# >   folds and SMOTE. How far apart are the best and the worst of the twenty macro-F1?
# > - Two laboratories use the very same method on the same number of patients. Their scores are compared by
# >   the usual paired t-test over folds, at the level of 5 %. In how many of a hundred such comparisons will
# >   it call one of them *significantly better*? And if the cross-validation is repeated ten times, for more
# >   certainty?

# %% [markdown]
# ## Twenty seeds of one method

# %%
seeds = 20
by_seed = []
for seed in range(seeds):
    fold = assign_folds(table, 5, seed=seed)[0]
    answers = np.empty_like(labels)
    for held_out in range(5):
        train = fold != held_out
        model = make_pipeline(
            SMOTE(k_neighbors=3, random_state=seed), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
        )
        answers[~train] = model.fit(numbers[train], labels[train]).predict(numbers[~train])
    by_seed.append(f1_score(labels, answers, average="macro"))
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
    f"{by_seed.max() - by_seed.mean():.3f} over the mean and teaches nothing. Many published improvements "
    "are smaller."
)
claim("The best and the worst of twenty seeds of one method are apart (macro-F1)", spread, at_least=0.01)

# %% [markdown]
# ## Two laboratories, one method
#
# Draw a few hundred pictures and deal them to two laboratories at random. Both use the same method, the
# nearest class mean. In each fold both are tested on the same held-out pictures, and the difference of their
# accuracies is noted. There is no better *method* here. Then test whether the mean difference is zero, in
# two ways:
#
# - the **usual** paired t-test, which takes the folds for independent;
# - the **corrected** one (Nadeau & Bengio), which knows that the trainings of a cross-validation share most
#   of their rows: it takes the variance of the mean as (1/J + test/train) · s² instead of s²/J, for J
#   differences.

# %%
names = list(table.class_names)
kinds = [names.index(name) for name in ("nv", "mel", "bkl", "bcc")]
wanted = (120, 60, 60, 60)
repeats = (1, 2, 5, 10)


def differences(rng):
    """Return the differences of two laboratories: 5 folds, as often as the most repeats."""
    drawn_rows = [
        rng.permutation(np.flatnonzero(labels == kind))[:n] for kind, n in zip(kinds, wanted, strict=True)
    ]
    rows = numbers[np.concatenate(drawn_rows)]
    codes = np.repeat(range(len(kinds)), [len(own) for own in drawn_rows])
    first_laboratory = rng.random(len(rows)) < 0.5
    found = []
    for _ in range(repeats[-1]):
        fold = rng.permutation(len(rows)) % 5
        for held_out in range(5):
            test = fold == held_out
            right = []
            for patients in (first_laboratory, ~first_laboratory):
                train = patients & ~test
                means = np.stack([rows[train & (codes == code)].mean(axis=0) for code in range(len(kinds))])
                distances = (means**2).sum(axis=1) - 2 * rows[test] @ means.T
                right.append(np.mean(distances.argmin(axis=1) == codes[test]))
            found.append(right[0] - right[1])
    return found


comparisons = [differences(np.random.default_rng(seed)) for seed in range(60)]
alarms = {"usual": [], "corrected": []}
for times in repeats:
    # Each has half of the training rows, but its trainings overlap as those of 5 folds do: 1/4.
    for name, overlap in (("usual", 0.0), ("corrected", 1 / 4)):
        p = [corrected_t_test(found[: 5 * times], overlap).p for found in comparisons]
        alarms[name].append(np.mean(np.array(p) < 0.05))

drawn, axis = figure(height=270)
for name, colour, marker in (("usual", VERMILLION, "s"), ("corrected", BLUE, "o")):
    axis.plot(
        range(len(repeats)),
        alarms[name],
        marker=marker,
        color=colour,
        linewidth=2,
        markersize=9,
        label=f"{name} t-test",
    )
axis.axhline(0.05, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
axis.text(3.2, 0.06, "promised", color=MUTED, ha="right", va="bottom")
axis.set(xticks=range(len(repeats)), xticklabels=repeats, ylim=(0, None), xlim=(-0.2, 3.3))
axis.set(xlabel="repeats of 5 folds", ylabel="“significantly better”")
axis.legend(loc="upper left")
summary = [
    f"{times} repeats: usual {u:.0%}, corrected {c:.0%}"
    for times, u, c in zip(repeats, *alarms.values(), strict=True)
]
show(
    drawn,
    f"Share of comparisons of a method with itself that a t-test calls significant. {'; '.join(summary)}.",
    cover=True,
)

# %%
usual, corrected = alarms["usual"][-1], alarms["corrected"][-1]
say(
    f"With {repeats[-1]} repeats the usual test calls one of two equal methods significantly better in "
    f"**{usual:.0%}** of the comparisons; with one it is {alarms['usual'][0]:.0%}. It promised 5%. More "
    "repeats make it *worse*: they shrink s²/J, but bring no new patients. The corrected test stays at "
    f"{corrected:.0%}."
)
claim(
    "With ten repeats, the usual t-test raises more false alarms than the corrected one",
    usual - corrected,
    at_least=0.15,
)
claim("Repeats make the usual t-test worse", usual - alarms["usual"][0], at_least=0.1)
claim("The corrected t-test stays near its promise", corrected, at_most=0.15)

# %% [markdown]
# ## What to do instead
#
# - Compare on the **same folds**, and look at the differences fold by fold.
# - Report a spread or an interval; do not believe a difference smaller than it. The report prints both.
# - Use the corrected test. For many comparisons at once, correct for their number as well (Holm).
# - Choose the method *before* you look at the test folds, seeds included.
# - A difference that is sure may still be too small to matter. Say beforehand what would matter.

# %%
finding(
    f"Twenty seeds of one method differ by up to {spread:.3f} macro-F1; the usual t-test over ten repeats "
    f"of 5 folds calls one of two equal methods better in {usual:.0%} of the comparisons, the corrected "
    f"one in {corrected:.0%}."
)

# %% [markdown]
# ## Exercises
#
# **1.** You try five samplers that all do nothing, on one table, each at the level of 5 %. How often will at
# least one look significant? Work it out, then simulate.

# %% tags=["solution"]
rng = np.random.default_rng(0)
simulated = np.mean((rng.random((100_000, 5)) < 0.05).any(axis=1))
say(
    f"On paper 1 − 0.95⁵ = {1 - 0.95**5:.1%} if they are independent; simulated {simulated:.1%}. Holm's "
    "correction brings it back below 5 %: `skinmnist.analysis.significance.holm`."
)

# %% [markdown]
# **2.** The corrected test is careful. What does that cost?

# %% tags=["solution"]
reach = [[corrected_t_test(found[:5], overlap) for found in comparisons] for overlap in (0.0, 1 / 4)]
widths = [np.mean([test.high - test.low for test in tests]) for tests in reach]
say(
    f"Its intervals are wider: by a factor of {widths[1] / widths[0]:.2f} for one cross-validation of "
    "five folds, √(1/5 + 1/4) over √(1/5). Small true differences are missed more often. More patients "
    "help; more repeats help little."
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
