"""Every number of the page, against a few lines that read predictions.csv.gz and share no code with it.

On an invented run, or on the folder of a run of the default grid that SKINMNIST_RUN names.
"""

from __future__ import annotations

import base64
import csv
import html as markup
import io
import json
import os
import re
import zlib
from collections import Counter
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
    roc_curve,
)

NAMES = ["akiec", "bcc", "bkl", "df", "nv", "vasc", "mel"]
P = [f"p_{name}" for name in NAMES]
METRICS = ["macro_f1", "balanced_accuracy", "accuracy", "macro_auc", "recall_mel"]
CONTROL = "prior correction"
TITLES = {
    "svm": "Support vector machine (RBF)",
    "random_forest": "Random forest",
    "cnn": "Convolutional network",
}


@pytest.fixture(scope="module")
def folder(fake_run: Path) -> Path:
    return Path(os.environ.get("SKINMNIST_RUN", fake_run))


@pytest.fixture(scope="module")
def html(html: str, folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8") if "SKINMNIST_RUN" in os.environ else html


@pytest.fixture(scope="module")
def rows(folder: Path, html: str) -> pd.DataFrame:
    """Predictions as stored, and those of the control, which divides by the class counts of other folds."""
    stored = pd.read_csv(folder / "predictions.csv.gz", keep_default_na=False)
    plain = stored[stored["sampler"] == "none"]
    parts = [stored]
    for (_, fold), cell in plain.groupby(["model", "fold"]):
        counts = plain[(plain["model"] == "svm") & (plain["fold"] != fold)]["label"].value_counts()
        weighted = cell[P].to_numpy() / counts.reindex(range(7)).to_numpy()
        part = cell.assign(sampler=CONTROL, predicted=weighted.argmax(axis=1))
        part[P] = weighted / weighted.sum(axis=1, keepdims=True)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def by_fold(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    mixes = pd.read_csv(folder / "class_mix.csv", keep_default_na=False)
    mixes, records = dict(list(mixes.groupby(["sampler", "model", "fold"]))), []
    for (sampler, model, fold), cell in rows.groupby(["sampler", "model", "fold"]):
        y, told, p = cell["label"].to_numpy(), cell["predicted"].to_numpy(), cell[P].to_numpy()
        top, right = p.max(axis=1), p.argmax(axis=1) == y
        # The control at the natural prior is the model without a sampler.
        mix = mixes[sampler.replace(CONTROL, "none"), model, fold].set_index("class").loc[NAMES]
        natural = p * mix["natural"].to_numpy() / (1 if sampler == CONTROL else mix["trained"].to_numpy())
        natural = (natural / natural.sum(axis=1, keepdims=True)).round(12)
        # Forests answer in hundredths, so confidences do stand on edges: none may be off by a last bit.
        edges = np.arange(16) / 15
        bins = [(top > low) & (top <= high) for low, high in pairwise(edges)]
        records.append(
            {
                "sampler": sampler,
                "model": model,
                "fold": fold,
                "macro_f1": f1_score(y, told, average="macro"),
                "balanced_accuracy": balanced_accuracy_score(y, told),
                "accuracy": accuracy_score(y, told),
                "macro_auc": np.mean([roc_auc_score(y == c, p[:, c]) for c in range(7)]),
                "recall_mel": (told[y == 6] == 6).mean(),
                "log_loss": log_loss(y, p, labels=range(7)),
                "natural macro_auc": np.mean([roc_auc_score(y == c, natural[:, c]) for c in range(7)]),
                "natural log_loss": log_loss(y, natural, labels=range(7)),
                "brier": ((p - np.eye(7)[y]) ** 2).sum(axis=1).mean(),
                "ece": sum(abs(top[b].sum() - right[b].sum()) for b in bins) / len(y),
                **{f"at {level}": sensitivity(natural[:, 6], y == 6, level) for level in (0.8, 0.9, 0.95)},
                **{f"recall {c}": (told[y == c] == c).mean() for c in range(7)},
            }
        )
    return pd.DataFrame(records).set_index(["sampler", "model", "fold"])


def sensitivity(score: np.ndarray, ill: np.ndarray, specificity: float) -> float:
    thresholds = [*np.unique(score), np.inf]
    return max((score[ill] >= t).mean() for t in thresholds if (score[~ill] < t).mean() >= specificity - 1e-9)


def table(html: str, caption: str) -> list[tuple[str, list[str], list[str]]]:
    """Return the rows of a table: heading, cells as text, titles of the cells."""
    start = html.index(caption)
    body = html[html.index("<tbody>", start) : html.index("</tbody>", start)]
    found = []
    for row in re.findall(r"<tr.*?</tr>", body, flags=re.DOTALL):
        heading = plain(re.search(r"<th.*?</th>", row, flags=re.DOTALL)[0])
        cells = re.findall(r"<td[^>]*>.*?</td>", row, flags=re.DOTALL)
        titles = [re.search(r'title="([^"]*)"', cell.split(">")[0]) for cell in cells]
        found.append((heading, [plain(cell) for cell in cells], [t[1] if t else "" for t in titles]))
    return found


def plain(fragment: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", fragment).replace("(best)", "").split())


def pair_of(heading: str) -> tuple[str, str]:
    model = next(name for name, title in TITLES.items() if title in heading)
    sampler = heading[: heading.index(TITLES[model])].split(" on ")[0].strip()
    return sampler.replace("no sampler", "none"), model


def shows(text: str, pattern: str, *values: float, digits: int = 3) -> bool:
    """Whether a text has this pattern, # for a number, and these numbers, rounded: halves either way."""
    number = rf"([+−]?\d+\.\d{{{digits}}})"
    match = re.fullmatch(re.escape(pattern).replace(r"\#", number), text)
    told = [float(group.replace("−", "-")) for group in match.groups()] if match else []
    return told == pytest.approx(list(values), abs=0.5 * 10**-digits + 1e-9)


def test_leaderboard(html: str, by_fold: pd.DataFrame, folder: Path) -> None:
    timings = pd.read_csv(folder / "timings.csv", keep_default_na=False)
    timings["seconds"] = timings[["resample_seconds", "fit_seconds", "predict_seconds"]].sum(axis=1)
    pairs = timings.rename(columns={"peak_rss_mb": "megabytes"}).groupby(["sampler", "model"])
    costs = pd.DataFrame({"seconds": pairs["seconds"].mean(), "megabytes": pairs["megabytes"].max()})
    intervals = pd.read_csv(folder / "intervals.csv", keep_default_na=False)
    intervals["sampler"] = intervals["sampler"].replace("prior_correction", CONTROL)
    ends = intervals.set_index(["sampler", "model", "metric"])
    shown = table(html, "in descending order of macro-F1; below it the 95 % interval over lesions")
    assert len(shown) == 9 + 3 + 1
    means = []
    for heading, cells, titles in shown[:-1]:
        scores = by_fold.loc[pair_of(heading)]
        means.append(scores["macro_f1"].mean())
        for metric, cell, title in zip(METRICS, cells, titles, strict=False):
            low, high = ends.loc[(*pair_of(heading), metric), ["low", "high"]]
            assert shows(cell, "# #–#", scores[metric].mean(), low, high)
            assert shows(title, "± # over folds", scores[metric].std())
        # Prior correction trains nothing of its own: its cost is that of the same model without a sampler.
        cost = costs.loc[
            ("none" if pair_of(heading)[0] == CONTROL else pair_of(heading)[0], pair_of(heading)[1])
        ]
        assert cells[5:] == [f"{cost['seconds']:.1f}", f"{cost['megabytes']:,.0f}"]
    assert means == sorted(means, reverse=True)
    assert shown[-1][0] == "always nv majority baseline"


def judged(gaps: np.ndarray, tests: int) -> tuple[float, float, float, float, int, str]:
    """Difference, interval and p of one of so many tests, their number, and the verdict."""
    scale = np.sqrt(gaps.var(ddof=1) * (1 / 5 + 1 / 4))
    reach = stats.t.isf(0.025 / tests, 4) * scale
    p = min(1, tests * 2 * stats.t.sf(abs(gaps.mean()) / scale, 4))
    inside = stats.t(4, gaps.mean(), scale).cdf([-0.01, 0.01])
    words = "better" if gaps.mean() > reach else "worse" if gaps.mean() < -reach else "undecided"
    words = "practically equal" if inside[1] - inside[0] >= 0.95 else words
    return gaps.mean(), gaps.mean() - reach, gaps.mean() + reach, p, tests, words


def test_verdicts_and_all_comparisons(html: str, by_fold: pd.DataFrame) -> None:
    expected = {}
    for metric, samplers in product(METRICS, (("RandomOverSampler", "SMOTE"), (CONTROL,))):
        pairs = list(product(samplers, TITLES))
        for sampler, model in pairs:
            gaps = (by_fold.loc[(sampler, model)] - by_fold.loc[("none", model)])[metric].to_numpy()
            expected[sampler, model, metric] = judged(gaps, len(pairs))
    shown = table(html, "All verdicts at a glance")
    assert len(shown) == 9
    for heading, cells, titles in shown:
        for metric, cell, title in zip(METRICS, cells, titles, strict=True):
            gap, low, high, p, _, words = expected[*pair_of(heading), metric]
            mark = {"better": "▲ ", "worse": "▼ "}.get(words, "")
            assert shows(cell, f"{mark}# {words}", gap)
            p_text, more = ("&lt; 0.001", []) if p < 0.001 else ("= #", [p])
            assert shows(title, f"# to #, p {p_text}", low, high, *more)
    labels = ["Macro-F1", "Balanced accuracy", "Accuracy", "Macro-AUC", "Melanoma recall"]
    names = dict(zip(labels, METRICS, strict=True))
    rows = table(html, "Paired by fold. Interval and p hold")
    rows = [row for row in rows if row[1][0] == "no sampler" and row[1][1].endswith(" as trained")]
    assert len(rows) == 9 * 5
    for heading, cells, _ in rows:
        metric = names[cells[1].removesuffix(" as trained")]
        gap, low, high, p, tests, words = expected[*pair_of(heading), metric]
        assert (cells[5], cells[7]) == (words, f"{tests} 5 folds")
        assert shows(cells[2], "#", gap)
        assert shows(cells[3], "# to #", low, high)
        assert cells[6] == "&lt; 0.001" if p < 0.001 else shows(cells[6], "#", p)


def test_the_verdicts_beside_the_control(html: str, by_fold: pd.DataFrame) -> None:
    section = html[html.index('id="prior-correction"') :]
    claims = re.findall(r"<li>.*?</li>", section[: section.index("</ul>")], flags=re.DOTALL)
    assert len(claims) == 3
    for claim in map(plain, claims):
        (model,) = [name for name, title in TITLES.items() if title in claim]
        (sampler,) = [name for name in ("RandomOverSampler", "SMOTE") if name in claim]
        for metric, label in (("macro_f1", "macro-F1"), ("balanced_accuracy", "balanced accuracy")):
            gaps = (by_fold.loc[(sampler, model)] - by_fold.loc[(CONTROL, model)])[metric].to_numpy()
            gap, low, high, _, _, words = judged(gaps, 6)
            (found,) = re.findall(rf"{words} for .*?{label} \((.*?)\)", claim)
            assert shows(found, "# [#, #]", gap, low, high)


def test_the_control_beside_none_and_the_best_sampler(html: str, by_fold: pd.DataFrame) -> None:
    shown = table(html, "For each model: without a sampler, with prior correction")
    assert [pair_of(heading)[0] for heading, _, _ in shown[0::3]] == ["none"] * 3
    assert [pair_of(heading)[0] for heading, _, _ in shown[1::3]] == [CONTROL] * 3
    means = by_fold["macro_f1"].groupby(level=[0, 1]).mean()
    for heading, cells, _ in shown[2::3]:
        sampler, model = pair_of(heading)
        assert means[sampler, model] == max(means["SMOTE", model], means["RandomOverSampler", model])
        assert shows(cells[0].split()[0], "#", means[sampler, model])


@pytest.mark.parametrize(
    ("caption", "columns", "n_rows"),
    [
        ("Sensitivity for melanoma at three specificities", ["at 0.8", "at 0.9", "at 0.95"], 9),
        ("Scores of the probabilities, mean", ["log_loss", "brier", "ece"], 12),
    ],
)
def test_means_with_spreads(
    html: str, by_fold: pd.DataFrame, caption: str, columns: list[str], n_rows: int
) -> None:
    shown = [row for row in table(html, caption) if "class frequencies" not in row[0]]
    assert len(shown) == n_rows
    for heading, cells, _ in shown:
        scores = by_fold.loc[pair_of(heading)]
        for cell, column in zip(cells, columns, strict=True):
            assert shows(cell, "# ± #", scores[column].mean(), scores[column].std())


def test_scores_at_the_natural_prior(html: str, by_fold: pd.DataFrame) -> None:
    shown = table(html, "Ranking and calibration at the class frequencies of the training folds")
    assert len(shown) == 9 + 1
    for heading, cells, _ in shown[:-1]:
        scores = by_fold.loc[pair_of(heading)]
        for cell, column in ((cells[0], "natural macro_auc"), (cells[2], "natural log_loss")):
            assert shows(cell, "# ± #", scores[column].mean(), scores[column].std())


def test_recalls(html: str, by_fold: pd.DataFrame) -> None:
    for heading, cells, _ in table(html, "Recall of each class, mean over the folds"):
        scores = by_fold.loc[pair_of(heading)]
        for code, cell in enumerate(cells):
            assert shows(cell, "#", scores[f"recall {code}"].mean(), digits=2)


def test_the_answer(html: str, by_fold: pd.DataFrame) -> None:
    means = by_fold.drop(CONTROL)[["macro_f1", "recall_mel", "accuracy"]].groupby(level=[0, 1]).mean()
    best, most = means.loc[means["macro_f1"].idxmax()], means.loc[means["recall_mel"].idxmax()]
    words = plain(html[html.index('<p class="answer">') :].partition("</p>")[0])
    assert f"({best['macro_f1']:.3f})" in words
    assert f"misses {in_ten(1 - best['recall_mel'])} melanomas." in words
    if in_ten(1 - best["recall_mel"]) != in_ten(1 - most["recall_mel"]):
        points = round(100 * (most["accuracy"] - best["accuracy"]))
        side = "lower" if points < 0 else "higher"
        cost = f"with accuracy {abs(points)} point{'s' * (abs(points) != 1)} {side}"
        assert words.endswith(
            f"misses {in_ten(1 - most['recall_mel'])}, {cost if points else 'with the same accuracy'}."
        )


def in_ten(share: float) -> str:
    return f"{round(10 * share)} of 10" if 0.05 <= share < 0.95 else f"{round(100 * share)} of 100"


def test_what_finding_more_costs(html: str, rows: pd.DataFrame, by_fold: pd.DataFrame) -> None:
    shown = table(html, "Pairs in descending order of recall, as trained")
    assert len(shown) == 9
    for heading, cells, _ in shown:
        pair = pair_of(heading)
        cell = rows[(rows["sampler"] == pair[0]) & (rows["model"] == pair[1])]
        ill, called = cell["label"] == 6, cell["predicted"] == 6
        assert cells[0] == f"{100 * (ill & called).sum() / ill.sum():.0f} of 100"
        assert shows(cells[1], "#", (called & ~ill).sum() / (ill & called).sum(), digits=1)
        assert shows(cells[2], "#", by_fold.loc[pair]["accuracy"].mean())


def test_values_where_one_points(html: str, rows: pd.DataFrame, by_fold: pd.DataFrame) -> None:
    """Of every matrix all counts, of the first figure all decisions as trained, and every recall."""
    values = [json.loads(markup.unescape(found)) for found in re.findall(r'data-values="([^"]*)"', html)]
    assert all(0 <= x <= 100 and 0 <= y <= 100 for figure in values for x, y, _ in figure)
    texts = Counter(text for figure in values for _, _, text in figure)
    expected: Counter[str] = Counter()
    for _, cell in rows[rows["sampler"] != CONTROL].groupby(["sampler", "model"]):
        totals = cell["label"].value_counts()
        for (true, named), count in cell.groupby(["label", "predicted"]).size().items():
            expected[f"{NAMES[true]} called {NAMES[named]}: {count:,} of {totals[true]:,}"] += 1
    assert {text: count for text, count in texts.items() if " called " in text} == expected
    means = by_fold.drop(CONTROL).groupby(level=[0, 1]).mean()
    for start, pattern, columns, digits in (
        ("as trained: accuracy", "accuracy #, balanced accuracy #", ["accuracy", "balanced_accuracy"], 3),
        *((f"{name}: 0.", "#", [f"recall {code}"], 2) for code, name in enumerate(NAMES)),
    ):
        shown = [
            text.partition(": ")[2] for text in texts.elements() if start in text or f"{start[:-2]}1." in text
        ]
        left = [tuple(row) for row in means[columns].to_numpy()]
        shown = [text for text in shown if re.fullmatch(r"(accuracy )?[01]\.\d+(, balanced.*)?", text)]
        assert len(shown) >= len(left)
        assert all(any(shows(text, pattern, *row, digits=digits) for text in shown) for row in left)


def test_areas_under_the_lines(html: str, rows: pd.DataFrame, by_fold: pd.DataFrame) -> None:
    means = by_fold.drop(CONTROL)["macro_f1"].groupby(level=[0, 1]).mean()
    for code, name in enumerate(NAMES):
        for what, area, room in (
            ("ROC curves", roc_auc_score, 0.012),
            ("Precision over recall", average_precision_score, 0.06),
        ):
            (alt,) = re.findall(rf'alt="{what} of class {name}, [^"]*areas under them: ([^"]*)\."', html)
            for model, title in TITLES.items():
                sampler = means.xs(model, level=1).idxmax()
                pair = rows[(rows["sampler"] == sampler) & (rows["model"] == model)]
                areas = [area(fold["label"] == code, fold[P[code]]) for _, fold in pair.groupby("fold")]
                told = float(re.search(rf"{re.escape(title)} (\d\.\d\d)", alt)[1])
                assert told == pytest.approx(np.mean(areas), abs=room)


def test_the_first_figure(html: str, folder: Path) -> None:
    """Lines and marks are those that predictions and class mixes give, by Bayes' rule and scikit-learn."""
    stored = pd.read_csv(folder / "predictions.csv.gz", keep_default_na=False)
    mixes = pd.read_csv(folder / "class_mix.csv", keep_default_na=False)
    drawn = pd.read_csv(folder / "tradeoff.csv", keep_default_na=False, na_values=[""])
    points: dict[tuple[str, ...], list[tuple[np.ndarray, np.ndarray]]] = {}
    for (sampler, model, fold), cell in stored.groupby(["sampler", "model", "fold"]):
        of_cell = (mixes["sampler"] == sampler) & (mixes["model"] == model) & (mixes["fold"] == fold)
        mix = mixes[of_cell].set_index("class").loc[NAMES]
        natural, y = mix["natural"].to_numpy(), cell["label"].to_numpy()
        p = cell[P].to_numpy() * (natural / mix["trained"].to_numpy())
        moved = [(p / natural**e).round(12).argmax(axis=1) for e in np.arange(41) * 0.05]
        decided = [*moved, cell["predicted"].to_numpy()]
        all_classes = np.array([(accuracy_score(y, d), balanced_accuracy_score(y, d)) for d in decided])
        false, true, _ = roc_curve(y == 6, (p[:, 6] / p.sum(axis=1)).round(12), drop_intermediate=False)
        grid = np.linspace(0, 1, 201)[::2]
        trained = decided[-1] == 6
        for plane, mark, x, y_ in (
            ("accuracy", "curve", *all_classes[:-1].T),
            ("accuracy", "as_trained", *all_classes[-1:].T),
            ("specificity_mel", "curve", 1 - grid, np.interp(grid, false, true)),
            ("specificity_mel", "as_trained", [(~trained[y != 6]).mean()], [trained[y == 6].mean()]),
        ):
            points.setdefault((sampler, model, plane, mark), []).append((x, y_))
    assert len(points) == 9 * 4
    for (sampler, model, plane, mark), of_folds in points.items():
        chosen = (drawn["sampler"] == sampler) & (drawn["model"] == model)
        shown = drawn[chosen & (drawn["x"] == plane) & (drawn["mark"] == mark)]
        x, y = np.array(of_folds).transpose(1, 0, 2)
        columns = {"x_mean": x.mean(axis=0), "y_mean": y.mean(axis=0), "cells": len(x)}
        columns |= {"x_sd": x.std(axis=0, ddof=1), "y_sd": y.std(axis=0, ddof=1)}
        for column, expected in columns.items():
            np.testing.assert_allclose(shown[column], expected, atol=1e-9, err_msg=f"{sampler} {mark}")


def numbers(text: str) -> list[str]:
    return sorted(number.replace(",", "") for number in re.findall(r"\d[\d,]*\.?\d*", text))


def exports(html: str) -> list[dict[str, str]]:
    found = re.search(r'<script type="text/plain" id="exports">(.*?)</script>', html, flags=re.DOTALL)
    return json.loads(zlib.decompress(base64.b64decode(found[1]), wbits=31))


def test_every_number_of_every_table_is_in_its_exports(html: str) -> None:
    main = html[html.index("<main") : html.index("</main>")]
    tables = re.findall(r"<table.*?</table>", main, flags=re.DOTALL)
    assert len(tables) == len(exports(html)) > 10
    for shown, formats in zip(tables, exports(html), strict=True):
        bodies = re.findall(r"<tbody.*?</tbody>", shown, flags=re.DOTALL)
        expected = numbers(markup.unescape(plain(" ".join(bodies))))
        rows = list(csv.reader(io.StringIO(formats["csv"])))[1:]
        assert numbers(" ".join(" ".join(row) for row in rows)) == expected
        lines = formats["markdown"].split("\n\n")[0].splitlines()[2:]
        assert numbers(" ".join(lines)) == expected
        latex = formats["latex"]
        assert numbers(latex[latex.index("\\midrule") : latex.index("\\bottomrule")]) == expected


def test_the_exported_leaderboard(html: str, by_fold: pd.DataFrame, folder: Path) -> None:
    (text,) = [
        one["csv"] for one in exports(html) if "Seconds per fold" in one["csv"] and "always nv" in one["csv"]
    ]
    board = pd.read_csv(io.StringIO(text), keep_default_na=False)
    assert len(board) == 9 + 3 + 1
    ends = pd.read_csv(folder / "intervals.csv", keep_default_na=False)
    ends["sampler"] = ends["sampler"].replace("prior_correction", CONTROL)
    ends = ends.set_index(["sampler", "model", "metric"])
    labels = ["Macro-F1", "Balanced accuracy", "Accuracy", "Macro-AUC", "Melanoma recall"]
    for row in board.to_dict("records")[:-1]:
        pair = pair_of(f"{row['Sampler']} {row['Model']}")
        for label, metric in zip(labels, METRICS, strict=True):
            expected = [by_fold.loc[pair][metric].mean(), *ends.loc[(*pair, metric), ["low", "high"]]]
            found = [float(row[name]) for name in (label, f"{label}, low", f"{label}, high")]
            assert found == pytest.approx(expected, abs=6e-4)


def test_the_exported_comparisons(html: str, folder: Path) -> None:
    """All of comparisons.csv, whose rows other tests compute from the predictions."""
    (text,) = [one["csv"] for one in exports(html) if "Chances" in one["csv"]]
    shown, stored = pd.read_csv(io.StringIO(text)), pd.read_csv(folder / "comparisons.csv")
    assert shown["Verdict"].to_list() == stored["verdict"].to_list()
    for column, own in (("Difference", "difference"), ("95 % interval, low", "low"), ("Tests", "tests")):
        assert shown[column].to_numpy(float) == pytest.approx(
            stored[own].to_numpy(float), abs=6e-4, nan_ok=True
        )


def test_the_paragraph_of_methods(html: str, folder: Path) -> None:
    rows = pd.read_csv(folder / "predictions.csv.gz", keep_default_na=False)
    once = rows[(rows["sampler"] == "none") & (rows["model"] == "svm")]
    counts = once["label"].value_counts()
    text = " ".join(html[html.index('<blockquote class="methods"') : html.index("</blockquote>")].split())
    assert f"{len(once):,} pictures of" in text
    assert f"in {len(counts)} classes" in text
    assert f"largest class has {counts.max():,} pictures and the smallest {counts.min():,}" in text
    assert f"{once['fold'].nunique()}-fold cross-validation" in text
