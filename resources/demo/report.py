"""Measures the bundled model through this project's engine: `make demo-report`.

Twenty pictures that it was not trained on, six moves and standing still, fixed seeds; then what every setting changes.
Prints each thing that the model must show beside what it shows, writes contact sheets, and ends with 1 if a bound is
not met. About a quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import heldout
import measure
import numpy as np
import scenes
from PIL import Image

from i2v_mlx import I2VGenXLPipeline

PROMPTS = {
    "left": "the camera pans to the left",
    "right": "pan right",
    "up": "slow pan up",
    "down": "the camera moves down",
    "in": "zoom in",
    "out": "the camera zooms out",
    "still": "still",
}
SIX = tuple(PROMPTS)[:6]


@dataclass(frozen=True)
class Line:
    """One thing that the model must show."""

    what: str
    found: float
    least: float = -np.inf
    most: float = np.inf

    @property
    def met(self) -> bool:
        return self.least <= self.found <= self.most

    def __str__(self) -> str:
        bounds = (("at least", self.least), ("at most", self.most))
        wanted = ", ".join(f"{word} {bound:g}" for word, bound in bounds if np.isfinite(bound))
        return f"{'ok     ' if self.met else 'NOT MET'}  {self.what}: {self.found:.3g} (wanted: {wanted})"


@dataclass(frozen=True)
class Clip:
    """What was measured on one clip. `way` is from the still picture to the last frame; the others are PSNR in dB."""

    picture: str
    move: str
    way: measure.Way
    first: float  # of the first frame
    ceiling: float  # of the picture through the autoencoder

    @property
    def along(self) -> float:
        return measure.along(self.move, self.way)


def animate(pipe: I2VGenXLPipeline, picture: np.ndarray, prompt: str, seed: int = 0, **settings: Any) -> np.ndarray:
    """The frames (F, 96, 96, 3) in [0, 1] of one clip."""
    size = {"height": scenes.SIZE, "width": scenes.SIZE}
    return pipe(prompt, picture, generator=seed, output_type="np", **size, **settings).frames[0]


def through_autoencoder(pipe: I2VGenXLPipeline, picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W, 3) in [0, 1]: the best that any frame of this picture can be."""
    import mlx.core as mx

    vae = pipe.networks.get("vae")
    mean, _ = vae.encode(mx.array(picture[None].astype(np.float32) / 127.5 - 1))
    return np.array(vae.decode(mean)[0] / 2 + 0.5).clip(0, 1)


def measured(pipe: I2VGenXLPipeline, name: str, picture: np.ndarray, move: str, frames: np.ndarray) -> Clip:
    truth, best = picture / 255, through_autoencoder(pipe, picture)
    way = measure.camera_between(best, frames[-1])
    return Clip(name, move, way, measure.psnr(frames[0], truth), measure.psnr(best, truth))


def lines(clips: list[Clip]) -> list[Line]:
    """The bounds that hold over many clips: directions, standing still, first frames, the autoencoder."""
    moved = [clip for clip in clips if clip.move != "still"]
    amounts = [measure.amount(clip.way) for clip in moved]
    still = [measure.amount(clip.way) for clip in clips if clip.move == "still"]
    ceilings = {clip.picture: clip.ceiling for clip in clips}
    drawn = [dB for name, dB in ceilings.items() if name.startswith("drawn")]
    photos = [dB for name, dB in ceilings.items() if not name.startswith("drawn")]
    return [
        Line("share of the clips that move as asked", np.mean([clip.along > 0 for clip in moved]), least=0.95),
        Line("still, against how much the moves move", np.mean(still) / np.mean(amounts), most=0.2),
        Line("first frame below the autoencoder's ceiling, dB", np.mean([c.ceiling - c.first for c in clips]), most=2),
        Line("the autoencoder's ceiling on photographs, dB", np.mean(photos), least=22),
        Line("the autoencoder's ceiling on drawn scenes, dB", np.mean(drawn), least=26),
    ]


def setting_lines(pipe: I2VGenXLPipeline, picture: np.ndarray, many: int, **settings: Any) -> list[Line]:
    """What steps, guidance, the negative prompt, the seed and target_fps change. `many` is a number of steps well above
    that in `settings`; differences are mean absolute ones of pixels from 0 to 255."""
    start = through_autoencoder(pipe, picture)

    def clip(prompt: str = PROMPTS["left"], **changes: Any) -> np.ndarray:
        return animate(pipe, picture, prompt, **{**settings, **changes})

    def way(frames: np.ndarray) -> float:
        return measure.along("left", measure.camera_between(start, frames[-1]))

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a - b).mean() * 255)

    plain, final = clip(), clip(num_inference_steps=many)
    few = clip(num_inference_steps=max(2, settings["num_inference_steps"] // 4))
    other, whole, negative = clip(seed=1), way(plain), PROMPTS["left"]
    nearer = apart(plain, final) / apart(few, final)
    unasked = way(clip(negative_prompt=negative)) / whole
    return [
        Line(f"distance to {many} steps, against that of a quarter of the steps", nearer, most=0.7),
        Line("the same seed again: difference", apart(plain, clip()), most=0),
        Line("another seed: difference", apart(plain, other), least=0.5),
        Line("another seed: its way against this one's", way(other) / whole, least=0.7, most=1.4),
        Line("guidance 1: its way against that of 9", way(clip(guidance_scale=1.0)) / whole, most=0.5),
        Line("the prompt as the negative one, too: its way against that without", unasked, most=0.5),
        Line("target_fps 8: its way against that of 16", way(clip(target_fps=8)) / whole, least=1.1),
        Line("target_fps 32: its way against that of 16", way(clip(target_fps=32)) / whole, most=0.8),
    ]


def sheet(videos: list[np.ndarray], path: Path, columns: int = 8) -> None:
    """A contact sheet: a row for each clip."""
    rows = []
    for frames in videos:
        shown = np.linspace(0, len(frames) - 1, columns).round().astype(int)
        rows.append(np.concatenate(list(frames[shown]), axis=1))
    Image.fromarray((np.concatenate(rows) * 255).round().astype(np.uint8)).save(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo", help="a folder, or demo")
    parser.add_argument("--out", type=Path, default=Path("outputs/demo-report"), help="where contact sheets go")
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    pipe = I2VGenXLPipeline.from_pretrained(args.model, keep_loaded=True)
    settings = {"num_frames": args.frames, "num_inference_steps": args.steps}
    began, clips = time.monotonic(), []
    for k, (name, picture) in enumerate(list(heldout.pictures().items())[: args.pictures]):
        videos = [animate(pipe, picture, prompt, seed=k, **settings) for prompt in PROMPTS.values()]
        clips += [measured(pipe, name, picture, move, video) for move, video in zip(PROMPTS, videos, strict=True)]
        sheet(videos, args.out / f"{name}.png")
        row = "  ".join(
            f"{clip.move} {clip.along if clip.move in SIX else measure.amount(clip.way):5.2f}" for clip in clips[-7:]
        )
        print(f"{name:9s} {row}  first frame {clips[-7].first:.1f} of {clips[-7].ceiling:.1f} dB", flush=True)
    print(
        "\nhow far of what is asked, median: "
        + ", ".join(f"{move} {np.median([clip.along for clip in clips if clip.move == move]):.2f}" for move in SIX)
    )
    found = lines(clips) + setting_lines(pipe, next(iter(heldout.pictures().values())), many=50, **settings)
    print(*found, f"{time.monotonic() - began:.0f} s; contact sheets are in {args.out}", sep="\n")
    return 0 if all(line.met for line in found) else 1


if __name__ == "__main__":
    sys.exit(main())
