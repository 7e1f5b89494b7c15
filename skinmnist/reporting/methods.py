"""Text for a paper: a methods paragraph with the run's own numbers, and its references."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from skinmnist import facts
from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.bootstrap import DRAWS
from skinmnist.analysis.significance import COMPARED_METRICS, ROPE, SURE
from skinmnist.experiment.cells import MIXED
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.reporting.format import (
    base_model,
    count,
    duration,
    ensembles,
    label_in_text,
    listing,
    model_title,
)
from skinmnist.reporting.tables import latex
from skinmnist.resampling.strategies import SAMPLERS, STRATEGIES, base_name
from skinmnist.text import printable

_BIBLIOGRAPHY = Path(__file__).with_name("references.bib")
_CITED = re.compile(r"\[@([\w; @]+)\]")
#: Packages cited in a paper, in this order.
_LIBRARIES = (
    "scikit-learn",
    "imbalanced-learn",
    "keras",
    "tensorflow",
    "tensorflow-cpu",
    "numpy",
    "scipy",
    "pandas",
    "matplotlib",
)
#: Packages that only some runs use.
_OF_NETWORKS = {"keras", "tensorflow", "tensorflow-cpu"}


class Methods:
    r"""The methods paragraph and references of one run.

    Attributes
    ----------
    markdown : str
        The paragraph with Pandoc citations, such as ``[@chawla2002smote]``.
    latex : str
        The same paragraph for LaTeX, with ``\cite``.
    bibtex : str
        An entry for every cited reference.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._entries = _entries()
        self._used: dict[str, None] = {}
        self.markdown = " ".join(_sentences(analysis, self._cite))
        self.latex = to_latex(self.markdown)
        version = analysis.record.info.skinmnist
        used = (self._entries[key] for key in sorted(self._used))
        self.bibtex = "\n".join(entry.replace("VERSION", version) for entry in used)

    def _cite(self, *tags: str) -> str:
        """Return a citation of the references for any of the tags, after a space; empty if there are none."""
        keys = [key for key, entry in self._entries.items() if set(tags) & set(_tags(entry))]
        self._used.update(dict.fromkeys(keys))
        return f" [{'; '.join(f'@{key}' for key in keys)}]" if keys else ""


def to_latex(text: str) -> str:
    """Escape a paragraph for LaTeX and convert its citations."""
    pieces = _CITED.split(text)
    return "".join(
        f"\\cite{{{piece.replace('@', '').replace('; ', ',')}}}" if place % 2 else latex(piece)
        for place, piece in enumerate(pieces)
    )


def _entries() -> dict[str, str]:
    """Return the entries of the bibliography by key."""
    text = _BIBLIOGRAPHY.read_text(encoding="utf-8")
    entries = re.split(r"\n(?=@)", text)
    return {entry[entry.index("{") + 1 : entry.index(",")]: f"{entry.strip()}\n" for entry in entries}


def _tags(entry: str) -> list[str]:
    found = re.search(r"keywords\s*= \{(.*)\}", entry)
    return found[1].split(", ") if found else []


def _sentences(analysis: Analysis, cite: Callable[..., str]) -> Iterator[str]:
    info = analysis.record.info
    yield _compared(info, cite)
    yield _data(info, cite)
    yield _protocol(info, cite)
    done, planned = len(analysis.record.results), len(info.cells)
    if done < planned:
        yield f"Of {planned:,} planned training runs, {done:,} finished; scores are means over these."
    yield from _statistics(analysis, cite)
    yield _software(analysis, cite)


def _compared(info: RunInfo, cite: Callable[..., str]) -> str:
    """List samplers, strategies and models."""
    samplers = [
        f"{printable(name)}{cite(f'sampler:{base_name(name)}')}"
        for name in info.grid.samplers
        if name not in ("none", MIXED)
    ]
    models = [
        _in_text(model_title(info, name))
        + _space(model.space)
        + cite(f"model:{name}", f"space:{model.space}")
        for name, model in info.grid.models.items()
        if not base_model(info, name) and not model.members
    ]
    words = f"{count(len(models), 'model')}: {listing(models)}"
    if averaged := [f"{name} of {listing(list(info.grid.models[name].members))}" for name in ensembles(info)]:
        words += f", and the geometric means of predicted probabilities {listing(averaged)}"
    if not samplers:
        return f"We evaluated {words}."
    beside = " with training without a sampler" if "none" in info.grid.samplers else ""
    return f"We compared {listing(samplers)}{beside} for {words}."


def _in_text(title: str) -> str:
    """Return a title within a sentence: with a lower-case first letter, unless it begins an abbreviation."""
    return title if title[1:2].isupper() else title[:1].lower() + title[1:]


def _space(space: str) -> str:
    return {
        "descriptors": " on lesion descriptors",
        "components": " on principal components of the pixels",
        "pixels": " on pixels",
    }.get(space, "")


def _data(info: RunInfo, cite: Callable[..., str]) -> str:
    table = info.table
    ham = not table.synthetic and (
        tuple(table.rows_per_class) == facts.ROWS_PER_CLASS
        or any(facts.METADATA_FILE in one.file for one in table.inputs)
    )
    name = printable(table.name)
    if table.synthetic:
        name = f"a table of synthetic pictures, which were drawn by skinmnist and show no patients ({name})"
    elif ham:
        name = f"HAM10000{cite('data:HAM10000')} (table {name})"
    lesions = "" if table.lesions is None else f" of {count(table.lesions, 'lesion')}"
    most, least = max(table.rows_per_class), min(table.rows_per_class)
    height, width, channels = table.shape
    used = info.protocol.rows
    part = "" if used == table.rows else f", of which a stratified subsample of {used:,} was used"
    joined = any("Abhishek" in note for note in info.notes)
    corrected = f", with lesion ids corrected after{cite('data:lesions')}" if joined else ""
    return (
        f"The data were {name}: {count(table.rows, 'picture')}{lesions} in {len(table.class_names)} classes, "
        f"with {height} × {width} pixels and {count(channels, 'channel')}{corrected}; the largest class has "
        f"{most:,} pictures and the smallest {least:,}{part}."
    )


def _protocol(info: RunInfo, cite: Callable[..., str]) -> str:
    protocol, repeats = info.protocol, info.repeats
    folds = f"{protocol.folds}-fold"
    given = (
        "" if info.given is None else f" of {printable(info.given.name)}{cite(f'split:{info.given.name}')}"
    )
    words = {
        "lesion": f"stratified {folds} cross-validation, with all pictures of a lesion in one fold",
        "image": f"stratified {folds} cross-validation by picture, which may part pictures of one lesion",
        "holdout": f"one held-out part of {protocol.folds}, stratified by class",
        "given": f"{folds} cross-validation on given folds{given}",
        "given holdout": f"the given training and test sets{given}",
    }[protocol.split]
    again = f", repeated {repeats} times" if repeats > 1 else ""
    resampled = any(base_name(name) not in STRATEGIES for name in info.grid.samplers)
    inside = " Samplers were fitted on the training set only; held-out pictures were never resampled."
    return f"Models were evaluated by {words}{again} (seed {protocol.seed}).{inside * resampled}"


def _statistics(analysis: Analysis, cite: Callable[..., str]) -> Iterator[str]:
    comparisons = analysis.comparisons
    metrics = [name for name in COMPARED_METRICS if name in set(analysis.record.scores["metric"])]
    if metrics:
        names = listing([label_in_text(name) for name in metrics])
        yield f"We report {names}, as means over the held-out parts."
    if len(comparisons) and comparisons["low"].notna().any():
        yield (
            "Differences were paired by fold; their variance was corrected for the overlap of the training "
            f"sets{cite('method:folds')}, and their 95 % intervals hold simultaneously for all comparisons "
            "of one question, score and decision rule (Bonferroni). We call a difference practically equal "
            f"to zero if it lies within ±{ROPE:g} with a posterior probability of {100 * SURE:.0f} % or more"
            f"{cite('method:rope')}."
        )
    if len(analysis.intervals):
        units = "lesions, each with all its pictures" if analysis.lesions_known else "pictures"
        yield (
            f"Intervals of single scores resample the held-out {units}, {DRAWS:,} times"
            f"{cite('method:bootstrap') if analysis.lesions_known else ''}."
        )
    if len(analysis.derived_scores):
        yield (
            "As a control that trains nothing, the probabilities of the models without a sampler were "
            f"divided by the class frequencies of their training sets{cite('method:prior')}."
        )
    if analysis.decisions is not None:
        yield f"Net benefit follows decision curve analysis{cite('method:decision')}."
    info = analysis.record.info
    if info.costs:
        yield (
            "Cost-sensitive decisions have the smallest expected cost at the natural class frequencies"
            f"{cite('method:costs')}."
        )
    if info.conformal:
        yield (
            "Conformal sets were calibrated within each class on the other folds, to miss at most "
            f"{100 * info.conformal:g} % of its pictures{cite('method:conformal')}."
        )


def _software(analysis: Analysis, cite: Callable[..., str]) -> str:
    info = analysis.record.info
    unused = set() if len(analysis.training_curves) else _OF_NETWORKS
    if not {base_name(name) for name in info.grid.samplers} & set(SAMPLERS):
        unused |= {"imbalanced-learn"}
    libraries = [
        f"{name} {info.versions[name]}{cite('library:' + name.removesuffix('-cpu'))}"
        for name in _LIBRARIES
        if name in info.versions and name not in unused
    ]
    words = f"Everything was computed by skinmnist {info.skinmnist}{cite('library:skinmnist')}"
    if libraries:
        words += f" with {listing(libraries)}"
    if "python" in info.versions:
        words += f" under Python {info.versions['python']}"
    if info.hardware.cores:
        words += f", on {count(info.hardware.cores, 'core')} ({printable(info.hardware.cpu)})"
    if info.wall_seconds is not None:
        words += f", in {duration(info.wall_seconds)}"
    return f"{words}."
