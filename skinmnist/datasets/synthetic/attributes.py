"""What the synthetic lesions of each class are like: the attributes of a lesion and the table of recipes.

Every number that sets the classes apart stands in this file. A lesion is a draw of all `ATTRIBUTES`, each
normal around the mean of a common mole with its usual spread; a class is nothing but a shift of some of those
means, written in spreads in `RECIPES`. So a row of the table reads like a clinical comparison, and the dial
`overlap` can pull all classes together or apart by one factor.

The signs follow the clinical look of each class: akiec pink, scaly, ill-defined, on sun-damaged skin; bcc
pale pink with scars and blue-grey nests; bkl tan with clods and cysts; df a pale scar in a ring that fades
into the skin; vasc red to purple; mel large, ragged, of many colours, with a blue-grey veil. Warmth and field
tell where a picture was taken, which in HAM10000 goes with the class as well: most warm pictures are moles.

The sizes began as a least-squares fit to the class means of some forty descriptors of HAM10000 (colour and
spread in five rings, contrast, gradients, asymmetry, area). Then colour and size were widened and texture was
narrowed by hand until the models score on this table as on the real one, which
``experiments/benchmarks/synthetic_difficulty.py`` measures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Attribute:
    """One quantity that is drawn for every lesion.

    Attributes
    ----------
    mean, spread : float
        Centre and standard deviation of the normal draw for a common mole.
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

# fmt: off
#: Shift of each class from the common mole, in spreads of the attribute; classes in the order of their codes.
RECIPES = {
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


def draw_attributes(
    labels: npt.NDArray[np.integer], separation: float, rng: np.random.Generator
) -> dict[str, npt.NDArray[np.float32]]:
    """Draw the attributes of one lesion for each label.

    Parameters
    ----------
    labels : ndarray of shape (n,), int
        Class codes.
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
        deviations = rng.standard_normal(len(labels)) + separation * np.asarray(RECIPES[name])[labels]
        values = attribute.mean + attribute.spread * deviations
        if attribute.kind == "log":
            values = np.exp(values)
        elif attribute.kind == "amount":
            values = np.maximum(values, 0.0)
        drawn[name] = values.astype(np.float32)
    return drawn
