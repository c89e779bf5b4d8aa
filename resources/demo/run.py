"""What every stage of the training shares: a network with its average and optimiser in one checkpoint file, a learning
rate that falls with the time, and several processes that train together."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.distributed

TOGETHER = 8  # steps that each process goes alone before the weights are averaged


class Run:
    """A network in training. `mean` is its exponential average, which is what is exported.

    Resumes from `path` where that exists. The file is torch's own format: open only those you wrote yourself.
    """

    def __init__(
        self, path: Path, net: torch.nn.Module, rate: float, decay: float = 0.995,
        parameters: Iterable[torch.nn.Parameter] | None = None,
    ):  # fmt: skip
        self.path, self.net, self.rate, self.decay, self.step = path, net, rate, decay, 0
        for parameter in net.parameters():
            if parameter.dim() == 4:  # a fifth quicker on a CPU
                parameter.data = parameter.data.to(memory_format=torch.channels_last)
        self.mean = copy.deepcopy(net).eval().requires_grad_(False)
        self.parameters = list(net.parameters() if parameters is None else parameters)
        self.optimiser = torch.optim.AdamW(self.parameters, lr=rate, betas=(0.9, 0.98), weight_decay=1e-4)
        self.losses: list[float] = []
        self.began, self.saved = time.monotonic(), time.monotonic()
        self.extra: dict[str, float] = {}
        if path.exists():
            self.load()

    def load(self) -> None:
        state = torch.load(self.path)
        self.net.load_state_dict(state["net"])
        self.mean.load_state_dict(state["mean"])
        if len(state.get("optimiser", {}).get("param_groups", [{"params": ()}])[0]["params"]) == len(self.parameters):
            self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.extra = state["step"], state["extra"]
        print(f"resumed {self.path.name} at step {self.step}", flush=True)

    def save(self) -> None:
        part = self.path.with_suffix(".part")
        state = {
            "net": self.net.state_dict(), "mean": self.mean.state_dict(), "optimiser": self.optimiser.state_dict(),
            "step": self.step, "extra": self.extra,
        }  # fmt: skip
        torch.save(state, part)
        part.replace(self.path)
        self.saved = time.monotonic()

    def save_now_and_then(self) -> None:
        if time.monotonic() - self.saved > 120:
            self.save()

    def update(self, loss: torch.Tensor, factor: float = 1.0) -> None:
        """One step; `factor` is the schedule's share of the learning rate."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * factor * min(1.0, (self.step + 1) / 50)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.step += 1
        if torch.distributed.is_initialized() and self.step % TOGETHER == 0:
            average(self.parameters)
        decay = min(self.decay, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for mean, value in zip(self.mean.parameters(), self.net.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        self.losses.append(loss.item())

    def log(self, every: int, text: str = "") -> None:
        if self.step % every == 0:
            recent = self.losses[-every:]
            took = time.monotonic() - self.began
            print(
                f"{self.path.stem} step {self.step} loss {sum(recent) / len(recent):.4f} {took:.0f} s {text}",
                flush=True,
            )


class Schedule:
    """The share of the learning rate, from 1 to `end` along a cosine, over a time and not a number of steps: machines
    differ. Iterating ends when the time is over; all processes of a training end together."""

    def __init__(self, run: Run, minutes: float, end: float = 0.05):
        self.run, self.seconds, self.end, self.began = run, 60 * minutes, end, time.monotonic()

    def __iter__(self):
        while True:
            part = min(1.0, (time.monotonic() - self.began) / self.seconds)
            if self.over(part >= 1):
                return
            yield self.end + (1 - self.end) * 0.5 * (1 + math.cos(math.pi * part))

    def over(self, done: bool) -> bool:
        if not torch.distributed.is_initialized():
            return done
        if self.run.step % TOGETHER:
            return False
        flag = torch.tensor([float(done)])
        torch.distributed.all_reduce(flag)
        return flag.item() > 0


def join(work: Path, rank: int, ranks: int) -> None:
    """Several processes of one training, each with batches of its own. One process with one thread uses a busy core
    better than threads that wait for each other."""
    if ranks > 1:
        meeting = f"file://{(work / 'rendezvous').resolve()}"
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=ranks)


@torch.no_grad()
def average(parameters: list[torch.nn.Parameter]) -> None:
    flat = torch.cat([parameter.reshape(-1) for parameter in parameters])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    parts = flat.split([parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.copy_(part.view_as(parameter))
