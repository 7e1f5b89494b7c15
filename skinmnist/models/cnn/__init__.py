"""The networks: the only place that imports Keras or TensorFlow, and not before a network is built."""
