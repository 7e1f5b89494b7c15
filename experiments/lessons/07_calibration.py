# %% [markdown]
# # 7. What resampling does to probabilities
#
# A model predicts "melanoma, 60 %". Out of a hundred such pictures, are sixty melanomas?
#
# A probability can be checked: of all pictures with a predicted probability of about 60 %, about 60 % should
# be melanomas. A model trained on a table of copied melanomas has seen a world with many melanomas. Its
# probabilities are correct in *that* world.

# %%
import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.preprocessing import StandardScaler

from skinmnist.experiment.metrics import score
from skinmnist.experiment.training import fit_calibration
from skinmnist.features.extract import extract_features
from skinmnist.teaching.notebook_api import (
    BLUE,
    GREEN,
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
names, labels, lesions = list(table.class_names), table.labels, table.lesion_ids
numbers = extract_features(table.pixels, table.shape)
frequencies = table.class_counts / len(table)
melanoma = names.index("mel")
true = labels == melanoma

# %% [markdown]
# ## Predict
#
# > Add up the probabilities of melanoma over all held-out pictures. The sum is the number of melanomas that a
# > model *expects*. Is it too low, right, or too high for a model trained on the original table? And for a
# > model trained on copies until all classes are equally large? By what factor?

# %% [markdown]
# ## The experiment

# %%
folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)


def held_out_chances(sampler):
    """Return the probabilities of every picture, from a model trained on other lesions."""
    steps = [StandardScaler(), PCA(40, random_state=0), LogisticRegression(C=0.02, tol=1e-3, max_iter=2000)]
    if sampler is not None:
        steps.insert(2, sampler)
    return cross_val_predict(
        make_pipeline(*steps), numbers, labels, groups=lesions, cv=folds, method="predict_proba"
    )


chances = {
    "as it is": held_out_chances(None),
    "oversampled": held_out_chances(RandomOverSampler(random_state=0)),
    "SMOTE": held_out_chances(SMOTE(random_state=0)),
}

# %% [markdown]
# There are two remedies. **Restore the frequencies** (*given back* in the tables and figures): multiply every
# probability by the true frequency of its class, and scale each row to sum to one. This requires no data.
# **Calibrate**: fit a small regression that converts the model's outputs into probabilities, on lesions held
# out from its training.

# %%
given_back = chances["oversampled"] * frequencies
chances["given back"] = given_back / given_back.sum(axis=1, keepdims=True)

logits = np.log(chances["oversampled"].clip(1e-9))
chances["calibrated"] = np.empty_like(logits)
for train, test in StratifiedGroupKFold(5, shuffle=True, random_state=1).split(logits, labels, lesions):
    calibration = fit_calibration(logits[train], labels[train], np.ones(len(train)))
    chances["calibrated"][test] = calibration.predict_proba(logits[test])

scores = {name: score(labels, chance.argmax(axis=1), chance, names) for name, chance in chances.items()}
expected = {name: chance[:, melanoma].sum() for name, chance in chances.items()}
board = pd.DataFrame(scores).T.reindex(columns=["log_loss", "brier", "ece", "macro_auc"])
board.insert(0, "melanomas expected", [f"{expected[name]:.0f}" for name in chances])
show_table(
    board.rename_axis("probabilities"),
    f"Held-out probabilities. There are {true.sum()} melanomas. Log loss, Brier score and calibration "
    "error: lower is better.",
)

# %%
drawn, axis = figure(height=340)
curves = {"as it is": (BLUE, "o"), "oversampled": (VERMILLION, "s"), "given back": (GREEN, "^")}
axis.plot([0, 1], [0, 1], color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
axis.text(0.60, 0.64, "promise kept", color=MUTED, rotation=41, rotation_mode="anchor")
points = {}
for name, (colour, marker) in curves.items():
    chance = chances[name][:, melanoma]
    edges = np.quantile(chance, [0, 0.5, 0.7, 0.8, 0.88, 0.94, 1])
    groups = np.clip(np.searchsorted(edges, chance, side="right") - 1, 0, 5)
    points[name] = [(chance[groups == group].mean(), true[groups == group].mean()) for group in range(6)]
    axis.plot(*np.transpose(points[name]), marker=marker, color=colour, linewidth=2, markersize=8, label=name)
axis.set(
    xlim=(0, 1), ylim=(0, 1), xlabel="promised probability of melanoma", ylabel="share that are melanomas"
)
axis.legend(loc="upper left")
summary = [
    f"{name}: where {said:.0%} was promised, {came:.0%} came"
    for name, (said, came) in ((n, p[-1]) for n, p in points.items())
]
show(
    drawn,
    "Predicted probability of melanoma against the share of melanomas, in six groups of pictures. In the "
    f"highest group, {'; '.join(summary)}.",
    cover=True,
)

# %%
too_many = {name: expected[name] / true.sum() for name in chances}
say(
    f"The model trained on the table as it is expects {expected['as it is']:.0f} melanomas; there are "
    f"{true.sum()}. The oversampled one expects **{expected['oversampled']:.0f}**, "
    f"{too_many['oversampled']:.1f} times as many. Its log loss goes from "
    f"{scores['as it is']['log_loss']:.2f} to {scores['oversampled']['log_loss']:.2f}; with the frequencies "
    f"given back it is {scores['given back']['log_loss']:.2f}, and calibrated "
    f"{scores['calibrated']['log_loss']:.2f}. The AUC, {scores['as it is']['macro_auc']:.2f} before and "
    f"{scores['oversampled']['macro_auc']:.2f} after, does not show this: it depends only on the order "
    "of the pictures, and doubling every promise keeps the order. (It changes partly because of the class "
    "mix: lesson 6.)"
)
claim(
    "Oversampling makes the probabilities worse (log loss)",
    scores["oversampled"]["log_loss"] - scores["as it is"]["log_loss"],
    at_least=0.08,
)
claim("So does SMOTE", scores["SMOTE"]["log_loss"] - scores["as it is"]["log_loss"], at_least=0.08)
claim(
    "The oversampled model expects too many melanomas (times those of the untouched one)",
    expected["oversampled"] / expected["as it is"],
    at_least=1.3,
)
claim(
    "Giving the frequencies back repairs at least part of it (log loss)",
    scores["oversampled"]["log_loss"] - scores["given back"]["log_loss"],
    at_least=0.05,
)
claim(
    "So does calibration on other lesions",
    scores["oversampled"]["log_loss"] - scores["calibrated"]["log_loss"],
    at_least=0.05,
)

# %% [markdown]
# ## What it means in the clinic
#
# A rule with a threshold on the probability ("remove the spot if it is above 20 %") relies on that
# probability. With probabilities from an oversampled model, the same rule removes many more harmless spots,
# and nobody has decided that it should.

# %%
rule = 0.2
taken = {name: chances[name][:, melanoma] >= rule for name in ("as it is", "oversampled", "given back")}
show_table(
    pd.DataFrame(
        {
            name: {
                "taken out": int(out.sum()),
                "of them melanoma": f"{true[out].mean():.0%}",
                "melanomas found": f"{out[true].mean():.0%}",
            }
            for name, out in taken.items()
        }
    ).T.rename_axis("probabilities"),
    f"The rule: take out every spot with a melanoma probability of at least {rule:.0%}.",
)

# %%
finding(
    f"Trained on copies, the model expects {too_many['oversampled']:.1f} times as many melanomas as there "
    f"are, and its log loss goes from {scores['as it is']['log_loss']:.2f} to "
    f"{scores['oversampled']['log_loss']:.2f}; giving the frequencies back brings it "
    f"to {scores['given back']['log_loss']:.2f}."
)

# %% [markdown]
# ## Exercises
#
# **1.** Show on paper that restoring the frequencies is correct if the model is calibrated on the table with
# copies.

# %% tags=["solution"]
say(
    "In the world of copies all classes are equally frequent, so p'(class | picture) is proportional to "
    "p(picture | class). In the real world p(class | picture) is proportional to p(picture | class) · "
    "p(class). Divide one by the other: multiply by p(class) and scale to one. If the model was "
    "overconfident in the world of copies (it memorised them), giving back the frequencies cannot "
    "repair that; calibration can."
)

# %% [markdown]
# **2.** Is the expected calibration error enough to choose a model?

# %% tags=["solution"]
blind = np.tile(frequencies, (len(labels), 1))
blind_scores = score(labels, np.full(len(labels), frequencies.argmax()), blind, names)
say(
    "No. The model that always answers with the class frequencies has a calibration error of "
    f"{blind_scores['ece']:.3f}, nearly perfect, but it knows nothing: its log loss is "
    f"{blind_scores['log_loss']:.2f}. Log loss and Brier score reward calibration *and* knowledge."
)

# %% [markdown]
# ## References
#
# - van den Goorbergh, van Smeden, Timmerman & Van Calster, "The harm of class imbalance corrections for risk
#   prediction models", Journal of the American Medical Informatics Association 29(9), 2022.
# - Van Calster, McLernon, van Smeden, Wynants & Steyerberg, "Calibration: the Achilles heel of predictive
#   analytics", BMC Medicine 17:230, 2019.
# - Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural networks", ICML 2017.
# - Platt, "Probabilistic outputs for support vector machines", Advances in Large Margin Classifiers, 1999.
