"""From a model file and a picture to an answer: numpy, Pillow and onnxruntime, and nothing that trains."""
