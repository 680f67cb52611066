"""What a family of checkpoints is: how its `config.json` reads, what its tensors are called, how it is decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..config import ModelConfig
from ..errors import DllmEdgeError
from ..parameters import parameter_shapes
from .config_keys import ConfigKeys

MIXTURE_KEYS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


@dataclass(frozen=True)
class Family:
    """One family of Hugging Face checkpoints.

    `layer_names` and `outer_names` map the modules of a canonical name (`graphs.parameters`) to the checkpoint's;
    `layer_prefix` has a `{}` for the layer's number.

    `float16_safe` is false where the residual stream leaves float16's range, so that bfloat16 is the default instead.
    """

    name: str
    model_types: tuple[str, ...]
    read: Callable[[ConfigKeys], ModelConfig]
    layer_prefix: str
    layer_names: Mapping[str, str]
    outer_names: Mapping[str, str]
    decoding: Callable[[ModelConfig], dict[str, Any]]
    float16_safe: bool = True

    def config(self, data: Mapping[str, Any]) -> ModelConfig:
        """Return the architecture that `data`, a parsed `config.json`, describes.

        Raises `DllmEdgeError` for what is not implemented, and for keys that are missing or of another type.
        """
        keys = ConfigKeys(data)
        for key in MIXTURE_KEYS:
            if keys.integer(key, 0) > 1:
                raise keys.unsupported(key, "dense models only; mixtures of experts are not supported yet")
        for key in ("quantization_config", "quantization"):
            if data.get(key) is not None:
                raise DllmEdgeError(f"config.json: {key} is set; quantised weights cannot be read: use the original checkpoint")
        return self.read(keys)

    def tensor_names(self, config: ModelConfig) -> dict[str, str]:
        """Return the checkpoint's tensor name of each canonical name (a key of `parameter_shapes`)."""
        return {name: self.tensor_name(name) for name in parameter_shapes(config)}

    def tensor_name(self, canonical: str) -> str:
        """Return the checkpoint's name of the parameter `canonical`, such as `norm.weight` or `layers.3.query.bias`."""
        *layer, module, parameter = canonical.split(".")
        if not layer:
            return f"{self.outer_names[module]}.{parameter}"
        return f"{self.layer_prefix.format(layer[1])}.{self.layer_names[module]}.{parameter}"

    def decoding_defaults(self, config: ModelConfig) -> dict[str, Any]:
        """Return the settings that the family's authors decode with; empty for models that do not decode by diffusion."""
        return self.decoding(config) if config.diffusion else {}
