"""Every number that figures tell on hover and in their descriptions, and the tables behind them, recomputed.

As test_numbers.py does for the other tables: from predictions.csv.gz, without code of the package.
"""

from __future__ import annotations

import html as markup
import json
import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_runs import write_fake_run
from recomputed import (
    CONTROL,
    LABELS,
    METRICS,
    NAMES,
    NUMBER,
    OTHERS,
    PAIRS,
    SAMPLERS,
    TITLES,
    P,
    beside,
    by_lesion,
    number,
    pair_of,
    plain,
    shows,
    table,
)
from scipy import stats

Figures = list[tuple[str, list[str]]]


@pytest.fixture(scope="module")
def figures(page: str) -> Figures:
    """Description and values on hover of each figure."""
    pattern = r'(?:data-values="([^"]*)"[^>]*>)?<picture>(?:<source [^>]*>)?<img [^>]*alt="([^"]*)"'
    return [
        (markup.unescape(alt), [text for _, _, text in json.loads(markup.unescape(values) or "[]")])
        for values, alt in re.findall(pattern, page)
    ]


def begun(figures: Figures, words: str, number: int = 1) -> Figures:
    found = [figure for figure in figures if figure[0].startswith(words)]
    assert len(found) == number
    return found


def of_pair(rows: pd.DataFrame, sampler: str, model: str) -> pd.DataFrame:
    return rows[(rows["sampler"] == sampler) & (rows["model"] == model)]


def test_every_comparison(folder: Path, expected_comparisons: pd.DataFrame) -> None:
    keys = ["question", "sampler", "model", "against", "rule", "metric"]
    stored = pd.read_csv(folder / "comparisons.csv", keep_default_na=False)
    stored = stored.replace("prior_correction", CONTROL).set_index(keys)
    expected = expected_comparisons.set_index(keys)
    assert len(stored) == len(expected)
    both = stored.loc[expected.index]
    assert both["verdict"].to_list() == expected["verdict"].to_list()
    for column in expected.columns.drop("verdict"):
        np.testing.assert_allclose(both[column].astype(float), expected[column], atol=1e-7, err_msg=column)


@pytest.mark.skipif(not OTHERS, reason="the run has no sampler to compare with none")
def test_forest_plots(figures: Figures, expected_comparisons: pd.DataFrame) -> None:
    expected = expected_comparisons[expected_comparisons["against"] == "none"]
    expected = expected[expected["rule"] == "as_trained"].set_index(["sampler", "model", "metric"])
    forests = begun(figures, "Forest plot", len(METRICS))
    for metric, label, (alt, values) in zip(METRICS, LABELS, forests, strict=True):
        assert f"differences in {label.lower()} from" in alt.lower()
        described = alt.partition("without a sampler: ")[2].partition(". The intervals")[0].split("; ")
        assert len(values) == len(described) == len(expected) / len(METRICS)
        for words, value in zip(described, values, strict=True):
            heading, told, verdict = re.fullmatch(rf"(.*) {NUMBER}, ([a-z ]+)", words).groups()
            row = expected.loc[(*pair_of(heading.replace(" with ", " ")), metric)]
            assert verdict == row["verdict"]
            assert shows(told, "#", row["difference"])
            pattern = f"#, {verdict}: 95 % interval # to #"
            assert shows(value, pattern, row["difference"], row["low"], row["high"])


def test_the_leaderboard_figure(figures: Figures, by_fold: pd.DataFrame) -> None:
    ((_, values),) = begun(figures, "Dot plot of macro-F1")
    size = len(by_fold.index.levels[2]) + 1
    assert len(values) == PAIRS * size
    for start in range(0, len(values), size):
        *folds, mean = values[start : start + size]
        heading, _, told = mean.partition(": ")
        scores = by_fold.loc[pair_of(heading.replace(", ", " "))]["macro_f1"]
        assert shows(told, "# ± #", scores.mean(), scores.std())
        for one, score in zip(folds, scores, strict=True):
            assert shows(one, "one fold: #", score)


def test_the_cost_figure(figures: Figures, by_fold: pd.DataFrame, folder: Path) -> None:
    timings = pd.read_csv(folder / "timings.csv", keep_default_na=False)
    timings["seconds"] = timings.filter(like="_seconds").sum(axis=1)
    seconds = timings.groupby(["sampler", "model"])["seconds"].mean()
    ((alt, values),) = begun(figures, "Scatter plot of macro-F1 against seconds")
    assert len(values) == PAIRS + len(TITLES)
    for text in values:
        heading, _, told = text.partition(": ")
        sampler, model = pair_of(heading.replace(", ", " "))
        score, _, time = told.partition(" in ")
        assert shows(score, "#", by_fold.loc[(sampler, model)]["macro_f1"].mean())
        minutes, rest = re.fullmatch(r"(?:(\d+) min )?([\d.]+) s", time).groups()
        own = seconds["none" if sampler == CONTROL else sampler, model]
        room = 0.501 if minutes else 0.0501
        assert 60 * int(minutes or 0) + float(rest) == pytest.approx(own, abs=room)
    ends = [float(end) for end in re.findall(r"\(([\d.]+) s, ", alt)]
    assert ends == pytest.approx([seconds.min(), seconds.max()], abs=0.0501)


def test_reliability_figures(figures: Figures, rows: pd.DataFrame) -> None:
    drawn = begun(figures, "Reliability diagram", len(TITLES))
    for (model, title), (alt, values) in zip(TITLES.items(), drawn, strict=True):
        assert title in alt
        expected = []
        for sampler in SAMPLERS:
            cell = of_pair(rows, sampler, model)
            p = cell[P].to_numpy()
            # Confidences of a forest lie on edges, so a last bit decides to which bin they belong.
            top, right = p.max(axis=1), p.argmax(axis=1) == cell["label"].to_numpy()
            for low, high in pairwise(np.arange(16) / 15):
                inside = (top > low + 1e-9) & (top <= high + 1e-9)
                near = np.count_nonzero(abs(top - low) < 1e-9) + np.count_nonzero(abs(top - high) < 1e-9)
                if inside.sum() >= 20:
                    shares = 100 * top[inside].mean(), 100 * right[inside].mean()
                    expected.append((sampler, *shares, inside.sum(), near))
        for text, (sampler, sure, correct, count, near) in zip(values, expected, strict=True):
            found = re.fullmatch(r"(\w+): ([\d.]+) % sure, ([\d.]+) % correct, ([\d,]+) pictures", text)
            assert found[1] == sampler
            assert abs(number(found[4]) - count) <= near
            room = 0.0501 + 100 * near / count
            assert [float(found[2]), float(found[3])] == pytest.approx([sure, correct], abs=room)


def listing(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1])] * (len(names) > 1) + names[-1:])


def net_benefit(cell: pd.DataFrame, threshold: float) -> float:
    treated, ill = cell["p_mel"] >= threshold, cell["label"] == 6
    return ((treated & ill).sum() - (treated & ~ill).sum() * threshold / (1 - threshold)) / len(cell)


def test_decision_curves(figures: Figures, rows: pd.DataFrame) -> None:
    drawn = begun(figures, "Decision curves", len(TITLES))
    for (model, title), (alt, values) in zip(TITLES.items(), drawn, strict=True):
        assert title in alt
        cells = {name: of_pair(rows, name, model) for name in SAMPLERS}
        for text in values:
            sampler, threshold, told = re.fullmatch(rf"(\w+) at (\d+) %: {NUMBER}", text).groups()
            assert shows(told, "#", net_benefit(cells[sampler], int(threshold) / 100))
        assert {text.split()[0] for text in values} == set(SAMPLERS)
        told = alt.partition("10 per cent: ")[2].removesuffix(".")
        everyone = net_benefit(cells["none"].assign(p_mel=1.0), 0.1)
        pattern = f"{listing([f'{name} #' for name in SAMPLERS])}; treating all #"
        assert shows(told, pattern, *(net_benefit(cells[name], 0.1) for name in SAMPLERS), everyone)


def test_marks_tuned_for_macro_f1(figures: Figures, tuned: pd.DataFrame) -> None:
    ((_, values),) = begun(figures, "Trade-offs")
    means = tuned.groupby(level=[0, 1])[["accuracy", "balanced"]].mean()
    shown = [text for text in values if "tuned for macro-F1: accuracy" in text]
    assert len(shown) == PAIRS
    for text, model in zip(shown, np.repeat([*TITLES], len(SAMPLERS)), strict=True):
        sampler, words = text.split(", tuned for macro-F1: ")
        name = sampler.replace("no sampler", "none")
        assert shows(words, "accuracy #, balanced accuracy #", *means.loc[(name, model)])


def test_descriptions_of_confusion_matrices(figures: Figures, rows: pd.DataFrame) -> None:
    for alt, _ in begun(figures, "Confusion matrix", PAIRS):
        heading, _, words = alt.removeprefix("Confusion matrix of ").partition(". Correct: ")
        cell = of_pair(rows, *pair_of(heading.replace(" with ", " ")))
        for code, part in enumerate(words.removesuffix(".").split(", ")):
            name, share, _ = part.split()
            assert name == NAMES[code]
            expected = 100 * (cell["predicted"][cell["label"] == code] == code).mean()
            assert float(share) == pytest.approx(expected, abs=0.5 + 1e-9)


def test_values_on_ranking_curves(figures: Figures, rows: pd.DataFrame, by_fold: pd.DataFrame) -> None:
    """Heights of the mean curve, from the scores that stand above a threshold in each fold."""
    means = by_fold.drop(CONTROL)["macro_f1"].groupby(level=[0, 1]).mean()
    for code, name in enumerate(NAMES):
        ((_, roc),) = begun(figures, f"ROC curves of class {name},")
        ((_, precision),) = begun(figures, f"Precision over recall of class {name},")
        assert len(roc) == len(precision) >= 3 * len(TITLES)
        for text in (*roc, *precision):
            found = re.fullmatch(r"(\w+): (\w+) (\d\.\d\d) at ([a-z ]+) (\d\.\d\d)", text)
            model, _, height, across, at = found.groups()
            cells = of_pair(rows, means.xs(model, level=1).idxmax(), model)
            heights = [height_at(fold, code, across, float(at)) for _, fold in cells.groupby("fold")]
            # A fold has few pictures of a rare class, and a tie may lie on the grid.
            assert float(height) == pytest.approx(np.mean(heights), abs=0.0501), text


def height_at(cell: pd.DataFrame, code: int, across: str, at: float) -> float:
    score, positive = cell[P[code]].to_numpy(), (cell["label"] == code).to_numpy()
    thresholds = np.unique(score)[::-1]
    called = np.array([(score >= t).sum() for t in thresholds])
    hits = np.array([(score[positive] >= t).sum() for t in thresholds])
    if across == "found":
        return float((hits / called)[np.argmax(hits / positive.sum() >= at - 1e-9)])
    false = np.append(0, (called - hits) / (~positive).sum())
    return float(np.interp(at + 1e-9, false, np.append(0, hits / positive.sum())))


def baseline(once: pd.DataFrame, tested: pd.DataFrame) -> pd.DataFrame:
    """Scores by fold of the most frequent class always, with the frequencies of the other folds."""
    found = []
    for fold, cell in tested.groupby("fold"):
        mix = once["label"][once["fold"] != fold].value_counts(normalize=True).sort_index().to_numpy()
        y = cell["label"].to_numpy()
        share, k = (y == mix.argmax()).mean(), len(np.unique(y))
        found.append(
            {
                "macro_f1": 2 * share / (1 + share) / k,
                "balanced_accuracy": 1 / k,
                "accuracy": share,
                "macro_auc": 0.5,
                "recall_mel": 0.0,
                "macro_average_precision": 1 / k,  # The mean of the shares of the classes.
                "log_loss": -np.log(mix[y]).mean(),
                "brier": ((mix - np.eye(7)[y]) ** 2).sum(axis=1).mean(),
                "ece": abs(mix.max() - share),
            }
        )
    return pd.DataFrame(found)


def test_rows_of_the_baseline(page: str, rows: pd.DataFrame, folder: Path) -> None:
    once = of_pair(rows, "none", next(iter(TITLES)))
    scores, averaged = baseline(once, once), by_lesion(once, np.load(folder / "lesions.npz")["codes"])
    lesions = None if averaged is None else baseline(once, averaged)
    calibration = ["log_loss", "brier", "ece"]
    for caption, columns, spread in (
        ("Mean over the held-out folds, in descending order of macro-F1", METRICS, ""),
        ("Scores of the probabilities, mean", calibration, "± #"),
        (
            "Ranking and calibration at the class frequencies",
            ["macro_auc", "macro_average_precision", *calibration],
            "± #",
        ),
    ):
        *_, (_, cells, _) = table(page, caption)
        for metric, cell in zip(columns, cells, strict=spread != ""):
            lesion = [] if lesions is None else [lesions[metric].mean()]
            numbers = [scores[metric].mean(), *lesion, *[scores[metric].std()] * bool(spread)]
            shown = " ".join(cell.split()[: len(numbers) + bool(spread)])
            assert shows(shown, " ".join(["#"] * (1 + len(lesion)) + [spread] * bool(spread)), *numbers)


def test_all_scores_at_the_natural_prior(
    page: str, by_fold: pd.DataFrame, of_lesions: pd.DataFrame | None
) -> None:
    columns = ["macro_auc", "macro_average_precision", "log_loss", "brier", "ece"]
    *shown, _ = table(page, "Ranking and calibration at the class frequencies")
    assert len(shown) == PAIRS
    for heading, cells, _ in shown:
        for cell, column in zip(cells, columns, strict=True):
            scores = by_fold.loc[pair_of(heading)][f"natural {column}"]
            lesion = beside(of_lesions, pair_of(heading), f"natural {column}")
            assert shows(cell, "# " + "# " * len(lesion) + "± #", scores.mean(), *lesion, scores.std())


def test_classes_of_the_table(page: str, figures: Figures, rows: pd.DataFrame) -> None:
    counts = of_pair(rows, "none", next(iter(TITLES)))["label"].value_counts().sort_index()
    shown = table(page, "The classes, in the order of their codes")
    assert [heading for heading, _, _ in shown] == NAMES
    for code, (_, cells, _) in enumerate(shown):
        share = 100 * counts[code] / counts.sum()
        assert number(cells[1]) == counts[code]
        assert float(cells[3].removesuffix(" %")) == pytest.approx(share, abs=0.0501)
    ((alt, _),) = begun(figures, "Bar chart of the pictures")
    assert f"nv has the most, {counts.max():,} (" in alt
    assert f", {counts.min():,} (" in alt


@pytest.mark.skipif(not {*OTHERS} & {"RandomOverSampler", "SMOTE"}, reason="no sampler that balances")
def test_rows_before_and_after_samplers(figures: Figures, rows: pd.DataFrame) -> None:
    once = of_pair(rows, "none", next(iter(TITLES)))
    trained = [
        once["label"][once["fold"] != fold].value_counts().sort_index() for fold in once["fold"].unique()
    ]
    before, after = np.mean(trained, axis=0), np.mean([counts.max() for counts in trained])
    ((alt, values),) = begun(figures, "Bar chart of training rows")
    assert len(values) == 14
    for text in values:
        name, told, when = re.fullmatch(r"(\w+): ([\d,]+) rows (before|after)", text).groups()
        expected = after if when == "after" else before[NAMES.index(name)]
        assert number(told) == pytest.approx(expected, abs=0.501)
    told = re.search(r": ([\d,]+) rows before, ([\d,]+) after", alt).groups()
    assert [number(text) for text in told] == pytest.approx([before.sum(), 7 * after], abs=0.501)


def test_labels_that_may_be_wrong(page: str, rows: pd.DataFrame, folder: Path) -> None:
    """Confident learning in loops: a class is claimed where its probability reaches its label's average."""
    p = rows[rows["sampler"] == "none"].groupby("row")[P].mean()
    p = p.div(p.sum(axis=1), axis=0).to_numpy()
    y = rows[rows["sampler"] == "none"].groupby("row")["label"].first().to_numpy()
    usual, doubted = [p[y == code, code].mean() for code in range(7)], {}
    for place, shares in enumerate(p):
        claimed = [code for code in range(7) if shares[code] >= usual[code]]
        if claimed and (best := max(claimed, key=lambda code: shares[code])) != y[place]:
            doubted[place] = (NAMES[y[place]], NAMES[best], shares[y[place]], shares[best])
    section = plain(page[page.index('id="label-audit"') :].partition("</section>")[0])
    assert f"For {len(doubted):,} of the {len(y):,} pictures" in section
    stored = pd.read_csv(folder / "label_audit.csv", keep_default_na=False)
    stored = stored[stored["doubted"].astype(str) == "True"]
    assert set(stored["row"]) == set(doubted)
    assert (np.diff(stored["p_label"]) >= 0).all()
    for row in stored.to_dict("records"):
        label, best, own, share = doubted[row["row"]]
        assert (row["label"], row["suggested"]) == (label, best)
        assert [row["p_label"], row["p_suggested"]] == pytest.approx([own, share], abs=1e-9)
    pattern = r"labelled (\w+); ([\d.]+) % against ([\d.]+) %, row ([\d,]+)"
    for told, first, second, place in re.findall(pattern, section):
        label, _, own, share = doubted[int(number(place))]
        assert told == label
        assert [float(first), float(second)] == pytest.approx([100 * share, 100 * own], abs=0.0501)


def test_confident_mistakes(page: str, rows: pd.DataFrame) -> None:
    """Classes and probabilities below the pictures are those of mistakes, with the most confident one."""
    for place, block in enumerate(re.split(r'<div class="of-pair" data-pair="', page)[1:]):
        heading = block[: block.index('"')]
        model = next(name for name, title in TITLES.items() if title in heading)
        sampler = next((name for name in OTHERS if heading.startswith(name)), "none")
        cell = of_pair(rows, sampler, model)
        wrong = cell[cell["label"] != cell["predicted"]]
        shares = [f"{100 * share:.1f}" for share in wrong[P].max(axis=1)]
        known = {
            (NAMES[a], NAMES[b], c)
            for a, b, c in zip(wrong["label"], wrong["predicted"], shares, strict=True)
        }
        pattern = r"<b>(\w+)</b> <span>called (\w+), ([\d.]+)\s%</span>"
        told = re.findall(pattern, block[: block.index("</ul>")])
        assert told
        assert set(told) <= known
        if place == 0:  # Older runs store pictures of the best pair only.
            assert max(shares, key=float) in {share for _, _, share in told}


def test_ends_of_training_curves(figures: Figures, by_fold: pd.DataFrame) -> None:
    pattern = rf"against {NUMBER} held-out, and a training accuracy of {NUMBER} against {NUMBER}"
    networks = [figure for figure in figures if figure[0].startswith("Training curves")]
    assert networks or "cnn" not in TITLES
    for alt, _ in networks:
        heading = alt.removeprefix("Training curves of ").partition(":")[0].replace(" with ", " ")
        scores = by_fold.loc[pair_of(heading)]
        loss, _, accuracy = re.search(pattern, alt).groups()
        assert shows(f"{loss} {accuracy}", "# #", scores["log_loss"].mean(), scores["accuracy"].mean())


def test_intervals_over_lesions(folder: Path, rows: pd.DataFrame, by_fold: pd.DataFrame) -> None:
    """Their middle is the score, and their ends are those of another bootstrap, up to its own noise."""
    metrics, drawn = ["macro_f1", "accuracy", "recall_mel"], {}
    lesions = np.load(folder / "lesions.npz")["codes"]
    _, unit = np.unique(lesions[rows["row"]], return_inverse=True)
    n = unit.max() + 1
    weights = np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), 400).astype(float)
    for pair, cells in rows.assign(unit=unit).groupby(["sampler", "model"]):
        folds = []
        for _, cell in cells.groupby("fold"):
            y, named, place = (cell[name].to_numpy() for name in ("label", "predicted", "unit"))
            of_unit = np.zeros((n, 21))
            np.add.at(of_unit, (place, y), 1)
            np.add.at(of_unit, (place, 7 + named), 1)
            np.add.at(of_unit, (place[y == named], 14 + y[y == named]), 1)
            true, called, hits = np.split(weights @ of_unit, 3, axis=1)
            with np.errstate(invalid="ignore"):
                f1, recall = 2 * hits / (true + called), hits[:, 6] / true[:, 6]
            folds.append([np.nanmean(f1, axis=1), hits.sum(axis=1) / true.sum(axis=1), recall])
        drawn[pair] = np.nanmean(folds, axis=0)
    for name, less in (("intervals", False), ("difference_intervals", True)):
        stored = pd.read_csv(folder / f"{name}.csv", keep_default_na=False)
        stored = stored.replace("prior_correction", CONTROL).set_index(["sampler", "model", "metric"])
        for (sampler, model), scores in drawn.items():
            if less and sampler == "none":
                continue
            own, plain_ones = by_fold.loc[(sampler, model)], by_fold.loc[("none", model)]
            for metric, draws, other in zip(metrics, scores, drawn["none", model], strict=True):
                value = own[metric].mean() - less * plain_ones[metric].mean()
                ends = np.nanquantile(draws - less * other, [0.025, 0.975])
                low, high = ends + value - np.nanmean(draws - less * other)
                row = stored.loc[(sampler, model, metric)].astype(float)
                assert row["value"] == pytest.approx(value, abs=1e-9)
                room = 0.25 * (high - low) + 1e-9
                assert [row["low"], row["high"]] == pytest.approx([low, high], abs=room)


@pytest.fixture(scope="module")
def patients(folder: Path, page: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run with age, sex and site: that of SKINMNIST_RUN, or a small invented one, and its page."""
    if "SKINMNIST_RUN" in os.environ:
        return folder, page
    from skinmnist.analysis.analyze import analyze_run
    from skinmnist.experiment.run_folder.record import read_run, write_tables
    from skinmnist.reporting.page import write_page

    own, n = tmp_path_factory.mktemp("patients"), 240
    models = {"svm": {"title": TITLES["svm"], "space": "components"}}
    write_fake_run(own, samplers=["none"], models=models, folds=2, n_rows=n)
    rng = np.random.default_rng(3)
    columns: dict[str, Any] = {
        "age": np.where(rng.random(n) < 0.1, np.nan, rng.integers(4, 18, n) * 5.0),
        "sex": rng.choice(["female", "male", ""], n),
        "localization": rng.choice(["back", "trunk", "ear"], n, p=[0.5, 0.4, 0.1]),
    }
    np.savez(own / "patients.npz", **columns)
    write_tables(read_run(own))
    return own, write_page(analyze_run(read_run(own))).read_text(encoding="utf-8")


def groups_of(folder: Path) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
    """Yield the title of a column and the name of a group, and its rows."""
    with np.load(folder / "patients.npz") as columns:
        for name, title in (("sex", "Sex"), ("localization", "Site")):
            for word in np.unique(columns[name]):
                yield (title, str(word) or "unknown"), columns[name] == word
        ages = columns["age"]
    yield ("Age", "unknown"), np.isnan(ages)
    names = ["under 30", "30 to 44", "45 to 59", "60 to 74", "75 and over"]
    for (low, high), name in zip(pairwise([0, 30, 45, 60, 75, 999]), names, strict=True):
        yield ("Age", name), (ages >= low) & (ages < high)


def wilson(right: np.ndarray, lesion: np.ndarray) -> tuple[float, float, float]:
    """Wilson's interval for the pictures divided by the design effect of their lesions."""
    n, share, z = len(right), right.mean(), stats.norm.isf(0.025)
    sums = pd.Series(right - share).groupby(lesion).sum()
    variance = (sums**2).sum() / n**2
    size = min(max(share * (1 - share) / variance, 1), n) if variance > 0 else len(sums)
    middle = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    return share, max(middle - half, 0), min(middle + half, 1)


def test_groups_of_patients(patients: tuple[Path, str]) -> None:
    """The table and the figure of each pair: accuracy and recall by age, sex and site."""
    folder, page = patients
    lesions, groups = np.load(folder / "lesions.npz")["codes"], dict(groups_of(folder))
    stored = pd.read_csv(folder / "predictions.csv.gz", keep_default_na=False)
    section = page[page.index('id="patients"') : page.index('id="label-audit"')]
    tables = re.findall(r"<caption>.*?</table>", section, flags=re.DOTALL)
    drawn = re.findall(r'data-values="([^"]*)"', section)
    for body, values in zip(tables, drawn, strict=True):
        caption = plain(body[: body.index("</caption>")])
        model = next(name for name, title in TITLES.items() if title in caption)
        sampler = next((name for name in OTHERS if caption.startswith(name)), "none")
        cell = of_pair(stored, sampler, model)
        row, y = cell["row"].to_numpy(), cell["label"].to_numpy()
        right = (y == cell["predicted"].to_numpy()).astype(float)
        hovers = [text for _, _, text in json.loads(markup.unescape(values))]
        found = re.findall(r'<tr><th scope="row">(.*?) <span>(.*?)</span></th>(.*?)</tr>', body)
        assert len(found) == sum(inside[row].any() for inside in groups.values())
        known = 0
        for name, title, cells in found:
            inside = groups[title, name][row]
            count = len(np.unique(lesions[row[inside]]))
            pictures, *shares = [plain(text) for text in re.findall(r"<td>.*?</td>", cells)]
            assert pictures == f"{inside.sum():,} of {count:,} lesion{'s' * (count != 1)}"
            for text, chosen in zip(shares, (inside, inside & (y == 6), inside & (y == 4)), strict=True):
                if chosen.sum() < 20:
                    assert text == f"too few {chosen.sum():,}"
                    continue
                expected, known = wilson(right[chosen], lesions[row[chosen]]), known + 1
                assert shows(text, f"# #–#, {chosen.sum():,}", *expected)
                pattern = f"{name}: #, #–#, of {chosen.sum():,}"
                assert any(shows(hover, pattern, *expected) for hover in hovers)
        assert len(hovers) == known > 5
