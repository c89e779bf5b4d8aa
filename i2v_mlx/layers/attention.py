"""Attention, feed-forward and the transformer block made of them (diffusers/models/attention.py)."""

from __future__ import annotations

from functools import partial

import mlx.core as mx
import mlx.nn as nn

from .activations import gelu
from .chunks import equal_parts, in_turn

# Attention scores of one dispatch. Metal's fused kernel never stores them, but its work is in proportion: this keeps a
# dispatch well under a second on an M1, where macOS would end it after a few.
SCORE_ELEMENTS = 2**26

KeyValue = tuple[mx.array, mx.array]


class Attention(nn.Module):
    """Multi-head attention (arXiv 1706.03762). Queries come from x; keys and values from x or from a context."""

    def __init__(self, dims: int, heads: int, head_dim: int, context_dims: int | None = None):
        super().__init__()
        self.heads = heads
        self.head_dim = head_dim
        inner = heads * head_dim
        self.to_q = nn.Linear(dims, inner, bias=False)
        self.to_k = nn.Linear(context_dims or dims, inner, bias=False)
        self.to_v = nn.Linear(context_dims or dims, inner, bias=False)
        self.to_out = [nn.Linear(inner, dims)]

    def key_value(self, context: mx.array) -> KeyValue:
        """context (N, S, C) -> keys and values (N, heads, S, D). For a context that stays, compute them once."""
        return self._split(self.to_k(context)), self._split(self.to_v(context))

    def __call__(self, x: mx.array, key_value: KeyValue | None = None) -> mx.array:
        """x (N, L, C) -> (N, L, C). Without `key_value` this is self attention within each of the N."""
        q = self._split(self.to_q(x))  # (N, heads, L, D)
        k, v = key_value or self.key_value(x)
        return self.to_out[0](attend(q, k, v))

    def across(self, x: mx.array) -> mx.array:
        """Self attention over frames: x (B, F, L, C) -> (B, F, L, C). Each position attends to itself in all frames.

        The heads' transposed views go to the kernel as they are; nothing is copied into frame order for B = 1.
        """
        B, F, L, _ = x.shape

        def by_position(y: mx.array) -> mx.array:
            y = y.reshape(B, F, L, self.heads, self.head_dim).transpose(0, 2, 3, 1, 4)
            return y.reshape(B * L, self.heads, F, self.head_dim)

        o = attend(by_position(self.to_q(x)), by_position(self.to_k(x)), by_position(self.to_v(x)))  # (B*L, F, C)
        return self.to_out[0](o).reshape(B, L, F, -1).swapaxes(1, 2)

    def _split(self, x: mx.array) -> mx.array:
        N, S, _ = x.shape
        return x.reshape(N, S, self.heads, self.head_dim).swapaxes(1, 2)


def attend(q: mx.array, k: mx.array, v: mx.array) -> mx.array:
    """softmax(q k^T / sqrt(D)) v: (N, heads, L, D) -> (N, L, heads * D), a few of the N at a time.

    Metal's kernel writes positions before heads: side by side they are a view, but only before the parts are joined.
    """
    N, heads, L, D = q.shape
    at_once = max(1, SCORE_ELEMENTS // (heads * L * k.shape[2]))
    parts = []
    for i in range(0, N, at_once):
        part = slice(i, i + at_once)
        o = mx.fast.scaled_dot_product_attention(q[part], k[part], v[part], scale=D**-0.5)
        parts.append(o.transpose(0, 2, 1, 3).flatten(2))
    return parts[0] if len(parts) == 1 else mx.concatenate(parts)


class GEGLU(nn.Module):
    """value * gelu(gate), both from one projection (arXiv 2002.05202). The gate is the second half."""

    def __init__(self, dims: int, inner: int):
        super().__init__()
        self.proj = nn.Linear(dims, 2 * inner)

    def __call__(self, x: mx.array) -> mx.array:
        return _gated(*mx.split(self.proj(x), 2, axis=-1))


@partial(mx.compile, shapeless=True)
def _gated(value: mx.array, gate: mx.array) -> mx.array:
    return value * gelu(gate)


class GELU(nn.Module):
    """gelu(projection), not gated."""

    def __init__(self, dims: int, inner: int):
        super().__init__()
        self.proj = nn.Linear(dims, inner)

    def __call__(self, x: mx.array) -> mx.array:
        return gelu(self.proj(x))


class FeedForward(nn.Module):
    """Projection with activation to `inner`, then back."""

    def __init__(self, dims: int, inner: int, gated: bool = True):
        super().__init__()
        self.widest = 2 * inner if gated else inner
        activation = GEGLU(dims, inner) if gated else GELU(dims, inner)
        self.net = [activation, nn.Identity(), nn.Linear(inner, dims)]  # the identity is the reference's dropout

    def __call__(self, x: mx.array) -> mx.array:
        """x (..., C) -> (..., C), a few of the leading axis at a time when the inner array would be large."""
        tokens = x.reshape(-1, x.shape[-1])
        at_once = equal_parts(tokens.shape[0], tokens.shape[0] * self.widest)
        return in_turn(lambda part, _: self.net[2](self.net[0](part)), tokens, at_once).reshape(x.shape)


class TransformerBlock(nn.Module):
    """Self attention, a second attention, feed-forward; a layer norm before and a residual around each.

    In the spatial block the second attention looks at the context; in the temporal block it is self attention again
    (diffusers calls this ``double_self_attention``).
    """

    def __init__(self, dims: int, heads: int, head_dim: int, context_dims: int | None = None):
        super().__init__()
        self.norm1 = nn.LayerNorm(dims)
        self.attn1 = Attention(dims, heads, head_dim)
        self.norm2 = nn.LayerNorm(dims)
        self.attn2 = Attention(dims, heads, head_dim, context_dims)
        self.norm3 = nn.LayerNorm(dims)
        self.ff = FeedForward(dims, 4 * dims)
