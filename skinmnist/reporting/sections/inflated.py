"""Inflated scores beside honest ones: deliberate leaks, and the published claims of a preset."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.significance import AS_TRAINED, exchanged
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.leakage.leaks import LEADING_METRICS, LEAKS, Demonstration, read_leaks
from skinmnist.presets.claims import Claims, read_claims
from skinmnist.reporting.format import LABELS, evidence, fixed, model_title, shorten, signed
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
    embed_strip,
    panels,
    styled,
    text_width,
)

_STEP, _HEADING = 30, 34


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of both sections."""
    return _leaks_context(analysis) | _claims_context(analysis)


def _leaks_context(analysis: Analysis) -> dict[str, Any]:
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
        "leaks_answer": _leaks_answer(paired_scores),
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


def _leaks_answer(paired_scores: pd.DataFrame) -> str:
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


_NAMES = {
    "accuracy": "Accuracy",
    "precision": "Precision (micro, at 0.5)",
    "recall": "Recall (micro, at 0.5)",
    "macro_f1": "Macro-F1",
    "loss": "Cross-entropy",
}

#: The scores on which variants are compared with the page's own network.
_PAIRED = ("accuracy", "macro_f1")


def _claims_context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of a preset; ``claims`` is None if the run is not a preset run."""
    info = analysis.record.info
    found = read_claims(analysis.record.folder, info)
    if found is None:
        return {"claims": None}
    return {
        "claims": found.about | {"sampler": found.scores["sampler"].iloc[0]},
        "claim_rows": _rows(found),
        "claims_answer": _claims_answer(found),
        "claim_pairs": paired_words(info, analysis.comparisons, found.about["networks"]),
        "augmented": _pictures(found),
    }


def paired_words(info: RunInfo, comparisons: pd.DataFrame, networks: Collection[str]) -> list[str]:
    """Describe what each variant of a page's network changes on the same folds of the honest run.

    There is one sentence for each sampler, variant and score of `_PAIRED`. Differences are the variant's
    score minus that of the page's network, which is the first of `networks`.
    """
    own, *variants = networks
    rows = comparisons[
        (comparisons["question"] == "model")
        & (comparisons["rule"] == AS_TRAINED)
        & (comparisons["model"] == own)
        & comparisons["against"].isin(variants)
        & comparisons["metric"].isin(_PAIRED)
    ]
    rows = rows.sort_values(["sampler", "against"], kind="stable")
    return [_pair_words(info, row) for row in exchanged(rows).to_dict("records")]


def _pair_words(info: RunInfo, row: Any) -> str:
    sampler = "no sampler" if row["sampler"] == "none" else row["sampler"]
    return (
        f"{model_title(info, row['model'])} against {model_title(info, row['against'])}, {sampler}: "
        f"{_NAMES[row['metric']]} {signed(row['difference'])}, {row['verdict']} ({evidence(row)})"
    )


def _rows(found: Claims) -> list[dict[str, str]]:
    titles = found.about["networks"]
    return [
        {
            "network": titles.get(row["network"], row["network"]),
            "metric": _NAMES[row["metric"]],
            **{name: _text(row[name]) for name in ("claimed", "as_published", "honest")},
        }
        for row in found.scores.to_dict("records")
    ]


def _text(value: float) -> str:
    return "" if math.isnan(value) else fixed(value)


def _claims_answer(found: Claims) -> str:
    """Describe the gaps between the claim, the page's protocol and the honest one in the table's numbers."""
    parts = []
    for row in found.scores[found.scores["metric"] == "accuracy"].to_dict("records"):
        title = found.about["networks"].get(row["network"], row["network"])
        if not math.isnan(row["claimed"]):
            parts.append(f"The page claims an accuracy of {fixed(row['claimed'])}.")
        published, honest = (_accuracy(row[name]) for name in ("as_published", "honest"))
        parts.append(f"{title}: as published {published}, in the honest protocol {honest}.")
    if found.about["differences"]:
        parts.append("What differs between the two: " + "; ".join(found.about["differences"]) + ".")
    else:
        parts.append("The page's protocol has none of the leaks that are checked for, so the two agree.")
    return " ".join(parts)


def _accuracy(value: float) -> str:
    return "has not been finished" if math.isnan(value) else f"an accuracy of {fixed(value)}"


def _pictures(found: Claims) -> list[Embedded]:
    """Return one strip per picture: the original first, then its transformed versions."""
    if found.augmented is None:
        return []
    alt = "A training picture, and behind it the same changed at random, as training sees it"
    return [embed_strip(versions, alt) for versions in found.augmented]
