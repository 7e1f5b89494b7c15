"""The figure of training curves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from skinmnist.analysis.summaries import training_curves
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.sections.training import curves_figure, draw_resampled, unchanged_rows


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


def test_strategies_that_leave_the_rows_alone_have_no_bars(analysis) -> None:
    counts = analysis.resampled_counts
    assert unchanged_rows(counts) == []
    shown = len(draw_resampled(analysis))
    idle = counts[counts["sampler"] == "SMOTE"].assign(sampler="tuned_plain", space="")
    idle["after"] = idle["before"]
    changed = replace(analysis)
    changed.__dict__["resampled_counts"] = pd.concat([counts, idle], ignore_index=True)
    assert unchanged_rows(changed.resampled_counts) == ["tuned_plain"]
    assert len(draw_resampled(changed)) == shown
    changed.__dict__["resampled_counts"] = idle
    assert draw_resampled(changed) == []
    assert unchanged_rows(counts.iloc[:0]) == []
