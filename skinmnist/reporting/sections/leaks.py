"""The section of leaks: leaky scores beside honest ones, as a figure and as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.leakage.leak_record import LEAK_WORDS, Demonstration, read_leaks
from skinmnist.reporting.embed import Embedded, embed_figure
from skinmnist.reporting.format import fixed, signed
from skinmnist.reporting.sections.leaks_figure import leaks_figure

#: The scores that are set side by side, the first of which is drawn, with their names in a sentence.
SHOWN = {"macro_f1": "Macro-F1", "accuracy": "Accuracy"}


@dataclass(frozen=True)
class LeakRow:
    """One leaky score beside its twin: texts of leaky, honest and inflation for each score shown."""

    sampler: str
    model: str
    figures: tuple[str, ...]


@dataclass(frozen=True)
class LeakPart:
    """A leak with its words and its rows."""

    title: str
    wrong: str
    right: str
    why: str
    rows: tuple[LeakRow, ...]


def leaks_view(record: RunRecord) -> dict[str, Any]:
    """Return what the template prints of a demonstration; ``leaks`` is empty where there is none.

    Raises
    ------
    InputError
        Where the demonstration in the run folder is damaged.
    """
    shown = read_leaks(record.folder, record.info)
    if shown is None or shown.scores.empty:
        return {"leaks": []}
    paired_scores = pair_up(shown)
    return {
        "leaks": _parts(paired_scores),
        "leak_scores": list(SHOWN.values()),
        "leak_notes": shown.notes,
        "leaks_figure": _draw(paired_scores),
        "leaks_answer": _answer(paired_scores),
    }


def pair_up(shown: Demonstration) -> pd.DataFrame:
    """Return one row for each leak, sampler and model, with leaky and honest values of the scores shown.

    Returns
    -------
    DataFrame
        Columns ``leak, title, sampler, model``, then ``<metric>_leaky`` and ``<metric>_honest``.
    """
    keys = ["leak", "sampler", "model"]
    wide = shown.scores.pivot_table(index=keys, columns="metric", values=["leaky", "honest"], sort=False)
    titles = {leak.key: leak.title for leak in LEAK_WORDS}
    frame = wide.index.to_frame(index=False)
    frame.insert(1, "title", frame["leak"].map(titles))
    frame["sampler"] = frame["sampler"].replace("none", "no sampler")
    frame["model"] = [shown.titles.get(name, name) for name in frame["model"]]
    for metric in SHOWN:
        for side in ("leaky", "honest"):
            frame[f"{metric}_{side}"] = wide[side, metric].to_numpy(dtype=float)
    return frame


def _parts(paired_scores: pd.DataFrame) -> list[LeakPart]:
    parts = []
    for leak in LEAK_WORDS:
        rows = []
        for row in paired_scores[paired_scores["leak"] == leak.key].to_dict("records"):
            figures: list[str] = []
            for metric in SHOWN:
                leaky, fair = row[f"{metric}_leaky"], row[f"{metric}_honest"]
                figures += [fixed(leaky), fixed(fair), signed(leaky - fair)]
            rows.append(LeakRow(row["sampler"], row["model"], tuple(figures)))
        if rows:
            parts.append(LeakPart(leak.title, leak.wrong, leak.right, leak.why, tuple(rows)))
    return parts


def _answer(paired_scores: pd.DataFrame) -> str:
    """Say which leak fools most, in one sentence."""
    gaps = paired_scores["macro_f1_leaky"] - paired_scores["macro_f1_honest"]
    worst = paired_scores.iloc[int(gaps.to_numpy().argmax())]
    return (
        f"The same {worst['model']} scores an accuracy of {fixed(worst['accuracy_leaky'])} and a macro-F1 of "
        f"{fixed(worst['macro_f1_leaky'])} with {worst['title'][0].lower()}{worst['title'][1:]} "
        f"({worst['sampler']}), and {fixed(worst['accuracy_honest'])} and {fixed(worst['macro_f1_honest'])} "
        "without."
    )


def _draw(paired_scores: pd.DataFrame) -> Embedded:
    gaps = paired_scores["macro_f1_leaky"] - paired_scores["macro_f1_honest"]
    alt = (
        f"Dumbbell plot of macro-F1 for {len(paired_scores)} pairs of a leaky evaluation and its honest "
        f"twin; the leak adds from {signed(gaps.min())} to {signed(gaps.max())}. "
        "The numbers stand in the tables."
    )
    return embed_figure(leaks_figure(paired_scores), alt, leaks_figure(paired_scores, narrow=True))
