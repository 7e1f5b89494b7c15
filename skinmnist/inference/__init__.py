"""From a model file to an answer; numpy, Pillow and onnxruntime only."""
