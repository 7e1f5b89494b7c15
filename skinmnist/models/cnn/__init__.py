"""The networks: the only modules that import Keras or TensorFlow, and only when a network is built."""
