"""Every number that options add to a page, recomputed as in test_numbers.py.

Costs, sets of classes, scores by lesion, shares of a sampler, ensembles and tuned_plain of a small run, which
has a lesion with two labels. Losses and accuracies on training rows are the only
numbers that are not computed again: the cells are their only source.
"""

from __future__ import annotations

import html as markup
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from recomputed import (
    CONTROL,
    METRICS,
    NAMES,
    P,
    by_lesion,
    number,
    pair_of,
    plain,
    scores_by_fold,
    shows,
    table,
    tuned_by_fold,
    with_control,
    with_natural,
)

from skinmnist import make_lesions
from skinmnist.analysis.analyze import analyze, write_analysis
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.comparison import run_comparison
from skinmnist.experiment.run_folder.record import read_run
from skinmnist.reporting.page import write_page

SHARES = {"none": 0.0, "SMOTE@0.5": 0.5, "SMOTE": 1.0}
SAMPLERS = [*SHARES, "tuned_plain"]
COSTS = np.ones((7, 7)) - np.eye(7)
COSTS[6], COSTS[6, 6], COSTS[4, 0] = 20, 0, 3
ENSEMBLES = {
    "both": "logistic_regression,dummy",
    "weighted": "tuned:SMOTE+logistic_regression,dummy",
}
CELL = ["sampler", "model", "fold"]
TRAINED = ("logistic_regression", "dummy")


def two_labels() -> PixelTable:
    """A table with a lesion whose pictures have different labels."""
    table = make_lesions(240, size=8, random_state=3)
    labels, ids = table.labels.copy(), np.asarray(table.lesion_ids)
    first = next(row for row in np.flatnonzero(labels == 4) if (ids == ids[row]).sum() > 1)
    labels[first] = 6
    return replace(table, labels=labels)


@dataclass
class Made:
    """A run, its page, and what is computed from its predictions."""

    folder: Path
    page: str
    info: dict[str, Any]
    table: PixelTable
    stored: pd.DataFrame
    scores: pd.DataFrame
    of_lesions: pd.DataFrame
    tuned: pd.DataFrame
    lesions: np.ndarray

    @property
    def titles(self) -> dict[str, str]:
        return {name: one["title"] for name, one in self.info["grid"]["models"].items()}

    def section(self, name: str) -> str:
        start = self.page.index(f'id="{name}"')
        return self.page[start : self.page.index("</details>", start)]

    @cached_property
    def cells(self) -> dict[tuple[str, str, int], pd.DataFrame]:
        return dict(list(self.stored.groupby(CELL, sort=False)))

    @cached_property
    def mixes(self) -> dict[tuple[str, str, int], tuple[np.ndarray, np.ndarray]]:
        stored = pd.read_csv(self.folder / "class_mix.csv", keep_default_na=False)
        return {
            key: (own["natural"].to_numpy(), own["trained"].to_numpy()) for key, own in stored.groupby(CELL)
        }

    @cached_property
    def natural(self) -> dict[tuple[str, str, int], np.ndarray]:
        found = {key: cell[P].to_numpy() * np.divide(*self.mixes[key]) for key, cell in self.cells.items()}
        return {key: (p / p.sum(axis=1, keepdims=True)).round(12) for key, p in found.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, undrawn: Callable[..., Any]) -> Made:
    folder, pictures = tmp_path_factory.mktemp("options"), two_labels()
    run_comparison(
        pictures,
        SAMPLERS,
        TRAINED,
        folds=3,
        costs=COSTS,
        conformal=0.2,
        ensembles=ENSEMBLES,
        jobs=1,
        out=folder,
        progress=False,
    )
    analysis = analyze(read_run(folder), draws=200)
    write_analysis(folder, analysis)
    with undrawn():
        page = write_page(analysis).read_text(encoding="utf-8")
    stored = pd.read_csv(folder / "predictions.csv.gz", keep_default_na=False)
    lesions = np.load(folder / "lesions.npz")["codes"]
    rows = with_natural(with_control(stored), folder)
    averaged = by_lesion(rows, lesions)
    assert averaged is not None
    return Made(
        folder=folder,
        page=page,
        info=json.loads((folder / "run.json").read_text(encoding="utf-8")),
        table=pictures,
        stored=stored,
        scores=scores_by_fold(rows),
        of_lesions=scores_by_fold(averaged),
        tuned=tuned_by_fold(rows, folder),
        lesions=lesions,
    )


def test_leaderboard_by_lesion(made: Made) -> None:
    """The score by lesion beside each score; its interval over lesions from another bootstrap."""
    intervals = pd.read_csv(made.folder / "intervals.csv", keep_default_na=False)
    ends = intervals.replace("prior_correction", CONTROL).set_index(["sampler", "model", "metric"])
    start = made.page.index("Mean over the held-out folds, in descending order of macro-F1")
    body = made.page[start : made.page.index("</tbody>", start)]
    told = [re.findall(r'title="by lesion, ([^"]*)"', row) for row in body.split("<tr")]
    shown = table(made.page, "Mean over the held-out folds, in descending order of macro-F1")
    assert len(shown) == 4 * 4 + 4 + 1
    for (heading, cells, _), hovers in zip(shown, told[-len(shown) :], strict=True):
        if "majority baseline" in heading:
            continue
        pair = pair_of(heading, made.titles)
        for metric, cell, hover in zip(METRICS, cells, hovers, strict=False):
            own = made.of_lesions.loc[pair][metric].mean()
            assert shows(cell.split()[1], "#", own)
            row = ends.loc[(*pair, f"lesion_{metric}")].astype(float)
            assert row["value"] == pytest.approx(own, abs=1e-9)
            assert shows(hover, "#–#", row["low"], row["high"])


def test_intervals_by_lesion(made: Made) -> None:
    known = by_lesion(with_natural(made.stored, made.folder), made.lesions)
    assert known is not None
    assert made.stored["row"].nunique() == 240
    codes = np.unique(made.lesions)
    weights = np.random.default_rng(2).multinomial(len(codes), np.full(len(codes), 1 / len(codes)), 500)
    ends = pd.read_csv(made.folder / "intervals.csv").set_index(["sampler", "model", "metric"])
    for pair, cells in known.groupby(["sampler", "model"]):
        right = cells["label"] == cells["predicted"]
        folds = []
        for _, cell in cells.assign(right=right).groupby("fold"):
            drawn = weights[:, np.searchsorted(codes, cell["lesion"])]
            folds.append((drawn * cell["right"].to_numpy()).sum(axis=1) / drawn.sum(axis=1))
        low, high = np.quantile(np.mean(folds, axis=0), [0.025, 0.975])
        row = ends.loc[(*pair, "lesion_accuracy")].astype(float)
        assert [row["low"], row["high"]] == pytest.approx([low, high], abs=0.3 * (high - low) + 1e-9)


def test_scores_of_probabilities_by_lesion(made: Made) -> None:
    for caption, columns in (
        ("Scores of the probabilities, mean", ["log_loss", "brier", "ece"]),
        (
            "Ranking and calibration at the class frequencies",
            [
                f"natural {name}"
                for name in ("macro_auc", "macro_average_precision", "log_loss", "brier", "ece")
            ],
        ),
    ):
        for heading, cells, _ in table(made.page, caption):
            if "class frequencies" not in heading.lower() or pair_known(heading, made.titles):
                pair = pair_of(heading, made.titles)
                for cell, column in zip(cells, columns, strict=True):
                    own, lesion = made.scores.loc[pair][column], made.of_lesions.loc[pair][column]
                    assert shows(cell, "# # ± #", own.mean(), lesion.mean(), own.std())


def pair_known(heading: str, titles: dict[str, str]) -> bool:
    return any(title in heading for title in titles.values())


def test_expected_costs(made: Made) -> None:
    """As trained, by the cheapest decision at the natural prior, and of the cheapest constant decision."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for (sampler, model, fold), cell in made.cells.items():
        y = cell["label"].to_numpy()
        cheapest = (made.natural[sampler, model, fold] @ COSTS).round(9).argmin(axis=1)
        costs = [1000 * COSTS[y, named].mean() for named in (cell["predicted"].to_numpy(), cheapest)]
        found.setdefault((sampler, model), []).append((costs[0], costs[1]))
    once, always = made.stored.query("sampler == 'none' and model == 'dummy'"), []
    for fold, cell in once.groupby("fold"):
        mix = once["label"][once["fold"] != fold].value_counts(normalize=True).sort_index().to_numpy()
        decisions = mix.argmax(), (mix @ COSTS).argmin()
        always.append([1000 * COSTS[cell["label"], decision].mean() for decision in decisions])
    *_, lowest = np.mean(always, axis=0)
    *shown, _ = rows = table(made.page, "Expected cost of 1,000 held-out pictures")
    assert len(rows) == 4 * 4 + 1
    best = min(np.mean(costs, axis=0)[1] for costs in found.values())
    for heading, cells, _ in shown:
        expected = np.array(always)
        if "majority baseline" not in heading:
            expected = np.array(found[pair_of(heading, made.titles)])
        for cell, column in zip(cells, expected.T, strict=True):
            assert shows(cell, "# ± #", column.mean(), column.std(ddof=1), digits=1)
    words = plain(made.section("costs"))
    assert "A mistake costs 1, or 1 to 3 for a missed nv and 20 for a missed mel." in words
    told = re.search(r"costs least: ([\d.]+) per .* against ([\d.]+) for the cheapest", words)
    assert told is not None
    assert shows(" ".join(told.groups()), "# #", best, lowest, digits=1)
    scores = pd.read_csv(made.folder / "scores.csv", keep_default_na=False)
    for (sampler, model), costs in found.items():
        own = scores[(scores["sampler"] == sampler) & (scores["model"] == model)]
        for name, column in zip(("cost", "cost_sensitive"), np.transpose(costs), strict=True):
            stored = own[own["metric"].str.contains("cost")].groupby("metric")["value"]
            assert any(np.allclose(values, column) for _, values in stored), name
    board = table(made.page, "Mean over the held-out folds, in descending order of macro-F1")
    for heading, cells, titles in board:
        if "majority" not in heading and CONTROL not in heading:
            costs = np.array(found[pair_of(heading, made.titles)])[:, 0]
            assert shows(cells[5], "#", costs.mean(), digits=1)
            assert shows(titles[5], "± # over folds", costs.std(ddof=1), digits=1)


def test_sets_of_classes(made: Made) -> None:
    """Class-wise sets at the natural prior, whose thresholds come from the other folds."""
    shown = {
        pair_of(heading, made.titles): row for heading, *row in table(made.page, "Share of the pictures")
    }
    assert len(shown) == 4 * 4
    stored = pd.read_csv(made.folder / "conformal.csv", keep_default_na=False)
    never, cells = set(), made.cells
    for (sampler, model), (texts, hovers) in shown.items():
        parts = []
        for fold in range(3):
            p, y = made.natural[sampler, model, fold], cells[sampler, model, fold]["label"].to_numpy()
            others = [other for other in range(3) if other != fold]
            labels = np.concatenate([cells[sampler, model, other]["label"] for other in others])
            calibrated = np.concatenate([made.natural[sampler, model, other] for other in others])
            inside = np.arange(7) == p.argmax(axis=1)[:, None]
            for code in range(7):
                own = np.sort(calibrated[labels == code, code])
                missed = int(0.2 * (len(own) + 1) + 1e-9)
                never |= {NAMES[code]} if missed == 0 else set()
                inside[:, code] |= p[:, code] >= (own[missed - 1] if missed else 0)
            known = np.bincount(labels, minlength=7)
            parts.append((y, inside[np.arange(len(y)), y], inside.sum(axis=1), known))
        y, right, sizes = (np.concatenate([part[place] for part in parts]) for place in range(3))
        fewest = np.min([part[3] for part in parts], axis=0)
        rows = stored[(stored["sampler"] == sampler) & (stored["model"] == model)].to_dict("records")
        groups = [np.ones(len(y), bool), *(y == code for code in range(7))]
        for group, text, hover, row, count in zip(groups, texts, hovers, rows, [0, *fewest], strict=True):
            coverage, size = right[group].mean(), sizes[group].mean()
            assert [row["coverage"], row["mean_size"]] == pytest.approx([coverage, size], abs=1e-9)
            assert row["pictures"] == group.sum()
            told, _, mean = text.partition(" size ")
            assert shows(told, "#", coverage)
            assert shows(mean, "#", size, digits=1)
            assert hover.startswith(f"{group.sum()} picture")
            assert count == 0 or f"calibrated on at least {count} picture" in hover
    section = plain(made.section("sets"))
    assert "in 80 of 100 pictures" in section
    told = re.search(r"too few pictures to calibrate ([^,]*(?:, [^,]*)*), so every set", section)
    assert never == (set(re.split(", | and ", told[1])) if told else set())


def test_shares_of_a_sampler(made: Made) -> None:
    stored = pd.read_csv(made.folder / "shares.csv", keep_default_na=False)
    section = made.section("shares")
    (values,) = re.findall(r'data-values="([^"]*)"', section)
    texts = [text for _, _, text in json.loads(markup.unescape(values))]
    assert len(texts) == len(stored) == 3 * 4 * 3
    columns = {
        ("natural_prior", "macro_auc"): made.scores["natural macro_auc"],
        ("as_trained", "macro_f1"): made.scores["macro_f1"],
        ("tuned_macro_f1", "macro_f1"): made.tuned["tuned macro_f1"],
    }
    best: dict[tuple[str, str], tuple[float, float]] = {}
    for (rule, metric), scores in columns.items():
        for model, (sampler, share) in product(made.titles, SHARES.items()):
            own, first = scores.loc[(sampler, model)], scores.loc[("none", model)]
            mean, change = own.mean(), own.mean() - first.mean()
            row = stored[(stored["rule"] == rule) & (stored["metric"] == metric) & (stored["model"] == model)]
            (row,) = row[row["share"] == share].to_dict("records")
            expected = [mean, change, (own - first).std(), 3]
            found = [float(row[name]) for name in ("mean", "change", "change_sd", "cells")]
            assert found == pytest.approx(expected, abs=1e-9)
            marks = [text for text in texts if f"{made.titles[model]}, share {share:g}: " in text]
            assert any(
                shows(text.partition(f"share {share:g}: ")[2].replace("+", ""), "# (#)", mean, change)
                for text in marks
            )
            best[model, rule] = max(best.get((model, rule), (-1.0, 0.0)), (round(mean, 9), -share))
    told = r"with ([^.]*?): @ for ranking \(#\), @ as trained \(#\) and @ at equal [a-z ]*\(#\)"
    told = told.replace("@", r"([\d.]+)")
    lines = re.findall(told.replace("#", r"(0\.\d{3})"), plain(re.sub(r"<figure.*?</figure>", "", section)))
    assert len(lines) == 4
    for title, *figures in lines:
        (model,) = [name for name, own in made.titles.items() if own == title]
        for place, (rule, _) in enumerate(columns):
            mean, share = best[model, rule]
            assert float(figures[2 * place]) == -share
            assert shows(figures[2 * place + 1], "#", mean)


def test_rows_of_shares(made: Made) -> None:
    """A class with n rows is raised to m (n / m) ** (1 - share), m being the size of the largest class."""
    timings = pd.read_csv(made.folder / "timings.csv", keep_default_na=False)
    once, after = made.stored.query("sampler == 'none' and model == 'dummy'"), {}
    for fold, (sampler, share) in product(range(3), SHARES.items()):
        counts = once["label"][once["fold"] != fold].value_counts()
        wanted = (counts.max() * (counts / counts.max()) ** (1 - share)).round()
        after.setdefault(sampler, []).append(wanted)
        chosen = timings[(timings["sampler"] == sampler) & (timings["fold"] == fold)]
        chosen = chosen[chosen["model"].isin(TRAINED)]
        assert set(chosen["rows"]) == {counts.sum()}
        assert set(chosen["rows_resampled"]) == {wanted.sum()}
    alts = re.findall(
        r'alt="Bar chart of training rows[^"]*after ([\w@.]+)[^"]*: (\S+) rows before, (\S+)', made.page
    )
    assert len(alts) >= 2
    for sampler, before, told in alts:
        means = np.mean([of_fold.sum() for of_fold in after.get(sampler, after["none"])])
        assert [number(before), number(told)] == pytest.approx([160, means], abs=0.501)


def pooled(weights: tuple[float, ...], members: list[np.ndarray]) -> np.ndarray:
    mean = np.exp(sum(w * np.log(np.maximum(p, 1e-12)) for w, p in zip(weights, members, strict=True)))
    return mean / mean.sum(axis=-1, keepdims=True)


def test_ensembles(made: Made) -> None:
    """The mean of finished cells, and weights that a search over all thousandths finds on the other folds."""
    cells, notes = made.cells, plain(made.section("notes"))
    grid = np.arange(1001) / 1000

    def bare(sampler: str, model: str, fold: int) -> np.ndarray:
        natural, trained = made.mixes[sampler, model, fold]
        return np.maximum(cells[sampler, model, fold][P].to_numpy(), 1e-12) * natural / trained

    for sampler, fold in product(SHARES, range(3)):
        p = [cells[sampler, model, fold][P].to_numpy() for model in TRAINED]
        mixes = [made.mixes[sampler, model, fold][1] for model in TRAINED]
        halves = pooled((0.5, 0.5), p)
        np.testing.assert_allclose(cells[sampler, "both", fold][P], halves, atol=1e-9)
        np.testing.assert_allclose(made.mixes[sampler, "both", fold][1], pooled((0.5, 0.5), mixes), atol=1e-9)
        pairs = [("SMOTE", TRAINED[0]), (sampler, TRAINED[1])]
        others = [other for other in range(3) if other != fold]
        logs = [np.log(np.concatenate([bare(*pair, other) for other in others])) for pair in pairs]
        y = np.concatenate([cells[(*pairs[0], other)]["label"] for other in others])
        mean = grid[:, None, None] * logs[0] + (1 - grid[:, None, None]) * logs[1]
        losses = (np.log(np.exp(mean).sum(axis=2)) - mean[:, np.arange(len(y)), y]).mean(axis=1)
        same = sampler == "SMOTE"
        members = [cells[(*pair, fold)][P].to_numpy() if same else bare(*pair, fold) for pair in pairs]
        weight = grid[losses.argmin()]
        tried = [pooled((w, 1 - w), members) for w in (weight - 0.001, weight, weight + 0.001)]
        found = cells[sampler, "weighted", fold][P].to_numpy()
        assert min(abs(found - one).max() for one in tried) < 1e-6
        words = r"SMOTE \+ logistic_regression ([\d.]+), dummy ([\d.]+)"
        stated = [(float(one), float(other)) for one, other in re.findall(words, notes)]
        assert any(abs(one - weight) < 0.0065 and abs(one + other - 1) < 0.011 for one, other in stated)


def test_tuned_plain(made: Made) -> None:
    """The probabilities of none over a power of the class frequencies that is best on the other folds."""
    cells, powers = made.cells, np.arange(41) * 0.05
    notes = plain(made.section("notes"))
    for model in TRAINED:
        counts, moved = [], []
        for fold in range(3):
            natural, trained = made.mixes["none", model, fold]
            p = cells["none", model, fold][P].to_numpy() * natural / trained
            parts = [p / natural**power for power in powers]
            moved.append([(part / part.sum(axis=1, keepdims=True)).round(12) for part in parts])
            y = np.eye(7)[cells["none", model, fold]["label"]]
            counts.append([y.T @ np.eye(7)[part.argmax(axis=1)] for part in moved[-1]])
        for fold in range(3):
            other = np.sum(counts, axis=0) - counts[fold]
            both = other.sum(axis=1) + other.sum(axis=2)
            hits = np.diagonal(other, axis1=1, axis2=2)
            f1 = np.divide(2 * hits, both, out=np.full(hits.shape, np.nan), where=both > 0)
            place = int(np.nanmean(f1, axis=1).round(12).argmax())
            found = cells["tuned_plain", model, fold]
            np.testing.assert_allclose(found[P], moved[fold][place], atol=1e-9)
            assert (found["predicted"].to_numpy() == moved[fold][place].argmax(axis=1)).all()
            assert f"power {powers[place]:.2f}, chosen on the other folds" in notes


def test_classes_and_their_lesions(made: Made) -> None:
    counts = np.bincount(made.table.labels)
    shown = table(made.page, "The classes, in the order of their codes")
    for code, (name, cells, _) in enumerate(shown):
        known = len(np.unique(made.lesions[made.table.labels == code]))
        assert (name, number(cells[1]), number(cells[2])) == (NAMES[code], counts[code], known)
        assert float(cells[3].removesuffix(" %")) == pytest.approx(100 * counts[code] / 240, abs=0.0501)
    words, total = plain(made.section("data")), len(np.unique(made.lesions))
    assert f"contains 240 pictures of 8&nbsp;×&nbsp;8 pixels, in colour, of {total} lesions" in words
    assert f"lesions {total} classes 7" in words.replace(f"{total} lesions", f"lesions {total}")
    assert f"{counts.max() / counts.min():.0f} : 1" in words
    assert len(made.cells) == 4 * 4 * 3
    assert "48 of 48" in words


def test_machine_and_time(made: Made) -> None:
    """From run.json, which is their only source."""
    words, info = plain(made.section("reproduce")), made.info
    machine = info["hardware"]
    for text in (
        f"Started {info['started'].replace('T', ' ')}",
        f"Wall clock {info['wall_seconds']:.1f} s" if info["wall_seconds"] < 59.95 else "Wall clock 1 min",
        "Worker processes 1",
        f"Peak memory {info['peak_memory_mb']:,.0f} MB",
        f"{machine['cpu']}, {machine['cores']} core",
        f"Memory {machine['memory_gb']:.1f} GB",
        f"System {machine['system']}",
        *(f"{name} {version}" for name, version in info["versions"].items()),
        "Seed 0",
        "3 folds, 1 repeat",
    ):
        assert text in words
