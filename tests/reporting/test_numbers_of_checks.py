"""Every number in the sentences of the checks, from predictions, folds and pixels; see test_numbers.py.

On the page of the run of test_numbers.py, and on a small run on which nearly all checks find something.
"""

from __future__ import annotations

import html as markup
import re
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from recomputed import (
    CONTROL,
    NAMES,
    OTHERS,
    TITLES,
    plain,
    scores_by_fold,
    shows,
    spread_of,
    with_control,
    with_natural,
)
from sklearn.base import BaseEstimator, ClassifierMixin

from skinmnist import Request, make_lesions
from skinmnist.analysis.analyze import analyze
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.comparison import run_comparison
from skinmnist.experiment.run_folder.record import read_run

PAIR = r"(\w+) (?:without a sampler|with ([\w@.]+))"


class Fails(ClassifierMixin, BaseEstimator):
    def fit(self, rows: np.ndarray, labels: np.ndarray) -> Fails:
        raise ValueError("never fitted")

    def predict(self, rows: np.ndarray) -> np.ndarray:
        raise ValueError("never fitted")

    predict_proba = predict


def spoiled() -> PixelTable:
    """A table with a relabelled picture, a copy of another lesion, and twelve turned pictures."""
    table = make_lesions(240, size=8, random_state=3)
    pixels, labels = table.pixels.copy(), table.labels.copy()
    first, second, third = np.flatnonzero(labels == 4)[-3:]
    pixels[second] = pixels[third] = pixels[first]
    labels[second] = 6
    for row in range(40, 52):
        pixels[row] = np.rot90(pixels[row + 40].reshape(8, 8, 3)).reshape(-1)
    return replace(table, pixels=pixels, labels=labels)


@dataclass
class Case:
    """A run: sentences by code, predictions with their lesions, and what is computed from them."""

    told: dict[str, str]
    rows: pd.DataFrame
    scores: pd.DataFrame
    lesions: np.ndarray
    samplers: list[str]
    models: list[str]
    table: PixelTable | None = None

    @property
    def once(self) -> pd.DataFrame:
        return self.rows[(self.rows["sampler"] == "none") & (self.rows["model"] == self.models[0])]

    def gaps(self) -> dict[tuple[str, str], pd.DataFrame]:
        """Differences from none by fold."""
        pairs = product(self.samplers, self.models)
        return {pair: self.scores.loc[pair] - self.scores.loc[("none", pair[1])] for pair in pairs}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A quick run by picture with a model that fails."""
    folder, pictures = tmp_path_factory.mktemp("checks"), spoiled()
    record = run_comparison(
        pictures,
        ["none", "SMOTE", "RandomOverSampler"],
        {"dummy": "dummy", "logistic_regression": "logistic_regression", "broken": Fails()},
        folds=3,
        split="image",
        out=folder,
        jobs=1,
        progress=False,
        request=Request(quick=True),
    )
    assert record.failures
    told = {one.check.code: one.sentence for one in analyze(read_run(folder), draws=10).concerns}
    stored = pd.read_csv(folder / "predictions.csv.gz", keep_default_na=False)
    rows, models = with_natural(with_control(stored), folder), ["dummy", "logistic_regression"]
    lesions = np.unique(np.asarray(pictures.lesion_ids), return_inverse=True)[1]
    others = ["SMOTE", "RandomOverSampler"]
    return Case(told, rows, scores_by_fold(rows), lesions, others, models, pictures)


@pytest.fixture(scope="module")
def large(folder: Path, page: str, rows: pd.DataFrame, by_fold: pd.DataFrame) -> Case:
    section = page[page.index('id="checks"') :].partition("</section>")[0]
    found = re.findall(r"<div><dt>.*?</div>", section, flags=re.DOTALL)
    parts = [re.match(r"(SKM\d+) \w+ … [^.]*\. (.*?)( Lesson \d+: .*)?$", plain(one)) for one in found]
    told = {part[1]: markup.unescape(part[2]) for part in parts if part}
    assert len(told) == len(found) > 0
    return Case(told, rows, by_fold, np.load(folder / "lesions.npz")["codes"], OTHERS, [*TITLES])


@pytest.fixture(params=["large", "small"])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(request.param)
    return found


def named(text: str, after: str) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the pairs of a sentence with what follows each of them."""
    found = re.findall(PAIR + after, text)
    return {(sampler or "none", model): tuple(rest) for model, sampler, *rest in found}


def in_all(text: str, listed: int) -> int:
    more = re.search(r" and (\d+) more", text)
    return listed + (int(more[1]) if more else 0)


def verdict(gaps: np.ndarray, tests: int) -> tuple[str, float, float]:
    """As `judged`, also where the difference is the same in every fold."""
    mean = gaps.mean()
    if np.ptp(gaps) < 1e-12:
        return ("practically equal" if abs(mean) < 0.01 else "undecided"), np.nan, np.nan
    low, high = spread_of(gaps).ppf([0.025 / tests, 1 - 0.025 / tests])
    near = np.diff(spread_of(gaps).cdf([-0.01, 0.01]))[0]
    words = "better" if low > 0 else "worse" if high < 0 else "undecided"
    return ("practically equal" if near >= 0.95 else words), low, high


def above(gaps: np.ndarray) -> bool:
    """Whether a difference from the majority baseline is surely above zero."""
    low = verdict(gaps, 1)[1]
    return bool(low > 0 or (np.isnan(low) and gaps.mean() > 0))


def constant(case: Case) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the most frequent class, and the shares and the numbers of classes of the folds."""
    labels = [cell["label"] for _, cell in case.once.groupby("fold")]
    most = int(case.once["label"].value_counts().idxmax())
    shares = np.array([(cell == most).mean() for cell in labels])
    return most, shares, np.array([cell.nunique() for cell in labels])


def pairs_of(case: Case) -> list[tuple[str, str]]:
    return list(product(["none", *case.samplers], case.models))


def test_no_better_than_the_baseline(case: Case) -> None:
    most, shares, classes = constant(case)
    baseline = 2 * shares / (1 + shares) / classes
    f1 = {pair: case.scores.loc[pair]["macro_f1"].to_numpy() for pair in pairs_of(case)}
    expected = {pair for pair, own in f1.items() if not above(own - baseline)}
    sentence = case.told.get("SKM005", "")
    assert bool(sentence) == bool(expected)
    shown = named(sentence.partition("better: ")[2], r" (0\.\d{3})")
    assert set(shown) <= expected
    assert in_all(sentence, len(shown)) == len(expected)
    assert all(shows(value, "#", f1[pair].mean()) for pair, (value,) in shown.items())
    assert not sentence or f"{NAMES[most]} gives a macro-F1 of {baseline.mean():.3f}" in sentence


def test_less_accurate_than_the_baseline(case: Case) -> None:
    most, shares, _ = constant(case)
    accuracy = {pair: case.scores.loc[pair]["accuracy"].mean() for pair in pairs_of(case)}
    expected = {pair for pair, own in accuracy.items() if round(own, 3) < round(shares.mean(), 3)}
    sentence = case.told.get("SKM006", "")
    assert bool(sentence) == bool(expected)
    shown = named(sentence.partition("that of ")[2], r" (0\.\d{3})")
    assert set(shown) <= expected
    assert in_all(sentence, len(shown)) == len(expected)
    assert all(shows(value, "#", accuracy[pair]) for pair, (value,) in shown.items())
    assert not sentence or f"{NAMES[most]} gives an accuracy of {shares.mean():.3f}" in sentence


def test_classes_that_are_never_predicted(case: Case) -> None:
    cells = dict(list(case.rows.groupby(["sampler", "model"])))
    never = {pair: set(range(7)) - set(cells[pair]["predicted"]) for pair in pairs_of(case)}
    sentence = case.told.get("SKM007", "")
    shown = named(sentence, r" \(([\w, ]*)\)")
    assert in_all(sentence, len(shown)) == sum(map(bool, never.values()))
    for pair, (classes,) in shown.items():
        assert set(classes.split(", ")) == {NAMES[code] for code in never[pair]}


def test_calibration_errors(case: Case) -> None:
    gaps = {pair: own["ece"].to_numpy() for pair, own in case.gaps().items()}
    expected = {pair for pair, own in gaps.items() if verdict(own, len(gaps))[0] == "better"}
    sentence = case.told.get("SKM008", "")
    rises, mended = re.split(r"(?<=\))\. |(?<= more)\. ", sentence, maxsplit=1) if sentence else ("", "")
    shown = named(rises, r" \((0\.\d{3}) to (0\.\d{3})\)")
    assert set(shown) <= expected
    assert in_all(rises, len(shown)) == len(expected)
    for (sampler, model), (first, then) in shown.items():
        own, plain_one = case.scores.loc[(sampler, model)], case.scores.loc[("none", model)]
        assert shows(f"{first} {then}", "# #", plain_one["ece"].mean(), own["ece"].mean())
    counted = 0
    for part in filter(None, re.split(r"(?<=\.) (?=[RW])", mended)):
        given_back = named(part, r" \((0\.\d{3})\)")
        counted += in_all(part, len(given_back))
        for (sampler, model), (value,) in given_back.items():
            own, plain_one = case.scores.loc[(sampler, model)], case.scores.loc[("none", model)]
            rise = (own["natural ece"] - plain_one["natural ece"]).to_numpy()
            higher = float(rise.mean() > 0.01) if np.ptp(rise) < 1e-12 else spread_of(rise).sf(0.01)
            told = "Restoring the natural class mix corrects" if higher <= 0.05 else "is undecided"
            told = "does not correct" if verdict(rise, len(gaps))[0] == "better" else told
            assert told in part
            assert shows(value, "#", own["natural ece"].mean())
    assert counted == len(expected)


def test_the_lead(case: Case) -> None:
    means = case.scores.drop(CONTROL)["macro_f1"].groupby(level=[0, 1]).mean().sort_values(kind="stable")
    second, first = means.index[-2:]
    lead = (case.scores.loc[first]["macro_f1"] - case.scores.loc[second]["macro_f1"]).to_numpy()
    tests = 1
    if first[1] == second[1] and "none" in (first[0], second[0]):
        tests = len(case.gaps())
    elif first[0] == second[0]:
        tests = (1 + len(case.samplers)) * len(list(combinations(case.models, 2)))
    words, *ends = verdict(lead, tests)
    sentence = case.told.get("SKM009", "")
    assert bool(sentence) == (words in ("undecided", "practically equal"))
    if sentence:
        assert [*named(sentence, "")][:2] == [first, second]
        pattern = r"(?:by (0\.\d{3})|are level) in macro-F1 \(95 % interval (\S+) to (\S+)\)"
        ahead, *told = re.search(pattern, sentence).groups()
        assert shows(" ".join([ahead or "0.000", *told]), "# # #", lead.mean(), *ends)
        assert ("practically equal" in sentence) == (words == "practically equal")


def test_undecided_differences(case: Case) -> None:
    gaps, undecided = {pair: own["macro_f1"].to_numpy() for pair, own in case.gaps().items()}, {}
    for pair, own in gaps.items():
        if verdict(own, len(gaps))[0] == "undecided":
            _, low, high = verdict(own, 1)
            undecided[pair] = bool(low <= 0 <= high)
    sentence = case.told.get("SKM010", "")
    assert bool(sentence) == bool(undecided)
    counted = dict.fromkeys((True, False), 0)
    for part in sentence.partition("undecided: ")[2].split("; ") if sentence else ():
        includes = "includes zero" in part
        assert includes or f"but not over {len(gaps)} comparisons" in part
        shown = named(part, r" ([+−]\d\.\d{3})")
        counted[includes] = in_all(part, len(shown))
        for pair, (value,) in shown.items():
            assert undecided[pair] == includes
            assert shows(value, "#", gaps[pair].mean())
    assert not sentence or sentence.startswith(f"{len(undecided)} of {len(gaps)} differences")
    for includes, count in counted.items():
        assert count == sum(kind == includes for kind in undecided.values())


def test_few_lesions(small: Case) -> None:
    labels, table = small.once.sort_values("row")["label"].to_numpy(), small.table
    assert table is not None
    assert (labels == table.labels).all()
    counts = [len(np.unique(small.lesions[labels == code])) / 3 for code in range(7)]
    few = {NAMES[code]: f"{count:.0f}" for code, count in enumerate(counts) if count < 10}
    listed = small.told["SKM004"].partition("(")[2].partition(" and ")[0]
    shown = dict(re.findall(r"(\w+) (\d+)", listed))
    assert shown.items() <= few.items()
    assert in_all(small.told["SKM004"], len(shown)) == len(few)


def test_copies(small: Case) -> None:
    """Exact copies, counted pair by pair."""
    table, told = small.table, small.told
    assert table is not None
    labels, pixels, lesions = table.labels, table.pixels, small.lesions
    same = {}
    for a, b in combinations(range(240), 2):
        if (pixels[a] == pixels[b]).all():
            same.setdefault(b, a)  # With the first picture that it repeats.
    relabelled = [(a, b) for b, a in same.items() if labels[a] != labels[b]]
    unlinked = [b for b, a in same.items() if lesions[a] != lesions[b]]
    assert len(same) == 2
    assert told["SKM016"].startswith(f"{len(relabelled)} picture has exactly")
    assert "(rows {} and {})".format(*relabelled[0]) in told["SKM016"]
    assert told["SKM017"].startswith(f"{len(same)} of 240 pictures are exact copies of another")
    assert f"({len(unlinked)} with no lesion id in common)" in told["SKM017"]


def test_the_split(small: Case) -> None:
    """Lesions and turned pictures on both sides of a split by picture, and cells that failed."""
    told, ids = small.told, small.lesions
    fold = small.once.sort_values("row")["fold"].to_numpy()
    shared = [name for name in np.unique(ids) if np.ptp(fold[ids == name])]
    share = 100 * np.isin(ids, shared).mean()
    sentence = f"{len(shared)} lesions have pictures in several folds ({share:.0f} % of all pictures)"
    assert told["SKM001"].startswith(sentence)
    apart = [row for row in range(40, 52) if fold[row] != fold[row + 40] and ids[row] != ids[row + 40]]
    assert told["SKM003"].startswith(f"{len(apart)} pairs of pictures look")
    assert f"(rows {apart[0]} and {apart[0] + 40}, for example)" in told["SKM003"]
    assert "a quick look at 240 pictures in 3 folds" in told["SKM013"]
    assert told["SKM015"].startswith("9 of 27 cells failed (none with broken, ")
