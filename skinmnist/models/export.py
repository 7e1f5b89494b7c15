"""A fitted model as plain data: what `skinmnist.inference` computes with, and nothing of what trained it.

Networks become tensors, whose normalisations are folded into the convolutions before them; classic models
become arrays. Neither pickle nor converter has a part in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Fitted:
    """A model after training.

    Attributes
    ----------
    features : transformer or None
        What stands before the classifier.
    classifier : classifier
    calibration : estimator or None
        Turns the classifier's decision values into probabilities, where it gives none itself.
    described : bool
        Whether pictures are described before.
    """

    features: Any
    classifier: Any
    calibration: Any
    described: bool


@dataclass(frozen=True)
class Exported:
    """A model as plain data.

    Attributes
    ----------
    answer : dict
        How probabilities are computed, as `skinmnist.inference.model_file.Answer.read` reads it.
    arrays : dict of str to ndarray
        What it is computed with.
    """

    answer: dict[str, Any]
    arrays: dict[str, Array] = field(default_factory=dict)


def export_network(fitted: Fitted) -> Exported:
    """Export a `skinmnist.models.cnn.classifier.CNNClassifier`."""
    from skinmnist.models.cnn.network import block_side

    classifier = fitted.classifier
    ensemble = classifier.build_ensemble()
    block = block_side(classifier.shape)
    feature_layers = tuple(classifier.feature_layers)
    head = {
        "kind": "network",
        "channels": list(classifier.channels),
        "pairs": list(classifier.pairs),
        "block": block,
        "views": classifier.used_views,
        "features": ensemble.n_features,
        "hidden": list(feature_layers),
        "share": float(classifier.feature_share) if feature_layers else 0.0,
    }
    statistics = ensemble.statistics
    tensors: dict[str, Array] = {
        "centre": np.tile(statistics.centre, block**2)[None, :, None, None],
        "spread": np.tile(statistics.spread, block**2)[None, :, None, None],
    }
    pixels = ensemble.members[0]
    for stage, n_pairs in enumerate(classifier.pairs, start=1):
        names = [f"stage{stage}_conv"]
        for pair in range(n_pairs):
            names += [f"stage{stage}_pair{pair}_first", f"stage{stage}_pair{pair}_second"]
        for name in names:
            tensors |= _convolution(name, pixels.get_layer(name), pixels.get_layer(f"{name}_norm"))
    tensors |= _dense("logits", pixels.get_layer("logits"))
    steps: list[dict[str, Any]] = []
    arrays: dict[str, Array] = {}
    if feature_layers:
        step, arrays = standardise(classifier.standardiser_)
        steps.append(step)
        for layer in range(1, len(feature_layers) + 1):
            tensors |= _dense(f"hidden{layer}", ensemble.members[1].get_layer(f"hidden{layer}"))
        tensors |= _dense("feature_logits", ensemble.members[1].get_layer("logits"))
    answer = {
        "input": "features" if feature_layers else "pixels",
        "steps": steps,
        "head": head,
        "codes": classifier.classes_.tolist(),
    }
    return Exported(answer, {**arrays, **tensors})


def _convolution(name: str, convolution: Any, norm: Any) -> dict[str, Array]:
    """Fold a normalisation into the convolution before it, in the order of ONNX: out, in, height, width."""
    (kernel,) = convolution.get_weights()
    scale, offset, mean, variance = (part.astype(np.float64) for part in norm.get_weights())
    factor = scale / np.sqrt(variance + norm.epsilon)
    return {
        f"{name}_kernel": (kernel * factor).transpose(3, 2, 0, 1).astype(np.float32),
        f"{name}_offset": (offset - mean * factor).astype(np.float32),
    }


def _dense(name: str, layer: Any) -> dict[str, Array]:
    kernel, offset = layer.get_weights()
    return {f"{name}_kernel": kernel, f"{name}_offset": offset}


def standardise(standardiser: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return a `skinmnist.features.transformer.Standardiser` as a step and its arrays."""
    from skinmnist.features.transformer import FARTHEST

    step = {"kind": "standardise", "farthest": FARTHEST}
    return step, {"feature_mean": standardiser.mean_, "feature_scale": standardiser.spread_}
