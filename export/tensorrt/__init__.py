"""Bundle to engine: a bundle's graphs compiled by TensorRT, on a machine that may have neither torch nor onnx."""
