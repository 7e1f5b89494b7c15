import io

import pytest

from skinmnist import run_comparison
from skinmnist.analysis.analyze import analyze
from skinmnist.console.progress import Output
from skinmnist.console.terminal import Terminal
from skinmnist.experiment.cells import Cell, CellFailure


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_run_is_shown_on_terminals_and_in_logs(lesions, is_terminal, monkeypatch):
    shown = io.StringIO()
    console = Output(file=shown, force_terminal=is_terminal, width=120)
    for name in ("progress", "terminal"):
        monkeypatch.setattr(f"skinmnist.console.{name}.Output", lambda **options: console)
    terminal = Terminal()
    terminal.table(lesions, "image", quick=True)
    with terminal:
        record = run_comparison(lesions, "none", "dummy", folds=2, progress=terminal)
        terminal.finished(CellFailure(Cell("none", "[red]dummy", 0, 0), "no [b]luck"), 100)
    terminal.conclude(analyze(record, draws=10), record.folder / "report.html", resume=None)
    text = shown.getvalue()
    for said in (
        "SYNTHETIC TABLE",
        "SPLIT BY PICTURE",
        "QUICK LOOK",
        "2 cells",
        "no [b]luck",
        "always nv",
        "trained without a sampler only",
        "SKM014 warning: The pictures were generated",
        "not a medical device",
    ):
        assert said in text
    assert ("\x1b[" in text) == is_terminal
