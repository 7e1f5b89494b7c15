"""A comparison with its analysis: `skinmnist.run_comparison`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from skinmnist.analysis.analyze import analyze_run
from skinmnist.experiment import comparison
from skinmnist.experiment.run_folder.record import RunRecord, read_info, read_run

_P = ParamSpec("_P")


def _analyzed(run: Callable[_P, RunRecord]) -> Callable[_P, RunRecord]:
    """Analyze a comparison that has a run folder, and write the tables there, even if it was interrupted."""

    @wraps(run)
    def run_and_analyze(*args: _P.args, **kwargs: _P.kwargs) -> RunRecord:
        out: Any = kwargs.get("out")
        try:
            record = run(*args, **kwargs)
        except KeyboardInterrupt:
            info = None if out is None else read_info(Path(out))
            if info is not None and info.interrupted:
                analyze_run(read_run(out))
            raise
        if out is not None:
            analyze_run(record)
        return record

    return run_and_analyze


run_comparison = _analyzed(comparison.run_comparison)
