"""Load a model file and classify pictures with numpy, Pillow and onnxruntime only."""
