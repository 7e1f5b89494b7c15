"""The page: tables, figures and words of a run, put together into one file that needs no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from skinmnist import facts
from skinmnist.evaluation.files import write_atomically
from skinmnist.evaluation.metrics import METRIC_TITLES
from skinmnist.evaluation.record import RunRecord, read_run
from skinmnist.reporting import drawings, tables, views
from skinmnist.reporting.answer import answer
from skinmnist.reporting.figures import DARK_SHARE
from skinmnist.reporting.naming import base_model, clinical_columns, count, listing, space_title, unbroken
from skinmnist.reporting.theme import css_variables

REPORT_FILE = "report.html"
_HERE = Path(__file__).parent


def write_report(folder: Path | str) -> Path:
    """Read a run folder and write its ``report.html``; nothing is trained.

    Parameters
    ----------
    folder : path
        A folder that a comparison has written.

    Returns
    -------
    Path
        Where the report stands.

    Raises
    ------
    InputError
        Where the folder holds no run.
    """
    path = Path(folder) / REPORT_FILE
    write_atomically(path, render_report(read_run(folder)).encode())
    return path


def render_report(record: RunRecord) -> str:
    """Return the report as one self-contained page: the same record gives the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["counted"] = count
    environment.filters["unbroken"] = unbroken
    page = environment.get_template("template.html")
    return page.render(
        style=Markup(css_variables() + (_HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "report.js").read_text(encoding="utf-8")),
        **_heading(record),
        **_data(record),
        **_scores(record),
        **_training(record),
    )


def _heading(record: RunRecord) -> dict[str, Any]:
    info = record.info
    return {
        "info": info,
        "table": info["table"],
        "protocol": info["protocol"],
        "repeats": info.get("repeats", 1),
        "grid": info["grid"],
        "trained": sum(not base_model(info, name) for name in info["grid"]["models"]),
        "clinical": listing(clinical_columns(info)),
        "key_numbers": views.key_numbers(record),
        "failed": views.failed_cells(record),
        "pending": views.pending_cells(record),
        "machine": views.machine(info),
        "notes": tables.notes(record).to_dict("records"),
        "disclaimer": facts.DISCLAIMER,
    }


def _data(record: RunRecord) -> dict[str, Any]:
    classes = tables.classes(record)
    table = record.info["table"]
    genuine = not table["synthetic"] and set(table["class_names"]) == set(facts.CLASS_NAMES)
    return {
        "classes": views.class_table(classes),
        "classes_figure": drawings.draw_classes(classes),
        "pictures": drawings.draw_pictures(record),
        "licence": facts.DATA_LICENCE if genuine else "",
        "citation": facts.DATA_CITATION if genuine else "",
        "folds_figure": drawings.draw_folds(record.info["protocol"]["folds"]),
    }


def _scores(record: RunRecord) -> dict[str, Any]:
    board, recalls = tables.leaderboard(record), tables.recalls(record)
    columns, rows = views.score_table(board, seconds=True)
    calibration_columns, calibration_rows = views.score_table(tables.calibration(record))
    return {
        "dark_share": DARK_SHARE,
        "answer": answer(record, board),
        "columns": columns,
        "rows": rows,
        "leaderboard_figure": drawings.draw_leaderboard(record, board),
        "recall_rows": views.recall_table(record, recalls),
        "recall_figures": drawings.draw_recalls(record, recalls),
        "confusions": drawings.draw_confusions(record),
        "calibration_columns": calibration_columns,
        "calibration_rows": calibration_rows,
        "reliability": drawings.draw_reliability(record),
        "glossary": [(views.LABELS[name], text) for name, text in METRIC_TITLES.items()],
    }


def _training(record: RunRecord) -> dict[str, Any]:
    models = record.info["grid"]["models"]
    spaces = list(dict.fromkeys(model["space"] for model in models.values()))
    return {
        "resampled": drawings.draw_resampled(record),
        "examples": drawings.draw_examples(record),
        "curves": drawings.draw_curves(record),
        "sampler_names": [
            [space_title(name, space) for space in spaces] for name in record.info["grid"]["samplers"]
        ],
    }
