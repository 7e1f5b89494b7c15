"""Extract lesion descriptors for classic models."""

from skinmnist.features.extract import extract_features, feature_names

__all__ = ["extract_features", "feature_names"]
