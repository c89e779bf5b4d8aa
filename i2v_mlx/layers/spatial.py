"""The spatial transformer: every frame by itself, and the context for all of them (diffusers Transformer2DModel)."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from .attention import KeyValue, TransformerBlock
from .norms import GroupNorm


class Transformer2DModel(nn.Module):
    def __init__(self, channels: int, heads: int, head_dim: int, context_dims: int, groups: int = 32):
        super().__init__()
        inner = heads * head_dim
        self.norm = GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, inner)
        self.transformer_blocks = [TransformerBlock(inner, heads, head_dim, context_dims)]
        self.proj_out = nn.Linear(inner, channels)

    def key_value(self, context: mx.array) -> KeyValue:
        """context (B, S, C_context) -> keys and values of the cross attention (B, heads, S, D), once per video."""
        return self.transformer_blocks[0].attn2.key_value(context)

    def __call__(self, x: mx.array, key_value: KeyValue) -> mx.array:
        """x (B*F, H, W, C) -> the same shape."""
        return self.look_at(x, self.look_around(x), key_value)

    def look_around(self, x: mx.array) -> mx.array:
        """The half that knows no context: x (B*F, H, W, C) -> the hidden state after self attention (B*F, L, D)."""
        N, H, W, C = x.shape
        block = self.transformer_blocks[0]
        h = self.proj_in(self.norm(x).reshape(N, H * W, C))
        return h + block.attn1(block.norm1(h))

    def look_at(self, x: mx.array, h: mx.array, key_value: KeyValue) -> mx.array:
        """The other half: x and `look_around`'s state of it -> (B*F, H, W, C)."""
        B = key_value[0].shape[0]
        block = self.transformer_blocks[0]
        # All frames of a video see the same keys: they are one long row of queries, and nothing is repeated.
        h = h + block.attn2(block.norm2(h).reshape(B, -1, h.shape[-1]), key_value).reshape(h.shape)
        h = h + block.ff(block.norm3(h))
        return x + self.proj_out(h).reshape(x.shape)
