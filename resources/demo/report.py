"""Measures the exported folder through diffusers' own pipeline: motion, first frame, and what every setting changes."""

import json
import time
import warnings
from pathlib import Path

import clips
import measure
import numpy as np
import torch
from PIL import Image

ASKED = {
    "left": "the camera pans to the left",
    "right": "pan right",
    "up": "slow pan up",
    "down": "the camera moves down",
    "in": "zoom in",
    "out": "the camera zooms out",
    "still": "still",
    "gentle": "a photo of a cat",
}
SIX = list(ASKED)[:6]


def load(folder):
    warnings.filterwarnings("ignore")
    import diffusers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    pipe = diffusers.I2VGenXLPipeline.from_pretrained(str(folder), torch_dtype=torch.float32)
    if not hasattr(pipe.text_encoder, "text_model"):  # transformers 5
        object.__setattr__(pipe.text_encoder, "text_model", pipe.text_encoder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def picture(canvas):
    frame = clips.render(canvas, [(0, 0, 1)])[0].permute(1, 2, 0).numpy()
    return Image.fromarray((frame * 255).round().astype(np.uint8))


def animate(pipe, image, prompt, seed=0, **settings):
    settings = {
        "height": clips.SIZE,
        "width": clips.SIZE,
        "num_frames": 16,
        "num_inference_steps": 50,
        "decode_chunk_size": 16,
        **settings,
    }
    torch.manual_seed(seed)  # the reference draws the picture's posterior from the global generator
    return pipe(prompt, image, generator=torch.Generator().manual_seed(seed), output_type="np", **settings).frames[0]


def psnr(a, b):
    return float(-10 * np.log10(((np.asarray(a, np.float64) - b) ** 2).mean() + 1e-12))


def sheet(clips_, path, columns=8):
    rows = []
    for frames in clips_:
        pick = np.linspace(0, len(frames) - 1, min(columns, len(frames))).round().astype(int)
        rows.append(np.concatenate([frames[k] for k in pick], 1))
    Image.fromarray((np.concatenate(rows, 0) * 255).round().astype(np.uint8)).save(path)


@torch.no_grad()
def through_autoencoder(pipe, image):
    x = torch.from_numpy(np.asarray(image, np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    y = pipe.vae.decode(pipe.vae.encode(x).latent_dist.mode()).sample
    return (y[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()


def report(folder, work, pictures=20, settings=None, deadline=1e9):
    """Prints a table, writes WORK/report.json and WORK/report.png.  `settings` are arguments of the pipeline."""
    settings, began = settings or {}, time.time()
    pipe = load(folder)
    some = clips.unseen_pictures()
    some = [some[k % 2 * 10 + k // 2] for k in range(20)][:pictures]  # photographs and drawn scenes in turn
    rows, sheets = [], []
    for k, (name, canvas) in enumerate(some):
        image = picture(canvas)
        truth = np.asarray(image, np.float64) / 255
        ceiling = through_autoencoder(pipe, image)
        for move in [*SIX, "still"]:
            if time.time() - began > deadline:
                break
            frames = animate(pipe, image, ASKED[move], seed=k, **settings)
            way = measure.camera_between(ceiling, frames[-1])
            rows.append(
                {
                    "picture": name,
                    "move": move,
                    "along": measure.along(move, way) if move != "still" else None,
                    "amount": measure.amount(way),
                    "first": psnr(frames[0], truth),
                    "ceiling": psnr(ceiling, truth),
                    "last_contrast": float(frames[-1].std() / ceiling.std()),
                }
            )
            if k < 4:
                sheets.append(frames)
    moved = [r for r in rows if r["move"] != "still"]
    still = [r["amount"] for r in rows if r["move"] == "still"]
    result = {
        "clips": len(moved),
        "right_direction": float(np.mean([r["along"] > 0 for r in moved])),
        "along_median": {
            m: float(np.median([r["along"] for r in moved if r["move"] == m]))
            for m in SIX
            if any(r["move"] == m for r in moved)
        },
        "right_by_move": {
            m: float(np.mean([r["along"] > 0 for r in moved if r["move"] == m]))
            for m in SIX
            if any(r["move"] == m for r in moved)
        },
        "amount_moved": float(np.mean([r["amount"] for r in moved])),
        "amount_still": float(np.mean(still or [0])),
        "still_max": float(np.max(still or [0])),
        "first_frame_below_ceiling_dB": float(np.mean([r["ceiling"] - r["first"] for r in rows])),
        "first_frame_below_ceiling_worst_dB": float(np.max([r["ceiling"] - r["first"] for r in rows])),
        "ceiling_photographs_dB": float(np.mean([r["ceiling"] for r in rows if r["picture"].startswith("photo")])),
        "ceiling_drawn_dB": float(np.mean([r["ceiling"] for r in rows if r["picture"].startswith("drawn")] or [0])),
        "last_frame_contrast": float(np.mean([r["last_contrast"] for r in rows])),
        "seconds_per_clip": (time.time() - began) / max(1, len(rows)),
        "settings": settings,
    }
    print(json.dumps(result, indent=1), flush=True)
    work = Path(work)
    (work / "report.json").write_text(json.dumps({**result, "rows": rows}, indent=1))
    if sheets:
        sheet(sheets, work / "report.png")
    return result


def settings_report(folder, settings=None):
    """What steps, guidance, the negative prompt, the seed and target_fps change on one picture: mean absolute differences
    (0 to 255) and, for target_fps, how far the camera gets."""
    pipe, settings = load(folder), settings or {}
    image = picture(clips.unseen_pictures()[0][1])
    plain = animate(pipe, image, "pan left", **settings)
    changes = {
        "steps 10": {"num_inference_steps": 10},
        "guidance 1": {"guidance_scale": 1.0},
        "seed 1": {"seed": 1},
        "negative prompt 'zoom out'": {"negative_prompt": "zoom out"},
        "fps 8": {"target_fps": 8},
        "fps 32": {"target_fps": 32},
    }
    start = through_autoencoder(pipe, image)
    found = {"default": {"along": measure.along("left", measure.camera_between(start, plain[-1]))}}
    for name, change in changes.items():
        frames = animate(pipe, image, "pan left", **{**settings, **change})
        found[name] = {
            "difference": float(np.abs(frames - plain).mean() * 255),
            "along": measure.along("left", measure.camera_between(start, frames[-1])),
        }
    print(json.dumps(found, indent=1), flush=True)
    return found
