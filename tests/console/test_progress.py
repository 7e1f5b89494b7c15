"""The live view of a run, driven by a clock of its own."""

import io

import pytest
from rich.cells import cell_len

from skinmnist.console.progress import Output, RunView
from skinmnist.experiment.cells import Cell


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def view(clock):
    """Six cells of two pairs on two workers, of which one has finished after 10 s."""
    view = RunView(clock)
    cells = [
        Cell(sampler, "random_forest", 0, fold)
        for sampler in ("none", "RandomOverSampler")
        for fold in range(3)
    ]
    view.plan(6, 0, cells)
    view.running(cells[:2])
    clock.now += 10
    view.score(cells[0], 0.5, 0.6)
    view.finished(cells[0], 40.0)
    view.running(cells[1:3])
    return view


def drawn(view, width=80):
    console = Output(file=io.StringIO(), record=True, width=width)
    console.print(view)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_cells_that_run_their_times_the_time_left_and_the_leaderboard_are_shown(view, clock, width):
    clock.now += 5
    text = drawn(view, width)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "1 of 6 cells 15 s about 35 s left" in lines[0]
    assert "none + random_forest fold 1 15 s" in lines
    assert "none + random_forest fold 2 5 s" in lines
    assert "none + random_forest 0.500 0.600 1 of 3" in lines
    assert all(cell_len(line) <= width for line in text.splitlines())


def test_the_time_left_counts_down_between_cells(view, clock):
    left = []
    for _ in range(4):
        left.append(view.left)
        clock.now += 10
    assert left == [f"about {seconds} s left" for seconds in (40, 30, 20, 10)]
    clock.now += 30
    assert view.left == "taking longer than expected"


def test_before_the_first_cell_no_time_is_promised(clock):
    view = RunView(clock)
    view.plan(2, 0, [Cell("none", "dummy", 0, fold) for fold in range(2)])
    assert view.left == "estimating the time left"


def test_unknown_times_go_by_the_cells_before(clock):
    view = RunView(clock)
    view.plan(8, 2)
    clock.now += 20
    view.finished(Cell("none", "dummy", 0, 0), None)
    assert view.left == "about 1 min 40 s left", "five cells of 20 s"


def test_the_board_is_short_and_best_first(clock):
    view = RunView(clock)
    cells = [Cell(f"S{place}", "svm", 0, 0) for place in range(8)]
    view.plan(8, 8, cells)
    for place, cell in enumerate(cells):
        view.score(cell, place / 10, 0.5)
    text = drawn(view)
    assert text.index("S7 + svm") < text.index("S6 + svm") < text.index("S3 + svm")
    assert "S2 + svm" not in text
    assert "and 3 more" in text


def test_many_workers_leave_room_for_the_rest(clock):
    view = RunView(clock)
    cells = [Cell("none", "svm", 0, fold) for fold in range(64)]
    view.plan(64, 0, cells)
    view.running(cells)
    assert "and 58 more" in drawn(view)
    assert len(drawn(view).splitlines()) < 12


def test_what_comes_after_the_cells_is_shown_with_its_own_time(view, clock):
    view.enter("Writing the report")
    clock.now += 75
    text = drawn(view)
    assert "Writing the report  1 min 15 s" in text
    assert "fold 1" not in text
    assert "0.500" in text, "the leaderboard stays"
