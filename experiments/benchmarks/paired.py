"""Compare two checkouts of this project: what the same comparison costs, and what it scores.

Run it as ``python experiments/benchmarks/paired.py OLD NEW -- CSV --samplers none --models svm``. What
follows ``--`` are the arguments of ``skinmnist compare``, without ``--seed`` and ``--out``. The checkouts run
in turns (old, new; new, old; old, new), each turn with the next seed, one run at a time. Both use the
packages of this interpreter. A run that is stopped can be started again: finished runs in ``--out`` are not
repeated.

Costs are measured from outside, of a command and all of its processes: processor seconds (user and system),
wall seconds, the largest sum of proportional memory, the seconds until ``scores.csv`` first holds every pair
of the finished run, and the seconds until the first ``report.html``. ``others`` is how many cores other
processes used meanwhile: wall times count only where it is near 0.

Scores are computed here, from ``predictions.csv.gz`` of both, by the same lines: decisions are the class with
the largest probability, as trained; or after Bayes' rule has moved the probabilities to the natural class mix
(``natural``), divided by the power of itself that is best for macro-F1 on the other folds (``tuned``). Each
score is a mean over folds; differences are new minus old, a mean over seeds with its standard error. Where
the checkouts draw other folds from the same seed, which is said, that error contains the folds, too; with
``--same-folds``, the new checkout is given those of the old one.
"""

import argparse
import csv
import ctypes
import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from sklearn.metrics import f1_score, roc_auc_score

OLD, NEW = "old", "new"
COSTS = ("core_seconds", "wall_seconds", "peak_mb", "first_leaderboard", "first_report", "others")
CELL = ["sampler", "model", "repeat", "fold"]
EXPONENTS = np.linspace(0.0, 2.0, 41)
#: Seconds between two looks at the files of a run, and how many of them pass between two at its memory, which
#: the kernel sums up page by page.
_INTERVAL, _MEMORY_EVERY = 0.25, 8
_BECOME_SUBREAPER = 36


class Watch:
    """Look at a run from outside: its memory, and the pairs in its ``scores.csv`` as they come."""

    def __init__(self, pid, folder):
        self.process, self.folder = psutil.Process(pid), folder
        self.started, self.megabytes, self.report = time.perf_counter(), 0.0, None
        self.pairs, self._stamp, self._looks = [], None, 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look_often, daemon=True)
        self._thread.start()

    def close(self):
        self._end.set()
        self._thread.join()

    def _look_often(self):
        while not self._end.wait(_INTERVAL):
            self._look()

    def _look(self):
        passed = time.perf_counter() - self.started
        if self._looks % _MEMORY_EVERY == 0:
            self.megabytes = max(self.megabytes, self._memory())
        self._looks += 1
        if self.report is None and (self.folder / "report.html").is_file():
            self.report = passed
        with suppress(OSError, KeyError, pd.errors.EmptyDataError):
            path = self.folder / "scores.csv"
            stamp = (path.stat().st_mtime_ns, path.stat().st_ino)
            if stamp != self._stamp:
                self.pairs.append((passed, pairs_in(path)))
                self._stamp = stamp

    def _memory(self):
        total = 0
        with suppress(psutil.Error):
            for process in [self.process, *self.process.children(recursive=True)]:
                with suppress(psutil.Error):
                    total += process.memory_full_info().pss
        return total / 2**20

    def first_leaderboard(self, wall):
        """Return the seconds until every pair of the final table was in a table."""
        final = pairs_in(self.folder / "scores.csv")
        return next((passed for passed, found in self.pairs if found >= final), wall)


def pairs_in(path):
    """Return the pairs of a scores.csv."""
    return set(pd.read_csv(path, usecols=["sampler", "model"]).itertuples(index=False, name=None))


def run(checkout, folder, arguments, seed, cold):
    """Run one comparison, and return its costs."""
    cache = folder.parent / f"cache-{folder.name.rpartition('-')[2]}"
    if cold:
        shutil.rmtree(cache, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    environment = {**os.environ, "PYTHONPATH": str(checkout), "SKINMNIST_CACHE": str(cache)}
    command = [sys.executable, "-m", "skinmnist.compare", *arguments]
    command += ["--seed", str(seed), "--out", str(folder)]
    before, busy, started = core_seconds(), busy_seconds(), time.perf_counter()
    with folder.with_suffix(".log").open("wb") as log:
        # From the checkout, because `-m` looks for modules in the current folder first.
        process = subprocess.Popen(command, cwd=checkout, env=environment, stdout=log, stderr=log)
        watch = Watch(process.pid, folder)
        process.wait()
        wall = time.perf_counter() - started
        watch.close()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}; see {log.name}")
    reap_orphans()
    cores = core_seconds() - before
    return {
        "seed": seed,
        "core_seconds": cores,
        "wall_seconds": wall,
        "peak_mb": watch.megabytes,
        "first_leaderboard": watch.first_leaderboard(wall),
        "first_report": watch.report or wall,
        "others": max(0.0, (busy_seconds() - busy - cores) / wall),
    }


def drawn_folds(old, new, out, table, seed):
    """Write the folds that the old checkout draws, as a file for ``--split``, and return its path."""
    path = out / f"folds-{seed}.csv"
    if not path.is_file():
        folder = out / f"folds-{seed}"
        run(old, folder, [table, "--samplers", "none", "--models", "dummy"], seed, cold=False)
        found = pd.read_csv(folder / "predictions.csv.gz", usecols=["row", "fold"]).set_index("row")["fold"]
        ids = "import sys, skinmnist; print(*skinmnist.load_hmnist(sys.argv[1]).image_ids)"
        printed = subprocess.run(
            [sys.executable, "-c", ids, table],
            env={**os.environ, "PYTHONPATH": str(new)},
            check=True,
            capture_output=True,
            text=True,
        )
        images = printed.stdout.split()
        pd.DataFrame({"image_id": images, "fold": found.loc[range(len(images))].to_numpy()}).to_csv(
            path, index=False
        )
    return path


def core_seconds():
    """Return the processor seconds of all ended processes that this one has started, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def busy_seconds():
    """Return the processor seconds that all processes of this machine have used."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


def adopt_orphans():
    """Let this process inherit what a run leaves behind, so its seconds are counted, too (on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_BECOME_SUBREAPER, 1, 0, 0, 0)


def reap_orphans(patience=5.0):
    deadline = time.monotonic() + patience
    with suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.05)


def scores(folder):
    """Compute the scores of a finished run, by sampler, model and measure."""
    predictions = pd.read_csv(folder / "predictions.csv.gz")
    columns = [name for name in predictions if name.startswith("p_")]
    mixes, found = class_mixes(folder, predictions, columns), {}
    for pair, of_pair in predictions.groupby(CELL[:2], sort=False):
        rows = []
        for _, of_repeat in of_pair.groupby("repeat", sort=False):
            cells = [
                (part["label"].to_numpy(), part[columns].to_numpy(), *mixes[(*pair, *key)])
                for key, part in of_repeat.groupby(CELL[2:], sort=False)
            ]
            decided = [decisions_by_exponent(*cell) for cell in cells]
            for place, (labels, shares, natural, trained) in enumerate(cells):
                others = [i for i in range(len(cells)) if i != place]
                row = {
                    "accuracy": np.mean(shares.argmax(axis=1) == labels),
                    "macro_f1": macro_f1(labels, shares.argmax(axis=1)),
                    "macro_auc natural": macro_auc(labels, moved(shares, natural, trained)),
                }
                if others:
                    pooled = np.concatenate([cells[i][0] for i in others])
                    candidates = np.concatenate([decided[i] for i in others], axis=1)
                    best = int(np.argmax([round(macro_f1(pooled, one), 12) for one in candidates]))
                    row["accuracy tuned"] = np.mean(decided[place][best] == labels)
                    row["macro_f1 tuned"] = macro_f1(labels, decided[place][best])
                rows.append(row)
        for measure, value in pd.DataFrame(rows).mean().items():
            found[(*pair, measure)] = float(value)
    return found


def class_mixes(folder, predictions, columns):
    """Return the natural and the trained class mix of each cell, each of shape (k,).

    Checkouts without ``class_mix.csv`` keep the trained counts in the file of each cell; the natural mix is
    that of the other folds.
    """
    if (folder / "class_mix.csv").is_file():
        table = pd.read_csv(folder / "class_mix.csv")
        return {
            key: (cell["natural"].to_numpy(), cell["trained"].to_numpy())
            for key, cell in table.groupby(CELL, sort=False)
        }
    trained = {}
    for path in sorted((folder / "cells").glob("*.cell"), key=lambda path: path.stat().st_mtime_ns):
        with np.load(io.BytesIO(path.read_bytes()[64:])) as arrays:
            cell = tuple(json.loads(arrays["meta"].tobytes())["cell"])
            trained[cell] = arrays["counts_after"] / arrays["counts_after"].sum()
    mixes = {}
    for (*pair, repeat), part in predictions.groupby(CELL[:3], sort=False):
        total = np.bincount(part["label"], minlength=len(columns))
        for fold, own in part.groupby("fold", sort=False):
            rest = total - np.bincount(own["label"], minlength=len(columns))
            rest = rest if rest.any() else total
            mixes[(*pair, repeat, fold)] = rest / rest.sum(), trained[(*pair, repeat, fold)]
    return mixes


def moved(shares, natural, trained, exponent=0.0):
    """Move probabilities to the natural class mix divided by a power of itself."""
    wanted = np.power(natural, 1 - exponent, out=np.zeros(len(natural)), where=natural > 0)
    ratio = np.divide(wanted, trained, out=np.zeros(len(natural)), where=trained > 0)
    changed = shares * ratio
    total = changed.sum(axis=1, keepdims=True)
    return np.where(total > 0, changed / np.where(total > 0, total, 1.0), shares)


def decisions_by_exponent(labels, shares, natural, trained):
    """Return the decisions of a cell at each of `EXPONENTS`, shape (exponents, rows)."""
    return np.stack([moved(shares, natural, trained, one).argmax(axis=1) for one in EXPONENTS])


def macro_f1(labels, decided):
    """Return the mean F1 of the classes that are present."""
    return float(f1_score(labels, decided, labels=np.unique(labels), average="macro", zero_division=0))


def macro_auc(labels, shares):
    """Return the mean AUC of each present class against the rest."""
    present = [code for code in np.unique(labels) if 0 < np.mean(labels == code) < 1]
    return float(np.mean([roc_auc_score(labels == code, shares[:, code]) for code in present]))


def costs_table(runs):
    """Return the median cost of each checkout, and the median, smallest and largest of their ratios."""
    rows = []
    for cost in COSTS:
        old, new = ([run[cost] for run in runs[name]] for name in (OLD, NEW))
        ratios = [b / a for a, b in zip(old, new, strict=True) if a]
        rows.append(
            {
                "cost": cost,
                OLD: statistics.median(old),
                NEW: statistics.median(new),
                "ratio": statistics.median(ratios) if ratios and cost != "others" else np.nan,
                "least": min(ratios) if ratios and cost != "others" else np.nan,
                "most": max(ratios) if ratios and cost != "others" else np.nan,
            }
        )
    return pd.DataFrame(rows)


def scores_table(runs):
    """Return the mean of each score over seeds, and the mean difference with its standard error."""
    found = {
        name: {one["seed"]: scores(one["folder"]) for one in reversed(runs[name])} for name in (OLD, NEW)
    }
    seeds = sorted(found[OLD].keys() & found[NEW].keys())
    shared = [key for key in found[OLD][seeds[0]] if all(key in found[NEW][seed] for seed in seeds)]
    rows = []
    for key in shared:
        old, new = (np.array([found[name][seed][key] for seed in seeds]) for name in (OLD, NEW))
        error = np.std(new - old, ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else np.nan
        difference = float(np.mean(new - old))
        rows.append((*key, len(seeds), old.mean(), new.mean(), difference, error))
    columns = ["sampler", "model", "score", "seeds", OLD, NEW, "difference", "error"]
    table = pd.DataFrame(rows, columns=columns)
    order = list(dict.fromkeys(table["score"]))
    return table.sort_values("score", key=lambda names: names.map(order.index), kind="stable")


def same_folds(*folders):
    """Return whether two runs hold out the same rows in the same folds."""
    tables = [
        pd.read_csv(folder / "predictions.csv.gz", usecols=["repeat", "fold", "row"]).drop_duplicates()
        for folder in folders
    ]
    first, second = ({*table.itertuples(index=False, name=None)} for table in tables)
    return first == second


def show(runs, out):
    """Print both tables, and write them as CSV."""
    costs, found = costs_table(runs), scores_table(runs)
    costs.to_csv(out / "costs.csv", index=False)
    found.to_csv(out / "differences.csv", index=False)
    print(f"\n{len(runs[OLD])} turns, medians; the ratio is the median of new / old by turn")
    print(costs.to_string(index=False, float_format=lambda value: f"{value:.3f}", na_rep=""))
    for name in (OLD, NEW):
        share = [one["first_leaderboard"] / one["wall_seconds"] for one in runs[name]]
        print(f"first leaderboard with every pair, {name}: {statistics.median(share):.2f} of the wall time")
    print()
    print(found.to_string(index=False, float_format=lambda value: f"{value:.4f}", na_rep=""))
    alike = [same_folds(old["folder"], new["folder"]) for old, new in zip(runs[OLD], runs[NEW], strict=True)]
    print(f"\nthe same rows are held out in the same folds for {sum(alike)} of {len(alike)} turns")
    worst = found.loc[found["difference"].idxmin()]
    print(
        f"largest loss: {worst['score']} of {worst['sampler']} + {worst['model']}, "
        f"{worst['difference']:+.4f} ({len(found)} differences)"
    )


def main():
    given = sys.argv[1:]
    own, compared = (
        (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    )
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="a checkout")
    parser.add_argument("new", type=Path, help="another one")
    parser.add_argument("--turns", type=int, help="runs of each (default: one for every seed)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[5, 6, 7])
    parser.add_argument("--warm", action="store_true", help="keep the cache of parsed tables between runs")
    parser.add_argument(
        "--same-folds", action="store_true", help="give the new checkout the folds that the old one draws"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/paired"), help="folder of the runs and tables")
    options = parser.parse_args(own)
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    adopt_orphans()
    checkouts = {OLD: options.old.resolve(), NEW: options.new.resolve()}
    arguments = [str(Path(one).resolve()) if Path(one).is_file() else one for one in compared]
    for checkout in checkouts.values():  # No run pays for compiling modules.
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(checkout / "skinmnist")], check=True)
    runs = {OLD: [], NEW: []}
    for turn in range(max(options.turns or 0, len(options.seeds))):
        seed = options.seeds[turn % len(options.seeds)]
        for name in (OLD, NEW) if turn % 2 == 0 else (NEW, OLD):
            folder = out / f"{turn}-{name}"
            known = folder.with_suffix(".json")
            if not known.is_file():
                split = []
                if options.same_folds and name == NEW:
                    split = ["--split", str(drawn_folds(*checkouts.values(), out, arguments[0], seed))]
                costs = run(checkouts[name], folder, [*arguments, *split], seed, not options.warm)
                known.write_text(json.dumps(costs))
            costs = json.loads(known.read_text())
            print(turn, name, *(f"{key}={value:.1f}" for key, value in costs.items()), flush=True)
            runs[name].append({**costs, "folder": folder})
    with (out / "runs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["checkout", "turn", "seed", *COSTS], extrasaction="ignore")
        writer.writeheader()
        for name, own in runs.items():
            writer.writerows({**one, "checkout": name, "turn": turn} for turn, one in enumerate(own))
    show(runs, out)


if __name__ == "__main__":
    main()
