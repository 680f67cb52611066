import os

# ONNX Runtime reports its use to its makers, and keeps an identifier for it, unless this is set before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
