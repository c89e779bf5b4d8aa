"""The cost model: against counts of the reference, and against small graphs counted by hand."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import pytest

from i2v_mlx import chips, cost, estimate, presets
from i2v_mlx.i2vgen_xl.config import UNetConfig
from i2v_mlx.layers.attention import Attention
from i2v_mlx.layers.norms import GroupNorm
from i2v_mlx.layers.temporal import TemporalConvLayer
from i2v_mlx.parts.vae import VAEConfig
from i2v_mlx.request import Request

# TFLOP of one forward pass of the reference, by torch's counter (diffusers' I2VGenXLUNet on meta tensors, 16 frames).
REFERENCE = {(512, 320): 12.6698, (512, 512): 20.9350, (1280, 704): 88.0945}
# In it for every frame, here once per video and not in a step: keys and values of the context, and the networks that
# make the context.
ONCE = {(512, 320): 0.1186 + 0.0004, (512, 512): 0.1186 + 0.0007, (1280, 704): 0.1186 + 0.0019}


@pytest.mark.parametrize("size", REFERENCE)
def test_the_networks_flops_are_the_references(size):
    width, height = size
    shared, alone = cost.unet_costs(UNetConfig(), 16, height // 8, width // 8)
    total = (shared + alone).total.flops / 1e12
    assert total + ONCE[size] == pytest.approx(REFERENCE[size], rel=1e-3)
    assert total == pytest.approx(REFERENCE[size], rel=0.01)


def test_what_the_branches_share():
    shared, alone = cost.unet_costs(UNetConfig(), 16, 88, 160)
    assert shared.total.flops / (shared + alone).total.flops == pytest.approx(0.093, abs=0.001)


def test_kinds_of_work_at_512x320():
    """The reference's table in the same units; 1x1 convolutions are matrix products here."""
    total = sum(cost.unet_costs(UNetConfig(), 16, 40, 64), start=cost.Costs(dict.fromkeys(cost.KINDS, cost.Cost())))
    by_kind = {kind: part.flops / 1e12 for kind, part in total.by_kind.items()}
    assert by_kind["temporal convolutions"] == pytest.approx(1.686, rel=1e-3)
    assert by_kind["attention"] == pytest.approx(0.766 + 0.018 + 0.066, rel=0.01)
    assert by_kind["spatial convolutions"] == pytest.approx(4.185, rel=0.05)
    assert by_kind["norms and elementwise"] == by_kind["joining and copying"] == 0


@pytest.mark.parametrize(("h", "w", "encode", "decode"), [(40, 64, 0.690, 1.564), (88, 160, 4.126, 8.932)])
def test_the_vaes_flops(h, w, encode, decode):
    counted = [part.total.flops / 1e12 for part in cost.vae_costs(VAEConfig(), h, w)]
    assert counted == pytest.approx([encode, decode], rel=2e-3)


def test_a_linear_layer():
    counted = cost.trace(nn.Linear(8, 16, bias=False), [mx.zeros((4, 8))]).by_kind["matrix products"]
    assert counted.flops == 2 * 4 * 8 * 16
    assert counted.bytes == 2 * (4 * 8 + 8 * 16 + 4 * 16)


def test_convolutions():
    counted = cost.trace(nn.Conv2d(3, 8, 3, stride=2, padding=1), [mx.zeros((2, 8, 8, 3))])
    assert counted.by_kind["spatial convolutions"].flops == 2 * (2 * 4 * 4 * 8) * 9 * 3
    temporal = cost.trace(lambda x: TemporalConvLayer(8, 4)(x, 2), [mx.zeros((2, 3, 3, 8))])
    assert temporal.by_kind["temporal convolutions"].flops == 4 * 2 * (2 * 9 * 8) * 3 * 8
    assert temporal.by_kind["spatial convolutions"].flops == 0


def test_winograd_counts_where_metal_uses_it():
    large = cost.trace(nn.Conv2d(128, 128, 3, padding=1), [mx.zeros((1, 64, 64, 128))]).total
    assert large.executed == pytest.approx(large.flops / cost.WINOGRAD_SAVING)
    for layer, shape in (
        (nn.Conv2d(128, 128, 3, padding=1), (1, 32, 32, 128)),            # too few pixels
        (nn.Conv2d(128, 128, 3, stride=2, padding=1), (1, 64, 64, 128)),
        (nn.Conv2d(130, 130, 3, padding=1), (1, 64, 64, 130)),
    ):  # fmt: skip
        total = cost.trace(layer, [mx.zeros(shape)]).total
        assert total.executed == total.flops


def test_attention_moves_no_scores():
    N, L, C = 2, 50, 64
    layer = Attention(C, heads=2, head_dim=32)
    mx.eval(layer.parameters())    # drawing them is not part of the graph
    counted = cost.trace(layer, [mx.zeros((N, L, C))]).by_kind
    assert counted["attention"].flops == 4 * N * L * L * C
    assert counted["attention"].bytes == 2 * 4 * N * L * C       # q, k, v and the result
    assert counted["norms and elementwise"].bytes <= 2 * 2 * N * L * C + 100


def test_a_norm_reads_two_or_three_times_and_writes_once():
    x = mx.zeros((2, 100, 64))
    counted = cost.trace(lambda x: nn.Linear(64, 64)(GroupNorm(8, 64)(x, silu=True)), [x])
    assert 3 <= counted.by_kind["norms and elementwise"].bytes / (2 * x.size) <= 4.2


def test_compiling_is_on_again_after_a_trace():
    with pytest.raises(ZeroDivisionError):
        cost.trace(lambda x: 1 / 0, [mx.zeros((1,))])
    calls = []
    compiled = mx.compile(lambda x: calls.append(1) or x + 1)
    mx.eval(compiled(mx.zeros((3,))), compiled(mx.ones((3,))))
    assert len(calls) == 1


def test_the_roofline_is_the_slower_of_two():
    chip = chips.Chip(tflops=2.0, bandwidth=100.0)
    assert cost.Cost(4e12, 4e12, 1e9).seconds(chip) == 2
    assert cost.Cost(4e12, 1e12, 300e9).seconds(chip) == 3


@pytest.mark.parametrize(("name", "tflops"), [
    ("Apple M4 Max", 11.2), ("m4-max", 11.2), ("M4", 2.9), ("CPU (x86_64, 2 cores)", 0.1), ("Apple M99", 2.0),
])  # fmt: skip
def test_chips_by_name(name, tflops):
    assert chips.find(name).tflops == tflops


def test_a_whole_video():
    request = Request(image="any", width=512, height=320)
    model = estimate.Model.released(mx.float16)
    best, draft = (
        estimate.estimate(preset.apply(request), model, mx.float16, "gpu")
        for preset in (presets.PRESETS[2], presets.PRESETS[0])
    )
    assert (best.evaluations, draft.evaluations) == (100, 13)
    one = best.evaluation.total.flops
    assert best.denoising.total.flops == pytest.approx((100 - 50 * 0.0708) * one, rel=1e-3)
    assert draft.denoising.total.flops == pytest.approx((13 - 5 * 0.0708) * one, rel=1e-3)
    assert sum(model.weights.values()) == pytest.approx(2.84e9 + 0.68e9 + 1.26e9 + 0.335e9, rel=0.01)


def test_pooled_keys_cost_less_where_there_are_many():
    for size, cheaper in (((88, 160), 0.83), ((64, 64), 1.0)):
        plain, pooled = (sum(p.total.flops for p in cost.unet_costs(UNetConfig(), 16, *size, key_pooling=pool))
                         for pool in (False, True))
        assert pooled / plain == pytest.approx(cheaper, abs=0.01)
