"""Requested metrics: names from this package, from plugins and from scikit-learn; functions; and scorers.

They are computed from stored predictions. Metrics that need the model or its decision values are refused.
"""

from __future__ import annotations

import inspect
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer, get_scorer_names

from skinmnist.errors import InputError
from skinmnist.experiment.metrics import HeldOut, Metric, metric_names
from skinmnist.names import find_plugins, known_spelling, unknown_name
from skinmnist.text import is_name, one_line, shown

#: Possible names of the probability argument in scikit-learn functions.
_PROBABILITIES = ("y_score", "y_proba", "y_prob", "probabilities")


def resolve_metrics(asked: Any, class_names: Sequence[str]) -> dict[str, Metric]:
    """Return the requested metrics by name, without the standard metrics of every run.

    Parameters
    ----------
    asked : str, callable, Metric, iterable of these, or mapping of str to these
        Names from `METRICS`, of plugins, or of scikit-learn scorers; functions ``f(y_true, y_pred)`` or
        ``f(y_true, y_score)``, such as those in `sklearn.metrics`; scorers from ``make_scorer``. A function
        with three arguments receives labels, predicted classes and probabilities.
    class_names : sequence of str
        Functions receive these names as labels, converted to integers if all names are whole numbers.
        Probability columns follow the sorted labels; for two classes, ``y_score`` is the probability of the
        second class.

    Raises
    ------
    InputError
        For an unknown name, and for a metric that cannot be computed from stored predictions.

    Examples
    --------
    >>> from sklearn.metrics import cohen_kappa_score
    >>> list(resolve_metrics(["macro_f1", "roc_auc_ovr", cohen_kappa_score], ["mel", "nv", "bkl"]))
    ['roc_auc_ovr', 'cohen_kappa_score']
    """
    if isinstance(asked, str | Metric) or callable(asked):
        asked = [asked]
    if not isinstance(asked, Iterable):
        raise InputError(f"received {shown(asked)} as metrics; expected a list of names or functions")
    pairs = asked.items() if isinstance(asked, Mapping) else [(_name_of(one), one) for one in asked]
    own = metric_names(class_names)
    found: dict[str, Metric] = {}
    for name, value in pairs:
        if not is_name(name):
            raise InputError(f"received {shown(name)} as the name of a metric; expected a text")
        if isinstance(value, str):
            spelt = _spelling(value, own, class_names)
            if spelt not in own:
                found[spelt if name == value else name] = _by_name(spelt, class_names)
        elif name in found or name in own or name in get_scorer_names():
            raise InputError(
                f"received your own metric as {name!r}, but the name is taken; rename it in a dict: "
                f"metrics={{'my_{name}': ...}}"
            )
        else:
            found[name] = _as_metric(name, value, class_names)
    return found


def find_metric(name: str, class_names: Sequence[str]) -> Metric | None:
    """Return a metric of a plugin or of scikit-learn, or None for an unknown metric.

    Examples
    --------
    >>> find_metric("f1_micro", ["nv", "mel"]).title
    'The scorer f1_micro of scikit-learn; higher is better.'
    >>> find_metric("f1_nano", ["nv", "mel"]) is None
    True
    """
    try:
        return resolve_metrics([name], class_names).get(name)
    except InputError:
        return None


def _spelling(name: str, own: Sequence[str], class_names: Sequence[str]) -> str:
    plugins = [*own, *find_plugins("metric")]
    known = [*plugins, *get_scorer_names()]
    spelt = known_spelling(name, known)
    if spelt not in known:
        computable = (scorer for scorer in get_scorer_names() if _is_computable(scorer, class_names))
        raise unknown_name("metric", name, [*plugins, *computable])
    return spelt


def _is_computable(name: str, class_names: Sequence[str]) -> bool:
    try:
        _as_metric(name, get_scorer(name), class_names)
    except InputError:
        return False
    return True


def _name_of(thing: Any) -> str:
    """Return the name of a function or, for a scorer, the name of the function that it wraps."""
    if isinstance(thing, str):
        return thing
    made_of = re.match(r"make_scorer\((\w+)", one_line(repr(thing)))
    name = made_of[1] if made_of else getattr(thing, "__name__", type(thing).__name__)
    return str(name) if name != "<lambda>" else "lambda"


def _by_name(name: str, class_names: Sequence[str]) -> Metric:
    plugins = find_plugins("metric")
    return _as_metric(name, plugins[name].load() if name in plugins else get_scorer(name), class_names)


def _as_metric(name: str, value: Any, class_names: Sequence[str]) -> Metric:
    if isinstance(value, Metric):
        return value
    if not callable(value):
        raise InputError(f"received {shown(value)} as metric {name!r}; expected a name or a function")
    computed = _Computed(value, _labels_like(class_names))
    try:
        result = computed.value(_trial(len(class_names)))
    except Exception as error:  # User-defined functions may raise any exception.
        raise InputError(
            f"metric {name!r} cannot be computed from stored predictions of {len(class_names)} classes "
            f"({one_line(str(error))})"
        ) from None
    if result is None:
        raise InputError(f"metric {name!r} returned no number; expected f(y_true, y_pred) -> float")
    lines = (inspect.getdoc(value) or "").splitlines() if inspect.isroutine(value) else []
    title = one_line(lines[0]) if lines else f"The scorer {name} of scikit-learn; higher is better."
    # scikit-learn minimises functions with these suffixes, and maximises its scorers.
    return Metric(title, computed, inspect.isroutine(value) and name.endswith(("_loss", "_error")))


@dataclass(frozen=True)
class _Computed:
    """A function or scorer that receives the labels of the user."""

    function: Callable[..., Any]
    labels: npt.NDArray[Any]

    def __call__(self, held_out: HeldOut) -> float | None:
        """Return the score, or None if it is undefined for these predictions, as with a missing class."""
        try:
            return self.value(held_out)
        except Exception:  # The trial before the run succeeded, but it included every class.
            return None

    def value(self, held_out: HeldOut) -> float | None:
        """Return the score, or None if it is not finite; exceptions of the function propagate."""
        true, predicted = self.labels[held_out.labels], self.labels[held_out.predicted]
        order = np.argsort(self.labels, kind="stable")
        probabilities = held_out.probabilities[:, order]
        names, needed = _arguments(self.function)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if names[:1] == ["estimator"]:
                answered = _Answered(self.labels[order], predicted, probabilities)
                result = self.function(answered, np.arange(len(true))[:, None], true)
            elif needed > 2:
                result = self.function(true, predicted, probabilities)
            elif names[1:2] and names[1] in _PROBABILITIES:
                result = self.function(true, probabilities[:, 1] if len(order) == 2 else probabilities)
            else:
                result = self.function(true, predicted)
        number = float(result)
        return number if math.isfinite(number) else None


def _arguments(function: Callable[..., Any]) -> tuple[list[str], int]:
    """Return the positional arguments of a function and the number of required ones; empty if unknown."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return [], 0
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [one for one in parameters if one.kind in kinds]
    needed = sum(one.default is inspect.Parameter.empty for one in positional)
    return [one.name for one in positional], needed


class _Answered(ClassifierMixin, BaseEstimator):
    """A stand-in for a fitted classifier that passes the stored predictions to a scorer."""

    def __init__(self, classes: Any, predicted: Any, probabilities: Any) -> None:
        self.classes, self.predicted, self.probabilities = classes, predicted, probabilities
        self.classes_ = classes

    def predict(self, X: Any) -> Any:
        """Return the predicted classes."""
        return self.predicted

    def predict_proba(self, X: Any) -> Any:
        """Return the probabilities, with columns in the sorted order of the classes."""
        return self.probabilities


def _labels_like(class_names: Sequence[str]) -> npt.NDArray[Any]:
    """Return class names in the form of the user's labels: as integers if all names are whole numbers."""
    if all(re.fullmatch(r"-?\d{1,15}", name) for name in class_names):
        return np.array([int(name) for name in class_names])
    return np.array(class_names)


def _trial(n_classes: int) -> HeldOut:
    """Return predictions for every class, some of them wrong, to try out a metric before training."""
    labels = np.arange(6 * n_classes) % n_classes
    probabilities = np.random.default_rng(0).dirichlet(np.ones(n_classes), len(labels))
    probabilities = (probabilities + np.eye(n_classes)[labels]) / 2
    return HeldOut(labels, probabilities.argmax(axis=1), probabilities)
