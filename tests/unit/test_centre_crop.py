"""The crop is diffusers', to the pixel, without its black edge and its blocks."""

import random
import warnings

import numpy as np
import pytest
from PIL import Image

from i2v_mlx import images

WHITE, RED = (255, 255, 255), (255, 0, 0)
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def noise(width, height, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def reference():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers.pipelines.deprecated.i2vgen_xl import pipeline_i2vgen_xl
    return pipeline_i2vgen_xl


def test_the_crop_is_that_of_diffusers(reference):
    rng = random.Random(0)
    compared = 0
    while compared < 300:
        width, height = rng.choice([(32, 32), (64, 40), (40, 64), (120, 66), (72, 40), (48, 48)])
        size = rng.randrange(width, 5 * width), rng.randrange(height, 5 * height)
        scale = min(size[0] / width, size[1] / height)
        if round(size[0] // scale) < width or round(size[1] // scale) < height:
            continue  # one pixel short there
        image = noise(*size, seed=compared)
        theirs = reference._center_crop_wide(image, (width, height))
        assert np.array_equal(images.centre_crop(image, width, height), theirs), (size, width, height)
        compared += 1


def test_no_black_border_at_any_size():
    rng = random.Random(1)
    for _ in range(2000):
        width, height = 8 * rng.randrange(2, 12), 8 * rng.randrange(2, 12)
        short = rng.choice([rng.randrange(1, 40), rng.randrange(40, 400)])
        long = min(rng.randrange(short, 20 * short + 1), 600)
        size = (short, max(short, long)) if rng.random() < 0.5 else (max(short, long), short)
        cropped = images.centre_crop(Image.new("RGB", size, WHITE), width, height)
        assert cropped.size == (width, height)
        assert np.asarray(cropped).min() == 255, (size, width, height)


@pytest.mark.parametrize("size", [(512, 512), (1024, 768), (2048, 1365), (1024, 1024)])
def test_sizes_that_give_a_black_edge_in_diffusers(reference, size):
    image = Image.new("RGB", size, WHITE)
    assert np.asarray(reference._center_crop_wide(image, (1280, 704))).min() == 0
    assert np.asarray(images.centre_crop(image, 1280, 704)).min() == 255


def test_enlarging_is_smooth():
    ramp = Image.fromarray(np.tile(np.linspace(0, 255, 16, dtype=np.uint8)[None, :, None], (16, 1, 3)))
    enlarged = np.asarray(images.centre_crop(ramp, 128, 128))[64, :, 0].astype(int)
    assert np.abs(np.diff(enlarged)).max() <= 4  # blocks would jump by 17


@pytest.mark.parametrize("size", [(20, 400), (400, 20), (1, 20), (4000, 200)])
def test_a_long_strip_never_makes_a_huge_image(size, monkeypatch):
    image = Image.new("RGB", size, WHITE)
    image.putpixel((size[0] // 2, size[1] // 2), RED)

    def middle():
        reds = 255 - np.asarray(images.centre_crop(image, 400, 240), float)[..., 1]
        rows, columns = np.indices(reds.shape)
        return np.array([(rows * reds).sum(), (columns * reds).sum()]) / reds.sum()

    made = []
    resize = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda self, size, *a: made.append(size) or resize(self, size, *a))
    whole, pixel_size = middle(), max(400 / size[0], 240 / size[1])
    assert np.prod(made.pop()) > 10**6
    monkeypatch.setattr(images, "MAX_PIXELS", 10**6)
    assert np.abs(middle() - whole).max() <= pixel_size
    assert np.prod(made.pop()) <= 10**6


def test_pixels_are_those_of_the_reference(reference):
    from diffusers.video_processor import VideoProcessor
    from transformers import CLIPImageProcessor

    image = noise(211, 144)
    theirs = VideoProcessor(vae_scale_factor=8, do_resize=False).preprocess(
        reference._center_crop_wide(image, (96, 64))).permute(0, 2, 3, 1).numpy()
    ours = images.vae_pixels(image, 96, 64)
    assert ours.shape == (1, 64, 96, 3) and ours.dtype == np.float32
    assert np.abs(ours - theirs).max() < 1e-6

    square = reference._resize_bilinear(reference._center_crop_wide(image, (96, 96)), (56, 56))
    processor = CLIPImageProcessor(image_mean=MEAN, image_std=STD)
    theirs = processor(images=np.asarray(square, np.float32) / 255, do_normalize=True, do_center_crop=False,
                       do_resize=False, do_rescale=False, input_data_format="channels_last", return_tensors="pt")
    ours = images.clip_pixels(image, 96, 56, MEAN, STD)
    assert ours.shape == (1, 56, 56, 3) and ours.dtype == np.float32
    assert np.abs(ours - theirs.pixel_values.permute(0, 2, 3, 1).numpy()).max() < 1e-5


def test_crop_by_fractions():
    image = noise(100, 50)
    assert np.array_equal(images.crop(image, (0.25, 0.5, 0.75, 1)), np.asarray(image)[25:50, 25:75])
    assert images.crop(image, (0, 0, 1, 1)).size == (100, 50)
    for tiny in ((0.999, 0.999, 1, 1), (0, 0, 1e-9, 1e-9), (0.5, 0.5, 0.5001, 0.5001)):
        assert images.crop(image, tiny).size == (1, 1)
