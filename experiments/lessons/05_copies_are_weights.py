# %% [markdown]
# # 5. Copies are weights
#
# Copying a row ten times, or counting it ten times: is there a difference?
#
# Random oversampling makes tables several times as large and training many times as long. For a whole family
# of models that is work for nothing: what they minimise is a sum over rows, and ten equal terms of a sum are
# one term times ten. For others it is not the same, and it is worth knowing why.

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

from skinmnist.classroom import (
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
from skinmnist.evaluation.folds import assign_folds
from skinmnist.models.descriptors import describe

# %%
table = open_table(1500)
labels = table.labels
train = assign_folds(table, 5)[0] != 0
numbers = describe(table.pixels, table.shape).astype(np.float64)
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
# > Four models are trained twice: on the copies, and on the rows with weights. For which of them are the
# > answers equal?
# >
# > - a support vector machine
# > - a logistic regression
# > - a random forest
# > - a neural network, with the same number of passes over its rows

# %% [markdown]
# ## The experiment
#
# All four get the same random seed both times. The first two are solved to a tolerance far below what
# anybody would need, so that a difference would show. The forest and the network are trained a third time,
# with another seed and weights: what luck alone changes.

# %%
models = {
    "support vector machine": lambda seed: SVC(C=5, gamma=1 / rows.var() / rows.shape[1], tol=1e-8),
    "logistic regression": lambda seed: LogisticRegression(C=0.02, tol=1e-10, max_iter=10_000),
    "random forest": lambda seed: RandomForestClassifier(40, min_samples_leaf=3, random_state=seed),
    "neural network": lambda seed: MLPClassifier((32,), max_iter=12, random_state=seed),
}


def answer(model):
    """Return what a model says of the test rows: probabilities, or a machine's decision values."""
    return model.decision_function(test) if isinstance(model, SVC) else model.predict_proba(test)


results, balanced = {}, {}
for name, make in models.items():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # The network stops after its passes.
        started = time.process_time()
        by_copies = make(0).fit(copied, copied_labels)
        between = time.process_time()
        by_weights = make(0).fit(rows, given, sample_weight=weights)
        ended = time.process_time()
        by_luck = make(1).fit(rows, given, sample_weight=weights)
    results[name] = {
        "largest difference": f"{np.abs(answer(by_copies) - answer(by_weights)).max():.1e}",
        "other answers": f"{np.mean(by_copies.predict(test) != by_weights.predict(test)):.1%}",
        "by luck alone": f"{np.mean(by_luck.predict(test) != by_weights.predict(test)):.1%}",
        "times faster": f"{(between - started) / max(ended - between, 1e-9):.1f}",
    }
    balanced[name] = [
        balanced_accuracy_score(truth, model.predict(test)) for model in (by_copies, by_weights)
    ]
    results[name]["size"] = np.abs(answer(by_copies) - answer(by_weights)).max()
board = pd.DataFrame(results).T.drop(columns="size").rename_axis("model")
show_table(
    board,
    "Copies against weights: the largest difference of any answer, the share of test pictures that are named "
    "otherwise, the same between two seeds, and how much faster weights are.",
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
told = [f"{name} {size:.0e}" for name, size in zip(models, sizes, strict=True)]
show(
    drawn, f"Largest difference between the answers of copies and of weights: {', '.join(told)}.", cover=True
)

# %%
machine, line, forest, network = (results[name] for name in models)
say(
    "Support vector machine and logistic regression: the same, up to "
    f"{max(machine['size'], line['size']):.0e}. It is one machine, trained {machine['times faster']} and "
    f"{line['times faster']} times as fast. Forest and network: not the same."
)
claim(
    "The SVM on copies and the weighted SVM differ by rounding only (decision values)",
    machine["size"],
    at_most=1e-5,
)
claim("So do the two logistic regressions (probabilities)", line["size"], at_most=1e-4)
claim("The forest's probabilities differ by far more", forest["size"] - machine["size"], at_least=0.05)
claim("So do the network's", network["size"] - machine["size"], at_least=0.05)

# %% [markdown]
# ## Why the forest differs
#
# - A tree draws its rows *before* it looks at weights. Of ten copies it nearly always draws some; a single
#   row of weight ten is missed by about every third tree.
# - `min_samples_leaf` counts rows. Three copies of one picture fill a leaf; one row of weight ten does not.
#
# ## Why the network differs
#
# - A pass over the copies takes more steps. "Ten epochs" after oversampling is several times the training: a
#   comparison at equal epochs gives one side more, and then praises the sampler.
# - Steps are random. A batch with a weight of fifty on one row jumps; fifty batches with one copy each walk.
#   Both go the same way *on average*.

# %%
passes = round(12 * len(copied) / len(rows))
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    as_long = MLPClassifier((32,), max_iter=passes, n_iter_no_change=passes, random_state=0)
    as_long.fit(rows, given, sample_weight=weights)
long_enough = balanced_accuracy_score(truth, as_long.predict(test))
copies_score, weights_score = balanced["neural network"]
say(
    f"The network's balanced accuracy: {copies_score:.2f} on copies, {weights_score:.2f} with weights and "
    f"as many *passes*, {long_enough:.2f} with weights and as many *steps*. skinmnist trains networks for "
    "a fixed number of steps, whatever a sampler makes."
)

# %%
finding(
    "Trained on copies or with weights, the SVM is the same machine (largest difference "
    f"{machine['size']:.0e}) at a fraction of the time; forest and network are not ({forest['size']:.1f} "
    f"and {network['size']:.1f})."
)

# %% [markdown]
# ## Exercises
#
# **1.** SMOTE makes no copies. Is there a weighting of the old rows that gives the same SVM?

# %% tags=["solution"]
from imblearn.over_sampling import SMOTE

made, made_labels = SMOTE(k_neighbors=3, random_state=0).fit_resample(rows, given)
machine_of_smote = models["support vector machine"](0).fit(made, made_labels)
new = np.mean(machine_of_smote.support_ >= len(rows))
say(
    f"No: {new:.0%} of its support vectors are drawn rows, and a machine is a sum over its support "
    "vectors. SMOTE changes the problem, not only the counts."
)

# %% [markdown]
# **2.** With integer weights a forest *can* be made nearly the same. How?

# %% tags=["solution"]
say(
    "Draw the rows of each tree with chances in proportion to the weights, and let leaves count weight. "
    "Drawing from the "
    'copies does both. `class_weight="balanced_subsample"` does neither; it weights what was drawn evenly.'
)

# %% [markdown]
# ## References
#
# - Cortes & Vapnik, "Support-vector networks", Machine Learning 20, 1995.
# - King & Zeng, "Logistic regression in rare events data", Political Analysis 9(2), 2001.
# - Breiman, "Random forests", Machine Learning 45, 2001.
# - Byrd & Lipton, "What is the effect of importance weighting in deep learning?", ICML 2019.
