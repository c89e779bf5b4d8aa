"""Training clips as latents, made once and stored."""

from __future__ import annotations

import random
import time
from argparse import Namespace
from pathlib import Path

import clips
import moves
import torch
import torch.nn.functional as F
from train_autoencoder import load_autoencoder
from train_text import load_text

SHARES = {"left": 2, "right": 2, "up": 2, "down": 2, "in": 2, "out": 2, "still": 1, "gentle": 1}
FRAMES = 7  # of a stored clip: the picture and six later moments
CELLS = 24  # latents along a side
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@torch.no_grad()
def make_bank(args: Namespace) -> None:
    """Writes the latents of clips to WORK/bank, 32 clips a file, until the time is over or `keep` files are made."""
    folder = args.work / "bank"
    folder.mkdir(exist_ok=True)
    vae, scaling = load_autoencoder(args)
    _, _, vision = load_text(args)
    began = time.monotonic()
    shares = torch.tensor(list(SHARES.values()), dtype=torch.float64)
    for number in range(args.keep):
        if time.monotonic() - began > 60 * args.minutes:
            break
        pictures = clips.Pictures(1000 + 100000 * args.seed + number, photo_share=0.5)
        rng, made = pictures.rng, []
        for _ in range(32):
            move = list(SHARES)[rng.choice(len(SHARES), p=(shares / shares.sum()).numpy())]
            fps = 16 if rng.random() < 0.5 else int(rng.integers(8, 33))
            ramp = [0.0, *sorted(rng.random(FRAMES - 2)), 1.0]
            views = [moves.camera(move, r, fps) for r in ramp]
            start = rng.uniform(-0.08, 0.08, 2)
            frames = clips.render(pictures.canvas(), views, start=start, zoom=rng.uniform(0.9, 1.3))
            clip = {
                "z": (vae.encode(frames * 2 - 1).latent_dist.sample() * scaling).half(),
                "ramp": torch.tensor(ramp, dtype=torch.float32),
                "fps": fps,
                "move": moves.NAMES.index(move),
                "seen": image_embedding(vision, frames[:1])[0],
            }
            made.append(clip)
        part = folder / f"{args.seed}.part"
        torch.save(made, part)
        part.replace(folder / f"{args.seed}-{number:04d}.pt")


def image_embedding(vision: torch.nn.Module, frames: torch.Tensor) -> torch.Tensor:
    small = F.interpolate(frames, (56, 56), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return vision((small - mean) / std).image_embeds


class Bank:
    """The stored clips."""

    def __init__(self, folder: Path):
        self.clips = [clip for file in sorted(folder.glob("*.pt")) for clip in torch.load(file)]

    def batch(self, rng: random.Random, count: int, frames: int, side: int):
        """`count` clips of the same number of frames, cut to side x side latents; a zoom is cut around its centre.

        Returns (latents (B, 4, F, side, side), ramp (B, F), fps (B,), moves, image embeddings (B, D)).
        """
        z, ramp, fps, asked, seen = [], [], [], [], []
        for clip in rng.choices(self.clips, k=count):
            shown = [0, *sorted(rng.sample(range(1, FRAMES), frames - 1))]
            room = clip["z"].shape[-1] - side
            zooming = moves.NAMES[clip["move"]] in ("in", "out", "gentle")
            y, x = (room // 2, room // 2) if zooming else (rng.randint(0, room), rng.randint(0, room))
            z.append(clip["z"][shown, :, y : y + side, x : x + side].float())
            ramp.append(clip["ramp"][shown])
            fps.append(clip["fps"])
            asked.append(clip["move"])
            seen.append(clip["seen"])
        return torch.stack(z).transpose(1, 2), torch.stack(ramp), torch.tensor(fps), asked, torch.stack(seen)
