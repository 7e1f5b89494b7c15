"""From a model file to an answer; numpy, Pillow and onnxruntime only."""

__all__ = ["classifier", "heads", "kernel", "manifest", "model_file", "novelty", "occlusion", "onnx_network"]
