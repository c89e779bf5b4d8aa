"""Writes the trained networks as a folder in the hub's layout, in half precision, and the preview's coefficients."""

from __future__ import annotations

import json
import os
import shutil
from argparse import Namespace
from pathlib import Path

import clips
import diffusers
import models
import torch
from safetensors.torch import save_file
from train_autoencoder import load_autoencoder
from train_text import load_text

PARTS = ("unet", "vae", "text_encoder", "image_encoder", "tokenizer", "feature_extractor", "scheduler")


def write(folder, values):
    folder.mkdir(parents=True, exist_ok=True)
    return lambda name: (folder / name).write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")


def half(state):
    return {key: value.detach().half().contiguous() for key, value in state.items() if value.is_floating_point()}


def config_of(model, kind):
    values = {k: v for k, v in dict(model.config).items() if not k.startswith("_")}
    return {"_class_name": kind, "_diffusers_version": diffusers.__version__, **values}


def save_diffusers(model, folder, **changes):
    write(folder, {**config_of(model, type(model).__name__), **changes})("config.json")
    save_file(half(model.state_dict()), folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})


def save_transformers(model, folder, prefix):
    values = model.config.to_dict()
    values.update(architectures=[type(model).__name__], torch_dtype="float16")
    values.pop("dtype", None)
    values.pop("transformers_version", None)
    write(folder, values)("config.json")
    state = {}
    for key, value in half(model.state_dict()).items():
        if not key.startswith((prefix, "visual_projection", "text_projection")):
            key = prefix + key  # transformers 5 leaves the prefix out; the hub's files have it
        state[key] = value
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@torch.no_grad()
def preview_coefficients(vae: torch.nn.Module, scaling: float, seed: int = 5) -> dict[str, list]:
    """The linear map from scaled latents to colours that fits the autoencoder best (least squares on 160 pictures)."""
    pictures = clips.Pictures(seed)
    frames = torch.cat([clips.render(pictures.canvas(), [(0, 0, 1)]) for _ in range(160)])
    z = torch.cat([vae.encode(part * 2 - 1).latent_dist.mode() * scaling for part in frames.split(16)])
    z = z.permute(0, 2, 3, 1).reshape(-1, 4).double()
    z[:, 3] = 0
    small = torch.nn.functional.avg_pool2d(frames, 4).permute(0, 2, 3, 1).reshape(-1, 3).double()
    columns = torch.cat([z, torch.ones(len(z), 1)], 1)
    found = torch.linalg.lstsq(columns, small, driver="gelsd").solution  # of least norm: nothing for the fourth channel
    return {
        "matrix": [[round(value, 6) for value in row] for row in found[:4].tolist()],
        "bias": [round(value, 6) for value in found[4].tolist()],
    }


def write_export(args: Namespace) -> None:
    """The `export` stage: the averaged networks of all stages."""
    torch.manual_seed(args.seed + 5)
    vae, scaling = load_autoencoder(args)
    _, text, vision = load_text(args)
    net = models.unet()
    models.start_as_identity(net)
    net.load_state_dict(torch.load(args.work / "motion.pt")["mean"])
    export(args.target, net, vae, scaling, text, vision, args.work / "tokenizer")


def export(
    target: Path, unet: torch.nn.Module, vae: torch.nn.Module, scaling: float, text: torch.nn.Module,
    vision: torch.nn.Module, tokenizer_folder: Path,
) -> None:  # fmt: skip
    """Complete in a folder beside the target first, then moved into place part by part."""
    fresh = target / f".export-{os.getpid()}"
    shutil.rmtree(fresh, ignore_errors=True)
    save_diffusers(unet, fresh / "unet")
    save_diffusers(vae, fresh / "vae", scaling_factor=scaling)
    save_transformers(text, fresh / "text_encoder", "text_model.")
    save_transformers(vision, fresh / "image_encoder", "vision_model.")
    shutil.copytree(tokenizer_folder, fresh / "tokenizer")
    write(
        fresh / "feature_extractor",
        {
            "crop_size": {"height": 56, "width": 56},
            "do_center_crop": True,
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_processor_type": "CLIPImageProcessor",
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "resample": 3,
            "rescale_factor": 1 / 255,
            "size": {"shortest_edge": 56},
        },
    )("preprocessor_config.json")
    write(fresh / "scheduler", config_of(models.scheduler(), "DDIMScheduler"))("scheduler_config.json")
    write(
        fresh,
        {
            "_class_name": "I2VGenXLPipeline",
            "_diffusers_version": diffusers.__version__,
            "feature_extractor": ["transformers", "CLIPImageProcessor"],
            "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
            "scheduler": ["diffusers", "DDIMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "I2VGenXLUNet"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )("model_index.json")
    write(fresh, preview_coefficients(vae, scaling))("latent_rgb.json")
    for item in sorted(fresh.iterdir(), key=lambda item: item.name == "model_index.json"):
        place = target / item.name
        if place.is_dir():
            shutil.rmtree(place)
        item.replace(place)
    fresh.rmdir()
    size = sum(f.stat().st_size for part in PARTS for f in (target / part).rglob("*") if f.is_file())
    print(f"exported to {target}: {size / 1e6:.1f} MB", flush=True)
