"""What must not be in a recording: it is replayed as it was recorded, and what lay in a library's host memory does not stay."""

from __future__ import annotations

from collections import Counter
from typing import Any


def foreign_host_work(cuda: Any, graph: Any, uploads: int) -> str | None:
    """Return what a recorded graph does with host memory beside the `uploads` asked for; None where that is nothing."""
    kinds, types = cuda.cudaMemcpyKind, cuda.cudaGraphNodeType
    _, _, count = cuda.cudaGraphGetNodes(graph)
    _, nodes, _ = cuda.cudaGraphGetNodes(graph, count)
    by_type = [(node, cuda.cudaGraphNodeGetType(node)[1]) for node in nodes[:count]]
    copies = [node for node, node_type in by_type if node_type == types.cudaGraphNodeTypeMemcpy]
    directions = Counter(cuda.cudaGraphMemcpyNodeGetParams(node)[1].kind for node in copies)
    if (own := directions[kinds.cudaMemcpyHostToDevice] - uploads) > 0:
        return f"the library copies {own} times from host memory of its own"
    if any(node_type == types.cudaGraphNodeTypeHost for _, node_type in by_type):
        return "the library calls functions on the host"
    return None
