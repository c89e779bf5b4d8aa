"""The autoencoder against diffusers, on random weights."""

import diffusers
import mlx.core as mx
import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import Attention as TheirAttention
from diffusers.models.downsampling import Downsample2D
from mirror import mirror, randomise, relative_error

from i2v_mlx.errors import I2VError
from i2v_mlx.parts import vae as vae_module
from i2v_mlx.parts.vae import Attention, AutoencoderKL, Downsample, VAEConfig

CHANNELS = (8, 16, 16, 24)


def models(levels: int = 2, **changes):
    config = {
        "block_out_channels": list(CHANNELS[:levels]), "layers_per_block": 1, "norm_num_groups": 4, "sample_size": 16,
        "latent_channels": 4,
    } | changes  # fmt: skip
    theirs = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels, **config
    )
    ours = AutoencoderKL(VAEConfig.from_dict(dict(theirs.config)))
    return randomise(theirs), mirror(theirs, ours)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def channels_first(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).permute(0, 3, 1, 2)


def assert_same(theirs, ours, height: int, width: int, batch: int = 1, bound: float = 1e-4) -> None:
    """Encodes a picture of the size, and decodes latents of the size that it has then."""
    pixels = noise(batch, height, width, 3)
    mean, std = ours.encode(mx.array(pixels))
    latents = noise(*mean.shape)
    with torch.no_grad():
        posterior = theirs.encode(channels_first(pixels)).latent_dist
        decoded = theirs.decode(channels_first(latents)).sample
    assert relative_error(mean, posterior.mean.permute(0, 2, 3, 1)) < bound
    assert relative_error(std, posterior.std.permute(0, 2, 3, 1)) < bound
    assert relative_error(ours.decode(mx.array(latents)), decoded.permute(0, 2, 3, 1)) < bound


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("layers", [1, 2])
def test_equals_the_reference(levels, layers):
    assert_same(*models(levels, layers_per_block=layers), 24, 16)


@pytest.mark.parametrize(("height", "width"), [(17, 23), (8, 30), (9, 8)])
def test_odd_sizes(height, width):
    assert_same(*models(3), height, width)


@pytest.mark.parametrize("batch", [2, 3])
@pytest.mark.parametrize("slicing", [False, True])
def test_batch_and_slicing(batch, slicing):
    theirs, ours = models()
    if slicing:
        theirs.enable_slicing()
        ours.enable_slicing()
    assert_same(theirs, ours, 16, 12, batch)


# sample_size 16 with two levels: tiles of 16 pixels or 8 latents, every 12 or 6; what is left at the edges varies.
@pytest.mark.parametrize(
    ("height", "width"),
    [(40, 40), (16, 48), (48, 16), (18, 38), (26, 50), (12, 30), (28, 28)],
)
def test_tiles_and_their_blending(height, width):
    theirs, ours = models()
    theirs.enable_tiling()
    ours.enable_tiling()
    assert_same(theirs, ours, height, width)


@pytest.mark.parametrize("sample_size", [8, 12, 32, 36])
def test_tile_sizes(sample_size):
    theirs, ours = models(3, sample_size=sample_size)
    theirs.enable_tiling()
    ours.enable_tiling()
    assert_same(theirs, ours, 60, 42, batch=2)


def test_tiling_changes_large_pictures_only_and_can_be_turned_off():
    _, ours = models()
    small, large = mx.array(noise(1, 8, 8, 4)), mx.array(noise(1, 8, 9, 4))
    whole_small, whole_large = np.array(ours.decode(small)), np.array(ours.decode(large))
    ours.enable_tiling()
    np.testing.assert_array_equal(np.array(ours.decode(small)), whole_small)
    assert np.abs(np.array(ours.decode(large)) - whole_large).max() > 1e-3
    ours.disable_tiling()
    np.testing.assert_array_equal(np.array(ours.decode(large)), whole_large)


def test_variance_is_clamped():
    theirs, ours = models(1)
    with torch.no_grad():
        theirs.quant_conv.bias[4:6] = 1000
        theirs.quant_conv.bias[6:] = -1000
    mirror(theirs, ours)
    _, std = ours.encode(mx.array(noise(1, 8, 8, 3)))
    np.testing.assert_allclose(np.array(std)[0, 0, 0], np.exp([10, 10, -15, -15]), rtol=1e-5)


def test_limits_of_memory_do_not_change_the_result(monkeypatch):
    _, ours = models()
    latents = mx.array(noise(3, 6, 8, 4))
    whole = np.array(ours.decode(latents))
    monkeypatch.setattr(vae_module, "SCORE_ELEMENTS", 48 * 7)  # 7 of the 48 queries, the last block has 6
    assert relative_error(ours.decode(latents), whole) < 1e-5


def test_a_picture_is_the_same_in_any_company():
    _, ours = models()
    latents = mx.array(noise(3, 6, 8, 4))
    alone = mx.concatenate([ours.decode(latents[i : i + 1]) for i in range(3)])
    assert mx.array_equal(ours.decode(latents), alone)


def test_half_precision_latents_are_decoded_in_float32():
    _, ours = models(1)
    latents = mx.array(noise(1, 4, 4, 4)).astype(mx.float16)
    assert ours.decode(latents).dtype == mx.float32
    assert ours.encode(latents[..., :3])[1].dtype == mx.float32


def test_attention_layer():
    theirs = randomise(
        TheirAttention(24, heads=1, dim_head=24, eps=1e-6, norm_num_groups=4, residual_connection=True, bias=True)
    )
    ours = mirror(theirs, Attention(24, 4))
    x = noise(2, 5, 6, 24)
    with torch.no_grad():
        expected = theirs(channels_first(x)).permute(0, 2, 3, 1)
    assert relative_error(ours(mx.array(x)), expected) < 1e-5


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 10)])
def test_downsampling_layer(height, width):
    theirs = randomise(Downsample2D(8, use_conv=True, padding=0, name="op"))
    ours = mirror(theirs, Downsample(8))
    x = noise(2, height, width, 8)
    with torch.no_grad():
        expected = theirs(channels_first(x)).permute(0, 2, 3, 1)
    assert relative_error(ours(mx.array(x)), expected) < 1e-5


def test_a_value_that_the_file_leaves_out_is_the_references():
    config, reference = VAEConfig.from_dict({}), diffusers.AutoencoderKL().config
    for name in vars(config):
        assert getattr(config, name) == reference[name], name


@pytest.mark.parametrize(
    "values", [{"use_quant_conv": False}, {"shift_factor": 0.1}, {"act_fn": "relu"}, {"norm_num_groups": 7}]
)
def test_a_config_we_cannot_build_is_refused(values):
    with pytest.raises(I2VError) as caught:
        VAEConfig.from_dict(values)
    assert caught.value.code == "config_invalid"
