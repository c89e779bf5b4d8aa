"""The first stage: pictures to latents and back."""

from __future__ import annotations

from argparse import Namespace

import clips
import heldout
import models
import numpy as np
import scenes
import torch
from run import Run, Schedule

SIDE = 48  # of the crops that are trained on
NOISE = 0.15  # most that is added to the latents, in their deviations: what the UNet makes is never exact


def train_autoencoder(args: Namespace) -> None:
    pictures = clips.Pictures(args.seed + 1, photo_share=0.6)
    rng, pool = pictures.rng, []
    net = models.autoencoder()
    models.start_as_average(net)
    run = Run(args.work / "autoencoder.pt", net, args.rate, decay=0.99)
    for factor in Schedule(run, args.minutes):
        for _ in range(3 if len(pool) < 300 else 1):
            view = rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), rng.uniform(0.8, 1.4)
            pool.append(clips.render(pictures.canvas(), [view])[0])
        pool = pool[-600:]
        batch = []
        for k in rng.integers(0, len(pool), args.batch or 16):
            y, x = rng.integers(0, scenes.SIZE - SIDE + 1, 2)
            batch.append(pool[k][:, y : y + SIDE, x : x + SIDE])
        x = torch.stack(batch) * 2 - 1
        z = net.encode(x).latent_dist.sample()
        z = z + NOISE * torch.rand(len(z), 1, 1, 1) * z.std().detach() * torch.randn_like(z)
        error = net.decode(z).sample - x
        run.update(error.abs().mean() + 2 * (error**2).mean(), factor)
        models.three_channels(net)
        run.log(20)
        if run.step % 100 == 0:
            print("ceiling: photographs {:.2f} dB, drawn {:.2f} dB".format(*ceiling(run.mean)), flush=True)
        run.save_now_and_then()
    models.three_channels(run.mean)
    with torch.no_grad():  # the UNet works on latents of unit variance
        z = run.mean.encode(torch.stack(pool[-200:]) * 2 - 1).latent_dist.mode()
    run.extra["scaling"] = round(1 / z[:, :3].std().item(), 5)
    run.save()


@torch.no_grad()
def ceiling(vae: torch.nn.Module) -> tuple[float, float]:
    """Mean PSNR of unseen pictures through the autoencoder: (photographs, drawn)."""
    frames = torch.from_numpy(np.stack(list(heldout.pictures().values()))).permute(0, 3, 1, 2) / 255
    error = vae.decode(vae.encode(frames * 2 - 1).latent_dist.mode()).sample.clamp(-1, 1) / 2 + 0.5 - frames
    dB = -10 * torch.log10((error**2).mean((1, 2, 3)))
    return dB[0::2].mean().item(), dB[1::2].mean().item()


def load_autoencoder(args: Namespace) -> tuple[torch.nn.Module, float]:
    """(the averaged autoencoder, its scaling factor)"""
    vae = models.autoencoder()
    state = torch.load(args.work / "autoencoder.pt")
    vae.load_state_dict(state["mean"])
    return vae.eval().requires_grad_(False), state["extra"]["scaling"]
