"""Pictures of every kind become RGB or a named error."""

import errno
import io
import os
import random
import warnings

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from i2v_mlx import images
from i2v_mlx.errors import I2VError

WHITE, RED, GREY = (255, 255, 255), (255, 0, 0), (128, 128, 128)


def noise(width, height, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def saved(image, path, **options):
    image.save(path, **options)
    return path


def pixel(image, x=0, y=0):
    assert image.mode == "RGB"
    return image.getpixel((x, y))


def code_of(source):
    with pytest.raises(I2VError) as caught:
        images.load(source)
    assert caught.value.message
    return caught.value.code


# ---- every kind of picture

@pytest.mark.parametrize("format", [*images.FORMATS, "MPO"])
def test_every_format(tmp_path, format):
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("no AVIF in this Pillow")
    image = Image.new("RGB", (40, 24), RED)
    path = saved(image, tmp_path / "no suffix", format=format)
    loaded = images.load(str(path))
    assert loaded.size == (40, 24) and np.abs(np.asarray(loaded).astype(int) - RED).max() <= 3


def test_modes(tmp_path):
    half = (200, 100, 50, 128)
    on_white = tuple(round(c * 128 / 255 + 255 * 127 / 255) for c in half[:3])
    cases = [
        (Image.new("L", (20, 20), 128), GREY),
        (Image.new("1", (20, 20), 1), WHITE),
        (Image.new("RGBA", (20, 20), half), on_white),
        (Image.new("RGBA", (20, 20), (0, 0, 0, 0)), WHITE),
        (Image.new("LA", (20, 20), (0, 0)), WHITE),
        (Image.new("RGB", (20, 20), RED).convert("P"), RED),
        (Image.new("RGB", (20, 20), RED).quantize(4), RED),
        (Image.fromarray(np.full((20, 20), 128 * 257, np.uint16)), GREY),
    ]
    for index, (image, expected) in enumerate(cases):
        path = saved(image, tmp_path / f"{index}.png")
        for source in (path, image):
            assert max(abs(a - b) for a, b in zip(pixel(images.load(source)), expected, strict=True)) <= 1, image.mode


def test_transparency_by_colour_and_by_palette(tmp_path):
    palette = Image.new("P", (20, 20), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    for name in ("a.png", "a.gif"):
        assert pixel(images.load(saved(palette, tmp_path / name, transparency=1))) == WHITE
        assert pixel(images.load(saved(palette, tmp_path / name, transparency=0))) == RED
    assert pixel(images.load(saved(Image.new("RGB", (9, 9), RED), tmp_path / "b.png", transparency=RED))) == WHITE
    assert pixel(images.load(saved(Image.new("L", (9, 9), 7), tmp_path / "c.png", transparency=7))) == WHITE


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm", ".jp2"])
def test_sixteen_bit_grey_keeps_its_levels(tmp_path, suffix):
    ramp = np.tile((np.arange(256) * 257 + 100).clip(0, 65535).astype(np.uint16), (16, 1))  # rounds down to 0 ... 255
    path = tmp_path / f"ramp{suffix}"
    if suffix == ".ppm":
        path.write_bytes(b"P5 256 16 65535\n" + ramp.astype(">u2").tobytes())
    else:
        Image.fromarray(ramp).save(path)
    assert np.array_equal(np.asarray(images.load(path))[3, :, 0], np.arange(256))


def test_values_without_a_defined_white_are_refused(tmp_path):
    for dtype in (np.float32, np.int32):
        path = saved(Image.fromarray(np.ones((20, 20), dtype)), tmp_path / "x.tif")
        assert code_of(path) == "image_mode"


def test_cmyk_and_lab(tmp_path):
    cmyk = Image.new("CMYK", (20, 20), (0, 255, 255, 0))
    for name in ("a.jpg", "a.tif"):
        assert max(abs(a - b) for a, b in zip(pixel(images.load(saved(cmyk, tmp_path / name))), RED, strict=True)) <= 6
    for values, expected in (((255, 128, 128), WHITE), ((138, 209, 198), RED)):  # 100, 0, 0 and 54.3, 80.8, 69.9
        lab = Image.merge("LAB", [Image.new("L", (20, 20), value) for value in values])
        loaded = pixel(images.load(saved(lab, tmp_path / "lab.tif")))
        assert max(abs(a - b) for a, b in zip(loaded, expected, strict=True)) <= 8


def test_orientation(tmp_path):
    upright = Image.new("RGB", (64, 32), WHITE)
    upright.paste(RED, (0, 0, 16, 16))  # red at the top left
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that makes the stored picture
    for orientation, transpose in undo.items():
        stored = upright if transpose is None else upright.transpose(Image.Transpose(transpose))
        exif = Image.Exif()
        exif[0x0112] = orientation
        for suffix in (".png", ".jpg", ".webp", ".tif"):
            loaded = images.load(saved(stored, tmp_path / f"x{suffix}", exif=exif))
            assert loaded.size == (64, 32), (orientation, suffix)
            assert np.abs(np.asarray(loaded).astype(int) - np.asarray(upright)).mean() < 6, (orientation, suffix)
            assert np.array_equal(images.load(loaded), loaded)  # a second load does not turn it again


def test_damaged_exif_is_ignored(tmp_path):
    for junk in (b"Exif\0\0junk", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\xff\xff\xff\xff"):
        path = saved(Image.new("RGB", (20, 20), RED), tmp_path / "x.png", exif=junk)
        assert pixel(images.load(path)) == RED


def test_animations_give_their_first_frame(tmp_path):
    frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, WHITE, GREY)]
    for suffix in (".gif", ".webp", ".png", ".tif"):
        path = saved(frames[0], tmp_path / f"x{suffix}", save_all=True, append_images=frames[1:])
        assert max(abs(a - b) for a, b in zip(pixel(images.load(path)), RED, strict=True)) <= 2, suffix


def swapped_profile():
    """A valid profile in which the red and the green primary have changed places."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[132 + 12 * i:136 + 12 * i]): 132 + 12 * i for i in range(int.from_bytes(data[128:132], "big"))}
    red, green = tags[b"rXYZ"] + 4, tags[b"gXYZ"] + 4
    data[red:red + 8], data[green:green + 8] = data[green:green + 8], data[red:red + 8]
    return bytes(data).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def test_colour_profiles(tmp_path):
    red = Image.new("RGB", (20, 20), (250, 10, 10))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for suffix in (".png", ".tif"):
        def load(profile, name=tmp_path / f"x{suffix}"):
            return images.load(saved(red, name, icc_profile=profile))
        for ignored in (srgb, b"junk", srgb[:200], swapped_profile()[:140]):
            assert pixel(load(ignored)) == (250, 10, 10)
        swapped = load(swapped_profile())
        assert max(abs(a - b) for a, b in zip(pixel(swapped), (10, 250, 10), strict=True)) <= 3
        assert np.array_equal(images.load(swapped), swapped)  # converted once
    transparent = red.copy()
    transparent.putalpha(0)
    assert pixel(images.load(saved(transparent, tmp_path / "t.png", icc_profile=swapped_profile()))) == WHITE
    grey = Image.new("L", (20, 20), 100)  # an RGB profile in a grey picture means nothing
    assert pixel(images.load(saved(grey, tmp_path / "g.png", icc_profile=swapped_profile()))) == (100, 100, 100)


def test_arrays():
    array = np.asarray(noise(30, 20))
    assert np.array_equal(images.load(array), array)
    assert np.array_equal(images.load(array / np.float32(255)), array)
    assert np.array_equal(images.load(array.astype(np.float64) / 255), array)
    assert np.array_equal(images.load(array[:, ::-1]), array[:, ::-1])
    assert np.array_equal(images.load(array[..., 0]), np.repeat(array[..., :1], 3, 2))
    clear = np.concatenate([array, np.zeros((20, 30, 1), np.uint8)], 2)
    assert np.array_equal(images.load(clear), np.full_like(array, 255))
    for wrong in (array[None], array[..., :2], array.astype(np.int64), array / 1.0, np.full((4, 4), np.nan),
                  np.zeros((0, 4, 3), np.uint8), np.zeros(5), array / -255):
        assert code_of(wrong) == "image_array"


def test_the_users_image_stays_as_it_is():
    image = Image.new("RGB", (20, 20), RED)
    image.info["dpi"] = (72, 72)
    loaded = images.load(image)
    loaded.putpixel((0, 0), WHITE)
    assert image.getpixel((0, 0)) == RED and image.info == {"dpi": (72, 72)}


# ---- what is hostile

def test_what_is_not_a_picture(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "page.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>")
    (tmp_path / "x.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # Ghostscript would run it
    for source, code in [(tmp_path / "pipe.png", "image_not_a_file"), (tmp_path, "image_not_a_file"),
                         ("/dev/zero", "image_not_a_file"), (tmp_path / "none.png", "image_not_found"),
                         ("nul\0.png", "image_not_found"), ("", "image_missing"), (None, "image_missing"),
                         (7, "image_missing"), (tmp_path / "empty.png", "image_format"),
                         (tmp_path / "text.png", "image_format"), (tmp_path / "page.svg", "image_format"),
                         (tmp_path / "x.png", "image_format"), ("https://example.org/a.png", "image_not_found")]:
        assert code_of(source) == code, source


def test_formats_that_are_not_on_the_list(tmp_path):
    for format in ("ICO", "TGA", "PCX", "PDF", "EPS"):
        assert code_of(saved(Image.new("RGB", (32, 32), RED), tmp_path / "x.png", format=format)) == "image_format"


@pytest.mark.parametrize("size", [(60000, 60000), (13000, 13000), (8400, 8400)])
def test_bombs_are_refused_by_their_header(tmp_path, size):
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "BMP")
    data = bytearray(buffer.getvalue())
    data[18:26] = size[0].to_bytes(4, "little") + size[1].to_bytes(4, "little")
    path = tmp_path / "bomb.bmp"
    path.write_bytes(data)
    assert code_of(path) == "image_too_large"


def test_strips_and_nothing(tmp_path):
    for size in ((20000, 10), (10, 20000), (21, 1)):
        assert code_of(saved(Image.new("L", size), tmp_path / "x.png")) == "image_aspect"
    assert images.load(Image.new("RGB", (20, 1))).size == (20, 1)
    assert code_of(Image.new("RGB", (0, 0))) == "image_unreadable"


@pytest.mark.parametrize("size", [10 * 2**30, 200 * 10**6])
def test_a_huge_file_is_refused_unread(tmp_path, size):
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(size)
    assert code_of(tmp_path / "x.png") == "image_too_large"


def test_two_readers_at_a_time_leave_the_warnings_of_others_as_they_are():
    """As two threads interleave: begun one after the other, ended in that order too."""
    first, second = images.reading("image", "a"), images.reading("image", "b")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", UserWarning, stacklevel=1)
    with pytest.warns(Image.DecompressionBombWarning):
        warnings.warn("a bomb", Image.DecompressionBombWarning, stacklevel=1)


def test_what_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    """As anybody but root meets it."""
    path = saved(noise(8, 8), tmp_path / "x.png")

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(I2VError) as caught:
        images.load(path)
    assert caught.value.code == "image_unreadable"
    assert caught.value.message == "x.png cannot be opened: Permission denied."


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000"])
def test_truncated_and_damaged_files(tmp_path, format):
    """Every one is a picture or a named error, and nothing that is cut in half is taken for whole."""
    buffer = io.BytesIO()
    noise(48, 32).save(buffer, format)
    data, path, rng = buffer.getvalue(), tmp_path / "x", random.Random(2)
    path.write_bytes(data[:len(data) // 2])
    assert code_of(path) in ("image_unreadable", "image_format")
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 6)):
            damaged[rng.randrange(min(len(damaged), rng.choice([40, 10**6])))] = rng.randrange(256)
        path.write_bytes(damaged[:rng.randrange(len(damaged) // 2, len(damaged) + 1)])
        try:
            assert images.load(path).mode == "RGB"
        except I2VError as error:
            assert error.code.startswith("image_")


def test_any_name(tmp_path):
    for name in ("with space.png", "emoji 🎬.png", "new\nline.png", "-x.png", "%d.png", "é.png", "e\u0301.png",
                 "\u202egpj.png"):
        assert images.load(saved(Image.new("RGB", (9, 9), RED), tmp_path / name, format="PNG")).size == (9, 9)
