"""Pictures in: what Pillow reads safely becomes upright 8-bit sRGB, and then the pixels that the model sees."""

from __future__ import annotations

import io
import math
import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError, features

from .errors import I2VError
from .files import check_input

# An allow-list, since some of the others start programs: EPS starts Ghostscript. MPO is opened as a JPEG.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
MAX_FILE_BYTES = 128 * 2**20
MAX_PIXELS = 2**26
MAX_ASPECT = 20

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
# What broken EXIF data and colour profiles raise; the picture itself is fine then.
_BROKEN = (ImageCms.PyCMSError, OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError,
           AttributeError, EOFError, struct.error)
_PILLOW = re.compile(r"PIL\.")


def load(source: str | Path | Image.Image | np.ndarray) -> Image.Image:
    """The picture as an upright RGB image in sRGB; of an animation the first frame.

    Transparency is put on white. 16 bits are scaled to 8. CMYK and LAB become RGB, with the embedded profile if there
    is one. Files of 32-bit integers or floats have no defined white and are refused.

    Args:
        source: a path, a PIL image (left as it is), or an array (H, W), (H, W, 3) or (H, W, 4), uint8 or float from 0
            to 1.

    Raises:
        I2VError: ``image_missing``, ``image_not_found``, ``image_not_a_file``, ``image_too_large``, ``image_format``,
            ``image_unreadable``, ``image_aspect``, ``image_mode``, ``image_array``.
    """
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if isinstance(source, Image.Image):
        with reading("image", "The picture"):
            return _to_rgb(source)
    if not isinstance(source, str | Path):
        raise I2VError("image_missing", f"A picture cannot be a {type(source).__name__}.",
                       "Give a path, a PIL image or a numpy array.")
    if not str(source):
        raise I2VError("image_missing", "There is no picture.", "Give the path of an image file.")
    path = Path(source)
    check_input(path, "image", MAX_FILE_BYTES)
    with reading("image", path.name), Image.open(path, formats=FORMATS) as image:
        return _to_rgb(image)


@contextmanager
def reading(kind: str, name: str) -> Iterator[None]:
    """Turns whatever Pillow raises on a hostile file into an I2VError with a code of `kind`.

    Several threads may read at a time.
    """
    _hush()
    try:
        yield
    except I2VError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _too_large(kind, name) from error
    except UnidentifiedImageError as error:
        raise I2VError(f"{kind}_format", f"{name} is not a file that can be read.",
                       "Save it as PNG or JPEG." if kind == "image" else "") from error
    except PermissionError as error:
        raise I2VError(f"{kind}_unreadable", f"{name} cannot be opened: {error.strerror}.",
                       "Check who may read it.") from error
    except Exception as error:  # a damaged file may raise anything
        raise I2VError(f"{kind}_unreadable", f"{name} is damaged: {error or type(error).__name__}.",
                       "Open it in another program and save it again.") from error


def _hush() -> None:
    """Damaged EXIF data and the like are handled here, not reported.

    A filter that stays, for Pillow alone: `warnings.catch_warnings` swaps the list of the whole process, so two threads
    would put back each other's. Whoever swaps the list meanwhile takes ours along; then it is added again.
    """
    if not any(action == "ignore" and module == _PILLOW for action, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", category=UserWarning, module=_PILLOW.pattern)


def crop(image: Image.Image, box: Sequence[float]) -> Image.Image:
    """The part of `image` inside `box`, fractions (left, top, right, bottom); at least one pixel."""
    left, right = _span(box[0], box[2], image.width)
    top, bottom = _span(box[1], box[3], image.height)
    return image.crop((left, top, right, bottom))


def centre_crop(image: Image.Image, width: int, height: int) -> Image.Image:
    """Scales `image` to cover width x height and cuts out the middle.

    This is diffusers' ``_center_crop_wide`` (pipeline_i2vgen_xl.py) to the pixel wherever that is sound. There, the
    float division can leave the side that sets the scale one pixel short, which gives a black edge: here no side is
    shorter than the target. There, BOX also enlarges, which gives blocks: here BICUBIC does.
    """
    scale = min(image.width / width, image.height / height)
    covering = _covering(image, width, height, scale)
    if covering[0] * covering[1] > MAX_PIXELS:  # a strip, much enlarged: cut its ends off before and not after
        image = _shorten(image, width, height, scale)
        covering = _covering(image, width, height, scale)
    image = image.resize(covering, Image.Resampling.BOX if scale >= 1 else Image.Resampling.BICUBIC)
    left, top = (covering[0] - width) // 2, (covering[1] - height) // 2
    return image.crop((left, top, left + width, top + height))


def vae_pixels(image: Image.Image, width: int, height: int) -> np.ndarray:
    """(1, height, width, 3) float32 in [-1, 1]: what the VAE encodes."""
    pixels = np.asarray(centre_crop(image, width, height), np.float32) / 255
    return (2 * pixels - 1)[None]


def clip_pixels(
    image: Image.Image, width: int, image_size: int, mean: Sequence[float], std: Sequence[float]
) -> np.ndarray:
    """(1, image_size, image_size, 3) float32, normalised: what the CLIP vision tower sees.

    The reference cuts a square of the video's *width*, so a landscape picture is seen whole in height.
    """
    square = centre_crop(image, width, width).resize((image_size, image_size), Image.Resampling.BILINEAR)
    pixels = np.asarray(square, np.float32) / 255
    return ((pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32))[None]


def _from_array(array: np.ndarray) -> Image.Image:
    wrong = I2VError("image_array", f"An array of shape {array.shape} and type {array.dtype} is not a picture.",
                     "Use (H, W), (H, W, 3) or (H, W, 4), uint8 or float from 0 to 1.")
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or array.size == 0:
        raise wrong
    if np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= -0.01 and array.max() <= 1.01):
            raise wrong
        array = (array.astype(np.float32) * 255).round().clip(0, 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise wrong
    return Image.fromarray(np.ascontiguousarray(array))


def _to_rgb(source: Image.Image) -> Image.Image:
    image = source
    width, height = image.size
    if not (width and height):
        raise I2VError("image_unreadable", "The picture has no pixels.", "Choose another one.")
    if width * height > MAX_PIXELS:  # known from the header, before a pixel is decoded
        raise _too_large("image", f"The picture of {width}x{height}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise I2VError("image_aspect", f"The picture of {width}x{height} is too long.",
                       f"Crop it: the long side may be {MAX_ASPECT} times the short one.")
    image.load()
    turn = _turn(image)
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        image = _eight_bits(image)
    if image.mode in ("I", "F"):
        raise I2VError("image_mode", "The picture has 32-bit values, with no defined white.", "Use 8 or 16 bits.")
    image = _on_white(image, profile) if image.has_transparency_data else _to_srgb(image, profile)
    if turn is not None:
        image = image.transpose(turn)
    elif image is source:
        image = image.copy()
    image.info = {}  # else a second load would turn and convert it again
    return image


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except _BROKEN:
        return None


def _on_white(image: Image.Image, profile: bytes | None) -> Image.Image:
    grey = image.mode in ("1", "L", "LA", "La")
    if image.mode == "La":  # alpha already multiplied in; Pillow knows the way back only to LA
        image = image.convert("LA")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(_to_srgb(image.convert("L" if grey else "RGB"), profile), mask=image.getchannel("A"))
    return white


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pillow's own conversion clips at 255, which leaves a 16-bit grey picture with 17 levels."""
    levels = ((np.arange(2**16) + 128) // 257).astype(np.uint8)
    return Image.fromarray(levels[np.asarray(image).clip(0, 2**16 - 1)])


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB in sRGB. A profile that is broken or of another colour space is ignored."""
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if (profile or image.mode == "LAB") and features.check("littlecms2"):
        with suppress(*_BROKEN):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile) if profile else ImageCms.createProfile("LAB"))
            if image.mode == "RGB" and "sRGB" in ImageCms.getProfileDescription(source):
                return image  # a conversion would only round
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
    return image if image.mode == "RGB" else image.convert("RGB")


def _covering(image: Image.Image, width: int, height: int, scale: float) -> tuple[int, int]:
    return max(width, int(image.width // scale)), max(height, int(image.height // scale))


def _shorten(image: Image.Image, width: int, height: int, scale: float) -> Image.Image:
    """The middle of `image`, as much as the target needs and the pixels beside it that BICUBIC reads."""
    across = min(image.width, math.ceil(width * scale) + 4)
    down = min(image.height, math.ceil(height * scale) + 4)
    left, top = (image.width - across) // 2, (image.height - down) // 2
    return image.crop((left, top, left + across, top + down))


def _span(start: float, end: float, length: int) -> tuple[int, int]:
    first = min(max(round(start * length), 0), length - 1)
    return first, min(max(round(end * length), first + 1), length)


def _too_large(kind: str, name: str) -> I2VError:
    return I2VError(f"{kind}_too_large", f"{name} has too many pixels.",
                    f"Scale it to at most {MAX_PIXELS // 10**6} megapixels.")
