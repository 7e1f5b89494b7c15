"""The figures behind single scores: ROC, precision and recall, the worth of treating, and reliability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from skinmnist.reporting.sections.scores import MULTIPLE, marker_style, model_colour, sampler_legend
from skinmnist.reporting.theme import INK, MUTED, panels, styled

#: The side of a small panel, in CSS pixels.
SMALL = 206
#: Bins with fewer pictures say more about luck than about confidence.
FEWEST_PICTURES = 20
_DASHES: dict[str, Any] = {"linewidth": 1.1, "linestyle": (0, (4, 3))}


@styled
def roc_figure(curves: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Draw the ROC curve of one class, one line for each model.

    Parameters
    ----------
    curves : DataFrame
        The rows of `analysis.curves.roc_curves` of one class, one pair for each model.
    models : sequence of str
    """
    figure, (axes,) = panels(SMALL, SMALL, (38, 8, 8, 40))
    axes.plot([0, 1], [0, 1], color=MUTED, **_DASHES)
    _draw(axes, curves, models, "false_positive_rate", "true_positive_rate")
    axes.set(xlabel="false alarms", ylabel="found")
    return figure


@styled
def precision_recall_figure(curves: pd.DataFrame, models: Sequence[str], share: float) -> Figure:
    """Draw precision over recall of one class, one line for each model.

    Parameters
    ----------
    curves : DataFrame
        As of `roc_figure`, of `analysis.curves.precision_recall_curves`.
    models : sequence of str
    share : float
        Of the class among the pictures: the precision of guessing.
    """
    figure, (axes,) = panels(SMALL, SMALL, (38, 8, 8, 40))
    axes.axhline(share, color=MUTED, **_DASHES)
    _draw(axes, curves, models, "recall", "precision")
    axes.set(xlabel="found", ylabel="precision")
    return figure


def _draw(axes: Any, curves: pd.DataFrame, models: Sequence[str], x: str, y: str) -> None:
    for model, rows in curves.groupby("model", sort=False):
        # Every other point: finer than a screen shows.
        axes.plot(rows[x].to_numpy()[::2], rows[y].to_numpy()[::2], color=model_colour(models, str(model)))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(axis="both")


@styled
def decision_figure(
    curves: pd.DataFrame, samplers: Sequence[str], colour: str, limits: tuple[float, float]
) -> Figure:
    """Draw the net benefit of treating by a model, one line for each sampler, with the two blind rules.

    Parameters
    ----------
    curves : DataFrame
        The rows of `analysis.curves.decision_curves` of one model.
    samplers : sequence of str
    colour : str
        The model's.
    limits : (float, float)
        The vertical axis, shared by the figures of all models.
    """
    shown = [name for name in samplers if name in set(curves["sampler"])]
    legend = 17 * -(-(len(shown) + 2) // 2)
    figure, (axes,) = panels(MULTIPLE, MULTIPLE + legend, (52, 10, 10, 48 + legend))
    blind = curves[curves["sampler"] == shown[0]]
    rules = [
        *axes.plot(blind["threshold"], blind["treat_all"], color=MUTED, label="treat all", **_DASHES),
        axes.axhline(0, color=INK, linewidth=1.1, label="treat none"),
    ]
    for place, sampler in enumerate(shown):
        rows = curves[curves["sampler"] == sampler]
        x, y = rows["threshold"], rows["net_benefit"]
        axes.plot(x, y, color=colour, linewidth=1.2, alpha=0.8)
        some = slice(3 + 2 * place, None, 9)
        axes.plot(x.iloc[some], y.iloc[some], **marker_style(samplers, sampler, colour, 5.5))
    axes.set(xlim=(0, 0.51), ylim=limits, xlabel="threshold probability", ylabel="net benefit per picture")
    axes.locator_params(nbins=5)
    axes.grid(axis="both")
    sampler_legend(figure, shown, samplers, colour, rules)
    return figure


@styled
def reliability_figure(bins: pd.DataFrame, samplers: Sequence[str], colour: str) -> Figure:
    """Draw how often a model is right where it is so and so sure, with one line for each sampler.

    Parameters
    ----------
    bins : DataFrame
        The rows of `analysis.curves.reliability_bins` of one model.
    samplers : sequence of str
    colour : str
        The model's.
    """
    shown = [name for name in samplers if name in set(bins["sampler"])]
    legend = 17 * -(-len(shown) // 2)
    # Below the diagram, how many pictures a bin holds: a line that wanders off may rest on few.
    figure, (axes,) = panels(MULTIPLE, MULTIPLE + 52 + legend, (44, 12, 10, 100 + legend))
    low = 48 + legend
    below = figure.add_axes(
        (44 / MULTIPLE, low / figure.bbox.height, (MULTIPLE - 56) / MULTIPLE, 40 / figure.bbox.height)
    )
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for sampler in shown:
        rows = bins[bins["sampler"] == sampler]
        style = marker_style(samplers, sampler, colour, 5.5)
        middle = (rows["low"] + rows["high"]) / 2
        share = rows["pictures"] / rows["pictures"].sum()
        below.plot(middle, share, color=colour, linewidth=1, alpha=0.7)
        below.plot(middle, share, **style | {"markersize": 3, "markeredgewidth": 1})
        rows = rows[rows["pictures"] >= FEWEST_PICTURES]
        axes.plot(rows["confidence"], rows["accuracy"], color=colour, linewidth=1.2, alpha=0.7)
        axes.plot(rows["confidence"], rows["accuracy"], **style)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="share that is right")
    axes.tick_params(labelbottom=False)
    axes.grid(axis="both")
    below.set(xlim=(-0.02, 1.02), xlabel="confidence", ylabel="pictures", yticks=[])
    below.set_ylim(bottom=0)
    below.spines["left"].set_visible(False)
    sampler_legend(figure, shown, samplers, colour)
    return figure
