"""The text encoder learns to name the camera move at every token from the end of the prompt on; then it stays fixed.
The image encoder is left as it was drawn: a fixed random projection."""

from __future__ import annotations

import random
from argparse import Namespace

import models
import moves
import numpy as np
import prompts
import torch
import torch.nn.functional as F
import vocabulary
from run import Run, Schedule

NOTHING = len(moves.NAMES)  # what the empty prompt asks for


def train_text(args: Namespace) -> None:
    tokens = vocabulary.write(args.work / "tokenizer")
    clip_tokenizer = vocabulary.load(args.work / "tokenizer")
    rng = np.random.default_rng(args.seed + 2)
    net = torch.nn.ModuleDict(
        {
            "encoder": models.text_encoder(tokens),
            "vision": models.image_encoder(),
            "read": torch.nn.Linear(models.WIDTH, NOTHING + 1),
        }
    )
    trained = [*net["encoder"].parameters(), *net["read"].parameters()]
    run = Run(args.work / "text.pt", net, args.rate, parameters=trained)
    for factor in Schedule(run, args.minutes):
        asked = torch.from_numpy(rng.integers(0, NOTHING + 1, 32))
        ids = tokenise(clip_tokenizer, ["" if m == NOTHING else prompts.prompt(moves.NAMES[m], rng) for m in asked])
        told = (ids == tokens[vocabulary.END]).float()
        loss = torch.zeros(())
        for skip in (0, 1):  # pipelines differ in how many layers they leave out
            logits = net["read"](text_states(net["encoder"], ids, skip))
            wrong = F.cross_entropy(logits.transpose(1, 2), asked[:, None].expand(-1, 77), reduction="none")
            loss = loss + (wrong * told).sum() / told.sum()
        run.update(loss, factor)
        run.log(50, f"right {(logits.argmax(-1)[:, -1] == asked).float().mean().item():.3f}")
    run.save()


def tokenise(clip_tokenizer, texts: list[str]) -> torch.Tensor:
    return clip_tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids


def text_states(encoder: torch.nn.Module, ids: torch.Tensor, skip: int = 1) -> torch.Tensor:
    """What the pipeline feeds the UNet: the last layer but `skip`, normalised."""
    layers = encoder(ids, output_hidden_states=True).hidden_states
    text = getattr(encoder, "text_model", encoder)  # transformers 5 has no such part
    return text.final_layer_norm(layers[-1 - skip])


def load_text(args: Namespace):
    """(tokenizer, text encoder, image encoder)"""
    clip_tokenizer = vocabulary.load(args.work / "tokenizer")
    encoder, vision = models.text_encoder(clip_tokenizer.get_vocab()), models.image_encoder()
    state = torch.load(args.work / "text.pt")["mean"]
    for name, net in (("encoder.", encoder), ("vision.", vision)):
        net.load_state_dict({key.removeprefix(name): value for key, value in state.items() if key.startswith(name)})
        net.eval().requires_grad_(False)
    return clip_tokenizer, encoder, vision


class Words:
    """Text states of 150 prompts of every move, computed once, and `none`, those of the empty prompt."""

    @torch.no_grad()
    def __init__(self, args: Namespace):
        clip_tokenizer, encoder, _ = load_text(args)
        rng = np.random.default_rng(args.seed + 4)
        self.of = []
        for name in moves.NAMES:
            texts = [prompts.prompt(name, rng) for _ in range(150)]
            self.of.append(text_states(encoder, tokenise(clip_tokenizer, texts)))
        self.none = text_states(encoder, tokenise(clip_tokenizer, [""]))[0]

    def batch(self, asked: list[int], rng: random.Random) -> torch.Tensor:
        return torch.stack([rng.choice(self.of[m]) for m in asked])
