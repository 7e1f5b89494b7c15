"""A report to take along: tables, figures, methods and references as files, and runs logged to MLflow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from skinmnist.analysis.analyze import Analysis, analyze
from skinmnist.datasets.files import Owned, Series, claim, remove_owned, write_atomically
from skinmnist.errors import InputError
from skinmnist.experiment.metrics import best_pair
from skinmnist.experiment.run_folder.record import RunRecord, read_run
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.names import pair_name
from skinmnist.reporting.methods import Methods
from skinmnist.reporting.page import render_page
from skinmnist.reporting.sections.outcomes import mistakes_of
from skinmnist.reporting.sections.training import examples, samples_of
from skinmnist.reporting.tables import PageTable, file_names, latex, read_page
from skinmnist.reporting.theme import Drawing, keeping
from skinmnist.text import one_line, printable

_TABLES, _FIGURES = "tables", "figures"
_FILES = ("methods.md", "methods.tex", "references.bib", "supplement.tex")
#: Text width of A4 paper with 2 cm margins, in points.
_TEXT_WIDTH = 480
#: The marker file of an export; it differs from a run's, so both can share a folder.
_EXPORT = Owned(
    "folder of exports",
    _FILES,
    (Series(_TABLES, r".+\.(csv|md|tex)"), Series(_FIGURES, r".+\.(svg|pdf)")),
    ".skinmnist-export",
)


def export_report(run: RunRecord | Path | str, folder: Path | str) -> Path:
    """Export the tables, figures, methods paragraph and references of a report to a folder.

    Tables are written to ``tables/*.csv``, ``.md`` and ``.tex``; figures to ``figures/*.svg`` and ``.pdf``.
    The folder also contains ``methods.md``, ``methods.tex``, ``references.bib`` and ``supplement.tex``, which
    combines them. An existing export is replaced.

    Parameters
    ----------
    run : Run or path
        The run, as for `write_report`.
    folder : path

    Returns
    -------
    Path
        Path of the folder.

    Raises
    ------
    InputError
        If the folder contains no run, or the export cannot be written or would overwrite the user's files.

    Examples
    --------
    >>> export_report("runs/hmnist_28_28_RGB-0", "paper")  # doctest: +SKIP
    PosixPath('paper')
    """
    record = run if isinstance(run, RunRecord) else read_run(run)
    known: Analysis | None = getattr(record, "analysis", None)
    analysis, folder = known or analyze(record), Path(folder)
    try:
        claim(folder, _EXPORT)
        remove_owned(folder, _EXPORT)
        for inner in _EXPORT.folders:
            (folder / inner).mkdir(exist_ok=True)
        for name, content in _contents(analysis):
            write_atomically(folder / name, content, lasting=False)
    except OSError as error:
        raise InputError(
            f"the export cannot be written into {folder} ({error.strerror}); name another folder with "
            "--export"
        ) from None
    return folder


def _contents(analysis: Analysis) -> Iterator[tuple[str, bytes]]:
    """Yield the relative path and contents of every file."""
    kept: list[Drawing] = []
    tables, images = read_page(keeping(kept, render_page, analysis))
    drawings = dict(_named([*kept, *_pictures(analysis)], dict(images)))
    methods = Methods(analysis)
    for table in tables:
        yield f"{_TABLES}/{table.name}.csv", table.to_csv().encode()
        yield f"{_TABLES}/{table.name}.md", table.to_markdown().encode()
        yield f"{_TABLES}/{table.name}.tex", table.to_latex().encode()
    for name, drawing in drawings.items():
        yield f"{_FIGURES}/{name}.svg", drawing.svg
        yield f"{_FIGURES}/{name}.pdf", drawing.pdf
    yield "methods.md", f"{methods.markdown}\n".encode()
    yield "methods.tex", f"{methods.latex}\n".encode()
    yield "references.bib", methods.bibtex.encode()
    yield "supplement.tex", _supplement(analysis.record.info.table.name, tables, drawings).encode()


def _pictures(analysis: Analysis) -> Iterator[Drawing]:
    """Draw the picture galleries of the page: confident mistakes and synthetic rows."""
    record = analysis.record
    best = best_pair(record.scores)
    figure = None if best is None else mistakes_of(record, best)
    if best is not None and figure is not None:
        yield Drawing.of(figure, f"The most confident mistakes of {pair_name(best)}.")
    for sampler in dict.fromkeys(name for name, _, _ in examples(record)):
        figure = samples_of(record, sampler)
        if figure is not None:
            words = f"Rows made by {sampler}, each between the two training rows that it blends."
            yield Drawing.of(figure, words)


def _named(drawings: list[Drawing], sections: dict[str, str]) -> Iterator[tuple[str, Drawing]]:
    """Name each drawing after its section."""
    taken: set[str] = set()
    for drawing in drawings:
        section = sections.get(drawing.alt) or ("mistakes" if "mistakes" in drawing.alt else "samplers")
        name = next(name for name in file_names(section) if name not in taken)
        taken.add(name)
        yield name, drawing


def _supplement(title: str, tables: list[PageTable], drawings: dict[str, Drawing]) -> str:
    """Return a LaTeX document with the methods, all figures and all tables."""
    figures = [
        f"\\begin{{figure}}\n\\centering\n{_graphics(name, drawing.width)}"
        f"\\caption{{{latex(drawing.alt)}}}\\label{{fig:{name}}}\n\\end{{figure}}\n\\clearpage\n"
        for name, drawing in drawings.items()
    ]
    inputs = [f"\\input{{{_TABLES}/{table.name}}}\n\\clearpage\n" for table in tables]
    return (
        "\\documentclass{article}\n"
        "\\usepackage[margin=2cm]{geometry}\n\\usepackage{array,booktabs,graphicx,longtable,url}\n"
        f"\\title{{Class imbalance on {latex(title)}}}\n\\author{{}}\n"
        "\\begin{document}\n\\maketitle\n\\section{Methods}\n\\input{methods}\n\\clearpage\n"
        f"\\section{{Figures}}\n{''.join(figures)}\\section{{Tables}}\n{''.join(inputs)}"
        "\\bibliographystyle{plain}\n\\bibliography{references}\n\\end{document}\n"
    )


def _graphics(name: str, width: float) -> str:
    """Include a figure at its natural size, or at text width if it is wider."""
    size = "[width=\\linewidth]" if width > _TEXT_WIDTH else ""
    return f"\\includegraphics{size}{{{_FIGURES}/{name}}}\n"


#: MLflow's limit on the length of a parameter.
_LONGEST = 500


def log_to_mlflow(record: RunRecord, page: Path, uri: str) -> str:
    """Log parameters, scores and the page of a run to an MLflow tracking server or store.

    The comparison becomes one MLflow run with its parameters and the page. Each pair becomes a nested run
    with the means and standard deviations of its scores over the folds.

    Parameters
    ----------
    record : RunRecord
    page : path
    uri : str
        An MLflow tracking URI, such as ``"http://localhost:5000"`` or ``"file:mlruns"``.

    Returns
    -------
    str
        The id of the MLflow run.

    Raises
    ------
    InputError
        If the extra is not installed, or MLflow cannot log to `uri`.
    """
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise InputError("--mlflow needs MLflow; install it with `pip install mlflow-skinny`") from None
    try:
        return _log(MlflowClient(tracking_uri=uri), record, page)
    except (MlflowException, OSError) as error:
        raise InputError(
            f"MLflow cannot log to {printable(uri)} ({one_line(error)}); name a tracking server or a store, "
            "as in --mlflow http://localhost:5000"
        ) from None


def _log(client: Any, record: RunRecord, page: Path) -> str:
    name = "skinmnist"
    known = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if known is None else known.experiment_id
    title = f"{printable(record.info.table.name)}, seed {record.info.seed}"
    parent = client.create_run(experiment, run_name=title).info.run_id
    for key, value in parameters(record.info).items():
        client.log_param(parent, key, value)
    for (sampler, model), scores in pair_scores(record).items():
        tags = {"mlflow.parentRunId": parent}
        run = client.create_run(experiment, tags=tags, run_name=pair_name((sampler, model))).info.run_id
        client.log_param(run, "sampler", sampler)
        client.log_param(run, "model", model)
        for metric, score in scores.items():
            client.log_metric(run, metric, score)
        client.set_terminated(run)
    client.log_artifact(parent, str(page))
    client.set_terminated(parent)
    return str(parent)


def parameters(info: RunInfo) -> dict[str, str]:
    """Return the configuration of a run as MLflow parameters."""
    protocol = info.protocol
    values = {
        "table": info.table.name,
        "data": protocol.data,
        "pictures": protocol.rows,
        "samplers": ", ".join(info.grid.samplers),
        "models": ", ".join(info.grid.models),
        "split": protocol.split,
        "folds": protocol.folds,
        "repeats": info.repeats,
        "seed": info.seed,
        "quick": info.quick,
        "skinmnist": info.skinmnist,
        "command": info.command,
    }
    return {name: printable(value, _LONGEST) for name, value in values.items()}


def pair_scores(record: RunRecord) -> dict[tuple[str, str], dict[str, float]]:
    """Return the mean and standard deviation of each score of each pair, under names that MLflow accepts."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    grouped = record.scores.groupby(["sampler", "model", "metric"], sort=False)["value"]
    for row in grouped.agg(["mean", "std"]).reset_index().to_dict("records"):
        name = re.sub(r"[^\w.\- :/]", "_", str(row["metric"]), flags=re.ASCII)
        values = {name: float(row["mean"]), f"{name}_sd": float(row["std"])}
        of_pair = found.setdefault((str(row["sampler"]), str(row["model"])), {})
        of_pair.update({key: value for key, value in values.items() if np.isfinite(value)})
    return found
