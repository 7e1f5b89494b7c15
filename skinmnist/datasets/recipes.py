"""What the synthetic lesions of each class are like: the attributes of a lesion and the table of recipes.

Every number that was tuned stands in this file. A lesion is a draw of all `ATTRIBUTES`, each normal around
the common mean with the common spread; a class is nothing but a shift of some of those means, written in
spreads in `RECIPES`. So a recipe reads like a clinical description, and the dial `overlap` can pull all
classes together or apart by one factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Attribute:
    """One quantity that is drawn for every lesion.

    Attributes
    ----------
    mean, spread : float
        Centre and standard deviation of the normal draw.
    kind : str
        How the draw becomes the quantity: ``"log"`` (its exponential: always positive), ``"amount"`` (itself,
        but 0 where negative: many lesions have none) or ``"plain"``.
    meaning : str
        What the quantity is, with its unit.
    """

    mean: float
    spread: float
    kind: str
    meaning: str


#: Lengths are in half widths of the (shorter side of the) picture, densities in natural logarithms of light.
ATTRIBUTES = {
    "size": Attribute(-0.95, 0.36, "log", "mean radius of the lesion"),
    "elongation": Attribute(0.18, 0.16, "amount", "logarithm of long over short axis"),
    "irregularity": Attribute(-2.2, 0.45, "log", "waviness of the outline, relative to the radius"),
    "softness": Attribute(-1.9, 0.45, "log", "width of the border, relative to the radius"),
    "melanin": Attribute(-0.75, 0.55, "log", "brown density of the lesion"),
    "blood": Attribute(0.12, 0.14, "amount", "red density of the lesion"),
    "veil": Attribute(-0.25, 0.20, "amount", "blue-grey density of patches in the lesion"),
    "scale": Attribute(-0.05, 0.12, "amount", "share of white scales and scars in the lesion"),
    "variegation": Attribute(-1.1, 0.40, "log", "how far patches of the lesion differ, logarithm of density"),
    "texture": Attribute(-1.5, 0.40, "log", "contrast of network, dots and clods, logarithm of density"),
    "centre": Attribute(0.35, 0.60, "plain", "how much denser the centre is than the rim, logarithm"),
    "halo": Attribute(0.0, 0.12, "amount", "red density of the skin around the lesion"),
    "mottling": Attribute(-3.6, 0.50, "log", "contrast of sun-damaged skin, density of brown and red"),
    "depth": Attribute(0.0, 0.22, "plain", "melanin is blue-grey where deep, yellow-brown where shallow"),
    "tone": Attribute(0.0, 0.15, "plain", "darkness of the skin, in logarithms"),
    "warmth": Attribute(0.0, 0.11, "plain", "warmth of skin and light: red over blue, in logarithms"),
    "hairs": Attribute(-1.2, 1.2, "log", "expected hairs in a picture"),
    "field": Attribute(1.75, 0.25, "plain", "radius of the lit field; below 1.4 the corners are dark"),
}

#: Shifts of the class from the common mean, in spreads. What is not named is as in every lesion.
RECIPES: dict[str, dict[str, float]] = {
    # pink-red, scaly, ill-defined plaque on sun-damaged skin
    "akiec": {
        "softness": 1.5,
        "irregularity": 1.0,
        "melanin": -2.7,
        "blood": 1.5,
        "scale": 1.7,
        "variegation": 1.0,
        "centre": -0.8,
        "mottling": 2.7,
        "warmth": -0.2,
        "texture": 1.4,
    },
    # pearly pink with vessels, blue-grey nests, little brown
    "bcc": {
        "softness": 0.8,
        "melanin": -2.9,
        "blood": 1.4,
        "veil": 1.4,
        "scale": 1.2,
        "variegation": 1.7,
        "centre": -0.7,
        "mottling": 1.5,
        "irregularity": 0.7,
        "warmth": -0.7,
    },
    # sharply bordered, tan, with clods and cysts
    "bkl": {
        "softness": -0.3,
        "melanin": -1.5,
        "scale": 0.8,
        "texture": 1.4,
        "centre": -1.0,
        "mottling": 1.2,
        "blood": 0.2,
        "warmth": -1.0,
        "field": -0.7,
        "irregularity": 0.5,
    },
    # firm pale centre with a brown ring that fades into the skin
    "df": {
        "softness": 1.2,
        "melanin": -2.0,
        "centre": -2.5,
        "scale": 1.2,
        "elongation": -0.8,
        "halo": 1.0,
        "irregularity": -0.7,
        "blood": 0.5,
        "field": -0.5,
    },
    # round, even, brown, with a regular border
    "nv": {
        "melanin": 0.5,
        "irregularity": -0.3,
        "variegation": -0.5,
        "veil": -0.5,
        "scale": -0.8,
        "mottling": -0.7,
        "warmth": 0.4,
        "centre": 0.3,
    },
    # sharply round, red to purple or blue
    "vasc": {
        "size": -0.8,
        "softness": -1.0,
        "melanin": -3.1,
        "blood": 5.1,
        "veil": 2.2,
        "mottling": -0.7,
        "texture": -0.8,
        "elongation": -0.5,
        "centre": 0.7,
        "warmth": -0.7,
    },
    # large, asymmetric, of an irregular border and many colours: brown, black, blue-grey
    "mel": {
        "size": 0.8,
        "irregularity": 1.4,
        "melanin": 0.7,
        "veil": 1.9,
        "variegation": 1.7,
        "elongation": 0.8,
        "texture": 0.5,
        "scale": 0.3,
        "warmth": -0.7,
        "field": -0.8,
    },
}


def draw_attributes(
    labels: npt.NDArray[np.integer], class_names: Sequence[str], separation: float, rng: np.random.Generator
) -> dict[str, npt.NDArray[np.float32]]:
    """Draw the attributes of one lesion for each label.

    Parameters
    ----------
    labels : ndarray of shape (n,), int
        Class codes, positions in `class_names`.
    class_names : sequence of str
        Keys of `RECIPES`.
    separation : float
        Factor on all shifts: 0 makes the classes alike, 1 takes the recipes as they stand.
    rng : numpy.random.Generator

    Returns
    -------
    dict of str to ndarray of shape (n,), float32
        One entry for each of `ATTRIBUTES`, in its unit.
    """
    drawn = {}
    for name, attribute in ATTRIBUTES.items():
        shifts = np.array([RECIPES[class_name].get(name, 0.0) for class_name in class_names])
        deviations = rng.standard_normal(len(labels)) + separation * shifts[labels]
        values = attribute.mean + attribute.spread * deviations
        if attribute.kind == "log":
            values = np.exp(values)
        elif attribute.kind == "amount":
            values = np.maximum(values, 0.0)
        drawn[name] = values.astype(np.float32)
    return drawn
