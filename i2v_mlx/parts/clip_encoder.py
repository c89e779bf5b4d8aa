"""The transformer inside both CLIP towers (arXiv 2103.00020; transformers/models/clip/modeling_clip.py)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import mlx.core as mx
import mlx.nn as nn

from ..errors import I2VError

Config = TypeVar("Config", bound="CLIPEncoderConfig")

_ACTIVATIONS = {"gelu": nn.gelu, "quick_gelu": nn.gelu_fast_approx}  # the exact one; x * sigmoid(1.702 x)


@dataclass(frozen=True)
class CLIPEncoderConfig:
    """What the configurations of both towers share; each gives its own defaults."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    hidden_act: str
    layer_norm_eps: float

    reference: ClassVar[dict[str, Any]]  # what transformers takes for a value that config.json leaves out

    @classmethod
    def from_dict(cls: type[Config], values: dict[str, Any]) -> Config:
        """From config.json. What the network does not depend on is ignored."""
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**cls.reference | {name: value for name, value in values.items() if name in known})

    def __post_init__(self) -> None:
        if self.hidden_act not in _ACTIVATIONS:
            raise I2VError(
                "config_invalid", f"CLIP's hidden_act is {self.hidden_act!r}.", f"Known are {', '.join(_ACTIVATIONS)}."
            )
        if self.hidden_size % self.num_attention_heads:
            raise I2VError(
                "config_invalid",
                f"CLIP's hidden_size {self.hidden_size} is not a multiple of its {self.num_attention_heads} heads.",
                "Download the model again.",
            )


class CLIPAttention(nn.Module):
    def __init__(self, config: CLIPEncoderConfig):
        super().__init__()
        self.heads = config.num_attention_heads
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def __call__(self, x: mx.array, mask: Literal["causal"] | None) -> mx.array:
        B, L, C = x.shape
        q, k, v = (
            y.reshape(B, L, self.heads, -1).swapaxes(1, 2)  # (B, heads, L, C / heads)
            for y in (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        )
        o = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=mask)
        return self.out_proj(o.swapaxes(1, 2).reshape(B, L, C))


class CLIPMLP(nn.Module):
    def __init__(self, config: CLIPEncoderConfig):
        super().__init__()
        self.activation = _ACTIVATIONS[config.hidden_act]
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def __call__(self, x: mx.array) -> mx.array:
        return self.fc2(self.activation(self.fc1(x)))


class CLIPEncoderLayer(nn.Module):
    """Attention, then MLP; a layer norm before and a residual around each."""

    def __init__(self, config: CLIPEncoderConfig):
        super().__init__()
        self.self_attn = CLIPAttention(config)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = CLIPMLP(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def __call__(self, x: mx.array, mask: Literal["causal"] | None) -> mx.array:
        x = x + self.self_attn(self.layer_norm1(x), mask)
        return x + self.mlp(self.layer_norm2(x))


class CLIPEncoder(nn.Module):
    def __init__(self, config: CLIPEncoderConfig):
        super().__init__()
        self.layers = [CLIPEncoderLayer(config) for _ in range(config.num_hidden_layers)]

    def __call__(self, x: mx.array, mask: Literal["causal"] | None = None, layers: int | None = None) -> mx.array:
        """x (B, L, C) -> the same shape, after the first `layers` layers; None for all of them."""
        for layer in self.layers[:layers]:
            x = layer(x, mask)
        return x
