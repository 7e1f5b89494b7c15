"""The networks: the only place that imports Keras or TensorFlow, and not before a network is built."""

from skinmnist.models.cnn.variants import make_cnn, make_cnn_early_stopping, make_cnn_thorough, make_cnn_tiny

__all__ = ["make_cnn", "make_cnn_early_stopping", "make_cnn_thorough", "make_cnn_tiny"]
