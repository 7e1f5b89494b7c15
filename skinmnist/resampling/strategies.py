"""The table of strategies against class imbalance: samplers, and strategies that leave the rows unchanged.

To add a sampler or a strategy, add an entry here. Nothing heavy is imported, so commands can list the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from skinmnist.errors import InputError
from skinmnist.names import did_you_mean, known_spelling


class Paper(NamedTuple):
    """The first description of a strategy.

    Examples
    --------
    >>> str(Paper("Chawla et al.", 2002, "JAIR"))
    'Chawla et al. 2002, JAIR'
    """

    authors: str
    year: int
    venue: str

    def __str__(self) -> str:
        return f"{self.authors} {self.year}, {self.venue}"


@dataclass(frozen=True)
class StrategyInfo:
    """What is known about one strategy against class imbalance."""

    #: What it does, in a few words that follow its name.
    about: str
    #: None for ``none`` only.
    paper: Paper | None
    #: When to use it, in one sentence.
    use: str
    #: What a model must support: nothing, sample weights, or training in batches as networks do.
    needs: Literal["", "weights", "networks"] = ""
    #: How ``NAME@SHARE`` changes the class mix: by adding rows, by dropping rows, or by weighting rows. Empty
    #: if the strategy has no amount.
    amount: Literal["", "adds", "drops", "weights"] = ""
    #: Module of a sampler; empty for a strategy that leaves the rows unchanged.
    module: str = ""
    #: The strategy that is the same under another name.
    same_as: str = ""


_OVER, _UNDER, _COMBINE = "imblearn.over_sampling", "imblearn.under_sampling", "imblearn.combine"

#: The strategy whose rows are made from finished cells of ``none``, in
#: `skinmnist.experiment.derived.tuning`.
TUNED_PLAIN = "tuned_plain"

#: Imbalance strategies that leave the rows unchanged.
STRATEGIES = {
    "none": StrategyInfo(
        "uses the training rows as they are",
        None,
        "Always include it: every other strategy is compared with it.",
    ),
    TUNED_PLAIN: StrategyInfo(
        "none with its threshold tuned for macro-F1 on the other folds; nothing is trained",
        Paper("Collell et al.", 2018, "Neurocomputing"),
        "Use it as the control of every strategy: what does not beat it has only moved the threshold.",
    ),
    "class_weight": StrategyInfo(
        "weights rows by the inverse frequency of their class",
        Paper("King & Zeng", 2001, "Political Analysis"),
        "Use it instead of RandomOverSampler: the effect is the same, without added rows.",
        needs="weights",
        amount="weights",
    ),
    "balanced_batches": StrategyInfo(
        "draws every class equally often in the batches of a network",
        Paper("Shen et al.", 2016, "ECCV"),
        "Use it when rare classes matter as much as common ones and each has dozens of rows.",
        needs="networks",
        amount="weights",
    ),
    "sqrt_batches": StrategyInfo(
        "draws classes in batches by the square root of their frequency",
        Paper("Mahajan et al.", 2018, "ECCV"),
        "Try it first for a network: balanced batches repeat the few rows of a rare class more often.",
        needs="networks",
    ),
    "focal_loss": StrategyInfo(
        "a loss with less weight on easy rows",
        Paper("Lin et al.", 2017, "ICCV"),
        "Use it when easy rows dominate the loss; it does not change the class mix.",
        needs="networks",
    ),
    "logit_adjusted_loss": StrategyInfo(
        "a loss that removes the class frequencies from the decision",
        Paper("Menon et al.", 2021, "ICLR"),
        "Use it for balanced decisions without repeating the rows of rare classes.",
        needs="networks",
    ),
    "balanced_softmax": StrategyInfo(
        "another name of logit_adjusted_loss",
        Paper("Ren et al.", 2020, "NeurIPS"),
        "Use either name; both are the same loss.",
        needs="networks",
        same_as="logit_adjusted_loss",
    ),
    "class_balanced_loss": StrategyInfo(
        "weights rows by the inverse effective number of rows of their class",
        Paper("Cui et al.", 2019, "CVPR"),
        "Use it where full class weights go too far: classes of over 3,000 rows weigh almost the same.",
        needs="networks",
    ),
    "ldam_drw": StrategyInfo(
        "a loss with wider margins for rarer classes; weights them in the last fifth",
        Paper("Cao et al.", 2019, "NeurIPS"),
        "Use it to learn features from all rows alike, and balanced decisions only at the end.",
        needs="networks",
    ),
    "label_aware_smoothing": StrategyInfo(
        "smooths the labels of frequent classes more than those of rare ones",
        Paper("Zhong et al.", 2021, "CVPR"),
        "Use it when a network is too sure of its frequent classes.",
        needs="networks",
    ),
    "mixup": StrategyInfo(
        "trains on weighted means of two pictures and of their labels",
        Paper("Zhang et al.", 2018, "ICLR"),
        "Use it as the control of remix, and against overfitting in long training; it favours no class.",
        needs="networks",
    ),
    "remix": StrategyInfo(
        "mixup that gives the label of a mixed pair to the rarer class",
        Paper("Chou et al.", 2020, "ECCV workshops"),
        "Use it when a rare class is too small to repeat: it is drawn into mixtures with frequent classes.",
        needs="networks",
    ),
    "crt": StrategyInfo(
        "retrains the last layer of the network of none on balanced batches",
        Paper("Kang et al.", 2020, "ICLR"),
        "Use it to balance a trained network within seconds; its features stay those of the natural mix.",
        needs="networks",
    ),
    "tau_norm": StrategyInfo(
        "divides the last layer's weights of each class by a power of their norm",
        Paper("Kang et al.", 2020, "ICLR"),
        "Use it where the norms of the last layer follow the class frequencies; otherwise, it does nothing.",
        needs="networks",
    ),
    "smote_head": StrategyInfo(
        "retrains the last layer on the network's features, balanced by SMOTE",
        Paper("Dablain et al.", 2023, "ICDE"),
        "Use it where SMOTE suits: between learned features, where a mean of two rows is meaningful.",
        needs="networks",
    ),
}

#: Samplers of imbalanced-learn for numeric features, by class name.
SAMPLERS = {
    "RandomOverSampler": StrategyInfo(
        "copies rows of the rarer classes at random",
        Paper("Ling & Li", 1998, "KDD"),
        "Use it as the baseline of every oversampler; it adds no information.",
        amount="adds",
        module=_OVER,
    ),
    "SMOTE": StrategyInfo(
        "makes new rows between a row and a near one of its class",
        Paper("Chawla et al.", 2002, "JAIR"),
        "Use it on features, where a mean of two rows is meaningful; on pixels it draws blurred pictures.",
        amount="adds",
        module=_OVER,
    ),
    "ADASYN": StrategyInfo(
        "like SMOTE, with more rows where other classes are near",
        Paper("He et al.", 2008, "IJCNN"),
        "Use it when the boundary is clean; it also multiplies wrongly labelled rows.",
        amount="adds",
        module=_OVER,
    ),
    "BorderlineSMOTE": StrategyInfo(
        "SMOTE only from rows near another class",
        Paper("Han et al.", 2005, "ICIC"),
        "Use it when only the boundary between classes is in doubt and labels are reliable.",
        amount="adds",
        module=_OVER,
    ),
    "SVMSMOTE": StrategyInfo(
        "SMOTE near the support vectors of an SVM",
        Paper("Nguyen et al.", 2011, "IJKESDP"),
        "Use it on small tables with clear margins; it trains an SVM for every fold.",
        amount="adds",
        module=_OVER,
    ),
    "KMeansSMOTE": StrategyInfo(
        "SMOTE inside clusters where a class is common",
        Paper("Douzas et al.", 2018, "Information Sciences"),
        "Use it when a rare class forms several groups; groups of few rows are refused.",
        amount="adds",
        module=_OVER,
    ),
    "SMOTETomek": StrategyInfo(
        "SMOTE, then TomekLinks",
        Paper("Batista et al.", 2003, "WOB"),
        "Use it when SMOTE draws rows into other classes; it drops few rows.",
        amount="adds",
        module=_COMBINE,
    ),
    "SMOTEENN": StrategyInfo(
        "SMOTE, then EditedNearestNeighbours",
        Paper("Batista et al.", 2004, "SIGKDD Explorations"),
        "Use it when classes overlap widely; it drops many rows, mostly of common classes.",
        amount="adds",
        module=_COMBINE,
    ),
    "RandomUnderSampler": StrategyInfo(
        "keeps a random part of the more common classes",
        Paper("Drummond & Holte", 2003, "ICML workshop"),
        "Use it when training is too slow, or in ensembles; one model alone loses most rows.",
        amount="drops",
        module=_UNDER,
    ),
    "NearMiss": StrategyInfo(
        "keeps common rows that are near rare ones",
        Paper("Mani & Zhang", 2003, "ICML workshop"),
        "Use it only for comparison: it often does worse than a random part.",
        amount="drops",
        module=_UNDER,
    ),
    "TomekLinks": StrategyInfo(
        "drops common rows that form a mutual nearest-neighbour pair with a rare row",
        Paper("Tomek", 1976, "IEEE Trans. SMC"),
        "Use it to clean the boundary; it hardly changes the class mix.",
        module=_UNDER,
    ),
    "EditedNearestNeighbours": StrategyInfo(
        "drops rows that their neighbours disagree with",
        Paper("Wilson", 1972, "IEEE Trans. SMC"),
        "Use it to remove noisy common rows where classes overlap.",
        module=_UNDER,
    ),
    "RepeatedEditedNearestNeighbours": StrategyInfo(
        "EditedNearestNeighbours until no more rows are dropped",
        Paper("Tomek", 1976, "IEEE Trans. SMC"),
        "Use it when a single pass leaves noise.",
        module=_UNDER,
    ),
    "AllKNN": StrategyInfo(
        "EditedNearestNeighbours with more neighbours at each pass",
        Paper("Tomek", 1976, "IEEE Trans. SMC"),
        "Use it as a milder form of repeated editing.",
        module=_UNDER,
    ),
    "OneSidedSelection": StrategyInfo(
        "drops redundant common rows, then TomekLinks",
        Paper("Kubat & Matwin", 1997, "ICML"),
        "Use it for nearest-neighbour models on large tables.",
        module=_UNDER,
    ),
    "NeighbourhoodCleaningRule": StrategyInfo(
        "drops common rows that disturb rare ones",
        Paper("Laurikkala", 2001, "AIME"),
        "Use it when common rows lie among rare ones.",
        module=_UNDER,
    ),
    "CondensedNearestNeighbour": StrategyInfo(
        "keeps the rows that a 1-nearest-neighbour rule needs",
        Paper("Hart", 1968, "IEEE Trans. Inf. Theory"),
        "Use it to store fewer rows for a nearest-neighbour model; it is slow.",
        module=_UNDER,
    ),
    "InstanceHardnessThreshold": StrategyInfo(
        "drops rows that a classifier finds hard",
        Paper("Smith et al.", 2014, "Machine Learning"),
        "Use it when labels of common classes are unreliable; it trains a forest for every fold.",
        amount="drops",
        module=_UNDER,
    ),
    "ClusterCentroids": StrategyInfo(
        "replaces common rows with the centres of clusters",
        Paper("Yen & Lee", 2009, "Expert Systems with Applications"),
        "Use it on features with few rows per rare class; centres of pictures are blurred.",
        amount="drops",
        module=_UNDER,
    ),
}

#: Samplers for categorical columns, which are not supported.
CATEGORICAL = ("SMOTEN", "SMOTENC")


#: Names that stand for several strategies. Where a model cannot take one of them, the pair is not planned.
GROUPS = {
    "modern": (
        "none",
        "class_weight",
        "sqrt_batches",
        "balanced_batches",
        "focal_loss",
        "logit_adjusted_loss",
        "class_balanced_loss",
        "ldam_drw",
        "mixup",
        "remix",
        "label_aware_smoothing",
        "crt",
        "tau_norm",
        "smote_head",
        "RandomOverSampler",
        "SMOTE",
        "tuned_plain",
    ),
}

#: Prefix of a name that stands for several shares of one sampler, and these shares.
SWEEP, SWEPT = "sweep:", (0.25, 0.5, 0.75)
#: Separates the name of a sampler from its share, as in ``SMOTE@0.5``.
AT = "@"


def group_members(group: str) -> tuple[str, ...]:
    """Return the registered strategies of one of `GROUPS`."""
    return tuple(name for name in GROUPS[group] if name in STRATEGIES or name in SAMPLERS)


def base_name(name: str) -> str:
    """Return the name of a sampler without its share.

    Examples
    --------
    >>> base_name("SMOTE@0.25"), base_name("SMOTE")
    ('SMOTE', 'SMOTE')
    """
    return split_share(name)[0]


def split_share(name: str) -> tuple[str, float | None]:
    """Split a name in canonical spelling into the sampler and its share; the share is None if not given.

    Examples
    --------
    >>> split_share("SMOTE@0.25"), split_share("SMOTE")
    (('SMOTE', 0.25), ('SMOTE', None))
    """
    base, _, written = name.rpartition(AT)
    known = lookup(base)
    share = _number(written)
    return (base, share) if known is not None and known.amount and 0 <= share <= 1 else (name, None)


def lookup(name: str) -> StrategyInfo | None:
    """Return the entry of a strategy or sampler by its canonical name; None for any other name."""
    return STRATEGIES.get(name) or SAMPLERS.get(name)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0


def family(name: str) -> tuple[str, float] | None:
    """Return the sampler of which a name is a share, and the share; None if it has no amount.

    Examples
    --------
    >>> family("SMOTE@0.25"), family("SMOTE"), family("sqrt_batches"), family("none")
    (('SMOTE', 0.25), ('SMOTE', 1.0), ('balanced_batches', 0.5), None)
    """
    if name == "sqrt_batches":
        return "balanced_batches", 0.5
    base, share = split_share(name)
    known = lookup(base)
    return (base, 1.0 if share is None else share) if known and known.amount else None


def spell(name: str) -> str:
    """Return the canonical spelling of a registered name, with its share if it has one.

    A full share is left out. Unregistered names are returned unchanged.

    Raises
    ------
    InputError
        If the share is not a number from 0 to 1, or if the sampler has no amount.

    Examples
    --------
    >>> spell("smote@.50"), spell("smote@1"), spell("smote"), spell("mine")
    ('SMOTE@0.5', 'SMOTE', 'SMOTE', 'mine')
    """
    base, at, written = name.rpartition(AT) if AT in name else (name, "", "")
    spelt = known_spelling(base, (*STRATEGIES, *SAMPLERS))
    known = lookup(spelt)
    if known is None or not at:
        return name if known is None else spelt
    if not known.amount:
        able = [other for other, one in (*STRATEGIES.items(), *SAMPLERS.items()) if one.amount]
        raise InputError(
            f"received {name!r}, but {spelt} has no amount to choose; write {spelt} alone, or give the share "
            f"to one of {', '.join(able)}"
        )
    share = _number(written)
    if not 0 <= share <= 1:
        raise InputError(
            f"received {name!r}; expected a share from 0 (the natural mix) to 1 (balance), as in {spelt}@0.5"
        )
    return spelt if share == 1 else f"{spelt}{AT}{share:g}"


def expand(name: str) -> Iterator[str]:
    """Yield the samplers for which a name stands: a group, a sweep over shares, an alias, or the name alone.

    Examples
    --------
    >>> [*expand("sweep:SMOTE")]
    ['none', 'SMOTE@0.25', 'SMOTE@0.5', 'SMOTE@0.75', 'SMOTE']
    """
    group = known_spelling(name, GROUPS)
    if group in GROUPS:
        yield from group_members(group)
    elif name.casefold().startswith(SWEEP):
        swept = spell(name[len(SWEEP) :])
        if lookup(swept) is None:
            hint = did_you_mean(swept, (*STRATEGIES, *SAMPLERS), lambda near: repr(SWEEP + near))
            raise InputError(
                f"received {name!r}; expected a sampler of imbalanced-learn after {SWEEP}, such as "
                f"sweep:SMOTE{hint}"
            )
        yield "none"
        yield from (spell(f"{swept}{AT}{share:g}") for share in SWEPT)
        yield swept
    else:
        known = lookup(spell(name))
        yield known.same_as if known and known.same_as else name


def alias_note(name: str) -> str:
    """Return the note on a name that is another name of a strategy; empty for other names."""
    known = lookup(spelt := spell(name))
    same = known.same_as if known else ""
    return f"{spelt} is another name of {same}, so its row has that name" if same else ""
