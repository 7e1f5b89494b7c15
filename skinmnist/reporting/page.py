"""The page: tables, figures and words of a run, put together into one file that needs no other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from skinmnist import facts
from skinmnist.analysis.analyze import Analysis, find, write_analysis
from skinmnist.analysis.bootstrap import DRAWS
from skinmnist.analysis.checks.registry import CHECKS, HEADING, check_run
from skinmnist.analysis.differences import ROPE
from skinmnist.datasets.files import write_atomically
from skinmnist.errors import InputError
from skinmnist.experiment.execution.worker import run_in_background
from skinmnist.experiment.metrics import METRIC_TITLES
from skinmnist.experiment.run_folder.record import RunRecord, read_run
from skinmnist.experiment.run_folder.rows import read_lesions
from skinmnist.reporting.format import (
    added_columns,
    base_model,
    clinical_columns,
    count,
    listing,
    space_title,
    unbroken,
)
from skinmnist.reporting.sections import drawings, drawings_findings, tables, views, views_findings
from skinmnist.reporting.sections.answer import answer
from skinmnist.reporting.sections.claims import claims_view
from skinmnist.reporting.sections.conclusions import certainty
from skinmnist.reporting.sections.leaks import leaks_view
from skinmnist.reporting.sections.scores import DARK_SHARE
from skinmnist.reporting.sections.subgroups import subgroup_view
from skinmnist.reporting.theme import css_variables
from skinmnist.text import printable, template_environment

REPORT_FILE = "report.html"
#: Predictions up to which a record is copied into a worker: more take longer to send than to draw.
SENT_ROWS = 1_000_000
_HERE = Path(__file__).parent


def is_page(head: bytes) -> bool:
    """Tell by its first bytes whether a file is a report, or sets runs side by side."""
    return b'<meta name="generator" content="skinmnist ' in head or "· skinmnist</title>".encode() in head


def write_report(folder: Path | str, out: Path | str | None = None, jobs: int = 1) -> Path:
    """Read a run folder and write its ``report.html``, with the tables of its findings; nothing is trained.

    Parameters
    ----------
    folder : path
        A folder that a comparison has written, finished or not.
    out : path, optional
        Where to write instead, so that nothing in the run folder changes: a folder for the page and the
        tables, or an ``.html`` file for the page alone.
    jobs : int
        With two or more, half of the figures are drawn in a worker process. The bytes are the same.

    Returns
    -------
    Path
        Where the report stands.

    Raises
    ------
    InputError
        Where the folder holds no run, or the report cannot be written.
    """
    return conclude_run(read_run(folder), out, jobs)[0]


def conclude_run(record: RunRecord, out: Path | str | None = None, jobs: int = 1) -> tuple[Path, Analysis]:
    """Compute the findings of a run, and write its report and their tables.

    This is the one place where findings are computed: page and tables never tell different stories.

    Parameters
    ----------
    record : RunRecord
        Whose folder is still there.
    out, jobs
        See `write_report`.

    Returns
    -------
    path : Path
        Where the report stands.
    findings : Findings

    Raises
    ------
    InputError
        Where the lesions or patients in the folder are damaged, or not those of this run, or the report
        cannot be written.
    """
    target = record.folder if out is None else Path(out)
    is_page = out is not None and target.suffix.lower() in (".html", ".htm") and not target.is_dir()
    path = target if is_page else target / REPORT_FILE
    sections = run_in_background(_apart_from_findings, record, jobs=jobs if _is_sent_easily(record) else 1)
    analysis = find(record)
    page = _render(record, analysis, sections).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not is_page:
            write_analysis(path.parent, analysis)
        write_atomically(path, page)
    except OSError as error:
        raise InputError(
            f"the report cannot be written into {path.parent} ({error.strerror}); name another folder or "
            "file with `python -m skinmnist.report RUN --out`"
        ) from None
    return path, analysis


def _is_sent_easily(record: RunRecord) -> bool:
    """Tell whether a record is small enough to be copied into another process."""
    return len(record.predictions) <= SENT_ROWS


def render_report(record: RunRecord, analysis: Analysis | None = None) -> str:
    """Return the report as one self-contained page: the same record gives the same bytes."""
    analysis = find(record) if analysis is None else analysis
    return _render(record, analysis, partial(_apart_from_findings, record))


def _render(record: RunRecord, analysis: Analysis, sections: Callable[[], dict[str, Any]]) -> str:
    return (
        environment()
        .get_template("template.html")
        .render(
            **surroundings(),
            **_heading(record),
            **_scores(record, analysis),
            **_certainty(record, analysis),
            **claims_view(record, analysis.comparisons),
            checks=len(CHECKS),
            heading=HEADING,
            concerns=check_run(record, analysis),
            # Last: until now a worker may have been drawing these.
            **sections(),
        )
    )


def _apart_from_findings(record: RunRecord) -> dict[str, Any]:
    """Return the sections that need no findings."""
    return {**_data(record), **_outcomes(record), **_training(record), **leaks_view(record)}


def surroundings() -> dict[str, Any]:
    """Return what every page shares: style and script."""
    return {
        "style": Markup(css_variables() + (_HERE / "style.css").read_text(encoding="utf-8")),
        "script": Markup((_HERE / "report.js").read_text(encoding="utf-8")),
        "disclaimer": facts.DISCLAIMER,
    }


def environment() -> Environment:
    """Return the environment of the templates; what a run brings along is escaped and can be printed."""
    templates = template_environment(_HERE, _printable)
    templates.filters["counted"] = count
    templates.filters["unbroken"] = unbroken
    return templates


def _printable(value: Any) -> Any:
    return printable(value, None) if isinstance(value, str) and not isinstance(value, Markup) else value


def _heading(record: RunRecord) -> dict[str, Any]:
    info = record.info
    return {
        "info": info,
        "table": info.table,
        "protocol": info.protocol,
        "repeats": info.repeats,
        "grid": info.grid,
        "trained": sum(not base_model(info, name) for name in info.grid.models),
        "clinical": listing(clinical_columns(info)),
        "added_columns": added_columns(info),
        "key_numbers": views.key_numbers(record),
        "failed": views.failed_cells(record),
        "pending": views.pending_cells(record),
        "machine": views.machine(info),
        "notes": tables.notes(record).to_dict("records"),
    }


def _data(record: RunRecord) -> dict[str, Any]:
    classes = tables.classes(record)
    table = record.info.table
    genuine = not table.synthetic and set(table.class_names) == set(facts.CLASS_NAMES)
    return {
        "classes": views.class_table(classes),
        "classes_figure": drawings.draw_classes(classes),
        "pictures": drawings.draw_pictures(record),
        "licence": facts.DATA_LICENCE if genuine else "",
        "citation": facts.DATA_CITATION if genuine else "",
        "folds_figure": drawings.draw_folds(record.info.protocol.folds),
    }


def _scores(record: RunRecord, analysis: Analysis) -> dict[str, Any]:
    board = tables.leaderboard(record, analysis.derived_scores)
    pairs = board[~board["derived"]].reset_index(drop=True)
    columns, plain = views.score_table(board, costs=True)
    rows = views_findings.with_intervals(columns, plain, board, analysis.intervals)
    calibration = views.score_table(tables.calibration(record, analysis.derived_scores))
    sensitivity = views_findings.sensitivity_table(record, board)
    return {
        "dark_share": DARK_SHARE,
        "answer": answer(record, pairs, analysis),
        "columns": columns,
        "rows": rows,
        "leaderboard_figure": drawings.draw_leaderboard(record, pairs),
        "control_rows": views_findings.control_table(board, rows),
        "control_claims": views_findings.control_claims(record, board, analysis),
        "price_figure": drawings_findings.draw_costs(record, board, analysis),
        "sensitivity_columns": sensitivity[0],
        "sensitivity_rows": sensitivity[1],
        "rankings": drawings_findings.draw_rankings(record, pairs),
        "ranking_legend": views_findings.ranking_legend(record, pairs),
        "calibration_columns": calibration[0],
        "calibration_rows": calibration[1],
        **subgroup_view(record, pairs, analysis),
        "glossary": [(views.LABELS[name], text) for name, text in METRIC_TITLES.items()],
    }


def _outcomes(record: RunRecord) -> dict[str, Any]:
    recalls = tables.recalls(record)
    return {
        "decisions": drawings_findings.draw_decisions(record),
        "recall_rows": views.recall_table(record, recalls),
        "recall_figures": drawings.draw_recalls(record, recalls),
        "confusions": drawings.draw_confusions(record),
        "mistakes": drawings_findings.draw_mistakes(record),
        "reliability": drawings_findings.draw_reliability(record),
    }


def _certainty(record: RunRecord, analysis: Analysis) -> dict[str, Any]:
    known = read_lesions(record.folder, record.info.table.rows) is not None
    columns, verdicts = views_findings.verdict_table(record, analysis)
    return {
        "lesions_known": known,
        "units": "lesions" if known else "pictures",
        "draws": f"{DRAWS:,}",
        "rope": f"{ROPE:g}",
        "certainty": certainty(record, analysis),
        "forests": drawings_findings.draw_forests(record, analysis),
        "verdict_columns": columns,
        "verdicts": verdicts,
        "comparison_rows": views_findings.comparison_rows(record, analysis),
    }


def _training(record: RunRecord) -> dict[str, Any]:
    models = record.info.grid.models
    spaces = list(dict.fromkeys(model.space for model in models.values()))
    return {
        "resampled": drawings.draw_resampled(record),
        "examples": drawings.draw_examples(record),
        "curves": drawings.draw_curves(record),
        "sampler_names": [
            [space_title(name, space) for space in spaces] for name in record.info.grid.samplers
        ],
    }
