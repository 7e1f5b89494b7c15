"""Compute the analysis of a finished run once, for the report and the terminal, and write its files."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist import facts
from skinmnist.analysis.bootstrap import DRAWS, bootstrap_with_differences, difference_intervals, intervals
from skinmnist.analysis.checks import Concern, check_run
from skinmnist.analysis.curves import (
    decision_curves,
    precision_recall_curves,
    reliability_bins,
    roc_curves,
    sensitivities,
    tradeoff_curves,
)
from skinmnist.analysis.operating_points import (
    PRIOR_CORRECTION,
    conformal_coverage,
    operating_points,
    prior_corrected_predictions,
    prior_corrected_scores,
    scores_by_share,
)
from skinmnist.analysis.significance import (
    Pair,
    compare_control,
    compare_models,
    compare_samplers,
    each_part_once,
    joined,
)
from skinmnist.analysis.subgroups import held_out_parts, subgroup_scores
from skinmnist.analysis.summaries import (
    at_natural_prior,
    best_pairs,
    calibration,
    confusion_counts,
    expected_costs,
    external_scores,
    leaderboard,
    majority_scores,
    recalls,
    resampled_counts,
    training_curves,
)
from skinmnist.datasets.files import claim, is_marked, is_plain, members, write_atomically
from skinmnist.datasets.medmnist import CLASS_NAMES, is_medmnist, set_name
from skinmnist.errors import InputError
from skinmnist.experiment.audit import label_audit
from skinmnist.experiment.cells import CellResult
from skinmnist.experiment.derived.tuning import counts_by_exponent, move_prior
from skinmnist.experiment.execution.local import run_in_background
from skinmnist.experiment.given_splits import OWN
from skinmnist.experiment.run_folder.folder import REPORT, RUN
from skinmnist.experiment.run_folder.record import (
    RunRecord,
    csv_bytes,
    predictions_table,
)

#: The tables that `write_analysis` writes, each to ``<name>.csv``.
TABLES = (
    "comparisons",
    "intervals",
    "difference_intervals",
    "derived_scores",
    "operating_points",
    "tradeoff",
    "subgroups",
    "label_audit",
)
#: Largest number of predictions that are sent to a worker; beyond it, sending takes longer than computing.
SENT_ROWS = 1_000_000


@dataclass(frozen=True, eq=False, repr=False)
class Analysis:
    """The analysis of a run.

    Curves are computed on first access and are not written to files.

    Attributes
    ----------
    record : RunRecord
        The run.
    comparisons : DataFrame
        Output of `compare_samplers` against ``none``, of `compare_control` for prior correction, and of
        `compare_models`.
    intervals, difference_intervals : DataFrame
        Bootstrap intervals of the scores, and of their differences from ``none`` over shared cells, including
        those of prior correction.
    derived_scores, majority_scores : DataFrame
        Scores of prior correction and of the majority baseline, in the layout of ``scores.csv``.
    operating_points : DataFrame
        The scores of every trained cell under every rule, from `operating_points`.
    tradeoff : DataFrame
        Output of `tradeoff_curves`: for every trained pair, the trade-off between classes at each operating
        point.
    subgroups : DataFrame
        Output of `subgroup_scores`, without prior correction; empty if the table has no clinical columns.
    leaderboard, calibration : DataFrame
        Summaries that include prior correction and the majority baseline.
    lesions_known : bool
        Whether the bootstrap resampled lesions rather than single pictures.
    """

    record: RunRecord
    comparisons: pd.DataFrame
    intervals: pd.DataFrame
    difference_intervals: pd.DataFrame
    derived_scores: pd.DataFrame
    majority_scores: pd.DataFrame
    operating_points: pd.DataFrame
    tradeoff: pd.DataFrame
    subgroups: pd.DataFrame
    leaderboard: pd.DataFrame
    calibration: pd.DataFrame
    lesions_known: bool

    def __repr__(self) -> str:
        return f"<Analysis: {', '.join(one.name for one in fields(self))}>"

    @cached_property
    def label_audit(self) -> pd.DataFrame:
        """All held-out rows, sorted by how suspicious their labels are, from `label_audit`."""
        return label_audit(self.record.trained, self._names)

    @cached_property
    def of_external(self) -> Analysis | None:
        """The analysis of the external test, or None if the run has no external test."""
        external = self.record.external
        # The folder may contain another run by now.
        return analyze(external) if external is not None and external.info.given is not None else None

    @cached_property
    def external(self) -> pd.DataFrame:
        """Scores of the run and of its external test (`EXTERNAL_COLUMNS`); empty without a test."""
        other = self.of_external
        return external_scores(self.leaderboard, None if other is None else other.intervals)

    @property
    def best_pairs(self) -> pd.DataFrame:
        """The row of `leaderboard` for the best trained pair of each model, best first."""
        return best_pairs(self.leaderboard)

    @cached_property
    def concerns(self) -> list[Concern]:
        """The findings of the checks, errors first."""
        return check_run(self)

    @cached_property
    def at_natural_prior(self) -> pd.DataFrame:
        """Ranking and calibration of every pair at the natural prior, in the layout of `calibration`."""
        return at_natural_prior(self.record, self.operating_points, self.majority_scores)

    @cached_property
    def expected_costs(self) -> pd.DataFrame | None:
        """Expected costs of every pair as trained and by cost-sensitive decisions; None without costs."""
        return expected_costs(self.record, self.majority_scores) if self.record.info.costs else None

    @cached_property
    def shares(self) -> pd.DataFrame:
        """Scores by share of each sampler (`SHARE_COLUMNS`); empty without several shares of one sampler."""
        return scores_by_share(self.operating_points)

    @cached_property
    def conformal(self) -> pd.DataFrame | None:
        """Coverage and size of conformal sets by pair and class; None if the run does not ask for them."""
        alpha = self.record.info.conformal
        return conformal_coverage(self.record.results, self._names, alpha) if alpha else None

    @cached_property
    def recalls(self) -> pd.DataFrame:
        """The recall of every class."""
        return recalls(self.record)

    @cached_property
    def confusion_counts(self) -> dict[Pair, npt.NDArray[np.int64]]:
        """Number of pictures by true and predicted class, for each pair."""
        return confusion_counts(self.record)

    @cached_property
    def held_out_counts(self) -> npt.NDArray[np.int64]:
        """Number of held-out pictures of each class, counting each picture once."""
        labels = self.record.predictions.drop_duplicates("row")["label"].astype(int)
        return np.bincount(labels, minlength=len(self._names))

    @cached_property
    def resampled_counts(self) -> pd.DataFrame:
        """Number of training rows before and after every sampler."""
        return resampled_counts(self.record)

    @cached_property
    def training_curves(self) -> pd.DataFrame:
        """Loss and accuracy of networks during training."""
        return training_curves(self.record)

    @cached_property
    def reliability(self) -> pd.DataFrame:
        """Confidence and accuracy by bin, for each pair."""
        return reliability_bins(self.record.predictions, self._names)

    @cached_property
    def rankings(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """ROC and precision-recall curves of the best pair of each model."""
        rows = self.record.predictions.merge(self.best_pairs[["sampler", "model"]], on=["sampler", "model"])
        return roc_curves(rows, self._names), precision_recall_curves(rows, self._names)

    @cached_property
    def decisions(self) -> pd.DataFrame | None:
        """Decision curves for melanoma, or None if the run has no melanoma class."""
        return decision_curves(self.record.predictions, self._names, facts.MELANOMA) if self._acts else None

    @cached_property
    def sensitivities(self) -> pd.DataFrame | None:
        """Sensitivity for melanoma at given specificities, or None if the run has no melanoma class.

        All pairs are evaluated at the natural prior; as trained, they would rank pictures at different class
        mixes.
        """
        if not self._acts:
            return None
        natural = [move_prior(result, 0.0) for result in self.record.results]
        return sensitivities(predictions_table(natural, self._names), self._names, facts.MELANOMA)

    @property
    def _names(self) -> list[str]:
        return list(self.record.info.table.class_names)

    @property
    def _acts(self) -> bool:
        return facts.MELANOMA in self._names and bool(self.record.results)


def analyze(record: RunRecord, draws: int = DRAWS, jobs: int = 1) -> Analysis:
    """Compute the analysis of a run without training models or writing files.

    The bootstrap resamples lesions if the run folder contains the lesion of each row, and rows otherwise. It
    draws `draws` replicates with the seed of the run. With two or more `jobs`, it runs in a worker; the
    output is identical.

    Raises
    ------
    InputError
        If the lesions or clinical columns in the folder are damaged or belong to another run.
    """
    table, folds = record.info.table, record.info.protocol.folds
    class_names = table.class_names
    corrected = prior_corrected_predictions(record)
    derived, majority = prior_corrected_scores(record, corrected), majority_scores(record)
    scores = pd.concat([record.scores, derived], ignore_index=True)
    bootstrapped = run_in_background(
        bootstrap_with_differences,
        pd.concat([record.predictions, corrected], ignore_index=True),
        class_names,
        record.lesions,
        record.scored_lesions,
        draws,
        record.info.seed,
        record.info.held_out,
        jobs=jobs if len(record.predictions) <= SENT_ROWS else 1,
    )
    counted = {result.cell: counts_by_exponent(result) for result in record.results}
    points = operating_points(record.results, class_names, counted, record.scored_lesions)
    tested, scores = (each_part_once(found, record.info.held_out) for found in (points, scores))
    comparisons = [
        compare_samplers(tested, folds),
        compare_control(scores, folds, PRIOR_CORRECTION),
        compare_models(tested, folds),
    ]
    untrained = pd.concat([derived, majority], ignore_index=True)
    tradeoff = tradeoff_curves(record.results, class_names, counted)
    subgroups = subgroup_scores(record.predictions, class_names, _columns(record), record.lesions)
    replicates, differences = bootstrapped()
    return Analysis(
        record=record,
        comparisons=joined(comparisons),
        intervals=intervals(replicates),
        difference_intervals=difference_intervals(differences),
        derived_scores=derived,
        majority_scores=majority,
        operating_points=points,
        tradeoff=tradeoff,
        subgroups=subgroups,
        leaderboard=leaderboard(record, untrained),
        calibration=calibration(record, untrained),
        lesions_known=record.lesions is not None,
    )


def _columns(record: RunRecord) -> dict[str, npt.NDArray[Any]]:
    """Return the columns that define subgroups: the names of held-out sets, then the clinical columns."""
    given = record.info.given
    if given is None or len(given.held_out) < 2 or record.predictions.empty:
        return record.patients
    names = [part.name for part in given.held_out]
    parts = held_out_parts(record.predictions, names, record.info.table.rows)
    return {given.column: parts} | {name: v for name, v in record.patients.items() if name != given.column}


def write_analysis(folder: Path, analysis: Analysis) -> None:
    """Write the `TABLES` of an analysis to a folder, with enough digits to restore every float exactly.

    Tables that only some runs have are removed if this run does not have them, but only from a folder that
    skinmnist has marked as its own.
    """
    other = analysis.of_external
    tables = {name: getattr(analysis, name) for name in TABLES}
    tables["shares"] = analysis.shares if len(analysis.shares) else None
    tables["conformal"] = analysis.conformal
    tables["external"] = analysis.external if other is not None else None
    ours = is_marked(folder, RUN) or is_marked(folder, REPORT)
    for name, table in tables.items():
        path = folder / f"{name}.csv"
        if table is not None:
            write_atomically(path, csv_bytes(table))
        elif ours and is_plain(path):
            path.unlink()
    if other is not None and folder == analysis.record.folder:
        write_analysis(other.record.folder, other)


def analyze_run(
    record: RunRecord, folder: Path | None = None, analysis: Analysis | None = None, jobs: int = 1
) -> Analysis:
    """Analyze a run, unless `analysis` is given, and write the tables to its folder or to `folder`.

    Raises
    ------
    InputError
        As for `analyze`, and if the tables cannot be written or would overwrite the user's own files.
    """
    folder, elsewhere = record.folder if folder is None else folder, folder
    try:
        if elsewhere is not None and elsewhere.resolve() != record.folder.resolve():
            claim(folder, REPORT)
        analysis = analysis or analyze(record, jobs=jobs)
        write_analysis(folder, analysis)
        write_results(record, folder)
    except OSError as error:
        raise InputError(
            f"the tables of the analysis cannot be written into {folder} ({error.strerror}); name another "
            "folder with --out"
        ) from None
    return analysis


#: Subfolder of the run folder.
FOLDER = REPORT.series[0].folder


def write_results(record: RunRecord, folder: Path) -> list[Path]:
    """Write one file for each trained cell of a run on a MedMNIST data set, and return the paths.

    Existing result files, whose names contain other scores, are removed. Nothing is written for other tables,
    for splits other than the official one, or for a subset of its pictures.
    """
    info = record.info
    file = Path(info.table.inputs[0].file) if info.table.inputs else Path()
    whole = info.protocol.rows == info.table.rows
    if not (is_medmnist(file) and info.given and info.given.name == OWN and whole):
        return []
    paths = []
    for result in record.results:
        name = result_name(file.stem, result)
        if name is not None:
            path = folder / FOLDER / name
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, result_content(result))
            paths.append(path)
    for path in set(members(folder, REPORT.series[0])) - {*paths}:
        path.unlink()
    return paths


def result_name(stem: str, result: CellResult) -> str | None:
    """Return ``<flag>_test_[AUC]x_[ACC]y@<run>.csv``, or None if MedMNIST's AUC is undefined.

    `stem` is the stem of the data file: the flag alone at 28 x 28, otherwise the flag and the side length.
    """
    auc, accuracy = medmnist_scores(result.labels, result.probabilities)
    if np.isnan(auc):
        return None
    cell = result.cell
    words = (cell.sampler, cell.model, str(cell.repeat))
    run = "-".join(re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-") for word in words)
    flag = stem if set_name(stem) in CLASS_NAMES else re.sub(r"[^A-Za-z0-9]+", "-", stem)
    return f"{flag}_test_[AUC]{auc:.3f}_[ACC]{accuracy:.3f}@{run}.csv"


def result_content(result: CellResult) -> bytes:
    """Return the lines of a file: the index of each picture in its split, and its class probabilities."""
    order = np.argsort(result.rows)
    return pd.DataFrame(result.probabilities[order]).to_csv(header=False, lineterminator="\n").encode()


def medmnist_scores(
    labels: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]
) -> tuple[float, float]:
    """Return AUC and accuracy as defined by MedMNIST's Evaluator for data sets with one label per picture.

    For two classes, the AUC is that of the second class, which is predicted if its probability is above one
    half. For more than two classes, it is the mean one-against-rest AUC. It is NaN if a class has no
    pictures.
    """
    from sklearn.metrics import roc_auc_score

    n_classes = probabilities.shape[1]
    codes = range(1, 2) if n_classes == 2 else range(n_classes)
    if len(np.unique(labels)) < n_classes:
        return np.nan, np.nan
    auc = np.mean([roc_auc_score(labels == code, probabilities[:, code]) for code in codes])
    predicted = probabilities[:, 1] > 0.5 if n_classes == 2 else probabilities.argmax(axis=1)
    return float(auc), float((predicted == labels).mean())
