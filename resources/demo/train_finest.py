"""The entrance and the finest level of the UNet learn on: they do the copying and the moving of content, which takes
most steps. What the levels below say to them (where each cell's content comes from) is computed once for several.
"""

from __future__ import annotations

from argparse import Namespace

import models
import torch
import torch.nn.functional as F
from run import Run, Schedule, join
from train_entrance import ENTRANCE, entrance
from train_motion import Batches, Watch, guided, loss_of

KEPT, EVERY = 24, 3  # batches that are kept, and after how many steps one is replaced


def train_finest(args: Namespace) -> None:
    join(args.work, args.rank, args.ranks)
    net = models.unet()
    models.start_as_identity(net)
    models.skip_time_layers(net)
    parts = [getattr(net, name) for name in (*ENTRANCE, "conv_norm_out", "conv_out")]
    parts += [net.down_blocks[0].resnets, net.up_blocks[-1]]
    run = Run(args.work / "motion.pt", net, args.rate, parameters=[p for part in parts for p in part.parameters()])
    models.skip_time_layers(run.mean)
    below: dict[str, torch.Tensor] = {}
    net.up_blocks[-2].register_forward_hook(lambda _module, _given, out: below.__setitem__("out", out))
    batches, watch, pool = Batches(args, 100 * run.step + args.rank), Watch(), []
    for factor in Schedule(run, args.minutes, args.end):
        if run.step % EVERY == 0 or len(pool) < KEPT // 4:
            batch = batches.draw()
            with torch.no_grad():
                for name, seen, text in (
                    ("on", batch.seen, batch.text), ("off", torch.zeros_like(batch.seen), batch.nothing),
                ):  # fmt: skip
                    net(batch.x, batch.t, batch.fps, batch.condition, seen, text, return_dict=False)
                    setattr(batch, name, below["out"])
            pool = [*pool, batch][-KEPT:]
        batch = batches.rng.choice(pool)
        embedding, skips = way_down(net, batch)
        with torch.no_grad():
            off = way_up(net, batch.off, embedding, skips, args.frames)
        answer = guided(way_up(net, batch.on, embedding, skips, args.frames), off, batch.drop)
        run.update(loss_of(answer, batch), factor)
        watch.see(answer, batch)
        if args.rank == 0:
            run.log(48, f"finest level: {watch}")
            run.save_now_and_then()
    if args.rank == 0:
        run.save()


def way_down(net: torch.nn.Module, batch: Namespace) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Embedding of time and frame rate, and the skip connections of the finest level, as diffusers' UNet has them."""
    embedding = net.time_embedding(net.time_proj(batch.t)) + net.fps_embedding(net.time_proj(batch.fps))
    embedding = embedding.repeat_interleave(batch.x.shape[2], 0)
    skips = [entrance(net, batch.x, batch.condition)]
    for resnet in net.down_blocks[0].resnets:
        skips.append(resnet(skips[-1], embedding))
    return embedding, skips


def way_up(net: torch.nn.Module, below: torch.Tensor, embedding: torch.Tensor, skips: list[torch.Tensor], frames: int):
    """The answer (B, 4, F, h, w) from what the level below said."""
    up = net.up_blocks[-1]
    y = up(hidden_states=below, temb=embedding, res_hidden_states_tuple=tuple(skips), num_frames=frames)
    y = net.conv_out(F.silu(net.conv_norm_out(y)))
    return y[None].reshape(-1, frames, *y.shape[1:]).permute(0, 2, 1, 3, 4)
