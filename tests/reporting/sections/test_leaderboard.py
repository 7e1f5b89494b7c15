"""Checks, errors first, and the figure of the leaderboard."""

from __future__ import annotations

import pytest

from skinmnist.analysis.analyze import analyze
from skinmnist.analysis.summaries import fold_scores, leaderboard
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.format import titled
from skinmnist.reporting.page import render_page
from skinmnist.reporting.sections.leaderboard import leaderboard_figure


def test_leaderboard_figure_puts_each_mean_on_its_row(record: RunRecord) -> None:
    board = titled(record.info, leaderboard(record))
    info = record.info.grid
    figure = leaderboard_figure(board, fold_scores(record, "macro_f1"), info.samplers, list(info.models))
    means = [line for line in figure.axes[0].lines if line.get_markersize() > 10]
    drawn = sorted(float(line.get_xdata()[0]) for line in means)
    assert drawn == pytest.approx(sorted(board.loc[~board["reference"], "macro_f1"]))
    assert [line.get_ydata()[0] for line in means] == list(range(8, -1, -1))


@pytest.mark.usefixtures("bare_figures")
def test_checks_stand_before_the_depth_errors_first(make_run):
    record = make_run(
        finished=lambda cell: (cell.model, cell.fold) != ("cnn", 0), change={"table": {"synthetic": True}}
    )
    page = render_page(analyze(record, draws=10))
    checks = page.partition('<section id="checks">')[2].partition("<section id=")[0]
    concerns = analyze(record, draws=1).concerns
    places = [checks.index(concern.check.code) for concern in concerns]
    assert places == sorted(places)
    assert {"SKM014", "SKM015"} <= {concern.check.code for concern in concerns}
    assert "3 of 45 cells failed" in checks
    assert page.index('<section id="checks">') < page.index('<details class="fold">')
