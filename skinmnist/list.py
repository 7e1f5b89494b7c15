"""``python -m skinmnist.list``: list samplers, models, metrics, presets, checks and splits by name."""

from __future__ import annotations

import argparse
import ast
import shutil
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from skinmnist.console.common import command_parser, guarded, program, say
from skinmnist.errors import InputError
from skinmnist.names import did_you_mean, known_spelling

#: The type and inputs of each model.
MODEL_LINES = {
    "svm": "support vector machine with an RBF kernel, on lesion features (Cortes & Vapnik 1995)",
    "random_forest": "random forest on lesion features (Breiman 2001)",
    "cnn": "convolutional network on pixels, about 9 s a fold of HAM10000; uses TensorFlow",
    "cnn_tiny": "the network of --quick, half a second on 700 pictures; uses TensorFlow",
    "cnn_thorough": "a wider network averaged with one on features, about 3 minutes a fold; uses TensorFlow",
    "cnn_early_stopping": "residual network with Adam, stopped early on a validation set; uses TensorFlow",
    "logistic_regression": "multinomial logistic regression on lesion features",
    "hist_gradient_boosting": "boosted trees on binned lesion features (Ke et al. 2017)",
    "balanced_random_forest": "trees on balanced samples of lesion features (Chen et al. 2004)",
    "balanced_bagging": "bagged trees, each on a balanced sample of lesion features (Barandela et al. 2003)",
    "easy_ensemble": "boosted trees, averaged over balanced samples of lesion features (Liu et al. 2009)",
    "rus_boost": "boosted trees with a balanced sample in every round, on features (Seiffert et al. 2010)",
    "svm_pixels": "the SVM on principal components of pixels",
    "random_forest_pixels": "the forest on pixels",
    "dummy": "the class frequencies, whatever the picture: a baseline",
}

SPLIT_LINES = {
    "lesion": "all pictures of a lesion in one fold; the default wherever lesions are known",
    "image": "pictures of one lesion may be in several folds, which usually raises scores",
    "holdout": "one training and one test part, by lesion wherever lesions are known",
    "own": "the train, val and test that a table brings along, as MedMNIST's; its default",
    "dermamnist": "the published parts of DermaMNIST, which share lesions (Yang et al. 2023)",
    "dermamnist-c": "DermaMNIST-C, its correction, in which no lesion is shared (Abhishek et al. 2025)",
    "column:NAME": "each value of a metadata column is held out in turn",
    "FILE.csv": "split (train, val, test) or fold by image_id, or in row order",
}


#: The forms of a cost file, each with its lines for the classes nv and mel.
COST_LINES = {
    "matrix.csv": "a row for each true class, a column for each decision: true,nv,mel | nv,0,1 | mel,20,0",
    "pairs.csv": "a row for each mistake that does not cost 1: true,decided,cost | mel,nv,20",
    "costs.toml": "the cost of any mistake about a class: mel = 20; or of a single decision: mel.nv = 20",
}


class Entry(NamedTuple):
    """One line: a name and its meaning, or the error of a broken plugin."""

    name: str
    about: str
    broken: bool = False


def list_samplers() -> Iterator[Entry]:
    """Yield the strategies, imbalanced-learn's samplers, samplers from plugins, and names for several."""
    from skinmnist.resampling.strategies import GROUPS, SAMPLERS, STRATEGIES, SWEPT, group_members

    only = {"networks": "; networks only", "weights": "; models that take weights", "": ""}
    for name, known in {**STRATEGIES, **SAMPLERS}.items():
        paper = f" ({known.paper})" if known.paper else ""
        yield Entry(name, f"{known.about}{paper}{only[known.needs]}")
    yield from plugin_entries("sampler", (*STRATEGIES, *SAMPLERS))
    shares = ", ".join(f"NAME@{share:g}" for share in SWEPT)
    yield Entry(
        "NAME@SHARE", "how much of it: from 0 (the natural class mix) to 1 (balance), as in SMOTE@0.5"
    )
    yield Entry("sweep:NAME", f"several shares of one sampler: none, {shares} and NAME")
    yield from (Entry(group, f"a group: {', '.join(group_members(group))}") for group in GROUPS)


def list_strategies() -> Iterator[Entry]:
    """Yield the same strategies and samplers, with a sentence on when to use each."""
    from skinmnist.resampling.strategies import SAMPLERS, STRATEGIES

    yield from (Entry(name, known.use) for name, known in {**STRATEGIES, **SAMPLERS}.items())


def list_models() -> Iterator[Entry]:
    """Yield the models in this package and models from plugins."""
    from skinmnist.models.registry import MODELS

    yield from (Entry(name, MODEL_LINES[name]) for name in MODELS)
    yield Entry(
        "ensemble",
        "mean of several models: compare --ensemble both=svm,cnn, or train --model ensemble",
    )
    yield from plugin_entries("model", (*MODELS,))


def list_metrics() -> Iterator[Entry]:
    """Yield the metrics of every run and metrics from plugins."""
    from skinmnist.experiment.metrics import METRICS

    yield from (Entry(name, metric.title.rstrip(".")) for name, metric in METRICS.items())
    yield Entry("recall_<class>", "share of the pictures of a class that are predicted as it")
    yield Entry("precision_<class>", "share of the pictures predicted as a class that belong to it")
    yield Entry(
        "f1_weighted",
        "and the other scorers of classifiers in scikit-learn: sklearn.metrics.get_scorer_names()",
    )
    yield from plugin_entries("metric", (*METRICS,))


def list_presets() -> Iterator[Entry]:
    """Yield the published systems, including presets in the working directory."""
    from skinmnist.datasets.files import shipped

    found = {}
    for path in (*sorted(shipped().glob("*.toml")), *sorted(Path().glob("*.toml"))):
        try:
            system = tomllib.loads(path.read_text(encoding="utf-8"))["system"]
            found[path.stem] = f"{system['title']}. {system.get('claim', '').rstrip('.')}".rstrip(". ")
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # Another file, such as a pyproject.toml.
    yield from (Entry(name, about) for name, about in found.items())


def list_checks() -> Iterator[Entry]:
    """Yield the checks of a run.

    Their module is parsed instead of imported, because it imports SciPy.
    """
    module = Path(__file__).parent / "analysis" / "checks.py"
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Check":
            code, title, severity = (ast.literal_eval(argument) for argument in node.args[:3])
            yield Entry(code, f"{title} ({severity})")


def list_splits() -> Iterator[Entry]:
    """Yield the splits."""
    yield from (Entry(name, about) for name, about in SPLIT_LINES.items())


def list_costs() -> Iterator[Entry]:
    """Yield the forms of a cost file."""
    yield from (Entry(name, about) for name, about in COST_LINES.items())


def list_layouts() -> Iterator[Entry]:
    """Yield the supported layouts of tables and metadata."""
    from skinmnist.datasets.layouts import LAYOUTS

    yield from (Entry(name, layout.about) for name, layout in LAYOUTS.items())


class Kind(NamedTuple):
    """A kind of named entries: its description, and a function that lists the entries."""

    about: str
    entries: Callable[[], Iterator[Entry]]


#: To add a kind, add an entry.
KINDS = {
    "samplers": Kind("what is done about class imbalance: --samplers NAME ...", list_samplers),
    "strategies": Kind("when to use each of these samplers and strategies", list_strategies),
    "models": Kind("what is trained: --models NAME ...", list_models),
    "metrics": Kind("scores of held-out predictions, as in scores.csv: --metrics NAME ...", list_metrics),
    "presets": Kind("published systems: skinmnist preset run NAME", list_presets),
    "checks": Kind("what could fool the reader of a report", list_checks),
    "layouts": Kind("layouts of tables and their metadata: CSV, --metadata, build", list_layouts),
    "costs": Kind("forms of a file with the costs of mistakes, by line: --costs FILE", list_costs),
    "splits": Kind("which pictures are held out together: --split NAME", list_splits),
}


def plugin_entries(kind: str, own: tuple[str, ...]) -> Iterator[Entry]:
    """Yield the entries of a kind from other packages; each is imported to get its description."""
    from skinmnist.names import find_plugins, notes_on_hidden

    for name, plugin in find_plugins(kind).items():
        if known_spelling(name, own) in own:
            yield Entry(name, f"the {kind} {name!r} of {plugin.source} is hidden by skinmnist's own", True)
            continue
        try:
            thing = plugin.load()
        except InputError as error:
            yield Entry(name, str(error), True)
            continue
        about = (getattr(thing, "title", None) or thing.__doc__ or type(thing).__name__).strip()
        yield Entry(name, f"{about.splitlines()[0].rstrip('.')}; of {plugin.source}")
    yield from (Entry("", note, True) for note in notes_on_hidden(kind))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments."""
    parser = command_parser(
        "list",
        "Show every name of a kind with its meaning, one per line.",
        ("", "samplers", "models"),
    )
    parser.add_argument(
        "kind", metavar="KIND", nargs="?", help=f"one of {', '.join(KINDS)}; without it, the kinds are shown"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: _list(options.kind))


def _list(asked: str | None) -> int:
    if asked is None:
        _print([Entry(name, kind.about) for name, kind in KINDS.items()])
        return 0
    kind = known_spelling(asked if asked.lower().endswith("s") else f"{asked}s", KINDS)
    if kind not in KINDS:
        raise InputError(f"unknown kind {asked!r}{did_you_mean(kind, KINDS)} (`{program('list')}` shows all)")
    entries = list(KINDS[kind].entries())
    _print([entry for entry in entries if not entry.broken])
    for entry in entries:
        if entry.broken:
            say(f"note: {entry.about}", file=sys.stderr)
    return 0


def _print(entries: list[Entry]) -> None:
    """Print names and meanings in two columns; on a terminal, wrap long lines."""
    column = max((len(entry.name) for entry in entries), default=0) + 2
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for entry in entries:
        line = f"{entry.name:<{column}}{entry.about}"
        say_lines = textwrap.wrap(line, max(width, column + 30), subsequent_indent=" " * column)
        for part in say_lines if width else [line]:
            say(part)


if __name__ == "__main__":
    raise SystemExit(main())
