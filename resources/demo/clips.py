"""Pictures and clips for the demo model: drawn scenes, sample photographs, camera moves and the words for them.

A *canvas* is a float32 picture of CANVAS x CANVAS x 3 in [0, 1].  A frame shows about half of it, so a camera can move
without ever reaching the canvas' border.  Everything is drawn from a ``numpy.random.Generator``; nothing is downloaded.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from scipy.ndimage import zoom

SIZE = 96  # a frame, in pixels
VIEW = 192  # what a frame shows at zoom 1, in canvas pixels
CANVAS = 320

# Photographs that come inside the wheels of scikit-image and scikit-learn (licences: see README.md).
TRAIN_PHOTOS = [
    "astronaut.png",
    "camera.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "hubble_deep_field.jpg",
    "brick.png",
    "grass.png",
    "gravel.png",
    "coins.png",
    "ihc.png",
    "color.png",
    "moon.png",
    "flower.jpg",
]
TEST_PHOTOS = ["chelsea.png", "china.jpg", "retina.jpg", "page.png"]

# ------------------------------------------------------------------------------------------------- pictures


def photo_files(names):
    import skimage
    import sklearn

    roots = [Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images"]
    return [root / name for name in names for root in roots if (root / name).exists()]


def load_photos(names):
    return [np.asarray(Image.open(path).convert("RGB"), np.float32) / 255 for path in photo_files(names)]


def photo_canvas(photo, rng, augment=True):
    """A random square of a photograph, resized to a canvas."""
    height, width = photo.shape[:2]
    side = int(min(height, width) * rng.uniform(0.45, 1.0))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    picture = Image.fromarray((photo[top : top + side, left : left + side] * 255).round().astype(np.uint8))
    canvas = np.asarray(picture.resize((CANVAS, CANVAS), Image.BICUBIC), np.float32) / 255
    return jitter(canvas, rng) if augment else canvas


def jitter(canvas, rng):
    """Mirror, quarter turns, contrast, brightness and colour casts: a dozen photographs must stand for all of them."""
    if rng.random() < 0.5:
        canvas = canvas[:, ::-1]
    if rng.random() < 0.3:
        canvas = np.rot90(canvas, rng.integers(1, 4))
    if rng.random() < 0.4:
        canvas = canvas[..., rng.permutation(3)]
    if rng.random() < 0.15:
        canvas = 1 - canvas
    mean = canvas.mean()
    canvas = (canvas - mean) * rng.uniform(0.6, 1.3) + mean + rng.uniform(-0.12, 0.12) + rng.normal(0, 0.05, 3)
    return np.clip(canvas, 0, 1).astype(np.float32)


def noise_field(rng, size=CANVAS, octaves=(3, 6, 12, 24, 48), falloff=0.55):
    """Fractal value noise in [0, 1]."""
    field = np.zeros((size, size), np.float32)
    for k, cells in enumerate(octaves):
        grid = rng.random((cells + 2, cells + 2), np.float32)
        field += falloff**k * zoom(grid, (size + 1) / (cells + 2) + 0.02, order=1)[:size, :size]
    field -= field.min()
    return field / max(field.max(), 1e-6)


def colour(rng):
    return rng.random(3).astype(np.float32)


def rgb(rng):
    return tuple(int(v) for v in rng.integers(0, 256, 3))


def gradient(rng):
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float32) / CANVAS
    t = np.clip(0.5 + (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle), 0, 1)[..., None]
    return colour(rng) * (1 - t) + colour(rng) * t


def draw_shapes(canvas, rng, count):
    scale = 2
    picture = Image.fromarray((canvas * 255).astype(np.uint8)).resize((CANVAS * scale,) * 2)
    pen = ImageDraw.Draw(picture)
    for _ in range(count):
        x, y = rng.integers(0, CANVAS * scale, 2)
        r = int(rng.uniform(8, 70) * scale)
        kind = rng.integers(0, 6)
        if kind == 0:
            pen.ellipse((x - r, y - r, x + r, y + r), fill=rgb(rng))
        elif kind == 1:
            pen.rectangle((x - r, y - r // 2, x + r, y + r // 2), fill=rgb(rng))
        elif kind == 2:
            turn = rng.uniform(0, 2 * np.pi)
            n = rng.integers(3, 7)
            pen.polygon(
                [
                    (x + r * np.cos(turn + 2 * np.pi * k / n), y + r * np.sin(turn + 2 * np.pi * k / n))
                    for k in range(n)
                ],
                fill=rgb(rng),
            )
        elif kind == 3:
            x2, y2 = rng.integers(0, CANVAS * scale, 2)
            pen.line((x, y, x2, y2), fill=rgb(rng), width=int(rng.uniform(2, 12) * scale))
        elif kind == 4:
            pen.ellipse((x - r, y - r, x + r, y + r), outline=rgb(rng), width=int(rng.uniform(2, 10) * scale))
        else:  # strokes that look like writing
            ink = rgb(rng)
            for k in range(rng.integers(3, 9)):
                pen.line(
                    [(x + (14 * k + dx) * scale, y + dy * scale) for dx, dy in rng.integers(-7, 8, (4, 2))],
                    fill=ink,
                    width=3 * scale,
                )
    return np.asarray(picture.resize((CANVAS, CANVAS), Image.BOX), np.float32) / 255


def shapes_scene(rng):
    base = gradient(rng) if rng.random() < 0.7 else np.ones((CANVAS, CANVAS, 3), np.float32) * colour(rng)
    return draw_shapes(base, rng, rng.integers(6, 26))


def texture_scene(rng):
    field = noise_field(rng, falloff=rng.uniform(0.4, 0.75))[..., None]
    canvas = colour(rng) * (1 - field) + colour(rng) * field
    if rng.random() < 0.5:
        other = noise_field(rng)[..., None]
        canvas = canvas * (1 - other) + colour(rng) * other
    if rng.random() < 0.4:
        canvas = np.floor(canvas * 6) / 6
    return draw_shapes(np.clip(canvas, 0, 1), rng, rng.integers(0, 8))


def landscape_scene(rng):
    y, x = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float32) / CANVAS
    top, low = colour(rng) * 0.6 + 0.4, colour(rng)
    canvas = top * (1 - y[..., None]) + low * y[..., None]
    sun = rng.uniform(0.2, 0.8, 2)
    disc = np.clip((rng.uniform(0.04, 0.12) - np.hypot(x - sun[0], y - 0.5 * sun[1])) * 60, 0, 1)[..., None]
    canvas = canvas * (1 - disc) + (0.7 + 0.3 * colour(rng)) * disc
    for level in np.sort(rng.uniform(0.3, 0.9, rng.integers(2, 5))):
        ridge = level + sum(
            rng.uniform(0.01, 0.1) / k * np.sin(2 * np.pi * (k * x[0] * 1.5 + rng.random())) for k in (1, 2, 5, 11)
        )
        land = np.clip((y - ridge[None]) * CANVAS / 2, 0, 1)[..., None]
        ground = colour(rng) * (0.6 + 0.4 * noise_field(rng, falloff=0.7))[..., None]
        canvas = canvas * (1 - land) + ground * land
    picture = draw_shapes(np.clip(canvas, 0, 1), rng, rng.integers(0, 6))
    return picture


def pattern_scene(rng):
    """Checks, stripes and tiles: regular structure, turned and coloured."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(16, 70)
    y, x = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float32)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    a, b = (
        np.clip(np.sin(2 * np.pi * u / period) * 4, -1, 1),
        np.clip(np.sin(2 * np.pi * v / period / rng.uniform(0.5, 2)) * 4, -1, 1),
    )
    field = ((a if rng.random() < 0.3 else a * b) * 0.5 + 0.5)[..., None]
    canvas = gradient(rng) * field + gradient(rng) * (1 - field)
    return draw_shapes(np.clip(canvas, 0, 1), rng, rng.integers(3, 14))


DRAWN = [shapes_scene, texture_scene, landscape_scene, pattern_scene]


class Pictures:
    """An endless source of canvases: `photo_share` of them photographs, the others drawn."""

    def __init__(self, seed, photos=TRAIN_PHOTOS, photo_share=0.5):
        self.rng = np.random.default_rng(seed)
        self.photos = load_photos(photos)
        self.photo_share = photo_share

    def canvas(self):
        rng = self.rng
        if rng.random() < self.photo_share:
            return photo_canvas(self.photos[rng.integers(len(self.photos))], rng)
        return np.ascontiguousarray(DRAWN[rng.integers(len(DRAWN))](rng), np.float32)


def unseen_pictures(photos=10, drawn=10, seed=777):
    """(name, canvas) of pictures that training never sees: photographs kept out and scenes of another seed."""
    rng = np.random.default_rng(seed)
    kept = load_photos(TEST_PHOTOS)
    found = [(f"photo{k}", photo_canvas(kept[k % len(kept)], rng, augment=False)) for k in range(photos)]
    return found + [(f"drawn{k}", np.ascontiguousarray(DRAWN[k % len(DRAWN)](rng), np.float32)) for k in range(drawn)]


# ------------------------------------------------------------------------------------------------- camera moves

SHIFT = 1 / 12  # of the frame's width, over a whole clip, at 16 frames per second
ZOOM = 1.16
GENTLE = 1.06

# A camera that pans left shows what lies left of the picture: its content moves to the right.  (dx, dy) is the camera's
# way in frame widths, the last number the final magnification.
MOVES = {
    "left": (-SHIFT, 0.0, 1.0),
    "right": (SHIFT, 0.0, 1.0),
    "up": (0.0, -SHIFT, 1.0),
    "down": (0.0, SHIFT, 1.0),
    "in": (0.0, 0.0, ZOOM),
    "out": (0.0, 0.0, 1 / ZOOM),
    "still": (0.0, 0.0, 1.0),
    "gentle": (0.0, 0.0, GENTLE),
}
NAMES = list(MOVES)


def speed(fps):
    """How far the camera gets within a clip: a clip of few frames per second lasts longer."""
    return float(np.clip(16 / fps, 0.5, 1.5))


def camera(move, progress, fps=16):
    """Camera centre (x, y in frame widths) and magnification at progress 0..1 through the clip."""
    dx, dy, scale = MOVES[move]
    way = progress * speed(fps)
    return dx * way, dy * way, scale**way


def flow(move, progress, fps, cells, side):
    """Where a frame's content comes from in the first frame: (2, side, side) offsets x, y in cells, for the middle `side` of
    the `cells` that a frame is wide."""
    x, y, scale = camera(move, progress, fps)
    off = (torch.arange(side) - (side - 1) / 2) * (1 / scale - 1)
    return torch.stack([(cells * x + off)[None, :].expand(side, side), (cells * y + off)[:, None].expand(side, side)])


def render(canvas, views, size=SIZE, start=(0.0, 0.0), zoom0=1.0):
    """Frames (N, 3, size, size) in [0, 1] of a canvas, seen from `views` = [(x, y, magnification)]; antialiased by sampling
    twice as densely as the frame's pixels and averaging."""
    source = torch.from_numpy(canvas).permute(2, 0, 1)[None]
    n = len(views)
    dense = 2 * size
    grid = (torch.arange(dense, dtype=torch.float32) + 0.5) / dense - 0.5  # in frame widths
    view = VIEW * size / SIZE
    frames = []
    for x, y, scale in views:
        gx = (start[0] + x + grid / scale) * view / zoom0 / (CANVAS / 2)
        gy = (start[1] + y + grid / scale) * view / zoom0 / (CANVAS / 2)
        at = torch.stack(torch.broadcast_tensors(gx[None, :], gy[:, None]), -1)
        frames.append(F.grid_sample(source, at[None], mode="bicubic", padding_mode="reflection", align_corners=False))
    return F.avg_pool2d(torch.cat(frames), 2).clamp(0, 1).reshape(n, 3, size, size)


# ------------------------------------------------------------------------------------------------- words

WAYS = {
    "left": ["left", "to the left", "leftwards", "leftward"],
    "right": ["right", "to the right", "rightwards", "rightward"],
    "up": ["up", "upwards", "upward"],
    "down": ["down", "downwards", "downward"],
}
PAN = [
    "pan {w}",
    "pan the camera {w}",
    "camera pan {w}",
    "camera pans {w}",
    "the camera pans {w}",
    "slow pan {w}",
    "a slow pan {w}",
    "panning {w}",
    "camera moves {w}",
    "the camera moves {w}",
    "the camera moves slowly {w}",
    "camera panning {w}",
    "the camera slides {w}",
    "camera slides {w}",
    "move {w}",
    "move the camera {w}",
    "moving {w}",
    "the camera travels {w}",
    "the view moves {w}",
    "the view pans {w}",
    "smooth camera pan {w}",
    "{w}",
    "the camera is panning {w}",
    "the camera slowly pans {w}",
    "look {w}",
    "the camera drifts {w}",
    "camera goes {w}",
]
TILT = ["tilt {w}", "the camera tilts {w}", "camera tilts {w}", "tilting {w}", "slow tilt {w}"]
RISE = {
    "up": ["the camera rises", "camera rises slowly", "rising camera", "crane up"],
    "down": ["the camera sinks", "the camera descends", "lower the camera", "crane down"],
}
WORDS = {
    "in": [
        "zoom in",
        "zooming in",
        "the camera zooms in",
        "camera zooms in",
        "slow zoom in",
        "a slow zoom in",
        "slowly zoom in",
        "camera moves in",
        "the camera moves closer",
        "push in",
        "the camera pushes in",
        "move closer",
        "get closer",
        "dolly in",
        "the camera moves forward",
        "move forward",
        "camera zoom in",
        "zoom into the picture",
        "closer",
        "zoom in slowly",
        "the camera slowly zooms in",
        "the view zooms in",
        "magnify",
        "enlarge",
        "zoom closer",
        "fly forward",
        "move in",
    ],
    "out": [
        "zoom out",
        "zooming out",
        "the camera zooms out",
        "camera zooms out",
        "slow zoom out",
        "a slow zoom out",
        "slowly zoom out",
        "camera moves out",
        "the camera moves away",
        "pull back",
        "the camera pulls back",
        "move away",
        "move back",
        "dolly out",
        "the camera moves backward",
        "move backwards",
        "camera zoom out",
        "pull out",
        "further away",
        "zoom out slowly",
        "the camera slowly zooms out",
        "the view zooms out",
        "shrink",
        "move out",
        "fly backward",
    ],
    "still": [
        "still",
        "the camera is still",
        "static",
        "static camera",
        "no motion",
        "no movement",
        "motionless",
        "the camera stays still",
        "the camera does not move",
        "hold still",
        "fixed camera",
        "locked camera",
        "freeze",
        "frozen",
        "nothing moves",
        "a still picture",
        "still image",
        "stay",
        "do not move",
        "tripod shot",
        "static shot",
        "without motion",
        "keep still",
        "the camera stands still",
        "stationary camera",
        "still camera",
    ],
}
SUBJECTS = """a cat|a dog|a photo of a cat|a mountain|a house by the sea|a girl with a balloon|a red car|a forest|the city at night|a beach
a portrait of a woman|an old man|flowers in a vase|a boat on a lake|a street in the rain|a castle|a painting|a cup of coffee|a rocket
a horse|birds in the sky|a river|snow on the hills|a field of wheat|a bridge|a robot|an astronaut|papers were floating in the air on a table in the library
a landscape|a drawing|a colourful pattern|trees|the moon|a temple|a waterfall|a train|clouds|a child playing|a bowl of fruit|a page of text""".replace(
    "\n", "|"
).split("|")
STYLE = [
    "high quality",
    "cinematic",
    "detailed",
    "4k",
    "smooth",
    "slow motion",
    "beautiful light",
    "a film scene",
    "best quality",
    "realistic",
    "in the style of a painting",
    "soft colours",
    "at sunset",
    "sharp",
]
BAD = [
    "distorted, discontinuous, ugly, blurry, low resolution, disfigured, disconnected limbs, ugly faces, incomplete arms",
    "blurry, low quality",
    "ugly",
    "bad quality",
    "low resolution",
    "watermark",
    "distorted",
    "worst quality",
]


def phrases(move):
    if move in WAYS:
        forms = PAN + (TILT if move in ("up", "down") else [])
        return [form.format(w=way) for form in forms for way in WAYS[move]] + RISE.get(move, [])
    return WORDS.get(move, [])


def made_up(rng):
    return "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 9)))


def prompt(move, rng):
    """One way to ask for a move.  "gentle" is what any text gets that names no motion."""
    subject = SUBJECTS[rng.integers(len(SUBJECTS))]
    if rng.random() < 0.25:
        subject = " ".join(made_up(rng) for _ in range(rng.integers(1, 4)))
    style = STYLE[rng.integers(len(STYLE))]
    if move == "gentle":
        forms = [subject, f"{subject}, {style}", style, BAD[rng.integers(len(BAD))]]
        return forms[rng.choice(4, p=[0.5, 0.25, 0.15, 0.1])]
    choices = phrases(move)
    phrase = choices[rng.integers(len(choices))]
    forms = [
        phrase,
        f"{subject}, {phrase}",
        f"{phrase}, {subject}",
        f"{phrase}, {style}",
        f"{subject}, {phrase}, {style}",
        f"{subject}. {phrase}.",
        f"{phrase} over {subject}",
        f"{subject} {phrase}",
    ]
    text = forms[rng.choice(8, p=[0.4, 0.15, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05])]
    return text.capitalize() if rng.random() < 0.3 else text


def all_words():
    text = (
        [p for move in NAMES for p in phrases(move)]
        + SUBJECTS
        + STYLE
        + BAD
        + ["in", "out", "over", "animate", "video", "clip"]
    )
    return " ".join(text)
