"""The rectangles of the crop editor are what the engine cuts out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gui import crop
from i2v_mlx import images

edges = st.floats(0, 0.45)
boxes = st.tuples(edges, edges, st.floats(0.55, 1), st.floats(0.55, 1))
sides = st.integers(16, 4000)


@given(st.tuples(sides, sides), st.none() | boxes, st.integers(2, 200), st.integers(2, 200))
def test_the_video_box_has_the_videos_shape_and_is_the_largest_in_the_crop(picture, box, width, height):
    left, top, right, bottom = found = crop.video_box(picture, box, 8 * width, 8 * height)
    outer = box or crop.WHOLE
    assert (right - left) * picture[0] / ((bottom - top) * picture[1]) == pytest.approx(width / height)
    assert left >= outer[0] - 1e-9 and right <= outer[2] + 1e-9 and top >= outer[1] - 1e-9 and bottom <= outer[3] + 1e-9
    touching = [abs(a - b) < 1e-9 for a, b in zip(found, outer, strict=True)]
    assert (touching[0] and touching[2]) or (touching[1] and touching[3])
    assert left + right == pytest.approx(outer[0] + outer[2])


@pytest.mark.parametrize("size", [(64, 64), (128, 64), (64, 96)])
def test_it_is_what_the_engine_sees(size):
    """On a picture whose pixels are their own positions."""
    width, height = 400, 300
    y, x = np.mgrid[0:height, 0:width]
    picture = Image.fromarray(np.stack([x * 255 // width, y * 255 // height, 0 * x], -1).astype(np.uint8))
    box = (0.1, 0.2, 0.9, 0.7)
    seen = np.asarray(images.centre_crop(images.crop(picture, box), *size)).astype(float)
    left, top, right, bottom = crop.video_box((width, height), box, *size)
    assert seen[:, 0, 0].mean() / 255 == pytest.approx(left, abs=0.015)
    assert seen[:, -1, 0].mean() / 255 == pytest.approx(right, abs=0.015)
    assert seen[0, :, 1].mean() / 255 == pytest.approx(top, abs=0.015)
    assert seen[-1, :, 1].mean() / 255 == pytest.approx(bottom, abs=0.015)


def test_clip_sees_a_square_of_pixels():
    assert crop.clip_box((400, 200), None) == pytest.approx((0.25, 0, 0.75, 1))
    assert crop.clip_box((400, 200), (0.0, 0.0, 0.5, 1.0)) == pytest.approx((0, 0, 0.5, 1))


@given(boxes, st.floats(-2, 2), st.floats(-2, 2))
def test_moving_keeps_the_size_and_stays_inside(box, dx, dy):
    moved = crop.moved(box, dx, dy)
    assert moved[2] - moved[0] == pytest.approx(box[2] - box[0])
    assert moved[3] - moved[1] == pytest.approx(box[3] - box[1])
    assert 0 <= moved[0] < moved[2] <= 1 and 0 <= moved[1] < moved[3] <= 1


@given(boxes, st.floats(0.01, 100))
def test_scaling_keeps_the_shape_and_stays_inside(box, factor):
    scaled = crop.scaled(box, factor)
    shape = (box[2] - box[0]) / (box[3] - box[1])
    assert (scaled[2] - scaled[0]) / (scaled[3] - scaled[1]) == pytest.approx(shape)
    assert 0 <= scaled[0] < scaled[2] <= 1 and 0 <= scaled[1] < scaled[3] <= 1
