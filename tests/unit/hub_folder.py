"""A tiny model in the hub's layout, written by the reference itself, every parameter random."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, I2VGenXLUNet
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

MODEL_INDEX = {
    "_class_name": "I2VGenXLPipeline",
    "_diffusers_version": "0.26.1",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "I2VGenXLUNet"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def reference_parts(seed: int = 0) -> dict[str, torch.nn.Module]:
    """The four networks, with widths of which some are multiples of 64 and some are not."""
    torch.manual_seed(seed)
    clip = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2,
            "projection_dim": 64, "hidden_act": "gelu"}
    tokens = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 1}
    parts = {
        "text_encoder": CLIPTextModel(CLIPTextConfig(**clip, **tokens)),
        "image_encoder": CLIPVisionModelWithProjection(CLIPVisionConfig(**clip, image_size=28, patch_size=14)),
        "unet": I2VGenXLUNet(
            sample_size=8, block_out_channels=(32, 64), down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"), layers_per_block=1, norm_num_groups=8,
            cross_attention_dim=64, attention_head_dim=16),
        "vae": AutoencoderKL(
            block_out_channels=(16, 32), norm_num_groups=8, sample_size=32,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2),
    }
    with torch.no_grad():
        for part in parts.values():
            for parameter in part.parameters():
                parameter.copy_(torch.randn(parameter.shape) / 8)
    return parts


def write(folder: Path, parts: dict[str, torch.nn.Module], variant: str | None = None) -> None:
    """Writes or adds to a folder; `variant` "fp16" writes half precision under the hub's names for it."""
    for name, part in parts.items():
        if variant == "fp16":
            part = copy.deepcopy(part).half()
        part.save_pretrained(folder / name, variant=variant)
    DDIMScheduler(beta_schedule="squaredcos_cap_v2").save_pretrained(folder / "scheduler")
    small = {
        "model_index.json": MODEL_INDEX,
        "feature_extractor/preprocessor_config.json": {"crop_size": {"height": 28, "width": 28}},
        "tokenizer/tokenizer_config.json": {"model_max_length": 77},
        "tokenizer/vocab.json": {"<|startoftext|>": 0, "<|endoftext|>": 1},
    }
    for file, values in small.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(json.dumps(values))
    (folder / "tokenizer/merges.txt").write_text("#version: 0.2\n")
