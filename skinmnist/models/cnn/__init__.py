"""The networks; only these modules import Keras or TensorFlow, and only when a network is built."""
