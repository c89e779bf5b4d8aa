"""The UNet learns that a frame's noisy latents become the picture, moved as the words say, as far as the ramp says."""

from __future__ import annotations

import random
from argparse import Namespace

import clips
import models
import moves
import torch
import torch.nn.functional as F
from bank import CELLS, Bank
from run import Run, Schedule, join
from train_entrance import image_latents, start
from train_text import Words

GUIDANCE = 9.0  # the pipeline's default
CHANNELS = (1.0, 1.0, 1.0, 0.05)  # weight of each latent channel; the autoencoder ignores the fourth
ONWARD = 0.65  # share of the steps that go on with the clips of the step before
LAST = 20  # timestep
DROPPED = 0.12  # share of the clips without words and image embedding, in which the picture stands still


class Batches:
    """Noisy clips: `draw()` gives a `Namespace` with what the UNet is given and what it must answer."""

    def __init__(self, args: Namespace, seed: int):
        self.args = args
        self.bank, self.words, self.rng = Bank(args.work / "bank"), Words(args), random.Random(seed)
        self.schedule = models.scheduler().alphas_cumprod
        torch.manual_seed(seed)

    def draw(self) -> Namespace:
        """New clips, each with noise of a level of its own."""
        z, ramp, fps, asked, seen = self.bank.batch(self.rng, self.args.batch or 8, self.args.frames, self.args.side)
        text = self.words.batch(asked, self.rng)
        drop = torch.rand(len(z)) < DROPPED
        text[drop], seen[drop], z[drop] = self.words.none, 0, z[drop][:, :, :1]
        asked = [moves.NAMES.index("still") if dropped else m for m, dropped in zip(asked, drop, strict=True)]
        t = (1000 * (1 - torch.rand(len(z)) ** self.args.emphasis)).long().clamp(0, 999)  # much noise is preferred
        a, noise = self.alpha(t), torch.randn_like(z)
        return Namespace(
            z=z, x=a.sqrt() * z + (1 - a).sqrt() * noise, v=a.sqrt() * noise - (1 - a).sqrt() * z, t=t, weight=1.1 - a,
            fps=fps, condition=image_latents(z, ramp), seen=seen[:, None], text=text, drop=drop, asked=asked, ramp=ramp,
            nothing=self.words.none.expand(len(z), -1, -1),
        )  # fmt: skip

    @torch.no_grad()
    def onward(self, batch: Namespace, answer: torch.Tensor) -> Namespace | None:
        """The same clips with less noise, as the model's own answer leaves them (equation 12 of arXiv 2010.02502), or
        None where they are done. In sampling its errors add up; so it learns to undo them."""
        a = self.alpha(batch.t)
        clean, noise = a.sqrt() * batch.x - (1 - a).sqrt() * answer, (1 - a).sqrt() * batch.x + a.sqrt() * answer
        t = batch.t - torch.randint(40, 200, batch.t.shape)
        if (t > LAST).float().mean() < 0.6:
            return None
        t = t.clamp(LAST)
        a = self.alpha(t)
        x = a.sqrt() * clean + (1 - a).sqrt() * noise
        v = (a.sqrt() * x - batch.z) / (1 - a).sqrt()
        return Namespace(**{**vars(batch), "x": x, "v": v, "t": t, "weight": 1 - a})

    def alpha(self, t: torch.Tensor) -> torch.Tensor:
        return self.schedule[t].reshape(-1, 1, 1, 1, 1)


def guided(on: torch.Tensor, off: torch.Tensor, drop: torch.Tensor) -> torch.Tensor:
    """The guided answer. Guidance multiplies the difference of the two branches, and as the branch without words cannot
    know the motion that difference is large: trained the usual way, a clip gets ghosts of eight times its strength. So
    the *guided* answer is what has to be right at GUIDANCE; the branch with words is then a ninth of the way."""
    return torch.where(drop.reshape(-1, 1, 1, 1, 1), on, off + GUIDANCE * (on - off))


def loss_of(answer: torch.Tensor, batch: Namespace) -> torch.Tensor:
    """Root mean squared error of each frame, weighted by what it does to the clean latents, whose squared error is
    1 - alpha times v's. The root, so that smooth pictures, whose errors are small and seen all the same, count as well.
    Guided answers have GUIDANCE times the gradient; the first frame is the picture itself and counts more."""
    error = (answer - batch.v) ** 2 * batch.weight * torch.tensor(CHANNELS).reshape(1, 4, 1, 1, 1)
    error = (error.mean((1, 3, 4)) + 1e-4).sqrt() * torch.where(batch.drop, 1.0, 1 / GUIDANCE)[:, None]
    return torch.cat([1.5 * error[:, :1], error[:, 1:]], 1).mean()


class Watch:
    """Errors of the clean latents that guided answers amount to, at high noise: of the first frame, of later ones."""

    def __init__(self):
        self.found: list[tuple[float, float]] = []

    @torch.no_grad()
    def see(self, answer: torch.Tensor, batch: Namespace) -> None:
        high = (batch.t > 700) & ~batch.drop
        if high.any():
            error = ((answer - batch.v) ** 2 * batch.weight)[high][:, :3]
            self.found.append((error[:, :, 0].mean().item(), error[:, :, 1:].mean().item()))

    def __str__(self) -> str:
        if not self.found:
            return "no clip at high noise yet"
        first, later = (sum(column) / len(column) for column in zip(*self.found[-48:], strict=True))
        return f"first frame {first:.4f}, later {later:.4f}"


class FlowReaders(torch.nn.Module):
    """A help in training, not part of the model: at two places on the UNet's way up, a linear read-out of where each
    cell's content comes from. Without it the directions took many thousand steps to get from the words to the finest
    level."""

    def __init__(self, net: torch.nn.Module):
        super().__init__()
        self.read = torch.nn.ModuleList(
            [torch.nn.Conv2d(block.resnets[0].out_channels, 2, 1) for block in net.up_blocks[:2]]
        )
        self.seen: dict[int, torch.Tensor] = {}
        for k in range(2):
            net.up_blocks[k].register_forward_hook(lambda _module, _given, out, k=k: self.seen.__setitem__(k, out))

    def loss(self, batch: Namespace, side: int) -> torch.Tensor:
        """Mean squared error of the flow, in latent cells."""
        true = torch.stack(
            [
                clips.flow(moves.NAMES[m], float(r), float(fps), CELLS, side)
                for m, row, fps in zip(batch.asked, batch.ramp, batch.fps, strict=True)
                for r in row
            ]
        )
        total = torch.zeros(())
        for k, read in enumerate(self.read):
            found = read(self.seen[k])
            total = total + ((found - F.avg_pool2d(true, side // found.shape[-1])) ** 2).mean()
        return total


    def begin(self, net: torch.nn.Module, batches: Batches, side: int, steps: int = 100) -> None:
        """Alone at first: read-outs that know nothing yet would disturb a network that is trained already."""
        optimiser = torch.optim.Adam(self.parameters(), 1e-2)
        for _ in range(steps):
            batch = batches.draw()
            with torch.no_grad():
                net(batch.x, batch.t, batch.fps, batch.condition, batch.seen, batch.text)
            optimiser.zero_grad()
            flow = self.loss(batch, side)
            flow.backward()
            optimiser.step()
        print(f"read-outs: {flow.item():.4f}", flush=True)


def train_motion(args: Namespace) -> None:
    join(args.work, args.rank, args.ranks)
    torch.manual_seed(args.seed + 5)
    net = models.unet()
    models.start_as_identity(net)
    if not (args.work / "motion.pt").exists():
        start(args, net)
    models.skip_time_layers(net)
    readers, readers_file = FlowReaders(net), args.work / f"readers{args.rank}.pt"
    trained = [*net.parameters(), *readers.parameters()]
    run = Run(args.work / "motion.pt", net, args.rate, decay=0.998, parameters=trained)
    models.skip_time_layers(run.mean)
    batches, watch, going = Batches(args, 100 * run.step + args.rank), Watch(), None
    if readers_file.exists():
        readers.load_state_dict(torch.load(readers_file))
    else:
        readers.begin(net, batches, args.side)
    for factor in Schedule(run, args.minutes, args.end):
        batch = going if going and batches.rng.random() < ONWARD else batches.draw()
        with torch.no_grad():
            nobody = torch.zeros_like(batch.seen)
            off = net(batch.x, batch.t, batch.fps, batch.condition, nobody, batch.nothing, return_dict=False)[0]
        on = net(batch.x, batch.t, batch.fps, batch.condition, batch.seen, batch.text, return_dict=False)[0]
        answer = guided(on, off, batch.drop)
        flow = readers.loss(batch, args.side)
        run.update(loss_of(answer, batch) + 0.2 * flow, factor)
        going = batches.onward(batch, answer)
        watch.see(answer, batch)
        if args.rank == 0:
            run.log(48, f"flow {flow.item():.4f} {watch}")
            run.save_now_and_then()
            torch.save(readers.state_dict(), readers_file)
    if args.rank == 0:
        run.save()
