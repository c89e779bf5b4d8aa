"""The UNet up to `transformer_in` learns to hand every frame the picture's latents, which only frame 0 has. This is
what a UNet from scratch takes longest to find; alone it is learnt in minutes."""

from __future__ import annotations

import random
from argparse import Namespace

import models
import torch
from bank import Bank
from run import Run, Schedule

ENTRANCE = ("image_latents_proj_in", "image_latents_temporal_encoder", "conv_in", "transformer_in")


def image_latents(z: torch.Tensor, ramp: torch.Tensor) -> torch.Tensor:
    """The pipeline's conditioning clip: the picture's latents, then frames that hold only how far the clip has got."""
    later = ramp[:, None, 1:, None, None].expand(-1, z.shape[1], -1, *z.shape[-2:])
    return torch.cat([z[:, :, :1], later], 2)


def entrance(net: torch.nn.Module, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
    """What diffusers' I2VGenXLUNet computes up to the end of `transformer_in`: (B*F, C, h, w)."""
    b, c, f, h, w = condition.shape
    y = net.image_latents_proj_in(condition.transpose(1, 2).reshape(b * f, c, h, w))
    y = y.reshape(b, f, c, h, w).permute(0, 3, 4, 1, 2).reshape(b * h * w, f, c)
    y = net.image_latents_temporal_encoder(y).reshape(b, h, w, f, c).permute(0, 4, 3, 1, 2)
    y = torch.cat([x, y], 1).transpose(1, 2).reshape(b * f, 2 * c, h, w)
    return net.transformer_in(net.conv_in(y), num_frames=f, return_dict=False)[0]


def train_entrance(args: Namespace) -> None:
    """Every frame must be able to read, linearly, the picture's latents, the ramp and its own noisy latents."""
    torch.manual_seed(args.seed + 3)
    net = models.unet()
    models.start_as_identity(net)
    both = torch.nn.ModuleDict({"unet": net, "read": torch.nn.Conv2d(net.config.block_out_channels[0], 9, 1)})
    parts = [p for name in ENTRANCE for p in getattr(net, name).parameters()]
    run = Run(args.work / "entrance.pt", both, args.rate, parameters=[*parts, *both["read"].parameters()])
    bank, rng = Bank(args.work / "bank"), random.Random(args.seed)
    for factor in Schedule(run, args.minutes):
        frames = rng.choice((2, 3, 4, 4, 7))
        z, ramp, *_ = bank.batch(rng, 24 // frames * 2, frames, 8)
        if rng.random() < 0.3:  # more frames than a stored clip has
            ramp = torch.cat([ramp, torch.rand(len(ramp), 9)], 1)
            frames += 9
        noise = torch.randn(len(z), 4, frames, 8, 8) * 0.9 + 0.5 * z[:, :, :1]
        found = both["read"](entrance(net, noise, image_latents(z, ramp)))
        found = found.reshape(len(z), frames, 9, 8, 8).transpose(1, 2)
        how_far = 3 * ramp[:, None, :, None, None].expand(-1, 1, -1, 8, 8)
        error = (found - torch.cat([noise, z[:, :, :1].expand_as(noise), how_far], 1)) ** 2
        run.update(error.mean(), factor)
        own, copied, told = error[:, :4].mean(), error[:, 4:8, 1:].mean(), error[:, 8].mean()
        run.log(100, f"own {own:.4f} copied {copied:.4f} ramp {told:.4f}")
    run.save()


def start(args: Namespace, net: torch.nn.Module) -> None:
    """A UNet with the entrance as it was learnt, whose answer is that the picture stands still."""
    state = torch.load(args.work / "entrance.pt")["net"]
    net.load_state_dict({k.removeprefix("unet."): v for k, v in state.items() if k.startswith("unet.")})
    read = torch.nn.Conv2d(net.config.block_out_channels[0], 9, 1)
    read.load_state_dict({k.removeprefix("read."): v for k, v in state.items() if k.startswith("read.")})
    models.start_as_still(net, read)
