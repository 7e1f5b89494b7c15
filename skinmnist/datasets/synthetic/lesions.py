"""Generate a synthetic table with `make_lesions` as a substitute for HAM10000.

This module defines all parameters that distinguish the classes. A lesion is a sample of all `ATTRIBUTES`,
each normally distributed around the mean of a common mole. `CLASS_SHIFTS` shifts some of these means for each
class, in units of the standard deviation; each row is a clinical comparison of the classes. `overlap` scales
all shifts by the same factor.

The signs follow the clinical appearance of each class: akiec is pink, scaly and ill-defined, on sun-damaged
skin; bcc is pale pink with scars and blue-grey nests; bkl is tan with clods and cysts; df is a pale scar in a
ring that fades into the skin; vasc is red to purple; mel is large, ragged and multicoloured, with a blue-grey
veil. Warmth and field depend on the place where a picture was taken, which is also associated with the class
in HAM10000: most warm pictures show moles.

The magnitudes are based on a least-squares fit to the class means of about forty descriptors of HAM10000
(colour and spread in five rings, contrast, gradients, asymmetry, area). The effects of colour and size were
then manually increased, and the effect of texture reduced, until models obtained similar scores on this table
and on the real table, as measured by ``experiments/benchmarks/synthetic_difficulty.py``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist import facts
from skinmnist.datasets.cache import code_digest, render_once
from skinmnist.datasets.mapped import is_large_matrix
from skinmnist.datasets.synthetic.rendering import render, sample_structures, sample_views
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError

#: Minimum number of lesions per class, which allows five folds by lesion with at least one of each class.
MIN_LESIONS = 5
#: Value of `overlap` at which the class shifts are not scaled.
TUNED_OVERLAP = 0.5
#: Minimum side length, below which lesions have no outline, and maximum, above which tables exceed memory.
MIN_SIDE, MAX_SIDE = 4, 512

# fmt: off
#: Shift of each class from the common mole in standard deviations; classes are in code order.
CLASS_SHIFTS = {
    #                 akiec   bcc   bkl    df    nv  vasc   mel
    "size":          (-0.2, -1.2,  0.2, -0.4,  0.0, -0.2,  0.6),
    "elongation":    ( 0.0,  0.0,  0.0, -0.8,  0.0, -0.6,  0.4),
    "irregularity":  ( 0.9,  0.4,  0.3, -0.6,  0.0, -0.3,  0.9),
    "softness":      ( 1.3,  0.8, -0.4,  1.4,  0.0, -0.6,  0.0),
    "melanin":       (-3.2, -3.6, -1.5, -2.4,  0.0, -3.0,  0.0),
    "blood":         ( 0.9,  0.6, -0.9,  0.2,  0.0,  4.5, -0.7),
    "veil":          ( 0.4,  1.4,  0.4,  0.4,  0.0,  2.4,  2.3),
    "scale":         ( 1.7,  1.6,  1.2,  1.8,  0.0,  0.5,  0.9),
    "variegation":   ( 0.6,  0.8,  0.0,  0.0,  0.0, -0.6,  0.7),
    "texture":       ( 1.0,  0.0,  0.8,  0.0,  0.0, -0.6,  0.3),
    "centre":        (-1.4, -0.9, -1.2, -3.0,  0.0,  0.7, -0.2),
    "halo":          ( 0.0,  0.0,  0.0,  0.5,  0.0,  0.0,  0.0),
    "mottling":      ( 2.0,  1.0,  1.1,  0.7,  0.0, -0.2,  0.7),
    "depth":         ( 0.0,  0.2, -0.5,  0.3,  0.0,  1.8, -0.4),
    "tone":          ( 0.0, -0.9,  0.9, -1.2,  0.0, -0.8, -0.3),
    "warmth":        (-0.2, -1.0, -1.3, -0.5,  0.0, -0.6, -1.1),
    "hairs":         ( 0.0,  0.0,  0.0,  0.0,  0.0,  0.0,  0.0),
    "field":         (-0.4, -0.6, -0.9, -0.5,  0.0,  0.3, -0.9),
}
# fmt: on

# Patient data: rough approximations of HAM10000's metadata. Keratoses, carcinomas and melanomas occur later
# in life than nevi; keratoses and basal cell carcinomas occur on the sun-exposed face, dermatofibromas on the
# legs.

#: Mean age of each class in years, in code order, and the standard deviation within a class.
AGES = (67, 67, 64, 53, 46, 51, 61)
AGE_SPREAD = 15
#: Ages in HAM10000 are multiples of 5 years up to 85.
AGE_STEP, OLDEST = 5, 85
#: Percentage of men among the patients of each class.
MEN = (68, 62, 57, 55, 52, 49, 62)

# fmt: off
#: Percentage of lesions at each site by class; always positive.
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


def make_lesions(
    n_samples: int = 2500,
    class_weights: Sequence[float] | Mapping[str, float] | None = None,
    pictures_per_lesion: float | None = None,
    overlap: float = TUNED_OVERLAP,
    size: int | tuple[int, int] = 28,
    random_state: int = 0,
) -> PixelTable:
    """Generate a table of dermoscopy-like pictures of the seven HAM10000 classes.

    Parameters
    ----------
    n_samples : int
        Number of pictures, at least 35 (five per class).
    class_weights : sequence of 7 numbers, mapping of class name to number, or None
        Relative class frequencies as positive numbers; a sequence is in code order. If None, the frequencies
        of HAM10000 are used. Every class has at least five lesions, regardless of its frequency.
    pictures_per_lesion : float or None
        Mean number of pictures per lesion, at least 1. The numbers follow a geometric distribution, which
        approximates HAM10000. If None, the class means of HAM10000 are used (from 1.24 for nv to 1.81 for
        mel).
    overlap : float
        Difficulty from 0 (well-separated classes) to 1 (identical classes that cannot be distinguished). The
        default of 0.5 is tuned to give scores similar to those on the real table.
    size : int or (int, int)
        Side length of the pictures, or height and width, from 4 to 512 pixels.
    random_state : int
        Non-negative seed. The same arguments give identical bytes.

    Returns
    -------
    PixelTable
        ``n_samples`` rows in random order, with lesion ids, image ids, age, sex, localization, and
        ``synthetic=True``. A large table is rendered once into the cache folder (see
        `skinmnist.datasets.cache`) and memory-mapped from there.

    Raises
    ------
    InputError
        If an argument is outside its range.

    See Also
    --------
    load_hmnist : Load a pixel table from a file.

    Examples
    --------
    >>> from skinmnist import make_lesions
    >>> make_lesions(100, size=8)
    <PixelTable synthetic: 100 pictures of 8 x 8 x 3, 80 lesions, 7 classes>
    >>> make_lesions(70, [1, 1, 1, 1, 1, 1, 1], size=8).class_counts.tolist()
    [10, 10, 10, 10, 10, 10, 10]
    """
    shares = _shares(class_weights)
    height, width = _sides(size)
    _check(n_samples, pictures_per_lesion, overlap, random_state)
    seeds = np.random.SeedSequence(random_state).spawn(5)
    population, people = (np.random.Generator(np.random.PCG64(seed)) for seed in (seeds[0], seeds[4]))
    rows_per_class = _rows_per_class(n_samples, shares)
    lesion_labels, lesion_rows = _population(rows_per_class, pictures_per_lesion, population)
    separation = 2 * (1 - overlap)
    origin = _call(n_samples, class_weights, pictures_per_lesion, overlap, size, random_state)

    def render_pixels() -> Iterator[npt.NDArray[np.uint8]]:
        lesion_look, views, noise = (np.random.Generator(np.random.PCG64(seed)) for seed in seeds[1:4])
        attributes = sample_attributes(lesion_labels, separation, lesion_look)
        lesions = sample_structures(attributes, lesion_look)
        for pictures in render(lesions, sample_views(attributes, lesion_rows, views), height, width, noise):
            yield pictures.reshape(len(pictures), -1)

    patients = sample_patients(lesion_labels, separation, people)
    return PixelTable(
        pixels=_hold(render_pixels, (n_samples, height * width * 3), origin),
        labels=lesion_labels[lesion_rows],
        class_names=facts.CLASS_NAMES,
        shape=(height, width, 3),
        lesion_ids=np.array([f"SYN_{lesion:07d}" for lesion in lesion_rows]),
        image_ids=np.array([f"SYN_PICTURE_{row:07d}" for row in range(n_samples)]),
        clinical={column: values[lesion_rows] for column, values in patients.items()},
        name="synthetic",
        origin=origin,
        synthetic=True,
    )


def _hold(
    blocks: Callable[[], Iterator[npt.NDArray[np.uint8]]], shape: tuple[int, int], origin: str
) -> npt.NDArray[np.uint8]:
    """Store rendered pixels in memory or, for a large table, in a memory-mapped cache file."""
    if is_large_matrix(math.prod(shape)):
        return render_once(f"synthetic-{_rendering_digest(origin)}", shape, blocks)
    pixels, row = np.empty(shape, dtype=np.uint8), 0
    for block in blocks():
        pixels[row : row + len(block)] = block
        row += len(block)
    return pixels


def _rendering_digest(origin: str) -> str:
    """Return a digest of all inputs to rendering: the call, the code and the library versions."""
    return hashlib.sha256(f"{origin} {np.__version__} {code_digest(__name__)}".encode()).hexdigest()


def _refusal(argument: str, received: object, expected: str) -> InputError:
    return InputError(f"{argument} received {received!r}; expected {expected}")


def _shares(class_weights: Sequence[float] | Mapping[str, float] | None) -> npt.NDArray[np.float64]:
    """Return positive class shares in code order, which sum to 1."""
    names = facts.CLASS_NAMES
    expected = f"{len(names)} positive numbers, one for each of {', '.join(names)}"
    weights = facts.ROWS_PER_CLASS if class_weights is None else class_weights
    if isinstance(weights, Mapping):
        if set(weights) != set(names):
            raise InputError(
                f"class_weights received the names {sorted(map(str, weights))}; expected {expected}"
            )
        weights = [weights[name] for name in names]
    try:
        shares = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError):
        raise _refusal("class_weights", class_weights, expected) from None
    if shares.shape != (len(names),) or not np.all(np.isfinite(shares)) or np.any(shares <= 0):
        raise _refusal("class_weights", class_weights, expected)
    return shares / shares.sum()


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, Integral) else size
    if (
        not isinstance(sides, Sequence)
        or len(sides) != 2
        or not all(isinstance(side, Integral) and MIN_SIDE <= side <= MAX_SIDE for side in sides)
    ):
        each = f"each from {MIN_SIDE} to {MAX_SIDE}"
        raise _refusal("size", size, f"one whole number of pixels or (height, width), {each}")
    return int(sides[0]), int(sides[1])


def _check(n_samples: int, pictures_per_lesion: float | None, overlap: float, random_state: int) -> None:
    n_classes = len(facts.CLASS_NAMES)
    least = MIN_LESIONS * n_classes
    if not isinstance(n_samples, Integral) or n_samples < least:
        each = f"{MIN_LESIONS} pictures for each of the {n_classes} classes"
        raise _refusal("n_samples", n_samples, f"a whole number of at least {least}, {each}")
    mean = pictures_per_lesion
    if mean is not None and not (isinstance(mean, Real) and 1 <= mean < np.inf):
        raise _refusal("pictures_per_lesion", mean, "a mean of 1 or more, or None for that of HAM10000")
    if not (isinstance(overlap, Real) and 0 <= overlap <= 1):
        raise _refusal("overlap", overlap, "a number from 0 (classes well apart) to 1 (classes alike)")
    if not isinstance(random_state, Integral) or random_state < 0:
        raise _refusal("random_state", random_state, "a whole number, 0 or more")


def _rows_per_class(n_samples: int, shares: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Allocate rows to classes by largest remainder, with at least `MIN_LESIONS` rows per class."""
    exact = n_samples * shares
    rows = np.floor(exact).astype(np.int64)
    rows[np.argsort(rows - exact, kind="stable")[: n_samples - rows.sum()]] += 1
    rows = np.maximum(rows, MIN_LESIONS)
    while rows.sum() > n_samples:
        rows[np.argmax(rows)] -= 1
    return rows


def _population(
    rows_per_class: npt.NDArray[np.int64], pictures_per_lesion: float | None, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
    """Return the class of every lesion and the lesion of every picture, both in random order.

    Independent geometric numbers with a given sum form a uniformly random composition of that sum. Splitting
    the sequence of a class's pictures at random positions therefore gives the desired lesion sizes.
    """
    means = np.divide(facts.ROWS_PER_CLASS, facts.LESIONS_PER_CLASS)
    if pictures_per_lesion is not None:
        means[:] = pictures_per_lesion
    lesions_per_class = np.clip(np.rint(rows_per_class / means).astype(np.int64), MIN_LESIONS, rows_per_class)
    labels = np.repeat(np.arange(len(rows_per_class)), lesions_per_class)
    pictures = []
    for rows, lesions in zip(rows_per_class, lesions_per_class, strict=True):
        cuts = np.sort(rng.choice(rows - 1, lesions - 1, replace=False)) + 1
        pictures.append(np.diff(cuts, prepend=0, append=rows))
    order = rng.permutation(len(labels))
    lesion_of_picture = np.repeat(np.arange(len(labels)), np.concatenate(pictures)[order])
    return labels[order].astype(np.int64), rng.permutation(lesion_of_picture)


def _call(
    n_samples: int,
    class_weights: Sequence[float] | Mapping[str, float] | None,
    pictures_per_lesion: float | None,
    overlap: float,
    size: int | tuple[int, int],
    random_state: int,
) -> str:
    """Return the call that generates the table, without default arguments."""
    weights: object = class_weights
    if isinstance(class_weights, Mapping):
        weights = {name: float(share) for name, share in class_weights.items()}
    elif class_weights is not None:
        weights = [float(share) for share in class_weights]
    given = {
        "class_weights": (weights, None),
        "pictures_per_lesion": (pictures_per_lesion, None),
        "overlap": (overlap, TUNED_OVERLAP),
        "size": (size, 28),
    }
    changed = [f"{name}={value}" for name, (value, default) in given.items() if value != default]
    return f"make_lesions({', '.join([str(n_samples), *changed])}, random_state={random_state})"


@dataclass(frozen=True)
class Attribute:
    """Distribution of a quantity that describes every lesion."""

    mean: float  # Mean and standard deviation of the normal distribution for a common mole
    spread: float
    #: Transformation of the normal value: ``"log"`` (exponential, always positive), ``"amount"`` (clipped
    #: at 0, because the structure is absent in many lesions) or ``"plain"`` (unchanged).
    kind: str
    meaning: str  # Description of the quantity and its unit


#: Attributes by name; lengths in half widths of the shorter side, densities in natural logarithms of light.
ATTRIBUTES = {
    "size": Attribute(-0.80, 0.33, "log", "mean radius of the lesion"),
    "elongation": Attribute(0.23, 0.16, "amount", "logarithm of long over short axis"),
    "irregularity": Attribute(-2.31, 0.40, "log", "waviness of the outline, relative to the radius"),
    "softness": Attribute(-1.89, 0.45, "log", "width of the border, relative to the radius"),
    "melanin": Attribute(-0.52, 0.50, "log", "brown density of the lesion"),
    "blood": Attribute(0.10, 0.14, "amount", "red density of the lesion"),
    "veil": Attribute(-0.34, 0.20, "amount", "blue-grey density of patches in the lesion"),
    "scale": Attribute(-0.15, 0.12, "amount", "share of white scales and scars in the lesion"),
    "variegation": Attribute(-1.17, 0.40, "log", "how far patches differ, logarithm of density"),
    "texture": Attribute(-1.54, 0.40, "log", "contrast of network, dots and clods, logarithm of density"),
    "centre": Attribute(0.46, 0.60, "plain", "how much denser the centre is than the rim, logarithm"),
    "halo": Attribute(0.00, 0.12, "amount", "red density of the skin around the lesion"),
    "mottling": Attribute(-3.54, 0.40, "log", "contrast of sun-damaged skin, density of brown and red"),
    "depth": Attribute(0.00, 0.22, "plain", "melanin is blue-grey where deep, yellow-brown where shallow"),
    "tone": Attribute(-0.03, 0.07, "plain", "darkness of the skin, in logarithms"),
    "warmth": Attribute(-1.31, 0.45, "log", "warmth of skin and light: red over green, in logarithms"),
    "hairs": Attribute(-0.98, 1.20, "log", "expected hairs in a picture"),
    "field": Attribute(0.57, 0.16, "log", "radius of the lit field; below 1.4 the corners are dark"),
}


def sample_attributes(
    labels: npt.NDArray[np.integer], separation: float, rng: np.random.Generator
) -> dict[str, npt.NDArray[np.float32]]:
    """Sample the attributes of one lesion per label; return float32 arrays of shape (n,) by name.

    `separation` scales all shifts: the classes are identical at 0, and the shifts are unscaled at 1.
    """
    sampled = {}
    for name, attribute in ATTRIBUTES.items():
        deviations = rng.standard_normal(len(labels)) + separation * np.asarray(CLASS_SHIFTS[name])[labels]
        values = attribute.mean + attribute.spread * deviations
        if attribute.kind == "log":
            values = np.exp(values)
        elif attribute.kind == "amount":
            values = np.maximum(values, 0.0)
        sampled[name] = values.astype(np.float32)
    return sampled


def sample_patients(
    labels: npt.NDArray[np.integer], separation: float, rng: np.random.Generator
) -> dict[str, npt.NDArray[Any]]:
    """Sample the age, sex and localization of one lesion per label, as in `PixelTable.clinical`.

    `separation` scales the difference between each class and the common mole; the classes are identical at 0.
    """
    n = len(labels)
    means = AGES[_COMMON] + separation * (np.array(AGES, dtype=float) - AGES[_COMMON])
    years = means[labels] + AGE_SPREAD * rng.standard_normal(n)
    men = np.array([MEN, 100 - np.array(MEN)]) / 100
    sampled: dict[str, npt.NDArray[Any]] = {
        "age": np.clip(AGE_STEP * np.rint(years / AGE_STEP), 0, OLDEST),
        "sex": np.array(["male", "female"])[_sample_kinds(men, labels, separation, rng)],
        "localization": np.array(list(PLACES))[
            _sample_kinds(np.array(list(PLACES.values())), labels, separation, rng)
        ],
    }
    for column, values in sampled.items():
        values[rng.random(n) < UNKNOWN[column]] = np.nan if column == "age" else ""
    return sampled


def _sample_kinds(
    shares: npt.NDArray[np.float64],
    labels: npt.NDArray[np.integer],
    separation: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.intp]:
    """Sample a row index of `shares`, which has shape (kinds, classes), for each label."""
    logs = np.log(shares)
    weights = np.exp(logs[:, [_COMMON]] + separation * (logs - logs[:, [_COMMON]]))
    steps = np.cumsum(weights / weights.sum(axis=0), axis=0)
    return np.argmax(rng.random(len(labels)) < steps[:, labels], axis=0)
