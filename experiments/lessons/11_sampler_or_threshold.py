# %% [markdown]
# # 11. Sampler or threshold?
#
# A sampler finds more melanomas. Did the model learn something, or did only its threshold move?
#
# Lesson 6 moved the threshold of the untouched model and drew the line of all its operating points, without
# any training. In this lesson, every sampler gets such a line as well. A sampler *on* the line of the
# untouched model has moved along it. *Above* the line, the model has learned something. *Below* it, the
# sampler has cost something. The last section asks which point on a line to choose: this depends on the cost
# of mistakes. The reference study (docs/study.md) asks the same of every method on the real tables.

# %%
import numpy as np
import pandas as pd
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, precision_recall_curve
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.preprocessing import StandardScaler

from skinmnist.analysis.significance import corrected_t_test
from skinmnist.experiment.splits import assign_folds
from skinmnist.features.extract import extract_features
from skinmnist.teaching.notebook_api import (
    GREEN,
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
names, labels = list(table.class_names), table.labels
numbers = extract_features(table.pixels, table.shape)
melanoma = names.index("mel")
fold = assign_folds(table, 5)[0]
by_fold = np.stack([np.bincount(labels[fold != part]) / np.sum(fold != part) for part in range(5)])
natural = by_fold[fold]  # Class frequencies of each picture's training part, before the sampler.

# %% [markdown]
# ## Predict
#
# > A logistic regression and a random forest are trained without a sampler, on copies until all classes are
# > equally large, and with SMOTE. The threshold of each model is moved through its whole range.
# >
# > - As trained, do the samplers or the untouched models have the higher balanced accuracy? By how much?
# > - With every threshold at its best value, how much of that difference remains? For which of the two models
# >   is a sampler *above* the line?
# > - A missed melanoma costs thirty times as much as a mole that is removed unnecessarily. Is this a reason
# >   to use a sampler?

# %% [markdown]
# ## The experiment
#
# A sampler changes the class mix of the training set. The probabilities of all models are therefore first
# converted back to the natural mix (lesson 7), and then divided by the frequencies to the power of τ, for a
# range of τ. On that scale, the untouched model as trained is at τ = 0, and a model trained on equal classes
# is near τ = 1.

# %%
models = {
    "logistic regression": [
        StandardScaler(),
        PCA(40, svd_solver="covariance_eigh"),
        LogisticRegression(C=0.02, tol=1e-3, max_iter=2000),
    ],
    "random forest": [RandomForestClassifier(16, max_features=5, min_samples_leaf=4, random_state=0)],
}
samplers = {"none": None, "copies": RandomOverSampler(random_state=0), "SMOTE": SMOTE(random_state=0)}
colours = {"none": INK, "copies": VERMILLION, "SMOTE": GREEN}
powers = np.linspace(-0.25, 1.5, 36)


def scaled(weights):
    """Return rows that sum to one."""
    return weights / weights.sum(axis=1, keepdims=True)


as_trained, at_natural = {}, {}
for model, steps in models.items():
    for name, sampler in samplers.items():
        before = [] if sampler is None else [sampler]
        # Samplers see what the model sees, so they come right before it.
        pipeline = make_pipeline(*steps[:-1], *before, steps[-1])
        chances = cross_val_predict(
            pipeline, numbers, labels, cv=PredefinedSplit(fold), method="predict_proba"
        )
        as_trained[model, name] = chances
        at_natural[model, name] = chances if sampler is None else scaled(chances * natural)
moved = {
    key: np.stack([(chances / natural**power).argmax(axis=1) for power in powers])
    for key, chances in at_natural.items()
}

# %%
everywhere = np.ones(len(labels), dtype=bool)


def accuracies(answers, rows=everywhere):
    """Return accuracy and balanced accuracy on some rows."""
    right, truth = answers[rows] == labels[rows], labels[rows]
    return right.mean(), np.mean([right[truth == code].mean() for code in range(len(names))])


def of_melanoma(answers):
    """Return specificity and recall of melanoma."""
    called = answers == melanoma
    return np.mean(~called[labels != melanoma]), np.mean(called[labels == melanoma])


drawn, axes = figure(height=440, rows=2, columns=2)
planes = (
    (accuracies, "accuracy", "balanced accuracy"),
    (of_melanoma, "specificity of melanoma", "recall of melanoma"),
)
for row, (measure, across, up) in zip(axes, planes, strict=True):
    for axis, model in zip(row, models, strict=True):
        for name, colour in colours.items():
            line = np.array([measure(answers) for answers in moved[model, name]])
            axis.plot(*line.T, color=colour, linewidth=2.6 if name == "none" else 1.6, label=name)
            point = measure(as_trained[model, name].argmax(axis=1))
            axis.plot(*point, "s" if name == "none" else "o", color=colour, markersize=9)
        axis.set_xlabel(across)
        axis.grid()
    row[0].set_ylabel(up)
for axis, model in zip(axes[0], models, strict=True):
    axis.set_title(model, fontsize=11, color=MUTED)
axes[0, 0].legend(loc="lower left")
points = {key: accuracies(chances.argmax(axis=1)) for key, chances in as_trained.items()}
summary = [
    f"{model}, {name}: {accuracy:.2f} and {balanced:.2f}"
    for (model, name), (accuracy, balanced) in points.items()
]
show(
    drawn,
    "Lines of a moved threshold for two models and three trainings; a mark is the model as trained. Above, "
    "accuracy against balanced accuracy; below, specificity against recall of melanoma. As trained, "
    f"accuracy and balanced accuracy are: {'; '.join(summary)}.",
    cover=True,
)

# %% [markdown]
# The lower lines may bend back: τ changes all classes at once, and eventually the rarest classes take
# pictures from melanoma as well.
#
# ## On the line, above or below
#
# The eye is easily deceived, so measure the difference at *equal* operating points: each model uses the τ
# with the best balanced accuracy on four folds, and is evaluated on the fifth. Then compare the models fold
# by fold, with the corrected test from lesson 8.


# %%
def tuned(key, measure=accuracies):
    """Return balanced accuracy fold by fold, each at the τ that is best on the other four folds."""
    values = []
    for part in range(5):
        others = fold != part
        best = np.argmax([measure(answers, others)[1] for answers in moved[key]])
        values.append(measure(moved[key][best], ~others)[1])
    return np.array(values)


equal = {key: tuned(key) for key in moved}
rows = []
for model in models:
    for name in ("copies", "SMOTE"):
        test = corrected_t_test(equal[model, name] - equal[model, "none"], 1 / 4)
        place = "above" if test.low > 0 else "below" if test.high < 0 else "not shown to be off it"
        rows.append(
            {
                "model": model,
                "sampler": name,
                "as trained": points[model, name][1] - points[model, "none"][1],
                "both tuned": test.mean,
                "from": test.low,
                "to": test.high,
                "the line": place,
            }
        )
board = pd.DataFrame(rows).set_index(["model", "sampler"])
show_table(
    board,
    "What a sampler adds to the balanced accuracy of the untouched model: as trained, and with both "
    "thresholds tuned on other folds, with its 95 % interval.",
)
first, second = models
say(
    f"As trained, copies raise the balanced accuracy of the {first} by "
    f"**{board.loc[(first, 'copies'), 'as trained']:+.2f}** and of the {second} by "
    f"**{board.loc[(second, 'copies'), 'as trained']:+.2f}**. With both thresholds tuned "
    f"{board.loc[(first, 'copies'), 'both tuned']:+.2f} and "
    f"{board.loc[(second, 'copies'), 'both tuned']:+.2f} are left; of SMOTE's "
    f"{board.loc[(first, 'SMOTE'), 'as trained']:+.2f} and "
    f"{board.loc[(second, 'SMOTE'), 'as trained']:+.2f}, {board.loc[(first, 'SMOTE'), 'both tuned']:+.2f} "
    f"and {board.loc[(second, 'SMOTE'), 'both tuned']:+.2f}."
)
for model, name in board.index:
    gain = board.loc[(model, name)]
    claim(
        f"{model}, {name}: as trained, balanced accuracy is higher than untouched",
        gain["as trained"],
        at_least=0.03,
    )
    much, least = ("most", 0.5) if model == first else ("a good part", 0.25)
    claim(
        f"{model}, {name}: {much} of it is the threshold (the share that goes when both are tuned)",
        1 - gain["both tuned"] / gain["as trained"],
        at_least=least,
    )
claim(
    f"Copies teach the {first} nothing: with both tuned, it leads by no more than noise",
    board.loc[(first, "copies"), "both tuned"],
    at_most=0.02,
)

# %% [markdown]
# For a model that minimises a sum over rows, copies are weights (lesson 5). Weights determine how much a
# class counts, and so does a threshold. A *flexible* model may use its rows differently: a tree with more
# rows of a class splits it further, and a network sees its pictures more often. Only for such models can a
# sampler be above the line, and whether it is must be measured. This is why the report opens with this
# figure.
#
# ## Precision and recall
#
# A ROC curve relates false alarms to the many pictures without melanoma, so a large number looks like a small
# share. Precision relates them to all alarms.

# %%
truth = labels == melanoma
drawn, axis = figure(height=290)
average = {}
for name, colour in colours.items():
    chance = at_natural[first, name][:, melanoma]
    average[name] = average_precision_score(truth, chance)
    precision, recall, _ = precision_recall_curve(truth, chance)
    axis.plot(recall, precision, color=colour, linewidth=2.4 if name == "none" else 1.5, label=name)
called = {name: as_trained[first, name].argmax(axis=1) == melanoma for name in samplers}
found = {name: out[truth].mean() for name, out in called.items()}
correct = {name: truth[out].mean() for name, out in called.items()}
for name, colour in colours.items():
    axis.plot(found[name], correct[name], "s" if name == "none" else "o", color=colour, markersize=9)
axis.axhline(truth.mean(), color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
axis.text(0.02, truth.mean() + 0.02, "calling all", color=MUTED)
axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall of melanoma", ylabel="precision")
axis.legend(loc="upper right")
summary = [f"{name} {correct[name]:.2f} at a recall of {found[name]:.2f}" for name in samplers]
show(
    drawn,
    f"Precision against recall of melanoma for the {first}; marks are the decisions as trained. Precision: "
    f"{'; '.join(summary)}.",
)
say(
    f"As trained, copies find {found['copies']:.0%} of the melanomas instead of {found['none']:.0%}; of "
    f"their alarms {correct['copies']:.0%} are melanomas instead of {correct['none']:.0%}. The curves "
    f"themselves, with average precisions of {average['none']:.3f} (none), {average['copies']:.3f} (copies) "
    f"and {average['SMOTE']:.3f} (SMOTE), say the same as the lines above: the mark has moved, but the "
    "curve has not risen."
)
claim(
    f"{first}: as trained, copies trade precision of melanoma for recall",
    min(found["copies"] - found["none"], correct["none"] - correct["copies"]),
    at_least=0.03,
)
claim(
    f"{first}: copies raise the average precision of melanoma by no more than noise",
    average["copies"] - average["none"],
    at_most=0.02,
)

# %% [markdown]
# ## What mistakes cost
#
# Which point on a line is the right one? The point at which mistakes cost least. Write down the cost of each
# mistake, in units of a harmless spot that is removed unnecessarily. Then predict the class with the lowest
# *expected* cost: the sum over the true classes of probability times cost. Samplers do not use these costs,
# and no training is needed to use them. However, the probabilities must be correct.

# %%
malignant = np.isin(names, ["mel", "bcc", "akiec"])
cost = np.where(malignant[:, None] == malignant[None, :], 0.1, 1.0)  # Rows are true classes, columns answers.
cost[np.ix_(malignant, ~malignant)] = 10
cost[melanoma, ~malignant] = 30
np.fill_diagonal(cost, 0)
show_table(
    pd.DataFrame(cost, index=pd.Index(names, name="is \\ called"), columns=names),
    "Cost of each mistake. Other malignant kinds grow slowly; kinds of one group get the same treatment.",
    digits=1,
)


def mean_cost(answers):
    """Return the cost of the answers, per hundred pictures."""
    return 100 * cost[labels, answers].mean()


costs = {
    f"{name}, {mix}": {
        "most probable": mean_cost(chances[first, name].argmax(axis=1)),
        "cheapest": mean_cost((chances[first, name] @ cost).argmin(axis=1)),
    }
    for mix, chances in (("as trained", as_trained), ("natural mix", at_natural))
    for name in samplers
    if name != "none" or mix == "as trained"
}
bill = pd.DataFrame(costs).T.rename_axis("probabilities")
show_table(
    bill,
    f"Cost per hundred pictures with the {first}, answering the most probable class or the class of lowest "
    "expected cost.",
    digits=1,
)
untouched, copies = bill.loc["none, as trained"], bill.loc["copies, as trained"]
say(
    f"The untouched model costs {untouched['most probable']:.0f} if it answers the most probable class. "
    f"Copies bring that to {copies['most probable']:.0f}, by luck: they move the threshold in the right "
    "direction, to where all classes count the same, and nobody has such costs. The answers of lowest "
    f"expected cost of the *untouched* model cost **{untouched['cheapest']:.0f}**."
)
claim(
    "Deciding by expected cost is cheaper than any sampler's most probable class (share of its cost)",
    untouched["cheapest"] / bill["most probable"].min(),
    at_most=0.9,
)
claim(
    "Probabilities from copies do not lower the cost by more than noise (ratio of the costs)",
    untouched["cheapest"] / min(copies["cheapest"], bill.loc["copies, natural mix", "cheapest"]),
    at_most=1.1,
)

# %% [markdown]
# ## Decision curves
#
# It is often impossible to put a number on these costs. But a doctor can say: *I remove a spot if its
# probability of being a melanoma is at least ten per cent.* This makes a missed melanoma as bad as nine
# unnecessary removals. For every such threshold t, a decision curve shows the **net benefit**: the share of
# pictures that are melanomas and are removed, minus the share that are removed unnecessarily, at the exchange
# rate t / (1 − t). A model must beat two doctors without a model: one who removes every spot, and one who
# removes none.

# %%
thresholds = np.linspace(0.02, 0.5, 49)


def net_benefit(chance):
    """Return the net benefit at every threshold."""
    out = chance[None, :] >= thresholds[:, None]
    caught, needless = (out & truth).mean(axis=1), (out & ~truth).mean(axis=1)
    return caught - needless * thresholds / (1 - thresholds)


benefit = {
    "none": net_benefit(as_trained[first, "none"][:, melanoma]),
    "copies, as trained": net_benefit(as_trained[first, "copies"][:, melanoma]),
    "copies, natural mix": net_benefit(at_natural[first, "copies"][:, melanoma]),
    "take out all": net_benefit(np.ones(len(labels))),
}
drawn, axis = figure(height=290)
styles = {
    "none": (INK, "-"),
    "copies, as trained": (VERMILLION, "-"),
    "copies, natural mix": (VERMILLION, (0, (2, 1.5))),
    "take out all": (MUTED, (0, (4, 3))),
}
for name, (colour, dashes) in styles.items():
    axis.plot(thresholds, benefit[name], color=colour, linestyle=dashes, linewidth=2, label=name)
axis.axhline(0, color=MUTED, linewidth=1)
axis.set(ylim=(-0.35 * truth.mean(), 1.02 * truth.mean()), xlim=(0, 0.5))
axis.set(xlabel="threshold: taken out at this probability of melanoma or more", ylabel="net benefit")
axis.legend(loc="upper right")
middle = np.abs(thresholds - 0.2).argmin()
summary = [f"{name} {values[middle]:.3f}" for name, values in benefit.items()]
show(
    drawn,
    f"Net benefit against the threshold for the {first}. At a threshold of 20 %: {'; '.join(summary)}; "
    "taking out nothing is zero.",
)
lost = (benefit["none"] - benefit["copies, as trained"])[thresholds >= 0.1].mean()
regained = (benefit["copies, natural mix"] - benefit["copies, as trained"])[thresholds >= 0.1].mean()
harmful = np.mean(benefit["copies, as trained"] < np.maximum(benefit["take out all"], 0))
say(
    f"At thresholds from 10 %, copies lose {lost:.3f} of net benefit on average: {1000 * lost:.0f} melanomas "
    "in a thousand patients. Their probabilities are too high (lesson 7), so more is taken out than the "
    f"doctor asked for. At {harmful:.0%} of the thresholds they are worse than no model. Giving the "
    f"frequencies back recovers {regained / lost:.0%} of the loss."
)
claim("As trained, copies lose net benefit (mean over thresholds from 10 %)", lost, at_least=0.003)
claim("Giving the frequencies back recovers at least half of it (share)", regained / lost, at_least=0.5)

# %%
share = 1 - board["both tuned"].mean() / board["as trained"].mean()
finding(
    f"Samplers raise balanced accuracy by {board['as trained'].mean():+.2f} as trained and by "
    f"{board['both tuned'].mean():+z.2f} once all thresholds are tuned, averaged over two models and two "
    f"samplers. Deciding by expected cost lowers the cost of the untouched {first} from "
    f"{untouched['most probable']:.0f} to {untouched['cheapest']:.0f} per 100 pictures; training on copies "
    f"lowers it only to {copies['most probable']:.0f}."
)

# %% [markdown]
# ## Exercises
#
# **1.** Is random *under*sampling on, above or below the line? Consider the pictures that it discards
# before you try it.

# %% tags=["solution"]
from imblearn.under_sampling import RandomUnderSampler

pipeline = make_pipeline(*models[first][:-1], RandomUnderSampler(random_state=0), models[first][-1])
thrown = cross_val_predict(pipeline, numbers, labels, cv=PredefinedSplit(fold), method="predict_proba")
moved["few"] = np.stack([(scaled(thrown * natural) / natural**power).argmax(axis=1) for power in powers])
test = corrected_t_test(tuned("few") - equal[first, "none"], 1 / 4)
say(
    f"Below: with both thresholds tuned, {test.mean:+.3f} balanced accuracy ({test.low:+.3f} to "
    f"{test.high:+.3f}). It trains on {len(names) * int(np.bincount(labels).min()):,} pictures of "
    f"{len(labels):,}, and no threshold can make up for the others."
)

# %% [markdown]
# **2.** With two classes, a miss costs nine and a false alarm costs one. Which threshold on the probability
# follows from this? Derive it, then find the cheapest threshold for these pictures.

# %% tags=["solution"]
chance = as_trained[first, "none"][:, melanoma]
tried = np.linspace(0.01, 0.6, 60)
totals = [9 * np.sum(truth & (chance < t)) + np.sum(~truth & (chance >= t)) for t in tried]
say(
    "Calling costs 1 − p, not calling 9 p, so call where p is above 1 / (1 + 9) = 10 %. The cheapest on "
    f"these pictures is {tried[int(np.argmin(totals))]:.0%}, chosen and judged on the same rows; at 10 % the "
    f"cost is {totals[int(np.abs(tried - 0.1).argmin())] / min(totals) - 1:.1%} higher. A threshold "
    "derived from costs needs no data, if the probabilities can be trusted."
)

# %% [markdown]
# ## References
#
# - Elkan, "The foundations of cost-sensitive learning", IJCAI 2001.
# - Vickers & Elkin, "Decision curve analysis: a novel method for evaluating prediction models", Medical
#   Decision Making 26(6), 2006.
# - Saito & Rehmsmeier, "The precision-recall plot is more informative than the ROC plot when evaluating
#   binary classifiers on imbalanced datasets", PLOS ONE 10(3), 2015.
# - Provost & Fawcett, "Robust classification for imprecise environments", Machine Learning 42, 2001.
# - van den Goorbergh, van Smeden, Timmerman & Van Calster, "The harm of class imbalance corrections for risk
#   prediction models", Journal of the American Medical Informatics Association 29(9), 2022.
# - Buda, Maki & Mazurowski, "A systematic study of the class imbalance problem in convolutional neural
#   networks", Neural Networks 106, 2018.
