"""The peer's tiny pipeline, built of the same parts by diffusers and by us.

Components and inputs are those of diffusers' tests/pipelines/i2vgen_xl/test_i2vgenxl.py (Apache-2.0). Its tokenizer
comes from a hub repository, which a test may not need: ours takes its place. Initial weights are transformers' and
diffusers' own.
"""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, I2VGenXLUNet
from diffusers.pipelines.deprecated.i2vgen_xl.pipeline_i2vgen_xl import I2VGenXLPipeline as Reference
from tiny import tokenizer
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

PROMPT = "A painting of a squirrel eating a burger"


def build(folder: Path) -> Reference:
    """The peer's components as a diffusers pipeline, saved to `folder` as the hub has it."""
    torch.manual_seed(0)
    unet = I2VGenXLUNet(
        block_out_channels=(4, 8),
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        layers_per_block=1,
        norm_num_groups=2,
        cross_attention_dim=4,
        attention_head_dim=4,
        num_attention_heads=None,
        sample_size=32,
    )
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(8,), down_block_types=["DownEncoderBlock2D"], up_block_types=["UpDecoderBlock2D"],
        latent_channels=4, norm_num_groups=2, sample_size=32,
    )  # fmt: skip
    torch.manual_seed(0)
    text_config = CLIPTextConfig(
        bos_token_id=998, eos_token_id=999, pad_token_id=999, hidden_size=4, intermediate_size=16, layer_norm_eps=1e-05,
        num_attention_heads=2, num_hidden_layers=2, vocab_size=1000, hidden_act="gelu", projection_dim=32,
    )  # fmt: skip
    text_encoder = CLIPTextModel(text_config)
    torch.manual_seed(0)
    vision_config = CLIPVisionConfig(
        hidden_size=4, projection_dim=4, num_hidden_layers=2, num_attention_heads=2, image_size=32,
        intermediate_size=16, patch_size=1,
    )  # fmt: skip
    image_encoder = CLIPVisionModelWithProjection(vision_config)
    pipe = Reference(
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer(folder.parent / "vocabulary"),
        image_encoder=image_encoder.eval(),
        feature_extractor=CLIPImageProcessor(crop_size=32, size=32),
        unet=unet.eval(),
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False
        ),
    )
    pipe.set_progress_bar_config(disable=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.save_pretrained(folder)
    object.__setattr__(pipe.text_encoder, "text_model", pipe.text_encoder)  # transformers 5, see tiny.py
    return pipe


def pixels(seed: int = 0) -> np.ndarray:
    """The peer's input picture, (32, 32, 3) float32 in [0, 1]: `floats_tensor` of its testing_utils, channels last."""
    draw = random.Random(seed)
    values = [draw.random() for _ in range(3 * 32 * 32)]
    return np.array(values, np.float32).reshape(3, 32, 32).transpose(1, 2, 0)


def ours(**changes) -> dict:
    """The peer's dummy inputs for our pipeline."""
    call = {
        "prompt": PROMPT, "image": pixels(), "generator": 0, "num_inference_steps": 2, "guidance_scale": 6.0,
        "output_type": "np", "num_frames": 4, "width": 32, "height": 32,
    }  # fmt: skip
    return {**call, **changes}


def theirs(**changes) -> dict:
    """The same for diffusers'. Its posterior noise comes from the global generator only, so all noise does."""
    torch.manual_seed(0)
    image = torch.tensor(pixels().transpose(2, 0, 1)[None])
    return {**ours(), "image": image, "generator": None, **changes}
