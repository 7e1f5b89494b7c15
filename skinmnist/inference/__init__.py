"""Load a model file and classify pictures with it, using numpy, Pillow and onnxruntime only."""
