"""Pictures of latents: exact where the VAE is linear, and of the right size always."""

import base64
from types import SimpleNamespace

import mlx.core as mx
import numpy as np
import pytest
from PIL import Image

from i2v_mlx.preview import MAX_BYTES, Colours

FACTOR = 0.18125


class LinearVAE:
    """Latents that are a linear map of the mean colours."""

    map = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)

    def encode(self, pixels):
        B, H, W, _ = pixels.shape
        means = np.array(pixels).reshape(B, H // 8, 8, W // 8, 8, 3).mean((2, 4))
        latents = mx.array(means @ self.map + 0.3)
        return latents, mx.zeros_like(latents)


@pytest.fixture
def colours():
    held = []
    networks = SimpleNamespace(get=lambda name: held.append(name) or LinearVAE(), release=held.remove)
    pipeline = SimpleNamespace(networks=networks, fidelity="diffusers", latent_size=8,
                               vae_config=SimpleNamespace(scaling_factor=FACTOR))
    found = Colours(pipeline, Image.new("RGB", (200, 100), "grey"))
    assert held == []                              # the VAE is let go of
    return found


def test_the_colours_of_a_linear_vae_come_back(colours):
    pixels = np.random.default_rng(2).uniform(0.1, 0.9, (5, 6, 7, 3)).astype(np.float32)     # (F, h, w, 3)
    latents = FACTOR * ((2 * pixels - 1) @ LinearVAE.map + 0.3)
    found = colours.frames(mx.array(np.moveaxis(latents, -1, 0)[None]))
    assert found.shape == (5, 6, 7, 3) and found.dtype == np.uint8
    assert np.abs(found / 255 - pixels).max() < 0.03


def test_wild_latents_are_clipped(colours):
    found = colours.frames(np.full((1, 4, 2, 3, 3), 1e6, np.float32))
    assert set(np.unique(found)) <= {0, 255}


def test_on_the_wire(colours):
    shown = colours.encode(np.zeros((1, 4, 2, 3, 5), np.float32))
    assert (shown["frames"], shown["height"], shown["width"]) == (2, 3, 5)
    assert len(base64.b64decode(shown["rgb"])) == 2 * 3 * 5 * 3


def test_a_huge_one_is_thinned_out(colours):
    shown = colours.encode(np.zeros((1, 4, 32, 256, 512), np.float32))
    assert shown["frames"] == 32 and shown["width"] == 2 * shown["height"]
    assert len(base64.b64decode(shown["rgb"])) <= MAX_BYTES
