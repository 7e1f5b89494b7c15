"""What predictions.csv.gz says, computed in a few lines that share no code with the package.

On an invented run, or on the folder of the run that SKINMNIST_RUN names: any samplers and models on the seven
classes of HAM10000, whose report.html is of this version (``skinmnist report FOLDER``).
"""

from __future__ import annotations

import json
import os
import re
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

NAMES = ["akiec", "bcc", "bkl", "df", "nv", "vasc", "mel"]
P = [f"p_{name}" for name in NAMES]
#: Columns of probabilities at the natural prior, which `with_natural` adds.
N = [f"n_{name}" for name in NAMES]
METRICS = ["macro_f1", "balanced_accuracy", "accuracy", "macro_auc", "recall_mel"]
SAMPLERS = ["none", "RandomOverSampler", "SMOTE"]
CONTROL = "prior correction"
LABELS = ["Macro-F1", "Balanced accuracy", "Accuracy", "Macro-AUC", "Melanoma recall"]
#: A number of three digits, as the page writes it.
NUMBER = r"([+−]?\d+\.\d{3})"
TITLES = {
    "svm": "Support vector machine (RBF)",
    "random_forest": "Random forest",
    "cnn": "Convolutional network",
}
if "SKINMNIST_RUN" in os.environ:
    _grid = json.loads(Path(os.environ["SKINMNIST_RUN"], "run.json").read_text(encoding="utf-8"))["grid"]
    SAMPLERS, TITLES = _grid["samplers"], {name: one["title"] for name, one in _grid["models"].items()}
OTHERS = [name for name in SAMPLERS if name != "none"]
#: Number of pairs that are trained.
PAIRS = len(SAMPLERS) * len(TITLES)


@pytest.fixture(scope="session")
def folder(fake_run: Path, html: str) -> Path:
    assert html  # Writing the page writes the tables.
    return Path(os.environ.get("SKINMNIST_RUN", fake_run))


@pytest.fixture(scope="session")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def rows(folder: Path) -> pd.DataFrame:
    """Predictions as stored, and those of the control, which divides by the class counts of other folds."""
    stored = pd.read_csv(folder / "predictions.csv.gz", keep_default_na=False)
    return with_natural(with_control(stored), folder)


def with_control(stored: pd.DataFrame) -> pd.DataFrame:
    plain = stored[stored["sampler"] == "none"]
    parts, first = [stored], plain["model"].iloc[0]
    for (_, fold), cell in plain.groupby(["model", "fold"]):
        counts = plain[(plain["model"] == first) & (plain["fold"] != fold)]["label"].value_counts()
        weighted = cell[P].to_numpy() / counts.reindex(range(7)).to_numpy()
        weighted = (weighted / weighted.sum(axis=1, keepdims=True)).round(12)
        part = cell.assign(sampler=CONTROL, predicted=weighted.argmax(axis=1))
        part[P] = weighted
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def with_natural(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Add the probabilities at the class mix of the training rows; the control is none there."""
    mixes = pd.read_csv(folder / "class_mix.csv", keep_default_na=False)
    mixes, parts = dict(list(mixes.groupby(["sampler", "model", "fold"]))), []
    for (sampler, model, fold), cell in rows.groupby(["sampler", "model", "fold"], sort=False):
        mix = mixes[sampler.replace(CONTROL, "none"), model, fold].set_index("class").loc[NAMES]
        natural = cell[P].to_numpy() * mix["natural"].to_numpy()
        natural /= 1 if sampler == CONTROL else mix["trained"].to_numpy()
        natural = (natural / natural.sum(axis=1, keepdims=True)).round(12)
        parts.append(pd.DataFrame(natural, cell.index, N))
    return rows.join(pd.concat(parts))


@pytest.fixture(scope="session")
def by_fold(rows: pd.DataFrame) -> pd.DataFrame:
    return scores_by_fold(rows)


def scores_by_fold(rows: pd.DataFrame) -> pd.DataFrame:
    records = []
    for (sampler, model, fold), cell in rows.groupby(["sampler", "model", "fold"]):
        y, told, p = cell["label"].to_numpy(), cell["predicted"].to_numpy(), cell[P].to_numpy()
        natural, counts = cell[N].to_numpy(), np.zeros((7, 7), int)
        np.add.at(counts, (y, told), 1)
        records.append(
            {
                "sampler": sampler,
                "model": model,
                "fold": fold,
                "macro_f1": f1_of(counts),
                "balanced_accuracy": balanced_of(counts),
                "accuracy": (y == told).mean(),
                "macro_auc": np.mean([auc(y == c, p[:, c]) for c in range(7)]),
                "recall_mel": (told[y == 6] == 6).mean(),
                "log_loss": log_loss(y, p),
                "natural macro_auc": np.mean([auc(y == c, natural[:, c]) for c in range(7)]),
                "natural log_loss": log_loss(y, natural),
                "natural macro_average_precision": np.mean(
                    [average_precision(y == c, natural[:, c]) for c in range(7)]
                ),
                "natural brier": ((natural - np.eye(7)[y]) ** 2).sum(axis=1).mean(),
                "natural ece": calibration_error(y, natural),
                "brier": ((p - np.eye(7)[y]) ** 2).sum(axis=1).mean(),
                "ece": calibration_error(y, p),
                **{f"at {level}": sensitivity(natural[:, 6], y == 6, level) for level in (0.8, 0.9, 0.95)},
                **{f"recall {c}": (told[y == c] == c).mean() for c in range(7)},
            }
        )
    return pd.DataFrame(records).set_index(["sampler", "model", "fold"])


@pytest.fixture(scope="session")
def of_lesions(rows: pd.DataFrame, folder: Path) -> pd.DataFrame | None:
    """As `by_fold`, by lesion; None if no lesion has several pictures in a fold."""
    averaged = by_lesion(rows, np.load(folder / "lesions.npz")["codes"])
    return None if averaged is None else scores_by_fold(averaged)


def by_lesion(rows: pd.DataFrame, lesions: np.ndarray) -> pd.DataFrame | None:
    """Mean probabilities of the pictures of each lesion; without lesions that have several labels."""
    known, cells = rows.assign(lesion=lesions[rows["row"]]), ["sampler", "model", "fold"]
    of_lesion = known.groupby("lesion")
    apart = of_lesion["fold"].min() != of_lesion["fold"].max()
    if apart.any() or not known.duplicated([*cells, "lesion"]).any():
        return None
    known = known[of_lesion["label"].transform("nunique") == 1]
    means = known.groupby([*cells, "lesion"])[["label", *P, *N]].mean().reset_index()
    means[P + N] = means[P + N].round(12)  # Averages of equal probabilities are equal.
    return means.astype({"label": int}).assign(predicted=means[P].to_numpy().argmax(axis=1))


def beside(of_lesions: pd.DataFrame | None, pair: tuple[str, str], column: str) -> list[float]:
    """Return the score by lesion that stands beside a score, if there is one."""
    return [] if of_lesions is None else [of_lesions.loc[pair][column].mean()]


@pytest.fixture(scope="session")
def tuned(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    return tuned_by_fold(rows, folder)


def tuned_by_fold(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Decisions whose exponent is chosen on the pooled counts of the other folds: one row for each cell."""
    mixes = pd.read_csv(folder / "class_mix.csv", keep_default_na=False)
    mixes, records = dict(list(mixes.groupby(["sampler", "model", "fold"]))), []
    for (sampler, model), of_pair in rows[rows["sampler"] != CONTROL].groupby(["sampler", "model"]):
        counts = []
        for fold, cell in of_pair.groupby("fold"):
            mix = mixes[sampler, model, fold].set_index("class").loc[NAMES]
            p = cell[P].to_numpy() * (mix["natural"] / mix["trained"]).to_numpy()
            moved = [p / mix["natural"].to_numpy() ** e for e in np.arange(41) * 0.05]
            named = [(q / q.sum(axis=1, keepdims=True)).round(12).argmax(axis=1) for q in moved]
            true = np.eye(7, dtype=int)[cell["label"]]
            counts.append([true.T @ np.eye(7, dtype=int)[n] for n in named])
        counts = np.array(counts)
        for fold, own in enumerate(counts):
            record = {"sampler": sampler, "model": model, "fold": fold}
            for metric, score in (("macro_f1", f1_of), ("balanced_accuracy", balanced_of)):
                found = [round(score(other), 12) for other in counts.sum(axis=0) - own]
                best = own[int(np.argmax(found))]
                record[f"tuned {metric}"] = score(best)
                if metric == "macro_f1":
                    record |= {"accuracy": np.trace(best) / best.sum(), "balanced": balanced_of(best)}
            records.append(record)
    return pd.DataFrame(records).set_index(["sampler", "model", "fold"])


def f1_of(counts: np.ndarray) -> float:
    both = counts.sum(axis=0) + counts.sum(axis=1)
    return float(np.mean(2 * np.diag(counts)[both > 0] / both[both > 0]))


def balanced_of(counts: np.ndarray) -> float:
    true = counts.sum(axis=1)
    return float(np.mean(np.diag(counts)[true > 0] / true[true > 0]))


#: Rule and metric of comparisons.csv, and the column that has the score.
MEASURES = {
    **{("as_trained", metric): metric for metric in METRICS},
    ("natural_prior", "macro_auc"): "natural macro_auc",
    ("tuned_macro_f1", "macro_f1"): "tuned macro_f1",
    ("tuned_balanced_accuracy", "balanced_accuracy"): "tuned balanced_accuracy",
}


@pytest.fixture(scope="session")
def expected_comparisons(by_fold: pd.DataFrame, tuned: pd.DataFrame) -> pd.DataFrame:
    """Every row that comparisons.csv should have."""
    scores, records = by_fold.join(tuned[["tuned macro_f1", "tuned balanced_accuracy"]]), []
    families = {
        "sampler": [((s, m), ("none", m)) for m, s in product(TITLES, OTHERS)],
        "model": [((s, a), (s, b)) for s in SAMPLERS for a, b in combinations(TITLES, 2)],
        "control against none": [((CONTROL, m), ("none", m)) for m in TITLES],
        "control": [((s, m), (CONTROL, m)) for m, s in product(TITLES, OTHERS)],
    }
    for (family, sides), ((rule, metric), column) in product(families.items(), MEASURES.items()):
        if family.startswith("control") and rule != "as_trained":
            continue
        for first, second in sides:
            gaps = (scores.loc[first] - scores.loc[second])[column].to_numpy()
            difference, low, high, p, tests, verdict = judged(gaps, len(sides))
            below, inside = np.diff(spread_of(gaps).cdf([-np.inf, -0.01, 0.01]))
            records.append(
                {
                    "question": family.split()[0],
                    "sampler": first[0],
                    "model": first[1],
                    "against": second[family == "model"],
                    "rule": rule,
                    "metric": metric,
                    "value": scores.loc[first][column].mean(),
                    "against_value": scores.loc[second][column].mean(),
                    "difference": difference,
                    "low": low,
                    "high": high,
                    "p_simultaneous": p,
                    "tests": tests,
                    "worse": below,
                    "equivalent": inside,
                    "better": 1 - below - inside,
                    "verdict": verdict,
                }
            )
    return pd.DataFrame(records)


def auc(positive: np.ndarray, score: np.ndarray) -> float:
    """Mann & Whitney's: the share of pairs in which the positive is higher, ties by half."""
    ranks, n = stats.rankdata(score), positive.sum()
    return float((ranks[positive].mean() - (n + 1) / 2) / (~positive).sum())


def average_precision(positive: np.ndarray, score: np.ndarray) -> float:
    """The mean, over the positives, of the precision among all that score at least as high."""
    called = len(score) + 1 - stats.rankdata(score, "min")
    found = positive.sum() + 1 - stats.rankdata(score[positive], "min")
    return float((found / called[positive]).mean())


def log_loss(y: np.ndarray, p: np.ndarray) -> float:
    own = p[np.arange(len(y)), y] / p.sum(axis=1)
    return float(-np.log(own.clip(np.finfo(float).eps)).mean())


def sensitivity(score: np.ndarray, ill: np.ndarray, specificity: float) -> float:
    thresholds = [*np.unique(score), np.inf]
    return max((score[ill] >= t).mean() for t in thresholds if (score[~ill] < t).mean() >= specificity - 1e-9)


def calibration_error(y: np.ndarray, p: np.ndarray) -> float:
    top, right, edges = p.max(axis=1), p.argmax(axis=1) == y, np.arange(16) / 15
    # Forests answer in hundredths, so confidences do stand on edges: none may be off by a last bit.
    bins = [(top > low) & (top <= high) for low, high in pairwise(edges)]
    return sum(abs(top[b].sum() - right[b].sum()) for b in bins) / len(y)


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


def pair_of(heading: str, titles: dict[str, str] = TITLES) -> tuple[str, str]:
    found = [name for name, title in titles.items() if title in heading]
    model = max(found, key=lambda name: len(titles[name]))
    sampler = heading[: heading.index(titles[model])].split(" on ")[0].strip()
    return sampler.replace("no sampler", "none"), model


def shows(text: str, pattern: str, *values: float, digits: int = 3) -> bool:
    """Whether a text has this pattern, # for a number, and these numbers, rounded: halves either way."""
    number = rf"([+−]?(?:\d+|\d{{1,3}}(?:,\d{{3}})+)\.\d{{{digits}}})"
    match = re.fullmatch(re.escape(pattern).replace(r"\#", number), text)
    told = [float(group.replace("−", "-").replace(",", "")) for group in match.groups()] if match else []
    return told == pytest.approx(list(values), abs=0.5 * 10**-digits + 1e-9)


def judged(gaps: np.ndarray, tests: int) -> tuple[float, float, float, float, int, str]:
    """Difference, interval and p of one of so many tests, their number, and the verdict."""
    spread = spread_of(gaps)
    reach = spread.isf(0.025 / tests) - gaps.mean()
    p = min(1, tests * 2 * spread.sf(gaps.mean() + abs(gaps.mean())))
    inside = spread.cdf([-0.01, 0.01])
    words = "better" if gaps.mean() > reach else "worse" if gaps.mean() < -reach else "undecided"
    words = "practically equal" if inside[1] - inside[0] >= 0.95 else words
    return gaps.mean(), gaps.mean() - reach, gaps.mean() + reach, p, tests, words


def spread_of(gaps: np.ndarray) -> Any:
    """Nadeau & Bengio's distribution of the mean difference, of folds of which each is tested on once."""
    n = len(gaps)
    return stats.t(n - 1, gaps.mean(), np.sqrt(gaps.var(ddof=1) * (1 / n + 1 / (n - 1))))


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))
