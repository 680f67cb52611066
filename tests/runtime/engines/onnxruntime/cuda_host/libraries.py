"""Stub libraries in place of CUDA's: one C file each, of the symbols that ONNX Runtime's CUDA provider asks for.

`cudart.c` is written by hand; of the others every function says that it succeeded, and those that compute count as a launch.
Run as a program to build them: `python -m tests.runtime.engines.onnxruntime.cuda_host.libraries SITE`, where SITE holds the
installed `onnxruntime-gpu` and the headers of `nvidia-cuda-runtime`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PROVIDER = "onnxruntime/capi/libonnxruntime_providers_cuda.so"
INCLUDE = "nvidia/cu13/include"
STUBS = "stubs"
RUNTIME, CUDNN, DRIVER = "libcudart.so.13", "libcudnn.so.9", "libcuda.so.1"
# Linked without one symbol of it being used.
EMPTY = ("libcurand.so.10",)
HERE = Path(__file__).parent

COMPUTES = re.compile(
    r"cublas\w*(?:gemm|geam|getr[fi]|[Gg]emm\w*Ex|Sscal|Scopy)\w*|cublasLtMatrixTransform"
    r"|cudnn\w*(?:Forward|ForwardInference|ForwardTraining|ReduceTensor|AddTensor|BackendExecute)"
)
CREATES = re.compile(r"(?:cublas|cudnn)\w*Create(?:_v2|\w+Descriptor)?")
BODIES = {
    "cublasLtMatmul": "(void *h, void *b, void *c, void *d, void *e, void *f, void *g, void *i, void *j, void *k, void *l, "
    "void *m, void *n, void *o, size_t p, void *stream) { return stub_launch(stream); }",
    "cublasLtMatmulAlgoGetHeuristic": "(void *h, void *b, void *c, void *d, void *e, void *f, void *g, int wanted, "
    "void *results, int *found) { memset(results, 0, 96); *found = 1; return 0; }",
    "cublasGetMathMode": "(void *handle, int *mode) { *mode = 0; return 0; }",
    "cudnnGetReductionIndicesSize": "(void *a, void *b, void *c, void *d, size_t *bytes) { *bytes = 1024; return 0; }",
    "cudnnGetReductionWorkspaceSize": "(void *a, void *b, void *c, void *d, size_t *bytes) { *bytes = 1024; return 0; }",
}
# The functions that answer with something else than a status.
ANSWERS = {
    "cudnnGetVersion": "size_t cudnnGetVersion(void) { return 91200; }",
    "cudnnGetErrorString": 'const char *cudnnGetErrorString(int status) { return "refused by the stub"; }',
    "cublasGetStatusString": 'const char *cublasGetStatusString(int status) { return "refused by the stub"; }',
    "cublasGetStatusName": 'const char *cublasGetStatusName(int status) { return "refused by the stub"; }',
}


def wanted_symbols(provider: Path) -> dict[str, set[str]]:
    """Return by library the functions that the provider is linked with, and those of cuDNN, which it looks up by name."""
    symbols: dict[str, set[str]] = {library: set() for library in EMPTY}
    listed = subprocess.run(["nm", "-D", "--undefined-only", provider], capture_output=True, text=True, check=True).stdout
    for name, library in re.findall(r"U (\w+)@(libcu\S+)", listed):
        symbols.setdefault(library, set()).add(name)
    symbols[DRIVER] = set(re.findall(r"U (cu[A-Z]\w+)$", listed, re.MULTILINE))
    symbols[CUDNN] = {name.decode() for name in re.findall(rb"\0(cudnn[A-Z]\w+)(?=\0)", provider.read_bytes())}
    return symbols


def source(library: str, names: set[str]) -> str:
    """Return the C source of a stub; of CUDA's runtime what `cudart.c` leaves out."""
    written = (HERE / "cudart.c").read_text() if library == RUNTIME else ""
    head = "#include <stdlib.h>\n#include <string.h>\nextern int stub_launch(void *);\n" if library != RUNTIME else written
    have = set(re.findall(r"^\w[^;=\n]*?\*?\b(\w+)\(", written, re.MULTILINE))
    return "\n".join([head, *(function(name) for name in sorted(names - have)), ""])


def function(name: str) -> str:
    """Return a function that does what the name says of it."""
    if name in ANSWERS:
        return ANSWERS[name]
    if name in BODIES:
        return f"int {name}{BODIES[name]}"
    if "SetStream" in name:
        return f"int {name}(void **handle, void *stream) {{ *handle = stream; return 0; }}"
    if COMPUTES.fullmatch(name):
        return f"int {name}(void **handle) {{ return stub_launch(*handle); }}"
    if CREATES.fullmatch(name):
        return f"int {name}(void **handle) {{ *handle = calloc(1, 256); return 0; }}"
    return f"int {name}(void) {{ return 0; }}"


def commands(library: str, names: set[str], folder: Path, include: Path) -> Iterator[list[str]]:
    """Write the source and its symbols' version, and yield the compiler's command."""
    written, versions = folder / f"{library}.c", folder / f"{library}.map"
    written.write_text(source(library, names))
    versions.write_text(f"{library} {{ global: *; }};\n")
    named = [] if library in (DRIVER, CUDNN) else [f"-Wl,--version-script={versions}"]
    needed = [] if library == RUNTIME else [str(folder / RUNTIME)]
    yield [
        *("cc", "-w", "-O1", "-shared", "-fPIC", "-pthread", f"-I{include}", f"-Wl,-soname,{library}", *named),
        *("-o", str(folder / library), str(written), *needed),
    ]


def build(site: Path) -> Path:
    """Compile the stubs for the provider installed in `site` and return their folder; they are newer than what they are of."""
    folder = site / STUBS
    folder.mkdir(exist_ok=True)
    symbols = wanted_symbols(site / PROVIDER)
    for library in (RUNTIME, *sorted(symbols.keys() - {RUNTIME})):
        for command in commands(library, symbols[library], folder, site / INCLUDE):
            subprocess.run(command, check=True)
    return folder


if __name__ == "__main__":
    build(Path(sys.argv[1]))
