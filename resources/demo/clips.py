"""Training clips: a camera goes over a picture, every frame sampled below the pixel and antialiased."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import moves
import numpy as np
import scenes
import torch
import torch.nn.functional as F
from PIL import Image

# Photographs inside the wheels of scikit-image and scikit-learn (licences: see README.md); not those that the pictures
# in the folder `heldout` are cut from.
PHOTOS = (
    "astronaut.png", "camera.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "hubble_deep_field.jpg",
    "brick.png", "grass.png", "gravel.png", "coins.png", "ihc.png", "color.png", "moon.png", "flower.jpg",
)  # fmt: skip


def load_photos() -> list[np.ndarray]:
    import skimage
    import sklearn

    folders = Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images"
    paths = [folder / name for name in PHOTOS for folder in folders if (folder / name).exists()]
    return [np.asarray(Image.open(path).convert("RGB"), np.float32) / 255 for path in paths]


class Pictures:
    """An endless source of canvases (see `scenes`): `photo_share` of them photographs, the others drawn."""

    def __init__(self, seed: int, photo_share: float = 0.5):
        self.rng = np.random.default_rng(seed)
        self.photos = load_photos()
        self.photo_share = photo_share

    def canvas(self) -> np.ndarray:
        if self.rng.random() < self.photo_share:
            return scenes.photo_canvas(self.photos[self.rng.integers(len(self.photos))], self.rng)
        return scenes.drawn_canvas(self.rng)


def render(
    canvas: np.ndarray,
    views: Sequence[tuple[float, float, float]],
    start: Sequence[float] = (0.0, 0.0),
    zoom: float = 1.0,
) -> torch.Tensor:
    """Frames (F, 3, SIZE, SIZE) in [0, 1] of a canvas, seen from `views` = [(x, y, magnification)] by a camera that
    starts at `start` with magnification `zoom`; sampled twice as densely as the frame's pixels and averaged."""
    source = torch.from_numpy(np.ascontiguousarray(canvas)).permute(2, 0, 1)[None]
    dense = 2 * scenes.SIZE
    grid = (torch.arange(dense, dtype=torch.float32) + 0.5) / dense - 0.5  # in frame widths
    to_canvas = scenes.VIEW / zoom / (scenes.CANVAS / 2)
    frames = []
    for x, y, scale in views:
        across, down = (start[0] + x + grid / scale) * to_canvas, (start[1] + y + grid / scale) * to_canvas
        at = torch.stack(torch.broadcast_tensors(across[None, :], down[:, None]), -1)
        frames.append(F.grid_sample(source, at[None], mode="bicubic", padding_mode="reflection", align_corners=False))
    return F.avg_pool2d(torch.cat(frames), 2).clamp(0, 1)


def flow(move: str, progress: float, fps: float, cells: int, side: int) -> torch.Tensor:
    """Where a frame's content comes from in the first frame: (2, side, side) offsets x, y in latent cells, for the
    middle `side` of the `cells` that a frame is wide."""
    x, y, scale = moves.camera(move, progress, fps)
    off = (torch.arange(side) - (side - 1) / 2) * (1 / scale - 1)
    return torch.stack([(cells * x + off)[None, :].expand(side, side), (cells * y + off)[:, None].expand(side, side)])
