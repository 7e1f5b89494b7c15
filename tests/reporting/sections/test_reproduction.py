"""The notes of a run."""

from __future__ import annotations

from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.sections.reproduction import notes


def test_notes_stand_once_with_their_number_of_cells(record: RunRecord) -> None:
    found = notes(record)
    assert len(found) == 1
    assert found.loc[0, "cells"] == 6  # Two folds of SMOTE with each of three models.
