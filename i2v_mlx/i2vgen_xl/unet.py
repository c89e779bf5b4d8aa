"""The network: noisy latents, a timestep and the conditions go in, the v prediction comes out.

Figure 2 of arXiv 2311.04145: low-level detail enters through the input channels, high-level meaning through the cross
attention. Reference: diffusers 0.42, models/unets/unet_i2vgen_xl.py and unet_3d_blocks.py. Attribute names are the
checkpoint's keys. Channels come last; B F H W C as in `i2v_mlx.layers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from ..layers.attention import Attention, FeedForward, KeyValue
from ..layers.embeddings import TimestepEmbedding, sinusoidal
from ..layers.norms import GroupNorm
from ..layers.temporal import TransformerTemporalModel
from .blocks import Begun, DownBlock, FreeU, MidBlock, UpBlock
from .config import UNetConfig

LOCAL_TOKENS_SIDE = 8    # the picture's latents become 8 x 8 tokens, at any size
POOLED_SIDE = 32


@dataclass(frozen=True)
class Conditioning:
    """What the network needs to know besides x_t and t; none of it depends on either.

    Attributes:
        detail: (B, F, h, w, 4), the image latents' branch, to be joined to the noisy latents.
        down, mid, up: keys and values of every cross attention, by block.
    """

    detail: mx.array
    down: list[list[KeyValue]]
    mid: list[KeyValue]
    up: list[list[KeyValue]]

    def arrays(self) -> list[mx.array]:
        """Everything in it, to be evaluated at once."""
        key_values = [pair for block in [*self.down, self.mid, *self.up] for pair in block]
        return [self.detail, *(array for pair in key_values for array in pair)]


@dataclass(frozen=True)
class Entrance:
    """Where the branches of guidance part.

    Attributes:
        shape: (B, F, h, w) of the latents.
        x: input of down block number `blocks`, (B*F, H, W, C).
        skips: what the blocks before it have left.
        begun: what that block has computed before its first cross attention.
    """

    shape: tuple[int, int, int, int]
    x: mx.array
    skips: list[mx.array]
    blocks: int
    begun: Begun | None

    def arrays(self) -> list[mx.array]:
        """Everything in it, to be evaluated at once."""
        return [self.x, *self.skips, *(self.begun or ())]


class ImageLatentsTemporalEncoder(nn.Module):
    """Attention over frames and a feed-forward, with a norm before the first only."""

    def __init__(self, dims: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(dims)
        self.attn1 = Attention(dims, heads=2, head_dim=dims)
        self.ff = FeedForward(dims, 4 * dims, gated=False)

    def __call__(self, x: mx.array) -> mx.array:
        """x (B, F, L, C) -> the same shape."""
        x = x + self.attn1.across(self.norm1(x))
        return x + self.ff(x)


class I2VGenXLUNet(nn.Module):
    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        channels = config.block_out_channels
        groups, head_dim, context_dims = config.norm_num_groups, config.head_dim, config.cross_attention_dim
        temb_dims = 4 * channels[0]
        n = config.in_channels

        self.time_embedding = TimestepEmbedding(channels[0], temb_dims)
        self.fps_embedding = [nn.Linear(channels[0], temb_dims), nn.SiLU(), nn.Linear(temb_dims, temb_dims)]

        # high-level meaning: the CLIP vector as `n` tokens, the latents as 64
        self.context_embedding = [nn.Linear(context_dims, temb_dims), nn.SiLU(), nn.Linear(temb_dims, n * context_dims)]
        self.image_latents_context_embedding = [
            nn.Conv2d(4, 8 * n, 3, padding=1),
            nn.SiLU(),
            nn.Identity(),  # adaptive average pooling
            nn.Conv2d(8 * n, 16 * n, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(16 * n, context_dims, 3, stride=2, padding=1),
        ]
        # low-level detail
        self.image_latents_proj_in = [
            nn.Conv2d(4, 4 * n, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(4 * n, 4 * n, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(4 * n, n, 3, padding=1),
        ]
        self.image_latents_temporal_encoder = ImageLatentsTemporalEncoder(n)

        self.conv_in = nn.Conv2d(2 * n, channels[0], 3, padding=1)
        self.transformer_in = TransformerTemporalModel(channels[0], heads=8, head_dim=head_dim, groups=groups)

        sizes = (temb_dims, context_dims, head_dim, groups)
        last = len(channels) - 1
        self.down_blocks = [
            DownBlock(channels[max(i - 1, 0)], channels[i], config.layers_per_block, *sizes,
                      attention=config.down_attention[i], downsample=i < last)
            for i in range(len(channels))
        ]  # fmt: skip
        self.mid_block = MidBlock(channels[-1], *sizes)
        coarse_to_fine = channels[::-1]
        self.up_blocks = [
            UpBlock(coarse_to_fine[min(i + 1, last)], coarse_to_fine[max(i - 1, 0)], coarse_to_fine[i],
                    config.layers_per_block + 1, *sizes, attention=config.up_attention[i], upsample=i < last)
            for i in range(len(channels))
        ]  # fmt: skip

        self.conv_norm_out = GroupNorm(groups, channels[0])
        self.conv_out = nn.Conv2d(channels[0], config.out_channels, 3, padding=1)

    @property
    def block_count(self) -> int:
        """How many times `blocks` yields."""
        shared = next((i for i, down in enumerate(self.down_blocks) if down.attentions), len(self.down_blocks))
        blocks = [*self.down_blocks[shared:], self.mid_block, *self.up_blocks]
        return sum(block.output_count for block in blocks) + 1

    def embed(self, timesteps: mx.array, fps: float) -> mx.array:
        """Timesteps (T,) of all steps, fps -> (T, 4 C_0), SiLU applied: what every resnet adds a projection of.

        Computed in float32 once per video, returned in the dtype of the weights.
        """
        dims = self.config.block_out_channels[0]
        time = self.time_embedding(sinusoidal(timesteps, dims))
        emb = time + _sequence(self.fps_embedding, sinusoidal(mx.array([fps]), dims))
        return nn.silu(emb).astype(self.conv_in.weight.dtype)

    def condition(
        self, text: mx.array, image_embeddings: mx.array, image_latents: mx.array, image_gain: float = 1.0
    ) -> Conditioning:
        """Everything about prompt and picture, once per video.

        Args:
            text: (B, 77, D) from the text encoder.
            image_embeddings: (B, D) from the image encoder; zeros for the unconditional branch.
            image_latents: (B, F, h, w, 4), the picture's latents in frame 0, the ramp i / (F - 1) in the others.
            image_gain: see `config.Fidelity`.
        """
        dtype = self.conv_in.weight.dtype
        text, image_embeddings, image_latents = (a.astype(dtype) for a in (text, image_embeddings, image_latents))
        B, F, h, w, _ = image_latents.shape

        local = self.image_latents_context_embedding
        grid = nn.silu(local[0](image_latents[:, 0]))
        grid = nn.silu(local[3](adaptive_average_pool(grid, POOLED_SIDE)))
        local_tokens = local[5](grid).reshape(B, LOCAL_TOKENS_SIDE**2, -1)
        global_tokens = _sequence(self.context_embedding, image_embeddings)
        global_tokens = global_tokens.reshape(B, self.config.in_channels, -1)
        context = mx.concatenate([text, local_tokens, global_tokens], axis=1)  # (B, 77 + 64 + 4, D)

        detail = _sequence(self.image_latents_proj_in, image_latents.reshape(B * F, h, w, 4))
        detail = self.image_latents_temporal_encoder(detail.reshape(B, F, h * w, -1)).reshape(B, F, h, w, -1)
        return Conditioning(
            detail=image_gain * detail,
            down=[block.key_values(context) for block in self.down_blocks],
            mid=self.mid_block.key_values(context),
            up=[block.key_values(context) for block in self.up_blocks],
        )

    def __call__(self, x_t: mx.array, emb: mx.array, conditioning: Conditioning) -> mx.array:
        """x_t (B, F, h, w, 4) float32, emb (B or 1, 4 C_0) -> v (B, F, h, w, 4) float32."""
        *_, v = self.blocks(self.enter(x_t, emb, conditioning.detail), emb, conditioning)
        return v

    def enter(self, x_t: mx.array, emb: mx.array, detail: mx.array, key_pooling: bool = False) -> Entrance:
        """Everything before the first cross attention: the same for all branches of guidance, computed once.

        `key_pooling`: see `Transformer2DModel.look_around`.
        """
        B, F, h, w, _ = x_t.shape
        emb = mx.broadcast_to(emb, (B, emb.shape[-1]))
        x = mx.concatenate([x_t.astype(self.conv_in.weight.dtype), detail], axis=-1)  # (B, F, h, w, 8)
        x = self.conv_in(x.reshape(B * F, h, w, -1))
        x = self.transformer_in(x, F)
        skips = [x]
        for i, down in enumerate(self.down_blocks):
            if down.attentions:
                return Entrance((B, F, h, w), x, skips, i, down.begin(x, emb, F, key_pooling))
            *_, x = down(x, emb, [], F, skips)
        return Entrance((B, F, h, w), x, skips, len(self.down_blocks), None)

    def blocks(
        self, entrance: Entrance, emb: mx.array, conditioning: Conditioning, freeu: FreeU | None = None,
        key_pooling: bool = False,
    ) -> Iterator[mx.array]:  # fmt: skip
        """The rest of `__call__`, layer by layer: yields the output of each, and v at last.

        Nothing is evaluated here: who iterates does it, which bounds memory to one layer's temporaries, and can stop
        between layers.
        """
        B, F, h, w = entrance.shape
        emb = mx.broadcast_to(emb, (B, emb.shape[-1]))
        x, skips, begun = entrance.x, list(entrance.skips), entrance.begun
        for down, key_values in list(zip(self.down_blocks, conditioning.down, strict=True))[entrance.blocks :]:
            for x in down(x, emb, key_values, F, skips, begun, key_pooling):  # noqa: B020 - the last output is the next input
                yield x
            begun = None

        for x in self.mid_block(x, emb, conditioning.mid, F):  # noqa: B020
            yield x

        for i, (up, key_values) in enumerate(zip(self.up_blocks, conditioning.up, strict=True)):
            for x in up(x, emb, key_values, F, skips, freeu.stage(i) if freeu else None, key_pooling):  # noqa: B020
                yield x

        yield self.conv_out(self.conv_norm_out(x, silu=True)).reshape(B, F, h, w, -1).astype(mx.float32)


def adaptive_average_pool(x: mx.array, side: int) -> mx.array:
    """x (N, H, W, C) -> (N, side, side, C). Bin i averages floor(i n / side) .. ceil((i + 1) n / side), as in torch."""

    def bins(n: int) -> mx.array:
        i = mx.arange(side)[:, None]
        k = mx.arange(n)[None]
        inside = (k >= i * n // side) & (k < ((i + 1) * n + side - 1) // side)
        return (inside / inside.sum(axis=1, keepdims=True)).astype(x.dtype)

    N, H, W, C = x.shape
    rows = bins(H) @ x.reshape(N, H, W * C)
    return bins(W) @ rows.reshape(N, side, W, C)


def _sequence(modules: list, x: mx.array) -> mx.array:
    for module in modules:
        x = module(x)
    return x
