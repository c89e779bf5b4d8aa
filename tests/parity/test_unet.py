"""The whole network against diffusers' I2VGenXLUNet: 1e-4 of the output's deviation, every parameter random."""

import mlx.core as mx
import numpy as np
import pytest
import torch
from diffusers import I2VGenXLUNet as TorchUNet
from mirror import mirror, randomise, relative_error

from i2v_mlx.i2vgen_xl.blocks import FreeU
from i2v_mlx.i2vgen_xl.config import UNetConfig
from i2v_mlx.i2vgen_xl.unet import I2VGenXLUNet

FORWARD = 1e-4
CROSS, PLAIN = "CrossAttn{}Block3D", "{}Block3D"


def config(channels=(16, 32), attention=(True, False), **more):
    down = [(CROSS if a else PLAIN).format("Down") for a in attention]
    up = [(CROSS if a else PLAIN).format("Up") for a in reversed(attention)]
    small = {"layers_per_block": 1, "norm_num_groups": 4, "cross_attention_dim": 24, "attention_head_dim": 8}
    return {"block_out_channels": list(channels), "down_block_types": down, "up_block_types": up, **small, **more}


def pair(values, seed=0):
    theirs = randomise(TorchUNet(**values), seed)
    return theirs, mirror(theirs, I2VGenXLUNet(UNetConfig.from_dict(values)))


def inputs(batch=1, frames=3, height=8, width=8, context=24, seed=0):
    draw = np.random.default_rng(seed).normal
    latents = draw(size=(batch, 4, frames, height, width))
    return {
        "x_t": draw(size=(batch, 4, frames, height, width)).astype(np.float32),
        "image_latents": latents.astype(np.float32),
        "text": draw(size=(batch, 77, context)).astype(np.float32),
        "image_embeddings": draw(size=(batch, context)).astype(np.float32),
    }


def theirs_forward(unet, given, t=981, fps=16):
    given = {name: torch.tensor(value) for name, value in given.items()}
    with torch.no_grad():
        return unet(
            given["x_t"],
            t,
            torch.full((len(given["x_t"]),), fps),
            given["image_latents"],
            given["image_embeddings"][:, None],
            given["text"],
        ).sample.numpy()


def ours_forward(unet, given, t=981, fps=16, freeu=None):
    last = {name: mx.array(np.moveaxis(value, 1, -1)) for name, value in given.items() if value.ndim == 5}
    conditioning = unet.condition(mx.array(given["text"]), mx.array(given["image_embeddings"]), last["image_latents"])
    emb = unet.embed(mx.array([t]), fps)
    *_, v = unet.blocks(unet.enter(last["x_t"], emb, conditioning.detail), emb, conditioning, freeu)
    return np.moveaxis(np.asarray(v), -1, 1)


@pytest.mark.parametrize(
    "values",
    [
        config(),
        config((16, 32, 32), (True, True, False), layers_per_block=2),
        config((16, 32, 64, 64), (True, True, True, False)),
        config((32,), (True,), attention_head_dim=16),
        config((16, 32), (False, True), attention_head_dim=4, norm_num_groups=8),
        config((32, 64), (True, True), norm_num_groups=32, num_attention_heads=64),
    ],
    ids=["two levels", "three levels, two layers", "four levels", "one level", "coarse attention", "32 groups"],
)
def test_any_configuration(values):
    theirs, ours = pair(values)
    given = inputs()
    assert relative_error(ours_forward(ours, given), theirs_forward(theirs, given)) < FORWARD


@pytest.mark.parametrize("frames", [1, 2, 5, 16])
@pytest.mark.parametrize("size", [(8, 8), (5, 7), (9, 6)])
def test_any_frame_count_and_odd_sizes(frames, size):
    theirs, ours = pair(config((16, 32, 32), (True, True, False)))
    given = inputs(1, frames, *size)
    assert relative_error(ours_forward(ours, given, 21, 8), theirs_forward(theirs, given, 21, 8)) < FORWARD


def test_batch_and_its_order():
    theirs, ours = pair(config())
    given = inputs(batch=2)
    result = ours_forward(ours, given)
    assert relative_error(result, theirs_forward(theirs, given)) < FORWARD
    swapped = {name: value[::-1].copy() for name, value in given.items()}
    assert relative_error(ours_forward(ours, swapped)[::-1], result) < FORWARD


def test_freeu():
    theirs, ours = pair(config((16, 32, 32), (True, True, False)))
    given = inputs(height=6, width=7)
    plain = theirs_forward(theirs, given)
    for block in theirs.up_blocks:
        for name, value in (("s1", 0.9), ("s2", 0.2), ("b1", 1.2), ("b2", 1.4)):
            setattr(block, name, value)
    expected = theirs_forward(theirs, given)
    assert relative_error(expected, plain) > 0.01
    freeu = FreeU(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    assert relative_error(ours_forward(ours, given, freeu=freeu), expected) < FORWARD


def test_original_fidelity_is_the_doubled_image_signal():
    """The original adds the detail twice: the same as doubling the four input channels that carry it."""
    theirs, ours = pair(config())
    given = inputs()
    with torch.no_grad():
        theirs.conv_in.weight[:, 4:8] *= 2
    expected = theirs_forward(theirs, given)
    last = {name: mx.array(np.moveaxis(value, 1, -1)) for name, value in given.items() if value.ndim == 5}
    conditioning = ours.condition(
        mx.array(given["text"]), mx.array(given["image_embeddings"]), last["image_latents"], image_gain=2.0
    )
    v = ours(last["x_t"], ours.embed(mx.array([981]), 16), conditioning)
    assert relative_error(np.moveaxis(np.asarray(v), -1, 1), expected) < FORWARD


def test_context_is_text_then_local_then_global():
    """Each of the three parts matters, and frame 0 alone feeds the local tokens."""
    _, ours = pair(config())
    given = inputs()
    base = ours_forward(ours, given)
    for name in ("text", "image_embeddings", "image_latents"):
        changed = dict(given, **{name: given[name] + 0.1})
        assert relative_error(ours_forward(ours, changed), base) > 1e-3
    last = mx.array(np.moveaxis(given["image_latents"], 1, -1))
    later = mx.concatenate([last[:, :1], last[:, 1:] + 1], axis=1)
    args = mx.array(given["text"]), mx.array(given["image_embeddings"])
    keys = [ours.condition(*args, image_latents).down[0][0][0] for image_latents in (last, later)]
    assert mx.array_equal(*keys)


def test_blocks_are_as_many_as_announced_and_the_last_is_the_result():
    _, ours = pair(config())
    given = inputs()
    last = {name: mx.array(np.moveaxis(value, 1, -1)) for name, value in given.items() if value.ndim == 5}
    conditioning = ours.condition(mx.array(given["text"]), mx.array(given["image_embeddings"]), last["image_latents"])
    emb = ours.embed(mx.array([981]), 16)
    outputs = list(ours.blocks(ours.enter(last["x_t"], emb, conditioning.detail), emb, conditioning))
    assert len(outputs) == ours.block_count
    assert mx.array_equal(outputs[-1], ours(last["x_t"], emb, conditioning))
