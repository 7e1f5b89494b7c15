"""The networks: the only place that imports Keras or TensorFlow."""
