"""Every number of the page, against a few lines that read predictions.csv.gz and share no code with it.

On an invented run, or on the folder of the run that SKINMNIST_RUN names; see recomputed.py.
"""

from __future__ import annotations

import base64
import csv
import html as markup
import io
import json
import re
import zlib
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from recomputed import (
    CONTROL,
    LABELS,
    METRICS,
    NAMES,
    NUMBER,
    OTHERS,
    PAIRS,
    TITLES,
    P,
    beside,
    judged,
    number,
    pair_of,
    plain,
    shows,
    table,
)
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    roc_auc_score,
    roc_curve,
)

against_none = pytest.mark.skipif(not OTHERS, reason="the run has no sampler to compare with none")


def test_leaderboard(page: str, by_fold: pd.DataFrame, of_lesions: pd.DataFrame | None, folder: Path) -> None:
    timings = pd.read_csv(folder / "timings.csv", keep_default_na=False)
    timings["seconds"] = timings.filter(like="_seconds").sum(axis=1)
    pairs = timings.rename(columns={"peak_rss_mb": "megabytes"}).groupby(["sampler", "model"])
    costs = pd.DataFrame({"seconds": pairs["seconds"].mean(), "megabytes": pairs["megabytes"].max()})
    intervals = pd.read_csv(folder / "intervals.csv", keep_default_na=False)
    intervals["sampler"] = intervals["sampler"].replace("prior_correction", CONTROL)
    ends = intervals.set_index(["sampler", "model", "metric"])
    shown = table(page, "Mean over the held-out folds, in descending order of macro-F1")
    assert len(shown) == PAIRS + len(TITLES) + 1
    means = []
    for heading, cells, titles in shown[:-1]:
        scores = by_fold.loc[pair_of(heading)]
        means.append(scores["macro_f1"].mean())
        for metric, cell, title in zip(METRICS, cells, titles, strict=False):
            low, high = ends.loc[(*pair_of(heading), metric), ["low", "high"]]
            lesion = beside(of_lesions, pair_of(heading), metric)
            assert shows(cell, "# " + "# " * len(lesion) + "#–#", scores[metric].mean(), *lesion, low, high)
            assert shows(title, "± # over folds", scores[metric].std())
        # Prior correction trains nothing of its own: its cost is that of the same model without a sampler.
        cost = costs.loc[
            ("none" if pair_of(heading)[0] == CONTROL else pair_of(heading)[0], pair_of(heading)[1])
        ]
        assert cells[-2:] == [f"{cost['seconds']:.1f}", f"{cost['megabytes']:,.0f}"]
    assert means == sorted(means, reverse=True)
    assert shown[-1][0] == "always nv majority baseline"


@against_none
def test_verdicts_and_all_comparisons(page: str, by_fold: pd.DataFrame) -> None:
    expected, n_folds = {}, len(by_fold.index.levels[2])
    for metric, samplers in product(METRICS, (OTHERS, (CONTROL,))):
        pairs = list(product(samplers, TITLES))
        for sampler, model in pairs:
            gaps = (by_fold.loc[(sampler, model)] - by_fold.loc[("none", model)])[metric].to_numpy()
            expected[sampler, model, metric] = judged(gaps, len(pairs))
    shown = table(page, "All verdicts at a glance")
    assert len(shown) == len(expected) / len(METRICS)
    for heading, cells, titles in shown:
        for metric, cell, title in zip(METRICS, cells, titles, strict=True):
            gap, low, high, p, _, words = expected[*pair_of(heading), metric]
            mark = {"better": "▲ ", "worse": "▼ "}.get(words, "")
            assert shows(cell, f"{mark}# {words}", gap)
            p_text, more = ("&lt; 0.001", []) if p < 0.001 else ("= #", [p])
            assert shows(title, f"# to #, p {p_text}", low, high, *more)
    labels = ["Macro-F1", "Balanced accuracy", "Accuracy", "Macro-AUC", "Melanoma recall"]
    names = dict(zip(labels, METRICS, strict=True))
    rows = table(page, "Paired by fold; interval and p hold")
    rows = [row for row in rows if row[1][0] == "no sampler" and row[1][1].endswith(" as trained")]
    assert len(rows) == len(expected)
    for heading, cells, _ in rows:
        metric = names[cells[1].removesuffix(" as trained")]
        gap, low, high, p, tests, words = expected[*pair_of(heading), metric]
        assert (cells[5], cells[7]) == (words, f"{tests} {n_folds} folds")
        assert shows(cells[2], "#", gap)
        assert shows(cells[3], "# to #", low, high)
        assert cells[6] == "&lt; 0.001" if p < 0.001 else shows(cells[6], "#", p)


@against_none
def test_effects_on_equal_terms(page: str, expected_comparisons: pd.DataFrame) -> None:
    """Ranking, decisions as trained and decisions at equal points: difference, verdict, interval, chance."""
    measures = [
        ("natural_prior", "macro_auc"),
        ("as_trained", "macro_f1"),
        ("as_trained", "balanced_accuracy"),
        ("tuned_macro_f1", "macro_f1"),
        ("tuned_balanced_accuracy", "balanced_accuracy"),
    ]
    expected = expected_comparisons[expected_comparisons["question"] == "sampler"]
    expected = expected.set_index(["sampler", "model", "rule", "metric"])
    shown = table(page, "Differences from the same model without a sampler: the verdict")
    assert len(shown) == len(OTHERS) * len(TITLES)
    pattern = rf"{NUMBER} ([a-z ]+?) {NUMBER} to {NUMBER} (\d+) % (\w+) [±+−]0\.01"
    for heading, cells, _ in shown:
        for measure, cell in zip(measures, cells, strict=True):
            row = expected.loc[(*pair_of(heading.partition(":")[0]), *measure)]
            difference, verdict, low, high, chance, where = re.fullmatch(pattern, cell).groups()
            assert verdict == row["verdict"]
            assert shows(f"{difference} {low} {high}", "# # #", row["difference"], row["low"], row["high"])
            side = {"within": "equivalent", "above": "better", "below": "worse"}[where]
            assert row[side] == max(row[name] for name in ("worse", "equivalent", "better"))
            assert float(chance) == pytest.approx(100 * row[side], abs=0.5 + 1e-6)


def test_what_the_families_can_show(
    page: str, by_fold: pd.DataFrame, expected_comparisons: pd.DataFrame
) -> None:
    """The median half-width of intervals now, and with three repeats of the same spread."""
    kinds = {
        "samplers against no sampler": ("sampler", "none"),
        "models": ("model", None),
        "prior correction against no sampler": ("control", "none"),
        "samplers against prior correction": ("control", CONTROL),
    }
    rules = {
        "as trained": "as_trained",
        "at the natural prior": "natural_prior",
        "tuned for macro-F1": "tuned_macro_f1",
        "tuned for balanced accuracy": "tuned_balanced_accuracy",
    }
    shown = table(page, "Half of the intervals of a family")
    families = expected_comparisons[["question", "rule", "metric"]].drop_duplicates()
    controls = expected_comparisons.query("question == 'control'")[["against", "metric"]].drop_duplicates()
    assert len(shown) == (families["question"] != "control").sum() + len(controls)
    k = len(by_fold.index.levels[2])
    for heading, cells, _ in shown:
        question, against = kinds[heading]
        rows = expected_comparisons[expected_comparisons["question"] == question]
        rows = rows[(rows["against"] == against) | (against is None)]
        rows = rows[(rows["rule"] == rules[cells[1]]) & (rows["metric"] == METRICS[LABELS.index(cells[0])])]
        assert cells[2] == str(len(rows))
        half, tail = np.median((rows["high"] - rows["low"]) / 2), 0.025 / len(rows)
        now, then = (stats.t.isf(tail, n - 1) * np.sqrt(1 / n + 1 / (k - 1)) for n in (k, 3 * k))
        assert shows(cells[3], "#", half)
        assert shows(cells[4], "#", half * then / now)


def test_differences_in_sentences(page: str, expected_comparisons: pd.DataFrame) -> None:
    """Wherever a sentence says +0.022 [−0.003, +0.047], there is such a comparison, or its mirror image."""
    known = expected_comparisons[["difference", "low", "high"]].to_numpy()
    known = np.concatenate([known, -known[:, [0, 2, 1]]])
    text = plain(page[page.index("<main") : page.index("</main>")])
    told = re.findall(rf"{NUMBER} \[{NUMBER}, {NUMBER}\]", text)
    assert len(told) >= len(OTHERS) * len(TITLES)
    for triple in told:
        assert (abs(known - [number(end) for end in triple]) <= 5.1e-4).all(axis=1).any(), triple


@against_none
def test_the_verdicts_beside_the_control(page: str, by_fold: pd.DataFrame) -> None:
    section = page[page.index('id="prior-correction"') :]
    claims = re.findall(r"<li>.*?</li>", section[: section.index("</ul>")], flags=re.DOTALL)
    assert len(claims) == len(TITLES)
    for claim in map(plain, claims):
        (model,) = [name for name, title in TITLES.items() if title in claim]
        sampler = max((name for name in OTHERS if name in claim), key=len)
        for metric, label in (("macro_f1", "macro-F1"), ("balanced_accuracy", "balanced accuracy")):
            gaps = (by_fold.loc[(sampler, model)] - by_fold.loc[(CONTROL, model)])[metric].to_numpy()
            gap, low, high, _, _, words = judged(gaps, len(OTHERS) * len(TITLES))
            (found,) = re.findall(rf"{words} for .*?{label} \((.*?)\)", claim)
            assert shows(found, "# [#, #]", gap, low, high)


def test_the_control_beside_none_and_the_best_sampler(page: str, by_fold: pd.DataFrame) -> None:
    shown = table(page, "For each model: without a sampler, with prior correction")
    size, means = 2 + bool(OTHERS), by_fold["macro_f1"].groupby(level=[0, 1]).mean()
    assert [pair_of(heading)[0] for heading, _, _ in shown[0::size]] == ["none"] * len(TITLES)
    assert [pair_of(heading)[0] for heading, _, _ in shown[1::size]] == [CONTROL] * len(TITLES)
    for place, (heading, cells, _) in enumerate(shown):
        sampler, model = pair_of(heading)
        if place % size == 2:
            assert means[sampler, model] == max(means[name, model] for name in OTHERS)
        assert shows(cells[0].split()[0], "#", means[sampler, model])


@pytest.mark.parametrize(
    ("caption", "columns", "n_rows"),
    [
        ("Sensitivity for melanoma at three specificities", ["at 0.8", "at 0.9", "at 0.95"], PAIRS),
        ("Scores of the probabilities, mean", ["log_loss", "brier", "ece"], PAIRS + len(TITLES)),
    ],
)
def test_means_with_spreads(
    page: str,
    by_fold: pd.DataFrame,
    of_lesions: pd.DataFrame | None,
    caption: str,
    columns: list[str],
    n_rows: int,
) -> None:
    shown = [row for row in table(page, caption) if "class frequencies" not in row[0]]
    assert len(shown) == n_rows
    for heading, cells, _ in shown:
        scores = by_fold.loc[pair_of(heading)]
        for cell, column in zip(cells, columns, strict=True):
            lesion = [] if column.startswith("at ") else beside(of_lesions, pair_of(heading), column)
            pattern = "# " + "# " * len(lesion) + "± #"
            assert shows(cell, pattern, scores[column].mean(), *lesion, scores[column].std())


def test_recalls(page: str, by_fold: pd.DataFrame) -> None:
    for heading, cells, _ in table(page, "Recall of each class, mean over the folds"):
        scores = by_fold.loc[pair_of(heading)]
        for code, cell in enumerate(cells):
            assert shows(cell, "#", scores[f"recall {code}"].mean(), digits=2)


def test_the_answer(page: str, by_fold: pd.DataFrame) -> None:
    """No pair is shown to lead here: the two first, and what the model of the first can do for melanomas."""
    metrics = ["macro_f1", "recall_mel", "accuracy", *(f"recall {code}" for code in range(7))]
    means = by_fold[metrics].groupby(level=[0, 1]).mean()
    trained = means.drop(CONTROL).sort_values("macro_f1", ascending=False, kind="stable")
    best, second = trained.iloc[0], trained.iloc[1]
    words, *lines = [
        plain(part) for part in re.findall(r'<p class="(?:answer|verdict)">(.*?)</p>', page, re.S)
    ]
    assert words.startswith("No pair is shown to be best. ")
    assert words.index(f"({best['macro_f1']:.3f})") < words.index(f"({second['macro_f1']:.3f})")
    missed = lines[-1]
    assert missed.startswith(f"The first misses {in_ten(1 - best['recall_mel'])} melanomas")
    model = best.name[1]
    most = trained[trained.index.get_level_values(1) == model].sort_values("recall_mel").iloc[-1]
    if in_ten(1 - best["recall_mel"]) != in_ten(1 - most["recall_mel"]):
        points = round(100 * (most["accuracy"] - best["accuracy"]))
        side = "lower" if points < 0 else "higher"
        cost = f"with accuracy {abs(points)} point{'s' * (abs(points) != 1)} {side}"
        cost = cost if points else "with the same accuracy"
        assert f", the same model misses {in_ten(1 - most['recall_mel'])}, {cost}" in missed
        moved = in_ten(1 - means.loc[(CONTROL, model), "recall_mel"])
        assert f"; with its threshold moved instead, {moved}." in missed
    lowest = {
        name: (best[f"recall {code}"], second[f"recall {code}"])
        for code, name in enumerate(NAMES)
        if min(best[f"recall {code}"], second[f"recall {code}"]) < 0.5
    }
    shown = re.findall(r"(\w+)(?: \(|, )(\d\.\d\d) and (\d\.\d\d)\)", missed)
    assert [name for name, *_ in shown] == sorted(lowest, key=lambda name: min(lowest[name]))[: len(shown)]
    for name, *values in shown:
        assert shows(" ".join(values), "# #", *lowest[name], digits=2)
    more = re.search(r" and (\d) more\.$", missed)
    assert len(shown) + (int(more[1]) if more else 0) == len(lowest)


def in_ten(share: float) -> str:
    return f"{round(10 * share)} of 10" if 0.05 <= share < 0.95 else f"{round(100 * share)} of 100"


def test_what_finding_more_costs(page: str, rows: pd.DataFrame, by_fold: pd.DataFrame) -> None:
    shown = table(page, "Decisions as trained; grey")
    assert len(shown) == PAIRS + len(TITLES)

    def counted(pair: tuple[str, str]) -> tuple[int, int, int]:
        cell = rows[(rows["sampler"] == pair[0]) & (rows["model"] == pair[1])]
        ill, called = cell["label"] == 6, cell["predicted"] == 6
        return (ill & called).sum(), (called & ~ill).sum(), ill.sum()

    for heading, cells, _ in shown:
        pair = pair_of(heading)
        if "threshold moved" in heading:
            pair = (CONTROL, pair[1])
        (found, alarms, ill), (plain_found, plain_alarms, _) = counted(pair), counted(("none", pair[1]))
        assert cells[0] == f"{100 * found / ill:.0f} of 100"
        assert shows(cells[1], "#", alarms / found, digits=1)
        if found > plain_found:
            assert shows(cells[2], "#", (alarms - plain_alarms) / (found - plain_found), digits=1)
        else:
            assert cells[2] == "–"
        assert shows(cells[3], "#", by_fold.loc[pair]["accuracy"].mean())


def test_values_where_one_points(page: str, rows: pd.DataFrame, by_fold: pd.DataFrame) -> None:
    """Of every matrix all counts, of the first figure all decisions as trained, and every recall."""
    values = [json.loads(markup.unescape(found)) for found in re.findall(r'data-values="([^"]*)"', page)]
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


def test_areas_under_the_lines(page: str, rows: pd.DataFrame, by_fold: pd.DataFrame) -> None:
    means = by_fold.drop(CONTROL)["macro_f1"].groupby(level=[0, 1]).mean()
    for code, name in enumerate(NAMES):
        for what, area, room in (
            ("ROC curves", roc_auc_score, 0.012),
            ("Precision over recall", average_precision_score, 0.06),
        ):
            (alt,) = re.findall(rf'alt="{what} of class {name}, [^"]*areas under them: ([^"]*)\."', page)
            for model, title in TITLES.items():
                sampler = means.xs(model, level=1).idxmax()
                pair = rows[(rows["sampler"] == sampler) & (rows["model"] == model)]
                areas = [area(fold["label"] == code, fold[P[code]]) for _, fold in pair.groupby("fold")]
                told = float(re.search(rf"{re.escape(title)} (\d\.\d\d)", alt)[1])
                assert told == pytest.approx(np.mean(areas), abs=room)


def test_the_first_figure(page: str, folder: Path) -> None:
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
    assert len(points) == PAIRS * 4
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


def exports(page: str) -> list[dict[str, str]]:
    found = re.search(r'<script type="text/plain" id="exports">(.*?)</script>', page, flags=re.DOTALL)
    return json.loads(zlib.decompress(base64.b64decode(found[1]), wbits=31))


def test_every_number_of_every_table_is_in_its_exports(page: str) -> None:
    main = page[page.index("<main") : page.index("</main>")]
    tables = re.findall(r"<table.*?</table>", main, flags=re.DOTALL)
    assert len(tables) == len(exports(page)) > 10
    for shown, formats in zip(tables, exports(page), strict=True):
        bodies = re.findall(r"<tbody.*?</tbody>", shown, flags=re.DOTALL)
        expected = numbers(markup.unescape(plain(" ".join(bodies))))
        rows = list(csv.reader(io.StringIO(formats["csv"])))[1:]
        assert numbers(" ".join(" ".join(row) for row in rows)) == expected
        lines = formats["markdown"].split("\n\n")[0].splitlines()[2:]
        assert numbers(" ".join(lines)) == expected
        latex = formats["latex"]
        assert numbers(latex[latex.index("\\midrule") : latex.index("\\bottomrule")]) == expected


def test_the_exported_leaderboard(page: str, by_fold: pd.DataFrame, folder: Path) -> None:
    (text,) = [
        one["csv"] for one in exports(page) if "Seconds per fold" in one["csv"] and "always nv" in one["csv"]
    ]
    board = pd.read_csv(io.StringIO(text), keep_default_na=False)
    assert len(board) == PAIRS + len(TITLES) + 1
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


def test_the_exported_comparisons(page: str, folder: Path) -> None:
    """All of comparisons.csv, whose rows other tests compute from the predictions."""
    (text,) = [one["csv"] for one in exports(page) if "Chances" in one["csv"]]
    shown, stored = pd.read_csv(io.StringIO(text)), pd.read_csv(folder / "comparisons.csv")
    assert shown["Verdict"].to_list() == stored["verdict"].to_list()
    for column, own in (("Difference", "difference"), ("95 % interval, low", "low"), ("Tests", "tests")):
        assert shown[column].to_numpy(float) == pytest.approx(
            stored[own].to_numpy(float), abs=6e-4, nan_ok=True
        )


def test_the_paragraph_of_methods(page: str, folder: Path) -> None:
    rows = pd.read_csv(folder / "predictions.csv.gz", keep_default_na=False)
    once = rows[(rows["sampler"] == "none") & (rows["model"] == next(iter(TITLES)))]
    counts = once["label"].value_counts()
    text = " ".join(page[page.index('<blockquote class="methods"') : page.index("</blockquote>")].split())
    assert f"{len(once):,} pictures of" in text
    assert f"in {len(counts)} classes" in text
    assert f"largest class has {counts.max():,} pictures and the smallest {counts.min():,}" in text
    assert f"{once['fold'].nunique()}-fold cross-validation" in text
