"""Runs in Python: `skinmnist.run_comparison` and `skinmnist.read_run` return a `Run`."""

from __future__ import annotations

import html
import os
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Self
from urllib.parse import quote

import numpy as np
import pandas as pd

from skinmnist import facts
from skinmnist.analysis.analyze import Analysis, analyze, analyze_run
from skinmnist.analysis.operating_points import PRIOR_CORRECTION
from skinmnist.analysis.significance import OWN_POINT, Pair, compare_pair, exchanged, joined
from skinmnist.analysis.summaries import MEASURED, finished_pairs, leaderboard
from skinmnist.errors import InputError
from skinmnist.experiment import comparison
from skinmnist.experiment.metrics import LOWER_IS_BETTER, METRIC_TITLES, best_pair
from skinmnist.experiment.run_folder import record
from skinmnist.experiment.run_folder.folder import REPORT_FILE
from skinmnist.experiment.run_folder.record import RunRecord, read_external, read_info
from skinmnist.names import did_you_mean, find_pair, known_spelling, pair_name
from skinmnist.text import printable, shown

if TYPE_CHECKING:
    from skinmnist.experiment.execution.runner import Progress
    from skinmnist.reporting.plots import Plots

_P = ParamSpec("_P")
#: Display limits of a run: pairs, failures, and characters per name and per sentence.
_PAIRS, _SENTENCES, _NAME, _SENTENCE = 10, 2, 60, 160
#: Columns of `Run.compare`, after the names of the compared items.
_COMPARED = ["rule", "metric", "value", "against_value", "difference", "low", "high", "p_simultaneous"]
_COMPARED += ["tests", "verdict"]
#: Environment variables of a display on Linux; other systems are assumed to have a display.
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


class Run(RunRecord):
    """A finished comparison: its scores, analysis, figures and report.

    `run_comparison` returns it, and `read_run` reads it from a run folder. Everything is computed on first
    use and cached. Pairs of sampler and model are written as ``"SMOTE + svm"`` or ``("SMOTE", "svm")``.

    Attributes
    ----------
    plot : Plots
        The figures of the report.
    analysis : Analysis
        All tests, intervals, curves and checks.
    predictions, scores, timings : DataFrame
        The contents of the files in the run folder.

    See Also
    --------
    run_comparison : Run a comparison.
    read_run : Read the run folder of an earlier comparison.
    write_report : Write the report of a run.

    Examples
    --------
    >>> from skinmnist import make_lesions, run_comparison
    >>> table = make_lesions(120, size=8)
    >>> run = run_comparison(table, ["none", "SMOTE"], ["logistic_regression", "dummy"], folds=3, jobs=1)
    >>> run.pairs
    [('none', 'logistic_regression'), ('none', 'dummy'), ('SMOTE', 'logistic_regression'), ('SMOTE', 'dummy')]
    >>> run.plot.tradeoff().savefig("tradeoff.png")  # doctest: +SKIP
    """

    @classmethod
    def of(cls, found: RunRecord) -> Self:
        """Convert a record to a run, keeping the data that it has already read.

        Examples
        --------
        >>> Run.of(run).pairs == run.pairs
        True
        """
        run = cls.__new__(cls)
        vars(run).update(vars(found))
        if (external := vars(run).get("external")) is not None:
            vars(run)["external"] = cls.of(external)
        return run

    @cached_property
    def external(self) -> Self | None:
        """The run of the external test on the other table; None without an external test."""
        found = read_external(self)
        return None if found is None else self.of(found)

    @property
    def pairs(self) -> list[Pair]:
        """The pairs of sampler and model with a finished cell, in grid order."""
        return finished_pairs(self)

    def __getstate__(self) -> dict[str, Any]:
        # Recomputed on demand: workers that draw figures receive the analysis itself.
        return {name: value for name, value in vars(self).items() if name != "analysis"}

    def __repr__(self) -> str:
        board = leaderboard(self)
        lines = [f"<Run {_short(self.info.table.name)}: {self._extent}"]
        lines += ["  macro-F1, mean ± sd over folds:"] * bool(len(board))
        lines += [_board_line(row) for row in board.head(_PAIRS).to_dict("records")]
        if len(board) > _PAIRS:
            lines.append(f"  ... {len(board) - _PAIRS} more: run.leaderboard()")
        if self.info.table.synthetic:
            lines.append("  The table is synthetic: its scores say nothing about real skin.")
        lines += [f"  {line}" for line in self._cautions]
        lines.append(f"Next: {self._next_steps}>")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show the run in a notebook: leaderboard, findings of the checks, and how to get the report."""
        board = self.leaderboard().head(_PAIRS)
        more = len(self.leaderboard()) - len(board)
        parts = [
            f"<p><b>{html.escape(printable(self.info.table.name, _SENTENCE))}</b>: {self._extent}</p>",
            _board_html(board),
            f"<p>{more} more: <code>run.leaderboard()</code></p>" if more else "",
            *(
                f"<p><b>{concern.check.severity.capitalize()}</b> {concern.check.code}: "
                f"{html.escape(printable(concern.sentence))}</p>"
                for concern in self.analysis.concerns
                if concern.check.severity != "note"
            ),
            *(f"<p>{html.escape(line)}</p>" for line in self._cautions),
            f"<p>Next: <code>{html.escape(self._next_steps)}</code>{self._report_link}</p>",
            f"<p><small>{facts.DISCLAIMER}</small></p>",
        ]
        return "".join(parts)

    @cached_property
    def analysis(self) -> Analysis:
        """All tests, intervals, curves and checks of the run."""
        return analyze(self)

    @property
    def plot(self) -> Plots:
        """The figures of the report."""
        from skinmnist.reporting.plots import Plots

        return Plots(self.analysis)

    def leaderboard(self, metric: str = "macro_f1") -> pd.DataFrame:
        """Return the score of every pair, best first.

        Parameters
        ----------
        metric : str
            The name of a metric in ``scores.csv``.

        Returns
        -------
        DataFrame
            Columns ``sampler, model``; ``mean, sd`` over the finished folds; ``low, high``, the 95 %
            bootstrap interval over lesions, NaN if the metric has no interval; ``folds``; and ``trained``,
            False for prior correction and for the majority baseline, whose ``sampler`` is empty.

        Raises
        ------
        InputError
            If the metric is not in the run.

        Examples
        --------
        >>> run.leaderboard("accuracy").columns.to_list()
        ['sampler', 'model', 'mean', 'sd', 'low', 'high', 'folds', 'trained']
        """
        analysis = self.analysis
        metric = self._find_metric(metric)
        frames = [self.scores, analysis.derived_scores, analysis.majority_scores]
        scores = pd.concat([frame for frame in frames if len(frame)] or [self.scores])
        scores = scores[scores["metric"] == metric].astype({"sampler": str, "model": str, "value": float})
        board = scores.groupby(["sampler", "model"], sort=False)["value"].agg(["mean", "std", "size"])
        board = board.reset_index().rename(columns={"std": "sd", "size": "folds"})
        known = analysis.intervals[analysis.intervals["metric"] == metric].astype(
            {"sampler": str, "model": str}
        )
        board = board.merge(known[["sampler", "model", "low", "high"]], on=["sampler", "model"], how="left")
        trained = set(self.pairs)
        board["trained"] = [pair in trained for pair in zip(board["sampler"], board["model"], strict=True)]
        lowest = self._lower_is_better(metric)
        board = board.sort_values("mean", ascending=lowest, kind="stable", ignore_index=True)
        return board[["sampler", "model", "mean", "sd", "low", "high", "folds", "trained"]]

    def _lower_is_better(self, metric: str) -> bool:
        own = self.info.metrics.get(metric)
        return metric in LOWER_IS_BETTER or (own is not None and own.lower_is_better)

    def compare(self, first: str | Pair, second: str | Pair) -> pd.DataFrame:
        """Compare two pairs: paired differences over the folds, with verdicts.

        Parameters
        ----------
        first, second : str or (str, str)
            The pairs, such as ``"SMOTE + svm"`` and ``"none + svm"``.

        Returns
        -------
        DataFrame
            One row for each decision rule and metric, with columns ``rule, metric, value, against_value,
            difference, low, high, p_simultaneous, tests, verdict``. Differences are `first` minus `second`.
            Comparisons in the analysis keep their intervals and p-values over ``tests`` simultaneous
            comparisons; any other comparison is tested alone (``tests`` is 1). If you make many comparisons
            of the latter type, some will look significant by chance.

        Raises
        ------
        InputError
            If a pair is not in the run.

        Examples
        --------
        >>> found = run.compare("SMOTE + logistic_regression", "none + logistic_regression")
        >>> found[["rule", "metric", "verdict"]].iloc[0].to_list()
        ['as_trained', 'macro_f1', 'undecided']
        """
        one, other = find_pair(first, self.pairs), find_pair(second, self.pairs)
        if one == other:
            raise InputError(f"received {pair_name(one)!r} twice; name two different pairs")
        rows = self._planned_comparison(one, other)
        if rows.empty:
            points, folds = self.analysis.operating_points, self.info.protocol.folds
            measures = dict.fromkeys((*OWN_POINT, *MEASURED))
            rows = joined([compare_pair(points, folds, one, other, measure) for measure in measures])
        return rows[_COMPARED].reset_index(drop=True)

    def _planned_comparison(self, one: Pair, other: Pair) -> pd.DataFrame:
        """Return the rows of the analysis that compare two pairs, oriented from the first to the second."""
        rows = self.analysis.comparisons
        for (sampler, model), (against_sampler, against_model), turned in (
            (one, other, False),
            (other, one, True),
        ):
            own = rows[(rows["sampler"] == sampler) & (rows["model"] == model)]
            if model == against_model:
                own = own[(own["question"] == "sampler") & (own["against"] == against_sampler)]
            elif sampler == against_sampler:
                own = own[(own["question"] == "model") & (own["against"] == against_model)]
            else:
                return rows.iloc[:0]
            if len(own):
                return exchanged(own) if turned else own
        return rows.iloc[:0]

    def frame(self) -> pd.DataFrame:
        """Return all scores in long format: one row for each sampler, model, repeat, fold and metric.

        Returns
        -------
        DataFrame
            Columns ``sampler, model, repeat, fold, metric, value``, as in ``scores.csv``.

        Examples
        --------
        >>> wide = run.frame().pivot_table(index=["sampler", "model"], columns="metric", values="value")
        >>> len(wide) == len(run.pairs)
        True
        """
        return self.scores.copy()

    def report(self, out: str | Path | None = None, *, open: bool = True) -> Path:
        """Write the report, and open it in a browser if this machine has a display.

        Parameters
        ----------
        out : path, optional
            A folder for the page and the tables of the analysis, or an ``.html`` file for the page only. By
            default, the run folder, or a temporary folder if the run has no folder.
        open : bool

        Returns
        -------
        Path
            Path of the page.

        Examples
        --------
        >>> run.report("report.html", open=False)  # doctest: +SKIP
        PosixPath('report.html')
        """
        from skinmnist.reporting.page import write_report

        if out is None and self.in_memory:
            out = Path(tempfile.mkdtemp(prefix="skinmnist-report-")) / REPORT_FILE
        path = write_report(self, out)
        if open and (sys.platform in ("win32", "darwin") or any(map(os.environ.get, _DISPLAYS))):
            webbrowser.open(path.resolve().as_uri())
        return path

    @property
    def _extent(self) -> str:
        """The size of the comparison, as text."""
        info, pairs = self.info, len(self.pairs)
        repeats = f" x {info.repeats} repeats" if info.repeats > 1 else ""
        split, folds = info.protocol.split, f"{info.protocol.folds} folds{repeats}"
        words = {
            "given": f"{folds}, as given",
            "given holdout": f"{info.repeats} given training and test part{'s' * (info.repeats != 1)}",
        }
        return (
            f"{pairs} pair{'s' * (pairs != 1)}, {words.get(split, f'{folds}, split by {split}')}, "
            f"seed {info.seed}, {len(self.results)} of {len(info.cells)} cells finished"
        )

    @property
    def _cautions(self) -> list[str]:
        """A caution if the run is a quick look, and the first failed cells."""
        lines = ["This is a quick look, not a result."] if self.info.quick else []
        for failure in self.failures[:_SENTENCES]:
            lines.append(printable(f"failed: {failure.cell}: {failure.reason}", _SENTENCE))
        if len(self.failures) > _SENTENCES:
            lines.append(f"... {len(self.failures) - _SENTENCES} more in run.failures")
        return lines

    @property
    def _next_steps(self) -> str:
        if not self.results:
            return f"{'mend what failed, then ' * bool(self.failures)}run the comparison again"
        steps = ["run.plot.tradeoff()", "run.report()"]
        if len(self.pairs) > 1:
            best = best_pair(self.scores) or self.pairs[0]
            other = next(pair for pair in self.pairs if pair != best)
            if ("none", best[1]) in self.pairs and best[0] != "none":
                other = ("none", best[1])
            steps.insert(1, f'run.compare("{pair_name(best)}", "{pair_name(other)}")')
        return ", ".join(steps)

    @property
    def _report_link(self) -> str:
        path = self.folder / REPORT_FILE
        if not path.is_file():
            return ""
        # Notebooks serve files from their own folder; links to other files work only outside notebooks.
        near = path.resolve().is_relative_to(Path.cwd())
        link = path.resolve().relative_to(Path.cwd()).as_posix() if near else path.resolve().as_uri()
        return f" · <a href='{html.escape(quote(link, safe='/:%'))}' target='_blank'>report</a>"

    def _find_metric(self, name: str) -> str:
        named = [*METRIC_TITLES, *self.info.metrics]
        known = list(dict.fromkeys(self.scores["metric"])) or named
        found = known_spelling(str(name), known)
        if found in known:
            return found
        hint = did_you_mean(str(name), known) or f"; expected one of {', '.join(named)}"
        raise InputError(f"unknown metric {shown(name)}{hint}")


def _analyzed(run: Callable[_P, RunRecord]) -> Callable[_P, Run]:
    """Decorate a function that runs a comparison to analyze it and write its tables, even if interrupted."""

    @wraps(run)
    def run_and_analyze(*args: _P.args, **kwargs: _P.kwargs) -> Run:
        out: Any = kwargs.get("out")
        wanted: Any = kwargs.get("progress", "auto")
        try:
            with _displayed(wanted) as kwargs["progress"]:
                finished = Run.of(run(*args, **kwargs))
        except KeyboardInterrupt:
            info = None if out is None else read_info(Path(out))
            if info is not None and info.interrupted:
                analyze_run(record.read_run(out))
            raise
        if out is not None:
            vars(finished)["analysis"] = analyze_run(finished)
        return finished

    return run_and_analyze


@contextmanager
def _displayed(wanted: Progress | bool | str | None) -> Iterator[Progress | None]:
    """Show progress as requested in `run_comparison`; with ``"auto"``, only in notebooks."""
    if isinstance(wanted, str) and wanted != "auto":
        raise InputError(f"received progress={shown(wanted)}; expected 'auto', True or False")
    if wanted is None or wanted is False:
        yield None
    elif not isinstance(wanted, str | bool):
        yield wanted
    else:
        from skinmnist.console.progress import NotebookBar, in_notebook

        if in_notebook():
            yield NotebookBar()
        elif wanted is True:
            from skinmnist.console.terminal import Terminal

            with Terminal() as terminal:
                yield terminal
        else:
            yield None


run_comparison = _analyzed(comparison.run_comparison)


def read_run(folder: str | Path) -> Run:
    """Read a run folder without training models, importing them, or writing files.

    Parameters
    ----------
    folder : path
        The folder of a comparison, finished or unfinished.

    Returns
    -------
    Run

    Raises
    ------
    InputError
        If the folder contains no run.

    See Also
    --------
    run_comparison : Run a comparison.

    Examples
    --------
    >>> read_run("runs/lesions-0").leaderboard("balanced_accuracy")  # doctest: +SKIP
    """
    return Run.of(record.read_run(folder))


def _short(text: object) -> str:
    return printable(text, _NAME)


def _board_name(row: dict[Any, Any]) -> str:
    if row["sampler"] == PRIOR_CORRECTION:
        return _short(f"{row['model']} with prior correction")
    return _short(pair_name((row["sampler"], row["model"])) if row["sampler"] else row["model"])


def _board_line(row: dict[Any, Any]) -> str:
    spread = "" if np.isnan(row["macro_f1_sd"]) else f" ± {row['macro_f1_sd']:.3f}"
    return f"  {row['macro_f1']:.3f}{spread}  {_board_name(row)}"


def _board_html(board: pd.DataFrame) -> str:
    """Format the leaderboard as HTML; rows that were not trained are grey."""
    cells = []
    for row in board.to_dict("records"):
        grey = "" if row["trained"] else " style='opacity:.75'"
        spread = "" if np.isnan(row["sd"]) else f" ± {row['sd']:.3f}"
        ends = "" if np.isnan(row["low"]) else f"{row['low']:.3f} to {row['high']:.3f}"
        cells.append(
            f"<tr{grey}><td style='text-align:left'>{html.escape(_board_name(row))}</td>"
            f"<td>{row['mean']:.3f}{spread}</td><td>{ends}</td></tr>"
        )
    head = "<tr><th style='text-align:left'>sampler + model</th><th>macro-F1, mean ± sd</th>"
    return f"<table>{head}<th>95 % interval</th></tr>{''.join(cells)}</table>"
