"""Parity of an engine with ONNX Runtime on a CPU over the bundle's float32 graph: needs neither torch nor onnx."""
