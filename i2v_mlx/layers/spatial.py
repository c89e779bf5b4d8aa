"""The spatial transformer: every frame by itself, and the context for all of them (diffusers Transformer2DModel)."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from .attention import KeyValue, TransformerBlock
from .norms import GroupNorm

POOLED_FROM = 9000    # positions; below, averaging keys costs quality and saves nothing worth it


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

    def __call__(self, x: mx.array, key_value: KeyValue, key_pooling: bool = False) -> mx.array:
        """x (B*F, H, W, C) -> the same shape."""
        return self.look_at(x, self.look_around(x, key_pooling), key_value)

    def look_around(self, x: mx.array, key_pooling: bool = False) -> mx.array:
        """The half that knows no context: x (B*F, H, W, C) -> the hidden state after self attention (B*F, L, D).

        With `key_pooling`, where there are POOLED_FROM positions or more, they look at the averages of 2 x 2 positions:
        a quarter of the scores (ToDo, arXiv 2402.13573).
        """
        N, H, W, C = x.shape
        block = self.transformer_blocks[0]
        h = self.proj_in(self.norm(x).reshape(N, H * W, C))
        y = block.norm1(h)
        if key_pooling and H * W >= POOLED_FROM:
            return h + block.attn1(y, block.attn1.key_value(halved(y, H, W)))
        return h + block.attn1(y)

    def look_at(self, x: mx.array, h: mx.array, key_value: KeyValue) -> mx.array:
        """The other half: x and `look_around`'s state of it -> (B*F, H, W, C)."""
        B = key_value[0].shape[0]
        block = self.transformer_blocks[0]
        # All frames of a video see the same keys: they are one long row of queries, and nothing is repeated.
        h = h + block.attn2(block.norm2(h).reshape(B, -1, h.shape[-1]), key_value).reshape(h.shape)
        h = h + block.ff(block.norm3(h))
        return x + self.proj_out(h).reshape(x.shape)


def halved(x: mx.array, H: int, W: int) -> mx.array:
    """Means over 2 x 2 positions: x (N, H*W, C) -> (N, H//2 * W//2, C). Of an odd size the last line is left out."""
    N, _, C = x.shape
    grid = x.reshape(N, H, W, C)[:, : H // 2 * 2, : W // 2 * 2]
    return grid.reshape(N, H // 2, 2, W // 2, 2, C).mean(axis=(2, 4)).reshape(N, -1, C)
