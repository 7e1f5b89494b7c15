"""What a model says about one picture."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist import facts


@dataclass(frozen=True, eq=False)
class Prediction:
    """A model's answer to one picture. It is no diagnosis.

    Attributes
    ----------
    label : str
        Short name of the most probable class, such as ``"nv"``.
    name : str
        Its full name.
    probability : float
        Its probability.
    probabilities : dict of str to float
        Of every class by its short name, in code order; they sum to 1.
    full_names : dict of str to str
    warnings : tuple of str
        Why the answer should be doubted, one sentence each.
    unfamiliarity : float or None
        How unlike the pictures that the model learnt from this one is; above 1 it is beyond nearly all of
        them. None where the model does not tell.
    pixels : ndarray of shape (height, width, channels), uint8
        The picture as the model saw it.
    notice : str
        That this is no medical device.
    """

    label: str
    name: str
    probability: float
    probabilities: dict[str, float]
    full_names: dict[str, str]
    warnings: tuple[str, ...]
    novelty_score: float | None
    pixels: npt.NDArray[np.uint8]
    notice: str = facts.DISCLAIMER

    def top(self, k: int = 3) -> list[tuple[str, float]]:
        """Return the k most probable classes and their probabilities, the most probable first."""
        ordered = sorted(self.probabilities.items(), key=lambda pair: -pair[1])
        return ordered[: max(k, 0)]

    def to_dict(self, k: int | None = None) -> dict[str, Any]:
        """Return what JSON can hold: everything but the pixels, the ``top`` k classes where asked for."""
        told: dict[str, Any] = {
            "label": self.label,
            "name": self.name,
            "probability": self.probability,
            "probabilities": self.probabilities,
            "warnings": list(self.warnings),
            "unfamiliarity": self.novelty_score,
            "notice": self.notice,
        }
        if k is not None:
            told["top"] = [{"label": label, "probability": share} for label, share in self.top(k)]
        return told

    def __repr__(self) -> str:
        lines = [f"<Prediction: {self.name} ({self.label}), {self.probability:.1%}"]
        lines += [f"  {label:<8} {share:6.1%}" for label, share in self.top(len(self.probabilities))]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join([*lines, f"  {self.notice}>"])

    def _repr_html_(self) -> str:
        """Show bars in a notebook."""
        rows = "".join(
            f"<tr><td>{html.escape(self.full_names[label])} ({html.escape(label)})</td>"
            f"<td style='text-align:right'>{share:.1%}</td><td style='width:12em'>"
            f"<div style='background:#4a6fa5;height:.8em;width:{100 * share:.1f}%'></div></td></tr>"
            for label, share in self.top(len(self.probabilities))
        )
        warnings = "".join(f"<p><b>Warning:</b> {html.escape(one)}</p>" for one in self.warnings)
        return f"<table>{rows}</table>{warnings}<p><small>{html.escape(self.notice)}</small></p>"
