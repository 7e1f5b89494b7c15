"""The figure of leaks: what a leak adds to a score, as a dumbbell."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinmnist.reporting.format import shorten, signed
from skinmnist.reporting.sections.scores import NARROW, WIDE
from skinmnist.reporting.theme import HEAT, INK, LIGHT, LINE, MUTED, ON_HEAT, panels, styled, text_width

_STEP, _HEADING = 30, 34


@styled
def leaks_figure(paired_scores: pd.DataFrame, narrow: bool = False) -> Figure:
    """Draw macro-F1 with and without a leak: a hollow ring for the honest twin, a square for the leaky one.

    Parameters
    ----------
    twins : DataFrame
        Of `leaks_view.pair_up`, rows of one leak together.
    narrow : bool
        For a phone: names above the marks instead of beside them.
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
        leaky, fair = row["macro_f1_leaky"], row["macro_f1_honest"]
        axes.plot([0, 1], [centre, centre], color=LINE, linewidth=0.8, zorder=1)
        axes.plot([fair, leaky], [centre, centre], color=LIGHT["vermillion"], linewidth=3.2, alpha=0.45)
        axes.plot(leaky, centre, "s", color=LIGHT["vermillion"], markersize=8)
        axes.plot(fair, centre, "o", markersize=9.5, mec=HEAT, mfc=ON_HEAT, mew=2)
        axes.text(1.02, centre, signed(leaky - fair), transform=transform, va="center")
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
