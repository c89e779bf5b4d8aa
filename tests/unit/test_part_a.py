"""What is saved exactly: the work is done once, and the numbers are those of the plain way (benchmarks/part_a.py)."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

import mlx.core as mx
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from part_a import SAVINGS, Video

from i2v_mlx import I2VGenXLPipeline
from i2v_mlx.i2vgen_xl.unet import I2VGenXLUNet
from i2v_mlx.layers import norms
from i2v_mlx.layers.attention import Attention
from i2v_mlx.layers.spatial import Transformer2DModel

STEPS, FRAMES = 2, 3


@pytest.fixture(scope="module")
def video(tiny_model) -> Video:
    _, folder = tiny_model
    return Video.draw(I2VGenXLPipeline.from_pretrained(folder, keep_loaded=True), 64, 48, FRAMES, STEPS)


@pytest.fixture(scope="module")
def ours(video) -> list[np.ndarray]:
    return [np.array(x_t) for x_t in video.ours()]


@pytest.mark.parametrize("undone", [*SAVINGS, "all"])
def test_the_numbers_are_the_same(undone, video, ours):
    plain = [np.array(x_t) for x_t in video.plain(set(SAVINGS) if undone == "all" else {undone})]
    assert len(plain) == len(ours) == STEPS
    for a, b in zip(ours, plain, strict=True):
        # Guidance makes nine of a product's rounding error, and how a processor's BLAS rounds depends on the rows: the
        # largest of many was 1.4e-5 on one, so the bound is on the root of their mean square; on frames it is on each.
        assert np.sqrt(np.square(a - b).mean()) < 1e-5 * a.std()
    frames = [video.frames(mx.array(run[-1])) for run in (ours, plain)]
    assert np.abs(frames[0] - frames[1]).max() < 1e-5


def calls(video, undone: set[str] | None) -> dict[str, int]:
    """How often a run does what the savings are about."""
    counted = {
        "condition": mock.patch.object(I2VGenXLUNet, "condition", autospec=True, side_effect=I2VGenXLUNet.condition),
        "embed": mock.patch.object(I2VGenXLUNet, "embed", autospec=True, side_effect=I2VGenXLUNet.embed),
        "enter": mock.patch.object(I2VGenXLUNet, "enter", autospec=True, side_effect=I2VGenXLUNet.enter),
    }
    mocks = {name: patch.start() for name, patch in counted.items()}
    try:
        list(video.ours() if undone is None else video.plain(undone))
    finally:
        for patch in counted.values():
            patch.stop()
    return {name: each.call_count for name, each in mocks.items()}


def test_the_engine_does_once_what_it_can(video):
    assert calls(video, None) == {"condition": 2, "embed": 1, "enter": STEPS}
    assert calls(video, {"entrance"}) == {"condition": 2, "embed": 1, "enter": 2 * STEPS}
    assert calls(video, {"once"}) == {"condition": 2 + 2 * STEPS, "embed": 1 + 2 * STEPS, "enter": STEPS}


@pytest.mark.parametrize(("undone", "rows"), [(set(), 1), ({"frames"}, FRAMES)])
def test_keys_are_not_repeated(undone, rows, video):
    seen = set()
    whole = Attention.__call__

    def watched(self, x, key_value=None):
        if key_value is not None:
            seen.add((x.shape[0], key_value[0].shape[0]))
        return whole(self, x, key_value)

    with mock.patch.object(Attention, "__call__", watched):
        next(video.plain(undone))
    assert seen == {(rows, rows)}


def test_what_is_undone_is_done_again_afterwards(video):
    before = norms.plain_group_norm, Transformer2DModel.key_value
    run = video.plain(set(SAVINGS))
    next(run)
    assert (norms.plain_group_norm, Transformer2DModel.key_value) == before  # the run waits for its next step
