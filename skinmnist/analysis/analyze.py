"""Everything that a run lets one say about its leaderboard: differences, intervals, and the free control."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from skinmnist.analysis.bootstrap import DRAWS, bootstrap_scores, difference_intervals, intervals
from skinmnist.analysis.differences import compare_models, compare_samplers
from skinmnist.analysis.prior_correction import PRIOR_CORRECTION, prior_corrected_predictions
from skinmnist.analysis.subgroups import subgroup_scores
from skinmnist.datasets.files import write_atomically
from skinmnist.experiment.metrics import score_predictions
from skinmnist.experiment.run_folder.frames import csv_bytes
from skinmnist.experiment.run_folder.patients import read_patients
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.experiment.run_folder.rows import read_lesions


@dataclass(frozen=True, eq=False)
class Analysis:
    """Tables about a run; `write_analysis` keeps each under the name of its attribute, as ``.csv``.

    Attributes
    ----------
    comparisons : DataFrame
        Of `compare_samplers` against ``none`` (the control included) and against the control, then of
        `compare_models`.
    intervals : DataFrame
        Of `intervals.intervals`, the control included.
    difference_intervals : DataFrame
        Of `intervals.difference_intervals` against ``none``, the control included.
    derived_scores : DataFrame
        Of the control, in the layout of ``scores.csv``.
    subgroups : DataFrame
        Of `subgroup_scores`, without the control; empty where nothing is known of the patients.
    """

    comparisons: pd.DataFrame
    intervals: pd.DataFrame
    difference_intervals: pd.DataFrame
    derived_scores: pd.DataFrame
    subgroups: pd.DataFrame


def find(record: RunRecord, draws: int = DRAWS) -> Analysis:
    """Compute the findings of a run; nothing is trained.

    Parameters
    ----------
    record : RunRecord
        Where its folder tells the lesion of each row, lesions are resampled, else rows.
    draws : int
        Of the bootstrap, which is seeded with the seed of the run.

    Returns
    -------
    Findings
        The tables are empty where no cell has finished.

    Raises
    ------
    InputError
        Where the lesions or patients in the folder are damaged, or not those of this run.
    """
    table, folds = record.info.table, record.info.protocol.folds
    class_names = table.class_names
    corrected = prior_corrected_predictions(record)
    derived = score_predictions(corrected, class_names)
    scores = pd.concat([record.scores, derived], ignore_index=True)
    against_control = scores[scores["sampler"] != "none"]
    lesions = read_lesions(record.folder, table.rows)
    patients = read_patients(record.folder, table.rows)
    draw_scores = bootstrap_scores(
        pd.concat([record.predictions, corrected], ignore_index=True),
        class_names,
        lesions,
        draws,
        record.info.seed,
    )
    comparisons = [
        compare_samplers(scores, folds),
        compare_samplers(against_control, folds, reference=PRIOR_CORRECTION),
        compare_models(record.scores, folds),
    ]
    filled = [frame for frame in comparisons if len(frame)]
    return Analysis(
        comparisons=pd.concat(filled, ignore_index=True) if filled else comparisons[0],
        intervals=intervals(draw_scores),
        difference_intervals=difference_intervals(draw_scores),
        derived_scores=derived,
        subgroups=subgroup_scores(record.predictions, class_names, patients, lesions),
    )


def write_analysis(folder: Path, analysis: Analysis) -> None:
    """Write each table of the findings into a folder; floats read back exactly."""
    for field in fields(Analysis):
        write_atomically(folder / f"{field.name}.csv", csv_bytes(getattr(analysis, field.name)))
