"""Every layer against diffusers' own, with the same random weights: 1e-5 of the reference's standard deviation."""

import mlx.core as mx
import numpy as np
import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.downsampling import Downsample2D as TorchDownsample
from diffusers.models.embeddings import TimestepEmbedding as TorchTimestepEmbedding
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.models.resnet import ResnetBlock2D as TorchResnet
from diffusers.models.resnet import TemporalConvLayer as TorchTemporalConv
from diffusers.models.transformers.transformer_2d import Transformer2DModel as TorchTransformer2D
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel as TorchTemporal
from diffusers.models.unets.unet_i2vgen_xl import I2VGenXLTransformerTemporalEncoder
from diffusers.models.upsampling import Upsample2D as TorchUpsample
from diffusers.utils.torch_utils import apply_freeu
from mirror import mirror, randomise, relative_error

from i2v_mlx.i2vgen_xl.blocks import _freeu
from i2v_mlx.i2vgen_xl.unet import ImageLatentsTemporalEncoder, adaptive_average_pool
from i2v_mlx.layers import attention, chunks
from i2v_mlx.layers.attention import TransformerBlock
from i2v_mlx.layers.embeddings import TimestepEmbedding, sinusoidal
from i2v_mlx.layers.norms import GroupNorm
from i2v_mlx.layers.resnet import Downsample2D, ResnetBlock2D, Upsample2D
from i2v_mlx.layers.spatial import Transformer2DModel
from i2v_mlx.layers.temporal import TemporalConvLayer, TransformerTemporalModel

LAYER = 1e-5
B, F, H, W, C = 2, 3, 5, 6, 32


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def last(x: np.ndarray | torch.Tensor) -> np.ndarray:
    """(N, C, ...) -> (N, ..., C)"""
    return np.moveaxis(np.asarray(x.detach() if isinstance(x, torch.Tensor) else x), 1, -1)


@torch.no_grad()
def run(module, *inputs, **kwargs):
    return module(*inputs, **kwargs)


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("across_frames", [False, True])
def test_group_norm(silu, across_frames):
    theirs = randomise(torch.nn.GroupNorm(8, C, eps=1e-6))
    ours = mirror(theirs, GroupNorm(8, C, eps=1e-6))
    x = 3 + 2 * noise(F, C, H, W)
    if across_frames:
        expected = run(theirs, torch.tensor(x).transpose(0, 1)[None])[0].transpose(0, 1)
        y = ours(mx.array(last(x)).reshape(1, F, H * W, C), silu).reshape(F, H, W, C)
    else:
        expected = run(theirs, torch.tensor(x))
        y = ours(mx.array(last(x)), silu)
    if silu:
        expected = torch.nn.functional.silu(expected)
    assert relative_error(y, last(expected)) < LAYER


def test_group_norm_keeps_half_precision_and_large_means():
    """Statistics in float32: a mean of 200 with deviation 1 would be lost in float16 sums."""
    x = (200 + noise(1, 64, 64, C)).astype(np.float16)
    y = GroupNorm(8, C)(mx.array(x))
    assert y.dtype == mx.float16
    nchw = torch.tensor(x).float().movedim(-1, 1).contiguous()  # torch is 250 times less exact on a strided view
    expected = torch.nn.functional.group_norm(nchw, 8).movedim(1, -1)
    assert relative_error(y.astype(mx.float32), expected) < 5e-3


@pytest.mark.parametrize("out_channels", [C, 64])
def test_resnet(out_channels):
    theirs = randomise(
        TorchResnet(in_channels=C, out_channels=out_channels, temb_channels=24, groups=8, eps=1e-5)
    )
    ours = mirror(theirs, ResnetBlock2D(C, out_channels, 24, groups=8))
    x, temb = noise(B * F, C, H, W), noise(B, 24, seed=1)
    expected = run(theirs, torch.tensor(x), torch.tensor(temb).repeat_interleave(F, 0))
    activated = torch.nn.functional.silu(torch.tensor(temb)).numpy()
    assert relative_error(ours(mx.array(last(x)), mx.array(activated)), last(expected)) < LAYER


@pytest.mark.parametrize("chunk", [2**25, 5000, 1])
def test_resnet_with_a_skip_whole_and_in_chunks(chunk, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_ELEMENTS", chunk)
    theirs = randomise(TorchResnet(in_channels=C + 32, out_channels=C, temb_channels=24, groups=8, eps=1e-5))
    ours = mirror(theirs, ResnetBlock2D(C + 32, C, 24, groups=8))
    x, skip, temb = noise(B * F, C, H, W), noise(B * F, 32, H, W, seed=2), noise(B, 24, seed=1)
    joined = torch.cat([torch.tensor(x), torch.tensor(skip)], dim=1)
    expected = run(theirs, joined, torch.tensor(temb).repeat_interleave(F, 0))
    activated = mx.array(torch.nn.functional.silu(torch.tensor(temb)).numpy())
    y = ours(mx.array(last(x)), activated, mx.array(last(skip)))
    assert relative_error(y, last(expected)) < LAYER


def test_downsample():
    theirs = randomise(TorchDownsample(C, use_conv=True, out_channels=C, padding=1, name="op"))
    ours = mirror(theirs.conv, Downsample2D(C).conv)
    x = noise(2, C, 5, 6)
    assert relative_error(ours(mx.array(last(x))), last(run(theirs, torch.tensor(x)))) < LAYER


@pytest.mark.parametrize("size", [None, (9, 12), (10, 11), (13, 5)])
def test_upsample(size):
    theirs = randomise(TorchUpsample(C, use_conv=True, out_channels=C))
    ours = mirror(theirs, Upsample2D(C))
    x = noise(2, C, 5, 6)
    expected = run(theirs, torch.tensor(x), output_size=size)
    assert relative_error(ours(mx.array(last(x)), size), last(expected)) < LAYER


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_temporal_conv(frames):
    theirs = randomise(TorchTemporalConv(C, C, norm_num_groups=8))
    ours = mirror(theirs, TemporalConvLayer(C, groups=8))
    x = noise(B * frames, C, H, W)
    expected = run(theirs, torch.tensor(x), num_frames=frames)
    assert relative_error(ours(mx.array(last(x)), frames), last(expected)) < LAYER


@pytest.mark.parametrize("chunk", [2**25, 20_000, 1])
@pytest.mark.parametrize("frames", [1, 4])
def test_temporal_transformer_whole_and_in_chunks(frames, chunk, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_ELEMENTS", chunk)
    theirs = randomise(TorchTemporal(4, 8, in_channels=C, num_layers=1, cross_attention_dim=48, norm_num_groups=8))
    ours = mirror(theirs, TransformerTemporalModel(C, 4, 8, groups=8))
    x = noise(B * frames, C, H, W)
    expected = run(theirs, torch.tensor(x), num_frames=frames).sample
    assert relative_error(ours(mx.array(last(x)), frames), last(expected)) < LAYER


@pytest.mark.parametrize("chunk", [2**27, 200, 1])
def test_spatial_transformer_whole_and_in_chunks(chunk, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_ELEMENTS", chunk)
    monkeypatch.setattr(attention, "SCORE_ELEMENTS", chunk)
    theirs = randomise(
        TorchTransformer2D(
            4, 8, in_channels=C, num_layers=1, cross_attention_dim=48, norm_num_groups=8, use_linear_projection=True
        )
    )
    ours = mirror(theirs, Transformer2DModel(C, 4, 8, 48, groups=8))
    x, context = noise(B * F, C, H, W), noise(B, 7, 48, seed=1)
    expected = run(theirs, torch.tensor(x), torch.tensor(context).repeat_interleave(F, 0)).sample
    y = ours(mx.array(last(x)), ours.key_value(mx.array(context)))
    assert relative_error(y, last(expected)) < LAYER


def test_attention_and_feed_forward_alone():
    theirs = randomise(BasicTransformerBlock(C, 4, 8, cross_attention_dim=48, activation_fn="geglu"))
    ours = mirror(theirs, TransformerBlock(C, 4, 8, 48))
    x, context = noise(B, 9, C), noise(B, 7, 48, seed=1)
    pairs = [
        (ours.attn1(mx.array(x)), run(theirs.attn1, torch.tensor(x))),
        (
            ours.attn2(mx.array(x), ours.attn2.key_value(mx.array(context))),
            run(theirs.attn2, torch.tensor(x), torch.tensor(context)),
        ),
        (ours.ff(mx.array(x)), run(theirs.ff, torch.tensor(x))),
    ]
    for y, expected in pairs:
        assert relative_error(y, expected) < LAYER


def test_image_latents_temporal_encoder():
    theirs = randomise(
        I2VGenXLTransformerTemporalEncoder(
            dim=4, num_attention_heads=2, ff_inner_dim=16, attention_head_dim=4, activation_fn="gelu"
        )
    )
    ours = mirror(theirs, ImageLatentsTemporalEncoder(4))
    x = noise(B, F, H * W, 4)
    by_position = torch.tensor(x).transpose(1, 2).reshape(B * H * W, F, 4)
    expected = run(theirs, by_position).reshape(B, H * W, F, 4).transpose(1, 2)
    assert relative_error(ours(mx.array(x)), expected) < LAYER


@pytest.mark.parametrize("size", [(40, 64), (32, 32), (7, 11), (88, 160), (1, 33)])
def test_adaptive_average_pool(size):
    x = noise(2, 3, *size)
    expected = torch.nn.functional.adaptive_avg_pool2d(torch.tensor(x), 32)
    assert relative_error(adaptive_average_pool(mx.array(last(x)), 32), last(expected)) < LAYER


@pytest.mark.parametrize("size", [(4, 8), (5, 6), (1, 3)])
def test_freeu(size):
    x, skip = noise(2, C, *size), noise(2, 16, *size, seed=1)
    expected = apply_freeu(0, torch.tensor(x), torch.tensor(skip), s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    ours = _freeu(mx.array(last(x)), mx.array(last(skip)), 1.2, 0.9)
    for y, reference in zip(ours, expected, strict=True):
        assert relative_error(y, last(reference)) < LAYER


def test_timestep_embedding():
    values = [1, 21, 981]
    angles = sinusoidal(mx.array(values), 32)
    expected = get_timestep_embedding(torch.tensor(values), 32, flip_sin_to_cos=True, downscale_freq_shift=0)
    assert relative_error(angles, expected) < LAYER * 10  # cos(981) in float32 differs by an ulp of the angle
    theirs = randomise(TorchTimestepEmbedding(32, 64))
    ours = mirror(theirs, TimestepEmbedding(32, 64))
    assert relative_error(ours(mx.array(expected.numpy())), run(theirs, expected)) < LAYER
