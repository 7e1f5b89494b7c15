"""Train a model on all rows of a table, for a model file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import skinmnist
from skinmnist import facts
from skinmnist.datasets.files import check_replaceable, write_atomically
from skinmnist.datasets.from_arrays import as_table
from skinmnist.datasets.table import PixelTable
from skinmnist.decisions.probabilities import (
    DEFAULT_ALPHA,
    check_alpha,
    conformal_thresholds,
    geometric_mean,
)
from skinmnist.errors import InputError
from skinmnist.experiment.cells import CellResult
from skinmnist.experiment.derived.ensembles import Ensemble
from skinmnist.experiment.execution.machine import versions
from skinmnist.experiment.grid import resolve_models, resolve_samplers, why_not
from skinmnist.experiment.inputs import Inputs, choose_training_rows, stratified_subsample
from skinmnist.experiment.plan import choose_seed
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.experiment.splits import choose_split
from skinmnist.experiment.training import Trained, fit_model
from skinmnist.inference.manifest import (
    LONGEST_NAME,
    MOST_CLASSES,
    MOST_SIDE,
    PREPROCESSING,
    UnreadableError,
    limits_of,
    words,
)
from skinmnist.inference.model_file import (
    MOST_BYTES,
    MOST_MEMBERS,
    SUFFIX,
    decode_model,
    encode_model,
    is_model,
    member_prefix,
    model_folder,
)
from skinmnist.inference.novelty import ROWS_PER_AXIS, fit_novelty
from skinmnist.models.export import Exported
from skinmnist.models.registry import MODELS
from skinmnist.models.spec import MOST_ROWS, ModelSpec, Setting
from skinmnist.names import known_spelling, pair_name
from skinmnist.resampling.registry import Resampler
from skinmnist.resampling.strategies import TUNED_PLAIN
from skinmnist.text import printable, shown

_OPERATING_POINT = (
    "The answer is the most probable class, with the probabilities as trained; no threshold was tuned. Other "
    "classes that cannot be ruled out are named, too: those of the set or, in a model without sets, those at "
    "least half as probable. Where a picture is unlike nearly all training pictures, it is out of "
    "distribution. Scores count the most probable class."
)
#: Name of a model that averages several models, and its members by default.
ENSEMBLE, DEFAULT_MEMBERS = "ensemble", ("svm", "cnn")
#: Smallest number of rows for learning which pictures are familiar.
LEAST_ROWS = 2 * ROWS_PER_AXIS


@dataclass(frozen=True, eq=False, repr=False)
class TrainedModel:
    """A model that was trained on a whole table.

    Attributes
    ----------
    content : bytes
        The contents of the model file.
    notes : tuple of str
        Deviations from the request.

    See Also
    --------
    train_model : Train a model on a whole table.
    load_classifier : Read the saved file.

    Examples
    --------
    >>> from skinmnist import load_classifier, make_lesions, train_model
    >>> table = make_lesions(120, size=8)
    >>> trained = train_model(table, "dummy")
    >>> trained.save("lesions.skm")
    >>> load_classifier("lesions.skm")
    <Classifier: Class frequencies only, 8 x 8 x 3, akiec, bcc, bkl, df, nv, vasc, mel>
    """

    content: bytes
    notes: tuple[str, ...]
    _members: tuple[Trained, ...]
    _title: str
    _shape: tuple[int, int, int]

    def __repr__(self) -> str:
        shape, megabytes = " x ".join(map(str, self._shape)), len(self.content) / 1e6
        title = printable(self._title)
        return f"<TrainedModel: {title}, {shape}, {megabytes:.2f} MB; to keep it: save('model.skm')>"

    @property
    def promise(self) -> str:
        """What a set of classes of this model does, in words; empty if it has no sets."""
        sets = decode_model(self.content).manifest.sets
        return sets.promise if sets else ""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file, which `skinmnist.load_classifier` can read.

        Raises
        ------
        InputError
            If the path is a folder, or a file that is not a model.
        """
        check_destination(Path(path))
        write_atomically(Path(path), self.content)

    def predict_proba(self, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Predict class probabilities for pixel rows with the model in memory, which equals the saved one.

        Examples
        --------
        >>> trained.predict_proba(table.pixels[:2]).round(2)[0].tolist()
        [0.04, 0.05, 0.11, 0.04, 0.61, 0.04, 0.11]
        """
        answers = [one.answer(_inputs(rows, self._shape, one.spec)) for one in self._members]
        return answers[0] if len(answers) == 1 else geometric_mean(answers)


@dataclass(frozen=True)
class Choice:
    """A model that can be trained and exported, with its sampler; an ensemble has several members."""

    model: str
    members: dict[str, ModelSpec]
    sampler: str
    resampler: Resampler

    @property
    def title(self) -> str:
        """The title of the model."""
        (first, *others) = self.members.values()
        return f"Ensemble of {', '.join(self.members)}" if others else first.title

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprints of the sampler, of each model and of the ensemble, as in a run of them."""
        own = {name: spec.fingerprint for name, spec in self.members.items()}
        own[self.sampler] = self.resampler.fingerprint
        if len(self.members) > 1:
            members = tuple((None, name) for name in self.members)
            own[self.model] = Ensemble(self.model, members, tuned=False, folds=0).fingerprint(own)
        return own


def choose(model: str, sampler: str, members: Iterable[str] | None = None) -> Choice:
    """Return the model to train; raise an InputError if it cannot be trained or exported.

    `members` are the models of an ensemble, `DEFAULT_MEMBERS` by default.
    """
    if known_spelling(model, [ENSEMBLE]) != ENSEMBLE:
        if members is not None:
            raise InputError(
                f"received members of model {model!r}; expected them with model {ENSEMBLE!r} only"
            )
        model, spec, sampler, resampler = choose_pair(model, sampler)
        return Choice(model, {model: spec}, sampler, resampler)
    names = [*(DEFAULT_MEMBERS if members is None else [members] if isinstance(members, str) else members)]
    found: dict[str, ModelSpec] = {}
    for name in names:
        short, spec, sampler, resampler = choose_pair(name, sampler)
        if short in found:
            raise InputError(f"received the member {short!r} twice; name each one once")
        found[short] = spec
    if not 2 <= len(found) <= MOST_MEMBERS:
        raise InputError(
            f"received an ensemble of {len(found)}; expected 2 to {MOST_MEMBERS} members, such as "
            f"{' '.join(DEFAULT_MEMBERS)}"
        )
    return Choice(ENSEMBLE, found, sampler, resampler)


def choose_pair(model: str, sampler: str) -> tuple[str, ModelSpec, str, Resampler]:
    """Return the short names, registry entry and sampler of a pair that can be trained and exported."""
    [(model_name, spec)] = resolve_models([model]).items()
    (sampler_name, resampler), *others = resolve_samplers([sampler]).items()
    if others:
        raise InputError(
            f"received sampler {sampler!r}, which stands for {len(others) + 1} samplers; choose one of them, "
            f"such as {others[0][0]}"
        )
    if spec.export is None:
        able = ", ".join(name for name, other in MODELS.items() if other.export)
        raise InputError(
            f"model {model!r} cannot be written to a model file; choose one of {able}, "
            "or use it in `skinmnist compare`"
        )
    if resampler.name == TUNED_PLAIN:
        raise InputError(
            f"received sampler {sampler_name}, whose rows are made from finished cells of a comparison; "
            "train with none, and tune its decisions with skinmnist.decisions.TunedPrior"
        )
    if reason := why_not(resampler, spec):
        raise InputError(
            f"received sampler {sampler_name} with {model_name}, which {reason}; choose another sampler, "
            "such as none"
        )
    return model_name, spec, sampler_name, resampler


def check_exportable(table: PixelTable) -> None:
    """Raise an InputError for a table whose models cannot be exported."""
    *sides, channels = table.shape
    n, k = len(table), len(table.class_names)
    shape = f"2 to {MOST_SIDE} pixels per side and 1 or 3 channels, so scale them"
    fits = 2 <= min(sides) <= max(sides) <= MOST_SIDE and channels in (1, 3)
    for received, expected, holds in (
        (f"pictures of {' x '.join(map(str, table.shape))}", shape, fits),
        (f"{k} classes", f"2 to {MOST_CLASSES}, so take another table", 2 <= k <= MOST_CLASSES),
        (f"{n} pictures", f"at least {LEAST_ROWS}, so take a larger table", n >= LEAST_ROWS),
    ):
        if not holds:
            raise InputError(f"received a table with {received}; a model file needs {expected}")
    for name in table.class_names:
        try:
            words(name, "class name", LONGEST_NAME)
        except UnreadableError:
            raise InputError(
                f"class name {name[:80]!r} cannot be exported; use 1 to {LONGEST_NAME} printable characters"
            ) from None


def default_file(table: PixelTable, model: str, sampler: str) -> Path:
    """Return the default path of a model file."""
    return model_folder() / f"{table.name}-{model}-{sampler}{SUFFIX}"


def check_destination(path: Path) -> None:
    """Create the folder of a model file; raise an InputError if the path is unwritable or not a model."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it, such as {path / 'lesion.skm'}")
    check_replaceable(path, is_model)
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"the folder {path.parent} is not writable; name another file")


def train_model(
    table: Any,
    model: str = "cnn",
    sampler: str = "none",
    seed: int | None = None,
    cv: RunRecord | None = None,
    *,
    random_state: int | None = None,
    members: Iterable[str] | None = None,
    conformal: float | None = DEFAULT_ALPHA,
) -> TrainedModel:
    """Train a model on all rows of a table, or on a subset of the size that the model accepts, with a note.

    Lesions are held out only for calibration and for the validation set of early stopping.

    Parameters
    ----------
    table : PixelTable, tuple or Bunch
        The pictures and their labels, in any form that `run_comparison` accepts.
    model, sampler : str
        As for `run_comparison`. The model ``"ensemble"`` consists of several models in one file and predicts
        the geometric mean of their probabilities.
    seed, random_state : int, optional
        Seed of all randomness; 0 by default. The two names are aliases.
    cv : RunRecord, optional
        A cross-validation of this pair on this table; its scores are stored with the model, and its
        out-of-fold predictions calibrate the sets of classes that the model answers with.
    members : iterable of str, optional
        The models of an ensemble, ``("svm", "cnn")`` by default; all are trained with the same sampler.
    conformal : float or None
        The share of these sets that may miss the right class, 0.1 by default; with None, and without `cv`,
        the model has no sets.

    Returns
    -------
    TrainedModel

    Raises
    ------
    InputError
        If the model cannot be exported, or `cv` is not of this pair and table. This is checked before
        training, except for the size of the model.

    See Also
    --------
    run_comparison : Compare models before choosing one.
    load_classifier : Read a saved model.

    Examples
    --------
    >>> from skinmnist import make_lesions, train_model
    >>> trained = train_model(make_lesions(120, size=8), "logistic_regression", "class_weight")
    >>> trained.notes
    ()
    """
    table = as_table(table, "train_model")
    seed = choose_seed(seed, random_state)
    check_exportable(table)
    choice = choose(model, sampler, members)
    alpha = check_alpha(conformal)
    held_out = [] if cv is None else _held_out(cv, choice, table)
    lesions = table.lesion_ids if choose_split(table, None) == "lesion" else None
    trained, notes = [], list[str]()
    for name, spec in choice.members.items():
        one, own_notes = _fit(table, spec, choice.resampler, seed, lesions)
        trained.append(one)
        notes += own_notes if len(choice.members) == 1 else [f"{name}: {note}" for note in own_notes]
    exported = _export(trained)
    description: dict[str, Any] = {
        "kind": "skinmnist model",
        "title": choice.title,
        "model": choice.model,
        "sampler": choice.sampler,
        "seed": seed,
        **_describe(table),
        "scores": None if cv is None else _claims(cv, choice),
        "conformal": _calibrate_sets(held_out, table, alpha),
        "notes": notes,
        "versions": {"skinmnist": skinmnist.__version__, **versions()},
        "notice": facts.DISCLAIMER,
    }
    description |= {"operating_point": _OPERATING_POINT, "limits": limits_of(description)}
    some = stratified_subsample(table.labels, MOST_ROWS, seed)
    groups = None if lesions is None else lesions[some]
    novelty = fit_novelty(np.asarray(table.pixels[some]), table.shape, groups=groups, random_state=seed)
    try:
        content = encode_model(description, exported.answer, exported.arrays, novelty)
        if len(content) > MOST_BYTES:
            raise UnreadableError(f"it is larger than {MOST_BYTES:,} bytes")
        # Check that the file can be read before it is written.
        decode_model(content)
    except UnreadableError as reason:
        raise InputError(
            f"the model cannot be exported: {reason}; choose a smaller model or a smaller table"
        ) from None
    return TrainedModel(content, tuple(notes), tuple(trained), choice.title, table.shape)


def _fit(
    table: PixelTable,
    spec: ModelSpec,
    resampler: Resampler,
    seed: int,
    lesions: npt.NDArray[np.str_] | None,
) -> tuple[Trained, list[str]]:
    """Train one model on all rows of a table; also return notes on deviations from the request."""
    # These are also the seeds of fold 0 of a comparison, in repeat 0, whose cells train on fewer rows.
    sampler_seed, model_seed = (int(s >> 1) for s in np.random.SeedSequence(seed).generate_state(2))
    resampler = resampler.with_seed(sampler_seed)
    rows, notes = choose_training_rows(np.arange(len(table)), table.labels, spec, resampler)
    trained = fit_model(
        spec,
        resampler,
        Setting(table.shape, len(table.class_names), min(len(rows), MOST_ROWS), model_seed),
        Inputs(table, spec, np.zeros(len(table), dtype=np.int8)).view(rows, resampler),
        np.asarray(table.labels[rows]),
        None if lesions is None else lesions[rows],
        to_export=True,
    )
    return trained, [*notes, *trained.notes]


def _export(trained: Sequence[Trained]) -> Exported:
    """Export a model, or the members of an ensemble, whose arrays have the prefix of their member."""
    every = [one.spec.export.write(one.fitted) for one in trained if one.spec.export]
    if len(every) == 1:
        return every[0]
    arrays = {
        member_prefix(place) + name: values
        for place, one in enumerate(every)
        for name, values in one.arrays.items()
    }
    return Exported({"models": [one.answer for one in every]}, arrays)


def _inputs(rows: npt.NDArray[np.uint8], shape: tuple[int, int, int], spec: ModelSpec) -> npt.NDArray[Any]:
    if spec.features.extract is not None:
        return np.asarray(spec.features.extract(rows, shape))
    return rows.astype(spec.features.pixel_type, copy=False)


def _describe(table: PixelTable) -> dict[str, Any]:
    return {
        "shape": list(table.shape),
        "classes": [
            {"code": code, "name": name, "title": facts.CLASS_TITLES.get(name, name)}
            for code, name in enumerate(table.class_names)
        ],
        "preprocessing": PREPROCESSING,
        "training": {
            "table": table.name,
            "origin": table.origin,
            "sha256": table.digest(),
            "inputs": [{"file": name, "sha256": digest} for name, digest in table.inputs],
            "rows": len(table),
            "lesions": table.n_lesions,
            "rows_per_class": table.class_counts.tolist(),
            "synthetic": table.synthetic,
        },
        "licence": _licence(table),
    }


def _licence(table: PixelTable) -> str:
    if table.synthetic:
        return "Trained on synthetic pictures made by skinmnist, which are free of copyright."
    if tuple(table.class_counts) == facts.ROWS_PER_CLASS:
        return f"Trained on HAM10000, {facts.DATA_LICENCE}: no commercial use. {facts.DATA_CITATION}"
    return (
        f"The licence of the training pictures applies; that of HAM10000 is {facts.DATA_LICENCE}, without "
        "commercial use."
    )


def _held_out(cv: RunRecord, choice: Choice, table: PixelTable) -> list[CellResult]:
    """Return the finished cells of a pair; raise an InputError if they are not of this pair and table."""
    pair = pair_name((choice.sampler, choice.model))
    if not isinstance(cv, RunRecord):
        raise InputError(f"received cv={shown(cv)}; expected the result of run_comparison on this table")
    if cv.info.protocol.data != table.digest():
        raise InputError(
            f"received the cross-validation of another table, {printable(cv.info.table.name)}; "
            f"cross-validate {pair} on the table to train on"
        )
    own = [result for result in cv.results if result.cell[:2] == (choice.sampler, choice.model)]
    if not own:
        able = []
        for sampler, model in dict.fromkeys(result.cell[:2] for result in cv.results):
            with suppress(InputError):
                choose(model, sampler, cv.info.grid.models[model].members or None)
                able.append(printable(pair_name((sampler, model))))
        mend = f", or train one of {', '.join(able)}" if able else ""
        raise InputError(
            f"received a cross-validation without finished cells of {pair}; cross-validate this pair{mend}"
        )
    ran = cv.info.grid.models[choice.model].members
    if {*ran} == {*choice.members}:  # Their fingerprint depends on their order, but their mean does not.
        choice = replace(choice, members={name: choice.members[name] for name in ran})
    for name, fingerprint in choice.fingerprints.items():
        if cv.info.fingerprints.get(name, "") != fingerprint:
            what = "members or weights" if name == ENSEMBLE else "parameters"
            raise InputError(
                f"received a cross-validation of {name} with other {what}; "
                f"cross-validate {pair} as it is trained"
            )
    return own


def _calibrate_sets(
    held_out: Sequence[CellResult], table: PixelTable, alpha: float | None
) -> dict[str, Any] | None:
    """Return the thresholds of class-wise conformal sets, read by `SetRule`; None if nothing calibrates them.

    The out-of-fold predictions of the first repeat are pooled, with the probabilities as trained, which are
    those of the saved model. It was trained on more lesions than the models of the folds, so the coverage is
    approximate (cross-conformal: Vovk, Annals of Mathematics and Artificial Intelligence 74, 2015).
    """
    own = [result for result in held_out if result.cell.repeat == 0]
    if alpha is None or not own:
        return None
    labels = np.concatenate([result.labels for result in own])
    probabilities = np.concatenate([result.probabilities for result in own])
    thresholds = conformal_thresholds(labels, probabilities, alpha)
    return {
        "alpha": alpha,
        "thresholds": thresholds.tolist(),
        "pictures": np.bincount(labels, minlength=len(table.class_names)).tolist(),
    }


def _claims(cv: RunRecord, choice: Choice) -> dict[str, Any]:
    """Return the mean and standard deviation of every score of a pair over the folds."""
    own = (cv.scores["sampler"] == choice.sampler) & (cv.scores["model"] == choice.model)
    found = cv.scores[own].groupby("metric", sort=False)["value"].agg(["mean", "std"]).dropna()
    protocol = cv.info.protocol
    return {
        "protocol": {name: getattr(protocol, name) for name in ("folds", "split", "seed", "data")},
        "metrics": {
            str(name): {"mean": float(row["mean"]), "sd": float(row["std"])} for name, row in found.iterrows()
        },
    }
