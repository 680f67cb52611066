"""The GPU that is present, asked for without using it."""

from __future__ import annotations


def present_compute_capability(device: int = 0) -> str | None:
    """Return it as `sm87`; None where there is no GPU, or no driver or `cuda-python` to see it with."""
    try:
        from cuda.bindings import runtime
    except ImportError:
        return None
    attributes = runtime.cudaDeviceAttr
    answers = [
        runtime.cudaDeviceGetAttribute(attribute, device)
        for attribute in (attributes.cudaDevAttrComputeCapabilityMajor, attributes.cudaDevAttrComputeCapabilityMinor)
    ]
    if any(error != runtime.cudaError_t.cudaSuccess for error, _ in answers):
        return None
    return "sm" + "".join(str(value) for _, value in answers)
