"""The runner of trials: cells run once, are stored, and are found again by what they depend on."""

from skinmnist.experiment.execution.machine import NO_LIMITS
from skinmnist.experiment.execution.runner import TrialProgress, TrialRunner, trial_provenance
from skinmnist.experiment.fit_cell import Trial
from skinmnist.experiment.plan import make_plan
from skinmnist.experiment.run_folder.store import CellStore


class Events(TrialProgress):
    def __init__(self):
        self.announced, self.outcomes, self.run = [], [], []

    def leaking(self, cells, stored, notes):
        self.announced.append((cells, stored, notes))

    def waiting(self, folder):
        raise AssertionError("nobody else holds the folder")

    def running(self, cells):
        self.run.append(tuple(cells))

    def finished(self, outcome, seconds_left):
        self.outcomes.append(outcome.cell)


def test_cells_run_once_and_are_found_again(lesions, tmp_path):
    plan = make_plan(lesions, ("none",), ["dummy"], 3, 1, None, 0, None)
    trial = Trial("trial", lesions, plan.task, tuple(plan.cells))
    store, events = CellStore(tmp_path, trial_provenance(trial, "identity")), Events()
    runner = TrialRunner(1, NO_LIMITS, progress=events)
    for stored in (0, 3):
        runner.announce([(trial, store)], ("a note",))
        assert runner.run(trial, store) == []
        assert events.announced[-1] == (3, stored, ("a note",))
    assert sorted(events.outcomes) == sorted(trial.cells)
    assert events.run[0] == trial.cells[:1]
    assert events.run[-1] == ()
    # Cells that end between two looks are never seen running.
    seen = [cell for cells in events.run[:-1] for cell in cells]
    assert len(seen) == len(events.run) - 1, "one worker, one cell at a time"
    assert seen == [cell for cell in trial.cells if cell in seen]
    assert all(store.load(cell) is not None for cell in trial.cells)


def test_cells_of_another_name_or_identity_are_others(lesions):
    plan = make_plan(lesions, ("none",), ["dummy"], 3, 1, None, 0, None)
    trials = [Trial(name, lesions, plan.task, plan.cells) for name in ("one", "two")]
    found = [trial_provenance(trial, *words).identity for trial in trials for words in (("a",), ("a", "b"))]
    assert len(set(found)) == 4
    assert trial_provenance(trials[0], "a") == trial_provenance(trials[0], "a")
