"""Trains the demo model. README.md tells the order of the stages and what they are for."""

from __future__ import annotations

import argparse
from pathlib import Path

import models
import torch
from bank import make_bank
from export import write_export
from train_again import start_again
from train_autoencoder import train_autoencoder
from train_entrance import train_entrance
from train_finest import train_finest
from train_motion import train_motion
from train_text import train_text

HERE = Path(__file__).resolve().parent
STAGES = {
    "again": start_again,
    "autoencoder": train_autoencoder,
    "text": train_text,
    "bank": make_bank,
    "entrance": train_entrance,
    "motion": train_motion,
    "finest": train_finest,
    "export": write_export,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--work", type=Path, default=HERE / ".work", help="where the checkpoints are, ignored by git")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--end", type=float, default=0.05, help="share of the learning rate that is left at the end")
    parser.add_argument("--batch", type=int, help="pictures or clips of a step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=int, default=60, help="bank: files of 32 clips")
    parser.add_argument("--frames", type=int, default=4, help="motion, finest: frames of a training clip")
    parser.add_argument("--side", type=int, default=24, help="motion, finest: side of the training latents")
    parser.add_argument("--emphasis", type=float, default=1.6, help="motion, finest: how much high noise is preferred")
    parser.add_argument("--rank", type=int, default=0, help="motion, finest: number of this process")
    parser.add_argument("--ranks", type=int, default=1, help="motion, finest: how many processes train together")
    parser.add_argument("--target", type=Path, default=HERE, help="export, again: the model's folder")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    models.quick_attention()
    STAGES[args.stage](args)


if __name__ == "__main__":
    main()
