"""What ``python -m skinmnist.compare`` does with a preset: describe it, or run it and print its claims."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from skinmnist.evaluation.presets import Preset

#: The size that a description takes where no table is at hand: that of the preset's page, or this one.
USUAL_SHAPE, USUAL_CLASSES = (28, 28, 3), 7


def describe(preset: Preset, shape: tuple[int, int, int], n_classes: int) -> str:
    """Say what a preset would run, its networks layer by layer with parameter counts.

    Parameters
    ----------
    preset : Preset
    shape : tuple of int
        ``(height, width, channels)`` of the pictures.
    n_classes : int
    """
    from skinmnist.models.blueprint_layers import build_stack

    head, training = preset.head, preset.training
    height, width, channels = shape
    protocol = "one split into training, validation and test" if head.holdout else f"{head.folds} folds"
    lines = [
        head.title,
        head.about,
        f"Honest: {protocol} by lesion, {head.sampler} inside the training part.",
        "As published: " + ("; ".join(preset.published.differences) or "the same") + ".",
        f"Training: {training.epochs} epochs, batches of {training.batch_size}, Adam at "
        f"{training.learning_rate:g}.",
    ]
    if head.less:
        lines.append(f"Less than published: {head.less}")
    lines += [f"Choice: {choice}" for choice in head.choices]
    for network in preset.networks:
        model = build_stack(network.blueprint, shape, n_classes)
        lines += ["", f"{network.name}: {network.title}, pictures of {height} x {width} x {channels}"]
        for layer in model.layers:
            size = " x ".join(str(length) for length in layer.output.shape[1:])
            lines.append(f"  {layer.name:<20} {size:<16} {layer.count_params():>10,}")
        lines.append(f"  {'parameters':<37} {model.count_params():>10,}")
    return "\n".join(line for line in lines if line or lines)


def claims_table(claims: pd.DataFrame) -> str:
    """Lay out claimed, as published and honest scores as plain text."""
    lines = [f"{'network':<32} {'score':<10} {'claimed':>8} {'as published':>13} {'honest':>8}"]
    for row in claims.to_dict("records"):
        figures = [_text(row[name]) for name in ("claimed", "as_published", "honest")]
        lines.append(
            f"{row['network']:<32} {row['metric']:<10} {figures[0]:>8} {figures[1]:>13} {figures[2]:>8}"
        )
    return "\n".join(lines)


def _text(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"
