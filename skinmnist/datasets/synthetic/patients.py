"""Patients of the synthetic lesions: age, sex and place on the body, sampled for every lesion.

The numbers are rough shares of HAM10000's metadata, rounded so that the direction is right and nothing more:
keratoses, carcinomas and melanomas come late in life, nevi early; actinic and benign keratoses and basal cell
carcinomas sit on the sunlit face, dermatofibromas on the legs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist import facts

#: Mean age in years of each class, in the order of their codes, and the standard deviation within a class.
AGES = (67, 67, 64, 53, 46, 51, 61)
AGE_SPREAD = 15
#: HAM10000 gives ages in steps of 5 years, up to 85.
AGE_STEP, OLDEST = 5, 85
#: Men in a hundred patients of each class.
MEN = (68, 62, 57, 55, 52, 49, 62)

# fmt: off
#: Lesions at each place in a hundred of a class; where HAM10000 has next to none, a trace stands.
PLACES = {
    #                    akiec  bcc  bkl   df   nv vasc  mel
    "abdomen":          (  2,    4,   4,   3,  13,  19,   6),
    "back":             (  9,   36,  18,   2,  21,  15,  29),
    "chest":            (  4,    9,   7, 0.5,   3,   4,   6),
    "ear":              (  1,  0.5,   1, 0.3, 0.5, 0.5,   2),
    "face":             ( 35,   20,  29, 0.5,   1,   6,   9),
    "foot":             (0.5,    1, 0.5,   2,   4, 0.5,   3),
    "hand":             (  4,  0.5,   1, 0.5,   1,   4, 0.5),
    "lower extremity":  ( 20,   11,  16,  71,  22,  19,  17),
    "neck":             (  3,    3,   3, 0.5,   1,   2,   3),
    "scalp":            (  4,    4,   3, 0.5,   1,   1,   1),
    "trunk":            (0.5,    2,   7, 0.5,  19,  22,   4),
    "upper extremity":  ( 19,   10,   9,  21,  10,   8,  19),
}
# fmt: on
#: Share of unknown values in each column.
UNKNOWN = {"age": 0.01, "sex": 0.01, "localization": 0.02}
_COMMON = facts.CLASS_NAMES.index("nv")


def sample_patients(
    labels: npt.NDArray[np.integer], separation: float, rng: np.random.Generator
) -> dict[str, npt.NDArray[Any]]:
    """Sample age, sex and localization of one lesion for each label, as `PixelTable.clinical` holds them.

    `separation` is the factor on what sets each class apart from the common mole (0: classes alike).
    """
    n = len(labels)
    means = AGES[_COMMON] + separation * (np.array(AGES, dtype=float) - AGES[_COMMON])
    years = means[labels] + AGE_SPREAD * rng.standard_normal(n)
    men = np.array([MEN, 100 - np.array(MEN)]) / 100
    sampled: dict[str, npt.NDArray[Any]] = {
        "age": np.clip(AGE_STEP * np.rint(years / AGE_STEP), 0, OLDEST),
        "sex": np.array(["male", "female"])[_sample(men, labels, separation, rng)],
        "localization": np.array(list(PLACES))[
            _sample(np.array(list(PLACES.values())), labels, separation, rng)
        ],
    }
    for column, values in sampled.items():
        values[rng.random(n) < UNKNOWN[column]] = np.nan if column == "age" else ""
    return sampled


def _sample(
    shares: npt.NDArray[np.float64],
    labels: npt.NDArray[np.integer],
    separation: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.intp]:
    """Sample one of the rows of `shares`, of shape (kinds, classes), for each label."""
    logs = np.log(shares)
    weights = np.exp(logs[:, [_COMMON]] + separation * (logs - logs[:, [_COMMON]]))
    steps = np.cumsum(weights / weights.sum(axis=0), axis=0)
    return np.argmax(rng.random(len(labels)) < steps[:, labels], axis=0)
