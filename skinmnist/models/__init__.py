"""The models available for comparison."""

from skinmnist.models.registry import COMPONENTS, DEFAULT_MODELS, DESCRIPTORS, MODELS, PIXELS
from skinmnist.models.spec import ModelSpec, Setting

__all__ = ["COMPONENTS", "DEFAULT_MODELS", "DESCRIPTORS", "MODELS", "PIXELS", "ModelSpec", "Setting"]
