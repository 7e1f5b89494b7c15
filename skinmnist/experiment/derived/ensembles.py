"""Derived cells: cells made from the predictions of finished cells, without training a classifier again.

Here, `Ensemble` averages several cells; `skinmnist.experiment.derived.fusion` adds the evidence of clinical
columns to one, and `skinmnist.experiment.derived.tuning` moves its threshold. All are stored,
resumed, scored and reported like trained cells.

An ensemble is the normalised geometric mean of the class probabilities of its members. This *logarithmic
opinion pool* commutes with Bayes' rule (Genest, McConway & Schervish, Annals of Statistics 14, 1986): it does
not matter whether the prior is corrected, or clinical evidence is added, before or after averaging. With a
common sampler, the probabilities refer to the mean class mix of the members. Members with different samplers
are first moved to the natural prior, so that the ensemble cannot gain from a threshold between theirs. So are
members without a sampler, because models that balance the classes themselves refer to equal frequencies.

Weights, if requested, minimise the log loss on the held-out rows of the other folds of the repeat, or on the
validation set of a split ("stacking": Wolpert, Neural Networks 5, 1992; weights that are not negative and sum
to 1: Breiman, Machine Learning 24, 1996).
"""

from __future__ import annotations

import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from skinmnist.decisions.probabilities import SMALLEST, pool_logs
from skinmnist.errors import InputError
from skinmnist.experiment.cells import FUSED, MIXED, Answers, Cell, CellFailure, CellResult
from skinmnist.names import PAIRED, did_you_mean, pair_name
from skinmnist.resampling.registry import AS_THEY_ARE
from skinmnist.text import LONGEST_NAME, is_name, shown

#: Prefix of members whose weights are chosen on other folds.
TUNED = "tuned:"

_Floats = npt.NDArray[np.float64]
Outcome = CellResult | CellFailure


class Derivation(ABC):
    """A rule that makes a cell from finished cells."""

    #: The role of the finished cells, for error messages.
    role: ClassVar[str]

    @abstractmethod
    def needs(self, cell: Cell) -> tuple[Cell, ...]:
        """Return the cells whose predictions are needed."""

    @abstractmethod
    def derive(self, cell: Cell, bases: Sequence[CellResult]) -> CellResult:
        """Make a cell from the results of the cells that it needs."""

    def finish(self, cell: Cell, bases: Sequence[Outcome]) -> Outcome:
        """Return the outcome of a cell, which fails if a cell that it needs has failed."""
        for base in bases:
            if isinstance(base, CellFailure):
                name = base.cell.model if base.cell.sampler == cell.sampler else pair_name(base.cell[:2])
                where = f" on fold {base.cell.fold}" if base.cell.fold != cell.fold else ""
                return CellFailure(cell, f"its {self.role} {name} failed{where}: {base.reason}")
        try:
            return self.derive(cell, [base for base in bases if isinstance(base, CellResult)])
        except Exception as error:  # If a computation raises any exception, the other cells continue.
            return CellFailure.from_error(cell, error)


def with_derived(
    derived: Mapping[Cell, Derivation],
    load: Callable[[Cell], CellResult | None],
    trained: Generator[Outcome],
    done: Collection[Cell],
) -> Generator[Outcome]:
    """Yield the outcomes of trained cells, each followed by the derived cells that have become possible.

    In `derived`, a cell follows the cells that it needs. `load` reads a stored cell; every outcome that was
    yielded must be stored before the next is requested. The cells in `done` are stored already.
    """
    waiting = {cell: rule for cell, rule in derived.items() if cell not in done}
    ended: dict[Cell, CellFailure | None] = dict.fromkeys(done)

    def possible() -> Generator[Outcome]:
        for cell, rule in list(waiting.items()):
            needs = rule.needs(cell)
            if all(base in ended for base in needs):
                del waiting[cell]
                outcome = rule.finish(cell, [ended[base] or _stored(load, base) for base in needs])
                yield outcome
                ended[cell] = outcome if isinstance(outcome, CellFailure) else None

    yield from possible()
    with closing(trained) as outcomes:
        for outcome in outcomes:
            yield outcome
            ended[outcome.cell] = outcome if isinstance(outcome, CellFailure) else None
            yield from possible()


def _stored(load: Callable[[Cell], CellResult | None], cell: Cell) -> Outcome:
    return load(cell) or CellFailure(cell, "its stored result cannot be read; run the command again")


@dataclass(frozen=True)
class Ensemble(Derivation):
    """The geometric mean of the predictions of several cells, as described in this module.

    Attributes
    ----------
    name : str
    members : tuple of (str or None, str)
        Sampler and model of each member; None stands for the sampler of the row.
    tuned : bool
        Whether weights are chosen on other folds; otherwise, all members count the same.
    folds : int
        Number of held-out folds of each repeat.

    Examples
    --------
    >>> pairs = [("none", "svm"), ("none", "cnn"), ("SMOTE", "cnn")]
    >>> parse_ensemble("both", "svm,cnn", pairs, folds=5).members
    ((None, 'svm'), (None, 'cnn'))
    >>> parse_ensemble("best", "svm, smote+cnn", pairs, folds=5).title
    'best: mean of svm, SMOTE + cnn'
    """

    name: str
    members: tuple[tuple[str | None, str], ...]
    tuned: bool
    folds: int
    role: ClassVar[str] = "member"

    def pairs(self, sampler: str) -> list[tuple[str, str]]:
        """Return sampler and model of each member, for a row with this sampler."""
        return [(own or sampler, model) for own, model in self.members]

    def rows(self, samplers: Iterable[str]) -> list[str]:
        """Return the samplers of the ensemble's rows: those of the run, unless every member has its own."""
        own = {sampler for sampler, _ in self.members}
        if None in own:
            return list(samplers)
        return [own.pop() or ""] if len(own) == 1 else [MIXED]

    @property
    def spelt(self) -> tuple[str, ...]:
        """The members as users write them."""
        return tuple(model if own is None else pair_name((own, model)) for own, model in self.members)

    @property
    def title(self) -> str:
        """The title of the ensemble's rows."""
        return f"{self.name}: {'weighted mean' if self.tuned else 'mean'} of {', '.join(self.spelt)}"

    def fingerprint(self, own: Mapping[str, str]) -> str:
        """Return a digest of the definition, given the fingerprints of models and samplers."""
        prints = [(own.get(sampler or "", ""), own.get(model, "")) for sampler, model in self.members]
        text = json.dumps([self.members, self.tuned, prints])
        return hashlib.sha256(text.encode()).hexdigest()

    def needs(self, cell: Cell) -> tuple[Cell, ...]:
        """Return the members on the fold of a cell, followed by those on other folds if weights are tuned."""
        folds = [cell.fold, *(fold for fold in range(self.folds) if self.tuned and fold != cell.fold)]
        pairs = self.pairs(cell.sampler)
        return tuple(Cell(*pair, cell.repeat, fold) for fold in folds for pair in pairs)

    def derive(self, cell: Cell, bases: Sequence[CellResult]) -> CellResult:
        """Average the predictions of the members; the cost of an ensemble is the sum of theirs."""
        size = len(self.members)
        members, others = bases[:size], [bases[i : i + size] for i in range(size, len(bases), size)]
        samplers = {member.cell.sampler for member in members}
        same = len(samplers) == 1 and samplers != {AS_THEY_ARE.name}
        started = time.perf_counter()
        weights, notes = np.full(size, 1 / size), list[str]()
        answered, validation = _on_validation(members), None
        if self.tuned:
            weights = _weights_on([answered] if answered else others)
            chosen = ", ".join(
                f"{name} {weight:.2f}" for name, weight in zip(self.spelt, weights, strict=True)
            )
            where = "the validation set" if answered else "the other folds"
            notes.append(f"weights chosen on {where}: {chosen}")
        natural = members[0].natural_mix
        mix = _mean_mix([member.training_mix for member in members], weights) if same else natural
        if answered:
            logs = [_logs(one, one.probabilities, not same) for one in answered]
            validation = Answers(answered[0].labels, pool_logs(np.stack(logs), weights))
        probabilities = pool_logs(
            np.stack([_logs(member, member.probabilities, not same) for member in members]), weights
        )
        own_seconds = time.perf_counter() - started
        timings = [member.timing for member in members]
        return replace(
            members[0],
            cell=cell,
            probabilities=probabilities,
            training_mix=mix,
            timing=timings[0]._replace(
                resample_seconds=sum(timing.resample_seconds for timing in timings),
                fit_seconds=sum(timing.fit_seconds for timing in timings) + own_seconds,
                predict_seconds=sum(timing.predict_seconds for timing in timings),
                peak_rss_mb=max(timing.peak_rss_mb for timing in timings),
                shared_seconds=sum(timing.shared_seconds for timing in timings),
            ),
            notes=tuple(notes),
            history={},
            examples=None,
            validation=validation,
        )


def _weights_on(folds: Sequence[Sequence[CellResult]]) -> _Floats:
    """Choose the weights of the members on their results in other folds, or on the validation set."""
    logs = [np.stack([_logs(one, one.probabilities) for one in fold]) for fold in folds]
    return choose_weights(np.concatenate(logs, axis=1), np.concatenate([fold[0].labels for fold in folds]))


def choose_weights(logs: _Floats, labels: npt.NDArray[np.int64]) -> _Floats:
    """Return the weights that minimise the log loss of `pool_logs` for logarithms (members, n, k).

    The problem is convex. Weights are rounded to three digits, which makes them equal on every machine.

    Examples
    --------
    >>> sure, vague = np.log([[0.9, 0.1], [0.1, 0.9]]), np.log([[0.5, 0.5], [0.5, 0.5]])
    >>> choose_weights(np.stack([sure, vague]), np.array([0, 1])).tolist()
    [1.0, 0.0]
    """
    from scipy.optimize import minimize

    rows, size = np.arange(len(labels)), len(logs)

    def loss(weights: _Floats) -> tuple[float, _Floats]:
        pooled = pool_logs(logs, weights)
        of_true = np.maximum(pooled[rows, labels], np.finfo(float).tiny)
        slope = np.einsum("nk,mnk->m", pooled, logs) - logs[:, rows, labels].sum(axis=1)
        return float(-np.log(of_true).mean()), slope / len(labels)

    with threadpool_limits(1):  # The order of a sum must not depend on the machine's load.
        found = minimize(
            loss,
            np.full(size, 1 / size),
            jac=True,
            method="SLSQP",
            bounds=[(0.0, 1.0)] * size,
            constraints=[{"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": np.ones_like}],
        )
    weights = np.clip(found.x, 0, 1).round(3)
    return np.asarray(weights / weights.sum())


def _on_validation(members: Sequence[CellResult]) -> list[CellResult]:
    """Return the members as if the validation set were their held-out rows; empty without that set."""
    found = [
        replace(member, labels=member.validation.labels, probabilities=member.validation.probabilities)
        for member in members
        if member.validation is not None
    ]
    return found if len(found) == len(members) else []


def _logs(member: CellResult, probabilities: _Floats, to_natural: bool = True) -> _Floats:
    """Return logarithms of a member's probabilities, as trained or moved to the natural prior."""
    logs = np.log(np.maximum(probabilities, SMALLEST))
    if to_natural and not np.array_equal(member.natural_mix, member.training_mix):
        both = (member.natural_mix > 0) & (member.training_mix > 0)
        ratio = np.divide(member.natural_mix, member.training_mix, out=np.ones(len(both)), where=both)
        logs = logs + np.log(ratio)
    return np.asarray(logs)


def _mean_mix(mixes: Sequence[_Floats], weights: _Floats) -> _Floats:
    """Return the class mix to which the pool of members with these mixes refers: their own pool."""
    if all(np.array_equal(mix, mixes[0]) for mix in mixes):
        return mixes[0]
    present = np.all([mix > 0 for mix in mixes], axis=0)
    logs = [np.log(np.where(present, mix, 1.0)) for mix in mixes]
    mean = np.where(present, np.exp(np.einsum("m,mk->k", weights, np.stack(logs))), 0.0)
    return np.asarray(mean / mean.sum())


def parse_ensembles(
    asked: Any, pairs: Sequence[tuple[str, str]], folds: int, validated: bool = False
) -> tuple[dict[str, Ensemble], list[str]]:
    """Return the requested ensembles by name, and notes on those that the split does not allow.

    `asked` maps names to members, or lists texts such as ``"both=svm,cnn"``. `pairs` are the samplers and
    models of the run, with clinical columns; `validated` says whether the split has a validation set.
    """
    found: dict[str, Ensemble] = {}
    notes = []
    for name, members in _named(asked):
        ensemble = parse_ensemble(name, members, pairs, folds)
        if name in found:
            raise InputError(f"received the ensemble {name!r} twice; name each one once")
        if ensemble.tuned and folds < 2 and not validated:
            # An external test has a single fold: the rows of its cross-validation must not be lost for it.
            notes.append(
                f"{name} is not planned: this split has neither other folds nor a validation set to choose "
                "its weights on"
            )
            continue
        found[name] = ensemble
    return found, notes


def _named(asked: Any) -> list[tuple[str, Any]]:
    if isinstance(asked, Mapping):
        return list(asked.items())
    texts = [asked] if isinstance(asked, str) else asked
    if not isinstance(texts, Iterable):
        raise InputError(f"received {shown(asked)} as ensembles; expected {{'NAME': ['svm', 'cnn']}}")
    found = []
    for text in texts:
        name, equals, members = str(text).partition("=")
        if not (isinstance(text, str) and equals and name.strip()):
            raise InputError(
                f"received {shown(text)} as an ensemble; expected a name and its members, such as "
                "both=svm,cnn"
            )
        found.append((name.strip(), members))
    return found


def parse_ensemble(name: Any, members: Any, pairs: Sequence[tuple[str, str]], folds: int) -> Ensemble:
    """Return an ensemble whose members are given as text or as a list; see `parse_ensembles`."""
    if not is_name(name) or name.endswith(FUSED):
        raise InputError(
            f"received {shown(name)} as the name of an ensemble; expected a text of 1 to {LONGEST_NAME} "
            f"printable characters that does not end in {FUSED}"
        )
    models = {model for _, model in pairs}
    if name in models | {sampler for sampler, _ in pairs} or name == MIXED:
        raise InputError(f"received the ensemble {name!r}, which is also a sampler or model; rename it")
    tuned = isinstance(members, str) and members.strip().startswith(TUNED)
    if isinstance(members, str):
        members = members.strip().removeprefix(TUNED).split(",")
    if not isinstance(members, Iterable):
        raise InputError(f"received {shown(members)} as the members of {name!r}; expected a list of models")
    found = [_member(name, member, pairs) for member in members]
    twice = [one for one in found if found.count(one) > 1]
    if twice:
        raise InputError(f"received {twice[0][1]!r} twice in the ensemble {name!r}; name each member once")
    if len(found) < 2:
        raise InputError(f"received {len(found)} member of the ensemble {name!r}; expected at least two")
    return Ensemble(name, tuple(found), tuned, folds)


def _member(name: str, member: Any, pairs: Sequence[tuple[str, str]]) -> tuple[str | None, str]:
    known: dict[str, tuple[str | None, str]] = {_squeezed(model): (None, model) for _, model in pairs}
    known |= {_squeezed(pair_name(pair)): pair for pair in pairs}
    parts = member if isinstance(member, tuple) else (member,)
    if not all(isinstance(part, str) for part in parts) or not 1 <= len(parts) <= 2:
        raise InputError(
            f"received {shown(member)} as a member of the ensemble {name!r}; expected a model or a pair such "
            "as 'SMOTE + svm'"
        )
    text = PAIRED.join(part.strip() for part in parts)
    if _squeezed(text) in known:
        return known[_squeezed(text)]
    spelt = [*dict.fromkeys(model for _, model in pairs), *map(pair_name, pairs)]
    hint = did_you_mean(text, spelt)
    raise InputError(
        f"the ensemble {name!r} has the member {shown(text)}, which is not in this run"
        + (hint or "; expected models of the run, so add it to --models, or a pair such as 'SMOTE + svm'")
    )


def _squeezed(text: str) -> str:
    return "".join(text.split()).casefold()
