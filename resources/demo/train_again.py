"""The exported model as checkpoints, so that its training can go on where only the model itself is left."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from pathlib import Path

import models
import torch
import vocabulary
from run import Run
from safetensors.torch import load_file
from train_text import NOTHING


def start_again(args: Namespace) -> None:
    """Writes WORK's autoencoder.pt, text.pt, motion.pt and tokenizer from the model in `target`."""
    target = args.target
    shutil.copytree(target / "tokenizer", args.work / "tokenizer", dirs_exist_ok=True)
    tokens = vocabulary.load(args.work / "tokenizer").get_vocab()

    vae = Run(args.work / "autoencoder.pt", loaded(models.autoencoder(), target / "vae"), args.rate)
    vae.extra["scaling"] = json.loads((target / "vae" / "config.json").read_text())["scaling_factor"]
    text = {"encoder": models.text_encoder(tokens), "vision": models.image_encoder()}
    loaded(text["encoder"], target / "text_encoder")
    loaded(text["vision"], target / "image_encoder")
    both = torch.nn.ModuleDict({**text, "read": torch.nn.Linear(models.WIDTH, NOTHING + 1)})
    for run in (
        vae,
        Run(args.work / "text.pt", both, args.rate),
        Run(args.work / "motion.pt", loaded(models.unet(), target / "unet"), args.rate),
    ):
        run.save()


def loaded(net: torch.nn.Module, folder: Path) -> torch.nn.Module:
    """`net` with the weights of a folder in the hub's layout."""
    (file,) = folder.glob("*.safetensors")
    state = {key: value.float() for key, value in load_file(file).items()}
    own = net.state_dict()
    for key in [key for key in state if key not in own]:  # the hub's files have a prefix that transformers 5 leaves out
        state[key.partition(".")[2]] = state.pop(key)
    state |= {key: value for key, value in own.items() if not value.is_floating_point()}  # positions 0, 1, 2, ...
    net.load_state_dict(state)
    return net
