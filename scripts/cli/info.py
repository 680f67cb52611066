"""`dllm-edge info`: what a bundle holds."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ...runtime.bundle.bundle import Bundle
from ...runtime.engines.tensorrt.engine_folder import EngineFolder, engines_of
from .terminal.bundles import bundle_path
from .terminal.options import BundleArgument, JsonOption
from .terminal.output import counted, key_values, print_json, screen, size
from .terminal.weights import weights_line


def command(
    *,
    bundle: BundleArgument,
    verify: Annotated[bool, typer.Option("--verify", help="Read the weights too and check their hashes.")] = False,
    as_json: JsonOption = False,
) -> None:
    opened = Bundle.open(bundle_path(bundle), verify=verify)
    if as_json:
        print_json(_data(opened, verify))
    else:
        screen().print(key_values(_rows(opened, verify)))


def _data(bundle: Bundle, verified: bool) -> dict[str, Any]:
    manifest = bundle.manifest.to_json()
    manifest = {name: value for name, value in manifest.items() if name not in ("forbidden", "manifest_sha256")}
    return {
        "bundle": str(bundle.path),
        **manifest,
        "bytes": _bytes(bundle),
        "decoding": bundle.decoding,
        "engines": {engine.path.name: engine.fingerprint.to_json() for engine in engines_of(bundle)},
        "reports": _reports(bundle),
        "ignored": bundle.ignored,
        "verified": verified,
    }


def _rows(bundle: Bundle, verified: bool) -> dict[str, object]:
    manifest, config = bundle.manifest, bundle.config
    heads = f"{config.heads}/{config.kv_heads} heads of {config.head_dim}"
    graphs = [f"{graph.file} ({graph.flavour}, {graph.compute}, opset {graph.opset})" for graph in manifest.graphs["step"]]
    return {
        "bundle": bundle.path,
        "family": manifest.family,
        "model": f"{config.layers} layers, hidden {config.hidden_size}, {heads}",
        "vocabulary": f"{config.vocab_size} ids, {len(manifest.forbidden)} of them never generated",
        "context": f"{config.max_positions} positions",
        "weights": weights_line(manifest),
        "graphs": "\n".join(graphs),
        "size": f"{size(_bytes(bundle))} in {counted(len(manifest.files), 'file')}",
        "decoding": ", ".join(f"{name}={value}" for name, value in bundle.decoding.get("defaults", {}).items()),
        "made with": ", ".join(f"{tool} {version}" for tool, version in manifest.tools.items()),
        "engines": "\n".join(map(_engine_line, engines_of(bundle))) or "none",
        "reports": ", ".join(_reports(bundle)) or "none",
        **({"not used": ", ".join(bundle.ignored) + " (the manifest does not name them)"} if bundle.ignored else {}),
        "hashes": "all checked now" if verified else "small files checked now; --verify reads the weights again",
    }


def _engine_line(engine: EngineFolder) -> str:
    built = engine.fingerprint
    longest = max(profile.queries for profile in built.workload.profiles)
    total = sum(record.size for record in built.plans.values())
    profiles = f"{counted(len(built.workload.profiles), 'profile')} of up to {counted(longest, 'token')}"
    return f"{engine.path.name}: {built.flavour}, {built.compute}, {profiles}, {size(total)}"


def _bytes(bundle: Bundle) -> int:
    return sum(record.size for record in bundle.manifest.files.values())


def _reports(bundle: Bundle) -> list[str]:
    return sorted(file.name for file in (bundle.path / "reports").glob("*.json"))
