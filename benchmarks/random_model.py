"""A model in the hub's layout with random weights, written by the reference, of any size."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tests" / "parity"), str(ROOT / "tests" / "full")]  # for mirror, tiny and released

import i2v_mlx  # noqa: E402, F401, I001  first of all: it loads OpenBLAS before anything imports mlx
import diffusers  # noqa: E402
import transformers  # noqa: E402
from mirror import randomise  # noqa: E402
from released import CONFIGS  # noqa: E402
from tiny import tokenizer  # noqa: E402

# As the released model, a fifth to a tenth as wide.
MODERATE: dict[str, dict[str, Any]] = {
    **CONFIGS,
    "text_encoder": CONFIGS["text_encoder"]
    | {"vocab_size": 1000, "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6,
       "num_attention_heads": 4},
    "image_encoder": CONFIGS["image_encoder"]
    | {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 4,
       "projection_dim": 256},
    "unet": CONFIGS["unet"]
    | {"block_out_channels": [64, 128, 128], "cross_attention_dim": 256, "attention_head_dim": 32,
       "down_block_types": ["CrossAttnDownBlock3D"] * 2 + ["DownBlock3D"],
       "up_block_types": ["UpBlock3D"] + ["CrossAttnUpBlock3D"] * 2},
    "vae": CONFIGS["vae"] | {"block_out_channels": [32, 32, 64, 64]},
}  # fmt: skip

# 100 million parameters, nine tenths of them in a UNet a quarter as wide as the released one.
HUNDRED_MILLION = MODERATE | {
    "unet": CONFIGS["unet"]
    | {"block_out_channels": [80, 160, 320, 320], "cross_attention_dim": 256, "attention_head_dim": 20,
       "norm_num_groups": 16},
}  # fmt: skip

INDEX = {
    "_class_name": "I2VGenXLPipeline",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "I2VGenXLUNet"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def write(folder: Path, configs: dict[str, dict[str, Any]]) -> None:
    """float32, one network in memory at a time; every parameter random."""
    build = {
        "text_encoder": lambda c: transformers.CLIPTextModel(
            transformers.CLIPTextConfig(bos_token_id=998, eos_token_id=999, pad_token_id=999, **c)
        ),
        "image_encoder": lambda c: transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**c)),
        "unet": lambda c: diffusers.I2VGenXLUNet(**c),
        "vae": lambda c: diffusers.AutoencoderKL(**c),
    }
    for seed, (name, make) in enumerate(build.items()):
        randomise(make(configs[name]), seed).save_pretrained(folder / name, max_shard_size="50GB")
    diffusers.DDIMScheduler(**configs["scheduler"]).save_pretrained(folder / "scheduler")
    transformers.CLIPImageProcessor(**configs["feature_extractor"]).save_pretrained(folder / "feature_extractor")
    tokenizer(folder / "vocabulary").save_pretrained(folder / "tokenizer")
    (folder / "model_index.json").write_text(json.dumps(INDEX))
