"""Conformal sets of a run: by loops over pictures, and what they promise."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skinmnist.analysis.conformal import ALL_CLASSES, CONFORMAL_COLUMNS, conformal_coverage
from skinmnist.decisions.probabilities import change_prior
from skinmnist.experiment.cells import Answers

NAMES = ("nv", "bkl", "mel")


def by_loops(results, alpha):
    """Return coverage and size by pair and class, one picture at a time; all mixes are natural here."""
    found = {}
    for own in results:
        others = [one for one in results if one.cell[:3] == own.cell[:3] and one.cell.fold != own.cell.fold]
        for label, shares in zip(own.labels, own.probabilities, strict=True):
            inside = []
            for code, share in enumerate(shares):
                known = [p[code] for one in others for p in one.probabilities[one.labels == code]]
                known.sort()
                place = int(alpha * (len(known) + 1) + 1e-12)
                if place == 0 or share >= known[place - 1] or share == max(shares):
                    inside.append(code)
            for name in (NAMES[label], ALL_CLASSES):
                found.setdefault((*own.cell[:2], name), []).append((label in inside, len(inside)))
    return {key: np.mean(values, axis=0) for key, values in found.items()}


@pytest.mark.parametrize("alpha", [0.1, 0.04])
def test_coverage_by_loops(make_record, alpha):
    results = make_record(n_lesions=50, repeats=2).results
    table = conformal_coverage(results, NAMES, alpha)
    assert tuple(table.columns) == CONFORMAL_COLUMNS
    expected = by_loops(results, alpha)
    rows = table.set_index(["sampler", "model", "class"])
    assert set(rows.index) == set(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(rows.loc[key, ["coverage", "mean_size"]].astype(float), values)
    assert rows["in_every_set"].equals((rows["calibration_pictures"] + 1) * alpha < 1)
    assert rows["in_every_set"].any() == (alpha < 0.1)


def test_sets_cover_each_class(make_record):
    """Over many lesions, each class is covered at the level asked for; more coverage takes larger sets."""
    results = make_record(n_lesions=1500).results
    sizes = []
    for alpha in (0.3, 0.1):
        table = conformal_coverage(results, NAMES, alpha)
        coverage = table.loc[table["class"] != ALL_CLASSES, "coverage"]
        assert coverage.between(1 - alpha - 0.03, 1).all()
        assert coverage.min() < 1 - alpha + 0.05
        sizes.append(table["mean_size"].mean())
    assert sizes[0] < sizes[1]


def test_the_prior_of_a_model_does_not_change_its_sets(make_record):
    results = make_record(n_lesions=60).results
    even = np.full(3, 1 / 3)
    moved = [
        replace(one, probabilities=change_prior(one.probabilities, one.natural_mix), training_mix=even)
        for one in results
    ]
    shares = ["coverage", "mean_size"]
    both = [conformal_coverage(cells, NAMES, 0.1)[shares] for cells in (results, moved)]
    pd.testing.assert_frame_equal(*both)


def test_a_validation_set_takes_the_place_of_other_folds(make_record):
    results = make_record(n_lesions=60, keep=lambda cell: cell.fold == 0).results
    assert conformal_coverage(results, NAMES, 0.1).empty
    own = [replace(one, validation=Answers(one.labels, one.probabilities)) for one in results]
    table = conformal_coverage(own, NAMES, 0.1)
    # Calibrated on the very rows that are scored, coverage cannot fall below the level.
    assert (table["coverage"] >= 0.9).all()
