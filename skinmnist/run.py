"""A run as Python shows it: `skinmnist.run_comparison` and `skinmnist.read_run` return a `Run`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, ParamSpec, Self

from skinmnist.analysis.analyze import Analysis, analyze, analyze_run
from skinmnist.experiment import comparison
from skinmnist.experiment.run_folder import record
from skinmnist.experiment.run_folder.record import RunRecord, read_info

_P = ParamSpec("_P")


class Run(RunRecord):
    """A comparison with everything that can be read, computed and drawn from it."""

    @classmethod
    def of(cls, found: RunRecord) -> Self:
        """Return a record as a run, with what it has read and computed so far."""
        run = cls.__new__(cls)
        vars(run).update(vars(found))
        return run

    def __getstate__(self) -> dict[str, Any]:
        # Computed again where it is needed: workers that draw get the analysis itself.
        return {name: value for name, value in vars(self).items() if name != "analysis"}

    @cached_property
    def analysis(self) -> Analysis:
        """Everything that is computed from the run, once, when it is first needed."""
        return analyze(self)


def _analyzed(run: Callable[_P, RunRecord]) -> Callable[_P, Run]:
    """Analyze a comparison that has a run folder, and write the tables there, even if it was interrupted."""

    @wraps(run)
    def run_and_analyze(*args: _P.args, **kwargs: _P.kwargs) -> Run:
        out: Any = kwargs.get("out")
        try:
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


run_comparison = _analyzed(comparison.run_comparison)


def read_run(folder: str | Path) -> Run:
    """Read a run folder; nothing is trained, no model is imported, and nothing is written.

    Parameters
    ----------
    folder : path
        A folder that a comparison has written, finished or not.

    Raises
    ------
    InputError
        Where the folder holds no run.
    """
    return Run.of(record.read_run(folder))
