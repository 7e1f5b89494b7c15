# %% [markdown]
# # 5. Copies are weights
#
# Is there a difference between copying a row ten times and counting it ten times?
#
# Random oversampling makes tables several times as large, and training takes many times as long. For a whole
# family of models, this is wasted work: they minimise a sum over rows, and ten equal terms are one term times
# ten. For other models, copies and weights are not equivalent, and it is worth knowing why.

# %%
import time
import warnings

import numpy as np
import pandas as pd
from imblearn.over_sampling import RandomOverSampler
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skinmnist.experiment.splits import assign_folds
from skinmnist.features.extract import extract_features
from skinmnist.teaching.notebook_api import (
    BLUE,
    INK,
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
table = open_table(1500)
labels = table.labels
train = assign_folds(table, 5)[0] != 0
numbers = extract_features(table.pixels, table.shape).astype(np.float64)
space = make_pipeline(StandardScaler(), PCA(40, random_state=0)).fit(numbers[train])
rows, given = space.transform(numbers[train]), labels[train]
test, truth = space.transform(numbers[~train]), labels[~train]

sampler = RandomOverSampler(random_state=0)
copied, copied_labels = sampler.fit_resample(rows, given)
weights = np.bincount(sampler.sample_indices_, minlength=len(rows)).astype(float)
say(
    f"{len(rows):,} training rows become {len(copied):,}. Or they stay {len(rows):,}, with weights from "
    f"{weights.min():.0f} to {weights.max():.0f} that say how often each was copied."
)

# %% [markdown]
# ## Predict
#
# > Four models are trained twice: on the copies, and on the original rows with weights. Which of them make
# > the same predictions?
# >
# > - a support vector machine
# > - a logistic regression
# > - a random forest
# > - a neural network, with the same number of passes over its rows

# %% [markdown]
# ## The experiment
#
# All four models use the same random seed both times. The first two are solved to a tolerance far below any
# practical need, so that any difference would be visible. The forest and the network are trained a third time
# with weights and another seed, to show the effect of chance alone.

# %%
models = {
    "support vector machine": lambda seed: SVC(C=5, gamma=1 / rows.var() / rows.shape[1], tol=1e-8),
    "logistic regression": lambda seed: LogisticRegression(C=0.02, tol=1e-10, max_iter=10_000),
    "random forest": lambda seed: RandomForestClassifier(40, min_samples_leaf=3, random_state=seed),
    "neural network": lambda seed: MLPClassifier((32,), max_iter=12, random_state=seed),
}


def answer(model):
    """Return a model's output for the test rows: probabilities, or decision values of an SVM."""
    return model.decision_function(test) if isinstance(model, SVC) else model.predict_proba(test)


results, fitted = {}, {}
for name, make in models.items():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # The network stops after its passes.
        started = time.process_time()
        by_copies = make(0).fit(copied, copied_labels)
        between = time.process_time()
        by_weights = make(0).fit(rows, given, sample_weight=weights)
        ended = time.process_time()
        by_luck = make(1).fit(rows, given, sample_weight=weights)
    size, luck = (np.abs(answer(other) - answer(by_weights)).max() for other in (by_copies, by_luck))
    results[name] = {
        "largest difference": f"{size:.1e}",
        "by luck alone": f"{luck:.1e}",
        "other answers": f"{np.mean(by_copies.predict(test) != by_weights.predict(test)):.1%}",
        "others by luck": f"{np.mean(by_luck.predict(test) != by_weights.predict(test)):.1%}",
        "times faster": f"{(between - started) / max(ended - between, 1e-9):.1f}",
        "size": size,
    }
    fitted[name] = by_copies, by_weights, by_luck
board = pd.DataFrame(results).T.drop(columns="size").rename_axis("model")
show_table(
    board,
    "Copies against weights: the largest difference between outputs, and the share of test pictures that get "
    "another class; beside each, the same between two seeds. Last, how many times faster weights are.",
)

# %%
drawn, axis = figure(height=220)
sizes = [results[name]["size"] for name in models]
for place, size in enumerate(reversed(sizes)):
    same = size < 1e-4
    axis.plot(
        [1e-12, size], [place, place], color=BLUE if same else VERMILLION, linewidth=5, solid_capstyle="butt"
    )
    axis.plot(size, place, "o" if same else "s", color=BLUE if same else VERMILLION, markersize=10)
    axis.text(size * 3, place, f"{size:.0e}", va="center", color=INK)
axis.set(
    xscale="log", xlim=(1e-12, 900), ylim=(-0.5, 3.5), yticks=range(4), yticklabels=list(reversed(models))
)
axis.set(xlabel="largest difference between copies and weights", xticks=[1e-12, 1e-8, 1e-4, 1])
axis.set_xticklabels(["1e-12", "1e-8", "1e-4", "1"])
axis.minorticks_off()
summary = [f"{name} {size:.0e}" for name, size in zip(models, sizes, strict=True)]
show(
    drawn,
    f"Largest difference between the answers of copies and of weights: {', '.join(summary)}.",
    cover=True,
)

# %%
machine, line, forest, network = (results[name] for name in models)
say(
    "Support vector machine and logistic regression agree up to "
    f"{max(machine['size'], line['size']):.0e}. With weights they train {machine['times faster']} and "
    f"{line['times faster']} times as fast. Forest and network differ, but so do two seeds of each, so their "
    "answers alone prove nothing. The proof is below."
)
claim(
    "The SVM on copies and the weighted SVM differ by rounding only (decision values)",
    machine["size"],
    at_most=1e-5,
)
claim("So do the two logistic regressions (probabilities)", line["size"], at_most=1e-4)

# %% [markdown]
# ## Why the forest differs
#
# - A tree draws as many rows as `fit` received. Weights change the chances of rows, but not the number drawn:
#   with ten copies of every row, a tree draws ten times as many.
# - `min_samples_leaf` counts rows. Three copies of one picture fill a leaf; one row with a weight of ten does
#   not.
#
# The trees themselves must therefore differ by more than chance. To see this, count their leaves.

# %%
of_copies, of_weights, of_luck = (
    np.mean([tree.get_n_leaves() for tree in model.estimators_]) for model in fitted["random forest"]
)
say(
    f"A tree has {of_copies:.0f} leaves on copies, {of_weights:.0f} with weights, and {of_luck:.0f} with "
    "weights and another seed."
)
claim(
    "Copies change the number of leaves of the forest's trees by more than another seed does (logarithms)",
    abs(np.log(of_copies / of_weights)) - abs(np.log(of_luck / of_weights)),
    at_least=0.3,
)

# %% [markdown]
# ## Why the network differs
#
# - A pass over the copies takes more steps. "Ten epochs" after oversampling is several times as much
#   training. A comparison at equal epochs gives one side more training, and then credits the sampler.
# - Steps are random. One batch with a weight of fifty on one row makes a jump; fifty batches with one copy
#   each make small steps. Both move in the same direction *on average*.

# %%
nets = fitted["neural network"]
longer = nets[0].t_ / nets[1].t_
claim("In equally many passes, the network on copies sees more rows (times)", longer, at_least=2)


def mean_score(table_rows, table_labels, passes, counts=None):
    """Return the mean balanced accuracy of five networks that differ only in their seeds."""
    found = []
    for seed in range(5):
        model = MLPClassifier((32,), max_iter=passes, n_iter_no_change=passes, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(table_rows, table_labels, sample_weight=counts)
        found.append(balanced_accuracy_score(truth, model.predict(test)))
    return np.mean(found)


on_copies = mean_score(copied, copied_labels, 12)
as_many_passes = mean_score(rows, given, 12, weights)
as_many_steps = mean_score(rows, given, round(12 * longer), weights)
say(
    f"In equally many passes, the network on copies sees {longer:.1f} times as many rows. The balanced "
    f"accuracy, mean of five seeds: {on_copies:.2f} on copies, {as_many_passes:.2f} with weights and as many "
    f"*passes*, and {as_many_steps:.2f} with weights and as many *steps*. skinmnist trains networks for a "
    "fixed number of steps, whatever the sampler."
)
claim(
    "After equally many passes, the network with weights is behind (balanced accuracy, mean of five seeds)",
    on_copies - as_many_passes,
    at_least=0.03,
)

# %%
finding(
    "Trained on copies or with weights, the SVM is the same (largest difference "
    f"{machine['size']:.0e}), in a fraction of the time; a tree of the forest has {of_copies:.0f} leaves on "
    f"copies and {of_weights:.0f} with weights, and in equally many passes a network on copies sees "
    f"{longer:.1f} times as many rows."
)

# %% [markdown]
# ## Exercises
#
# **1.** SMOTE makes no copies. Is there a weighting of the original rows that gives the same SVM?

# %% tags=["solution"]
from imblearn.over_sampling import SMOTE

made, made_labels = SMOTE(k_neighbors=3, random_state=0).fit_resample(rows, given)
machine_of_smote = models["support vector machine"](0).fit(made, made_labels)
new = np.mean(machine_of_smote.support_ >= len(rows))
say(
    f"No: {new:.0%} of its support vectors are synthetic rows, and an SVM is a sum over its support "
    "vectors. SMOTE changes the problem, not only the counts."
)

# %% [markdown]
# **2.** With integer weights, a forest *can* be made nearly equivalent. How?

# %% tags=["solution"]
say(
    "Draw the rows of each tree in proportion to the weights, and let leaves count weight. Drawing from the "
    'copies does both. `class_weight="balanced_subsample"` does neither; it weights evenly drawn rows.'
)

# %% [markdown]
# ## References
#
# - Cortes & Vapnik, "Support-vector networks", Machine Learning 20, 1995.
# - King & Zeng, "Logistic regression in rare events data", Political Analysis 9(2), 2001.
# - Breiman, "Random forests", Machine Learning 45, 2001.
# - Byrd & Lipton, "What is the effect of importance weighting in deep learning?", ICML 2019.
