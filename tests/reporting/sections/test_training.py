"""The figure of training curves."""

from __future__ import annotations

import numpy as np

from skinmnist.analysis.summaries import training_curves
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.sections.training import curves_figure


def test_a_validation_set_is_drawn_where_there_is_one(record: RunRecord) -> None:
    curves = training_curves(record)
    curves = curves[curves["sampler"] == "none"]
    validated = curves.assign(validation_loss=curves["loss"] + 0.1, validation_accuracy=0.5)
    limits = {"loss": (0.0, 3.0), "accuracy": (0.0, 1.0)}
    drawn = {}
    for name, shown in (("plain", curves), ("validated", validated)):
        figure = curves_figure(shown, {"loss": 1.0, "accuracy": 0.6}, "black", limits)
        drawn[name] = [text.get_text() for text in figure.legends[0].get_texts()]
        dotted = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == ":"]
        assert len(dotted) == (name == "validated")
    assert drawn == {"plain": ["a fold", "mean", "held-out"], "validated": [*drawn["plain"], "validation"]}
    np.testing.assert_allclose(
        dotted[0].get_ydata(), validated.groupby("step")["validation_loss"].mean().to_numpy()
    )
