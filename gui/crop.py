"""Which part of the picture the model sees: the video's crop and the square that CLIP sees. Pure geometry.

Rectangles are (left, top, right, bottom) as fractions of the upright picture, like `Request.crop`. What the engine does
with them is in `i2v_mlx.images`: `crop`, then the largest centred part of the wanted shape.
"""

from __future__ import annotations

Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
SMALLEST = 0.05                # of a side: a box that can still be grabbed


def video_box(picture: tuple[int, int], crop: Box | None, width: int, height: int) -> Box:
    """What the video shows: the largest centred box of its shape inside the crop. `picture` is (w, h) in pixels."""
    return _centred(crop or WHOLE, width / height * picture[1] / picture[0])


def clip_box(picture: tuple[int, int], crop: Box | None) -> Box:
    """What CLIP sees: the largest centred square inside the crop."""
    return _centred(crop or WHOLE, picture[1] / picture[0])


def fit(picture: tuple[int, int], width: int, height: int) -> Box:
    """The largest centred crop that has the video's shape: where the editor starts."""
    return video_box(picture, None, width, height)


def moved(box: Box, dx: float, dy: float) -> Box:
    """The box shifted by fractions of the picture, kept inside."""
    left, top, right, bottom = box
    dx = min(max(dx, -left), 1 - right)
    dy = min(max(dy, -top), 1 - bottom)
    return _inside((left + dx, top + dy, right + dx, bottom + dy))


def scaled(box: Box, factor: float) -> Box:
    """The box grown or shrunk about its middle, shape kept, kept inside."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    factor = min(max(factor, SMALLEST / min(width, height)), 1 / max(width, height))
    middle = (left + right) / 2, (top + bottom) / 2
    grown = _about(middle, width * factor, height * factor)
    return moved(grown, max(0.0, -grown[0]) - max(0.0, grown[2] - 1), max(0.0, -grown[1]) - max(0.0, grown[3] - 1))


def _centred(box: Box, ratio: float) -> Box:
    """The largest box in the middle of `box` whose width is `ratio` times its height, both as fractions."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    width, height = min(width, height * ratio), min(height, width / ratio)
    return _inside(_about(((left + right) / 2, (top + bottom) / 2), width, height))


def _about(middle: tuple[float, float], width: float, height: float) -> Box:
    return middle[0] - width / 2, middle[1] - height / 2, middle[0] + width / 2, middle[1] + height / 2


def _inside(box: Box) -> Box:
    """Without the rounding error that would put an edge at 1.0000000000000002."""
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in box)
    return left, top, right, bottom
