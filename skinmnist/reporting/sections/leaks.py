"""The section on leaks: leaky and honest scores, as a figure and as tables."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinmnist.analysis.analyze import Analysis
from skinmnist.leakage.leaks import LEADING_METRICS, LEAKS, Demonstration, read_leaks
from skinmnist.reporting.format import LABELS, fixed, shorten, signed
from skinmnist.reporting.theme import (
    HEAT,
    INK,
    LIGHT,
    LINE,
    MUTED,
    NARROW,
    ON_HEAT,
    WIDE,
    Embedded,
    embed_figure,
    panels,
    styled,
    text_width,
)

_STEP, _HEADING = 30, 34


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of a demonstration; ``leaks`` is empty without one."""
    shown = read_leaks(analysis.record.folder, analysis.record.info)
    if shown is None or shown.scores.empty:
        return {"leaks": []}
    paired_scores = pair_up(shown)
    return {
        "leaks": _parts(paired_scores),
        "leak_scores": [LABELS[name] for name in LEADING_METRICS],
        "leak_notes": shown.notes,
        "leaks_figure": _draw(paired_scores),
        "leaks_answer": _answer(paired_scores),
    }


def pair_up(shown: Demonstration) -> pd.DataFrame:
    """Return one row for each leak, sampler and model, with leaky and honest values of the scores shown."""
    keys = ["leak", "sampler", "model"]
    wide = shown.scores.pivot_table(index=keys, columns="metric", values=["leaky", "honest"], sort=False)
    titles = {leak.key: leak.title for leak in LEAKS}
    frame = wide.index.to_frame(index=False)
    frame.insert(1, "title", frame["leak"].map(titles))
    frame["sampler"] = frame["sampler"].replace("none", "no sampler")
    frame["model"] = [shown.titles.get(name, name) for name in frame["model"]]
    for metric in LEADING_METRICS:
        for side in ("leaky", "honest"):
            frame[f"{metric}_{side}"] = wide[side, metric].to_numpy(dtype=float)
    return frame


def _parts(paired_scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each leak with its rows: leaky value, honest value and inflation of each score, as text."""
    parts = []
    for leak in LEAKS:
        rows = []
        for row in paired_scores[paired_scores["leak"] == leak.key].to_dict("records"):
            figures: list[str] = []
            for metric in LEADING_METRICS:
                leaky, honest = row[f"{metric}_leaky"], row[f"{metric}_honest"]
                figures += [fixed(leaky), fixed(honest), signed(leaky - honest)]
            rows.append({"sampler": row["sampler"], "model": row["model"], "figures": figures})
        if rows:
            parts.append({"leak": leak, "rows": rows})
    return parts


def _answer(paired_scores: pd.DataFrame) -> str:
    """State in one sentence which leak inflates scores most."""
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
        f"Dumbbell plot of macro-F1 for {len(paired_scores)} pairs of a leaky and an honest "
        f"evaluation; the leak adds from {signed(gaps.min())} to {signed(gaps.max())}. "
        "The numbers are in the tables."
    )
    return embed_figure(leaks_figure(paired_scores), alt, leaks_figure(paired_scores, narrow=True))


@styled
def leaks_figure(paired_scores: pd.DataFrame, narrow: bool = False) -> Figure:
    """Draw macro-F1 with and without a leak: a hollow ring for the honest score, a square for the leaky one.

    `paired_scores` is the result of `pair_up`, grouped by leak; `narrow` is for phones.
    """
    names = [
        shorten(f"{sampler} · {model}", 52)
        for sampler, model in zip(paired_scores["sampler"], paired_scores["model"], strict=True)
    ]
    left = 14 if narrow else 26 + max(text_width(name, 9.6) for name in names)
    step = 44 if narrow else _STEP
    headings = paired_scores["leak"].nunique()
    inner = step * len(paired_scores) + _HEADING * headings
    right = 58
    figure, (axes,) = panels(NARROW if narrow else WIDE, inner + 78, (left, right, 8, 70))
    transform = axes.get_yaxis_transform()
    y, before = float(inner), None
    for name, row in zip(names, paired_scores.to_dict("records"), strict=True):
        if row["leak"] != before:
            y -= _HEADING
            start = 0 if narrow else -left / (WIDE - left - right)
            axes.text(start, y + 12, row["title"], transform=transform, weight="bold", va="center", color=INK)
            before = row["leak"]
        y -= step
        centre = y + (0.3 if narrow else 0.5) * step
        leaky, honest = row["macro_f1_leaky"], row["macro_f1_honest"]
        axes.plot([0, 1], [centre, centre], color=LINE, linewidth=0.8, zorder=1)
        axes.plot([honest, leaky], [centre, centre], color=LIGHT["vermillion"], linewidth=3.2, alpha=0.45)
        axes.plot(leaky, centre, "s", color=LIGHT["vermillion"], markersize=8)
        axes.plot(honest, centre, "o", markersize=9.5, mec=HEAT, mfc=ON_HEAT, mew=2)
        axes.text(1.02, centre, signed(leaky - honest), transform=transform, va="center")
        if narrow:
            axes.text(0, centre + 17, name, transform=transform, va="center", fontsize=10.5)
        else:
            x = -12 / (WIDE - left - right)
            axes.text(x, centre, name, transform=transform, ha="right", va="center", color=INK)
    axes.set(xlim=(0, 1), ylim=(0, inner), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("macro-F1; on the right, what the leak adds", color=MUTED)
    handles = [
        Line2D([], [], marker="o", linestyle="none", mec=HEAT, mfc=ON_HEAT, mew=2, ms=9.5, label="honest"),
        Line2D([], [], marker="s", linestyle="none", color=LIGHT["vermillion"], ms=8, label="leaky"),
    ]
    figure.legend(handles=handles, loc="lower left", ncols=2, borderaxespad=0, borderpad=0.2)
    return figure
