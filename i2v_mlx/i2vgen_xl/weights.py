"""What the released files of I2VGen-XL hold: which network each part is, how its keys become ours, what is quantised.

Keys and shapes of the released model: reference tables of ali-vilab/i2vgen-xl at 39e1979. Files that transformers 5 has
saved leave out the prefix ``text_model.``; files from before diffusers 0.18 have other names in the VAE's attention.
"""

from __future__ import annotations

from typing import Any

import mlx.nn as nn

from ..parts.clip_text import CLIPTextConfig, CLIPTextModel
from ..parts.clip_vision import CLIPVisionConfig, CLIPVisionModelWithProjection
from ..parts.vae import AutoencoderKL, VAEConfig
from ..weights import Part
from .config import UNetConfig
from .unet import I2VGenXLUNet

CLASS_NAME = "I2VGenXLPipeline"


def _unet(config: dict[str, Any]) -> nn.Module:
    return I2VGenXLUNet(UNetConfig.from_dict(config))


def _text_encoder(config: dict[str, Any]) -> nn.Module:
    return CLIPTextModel(CLIPTextConfig.from_dict(config))


def _image_encoder(config: dict[str, Any]) -> nn.Module:
    return CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(config))


def _vae(config: dict[str, Any]) -> nn.Module:
    return AutoencoderKL(VAEConfig.from_dict(config))


# What may be quantised, and what stays in float: see the head of convert.py.
PARTS = {
    "text_encoder": Part(
        stem="model",
        class_name="CLIPTextModel",
        build=_text_encoder,
        rename=((r"^(?=embeddings\.|encoder\.|final_layer_norm\.)", "text_model."),),
        ignore=r"(text_model\.)?embeddings\.position_ids",
        quantized=r"encoder\.layers\.",
    ),
    "image_encoder": Part(
        stem="model",
        class_name="CLIPVisionModelWithProjection",
        build=_image_encoder,
        ignore=r"vision_model\.embeddings\.position_ids",
        quantized=r"encoder\.layers\.",
    ),
    "unet": Part(
        stem="diffusion_pytorch_model",
        class_name="I2VGenXLUNet",
        build=_unet,
        quantized=r"(^|\.)(attentions|temp_attentions|transformer_in)\.",
    ),
    "vae": Part(
        stem="diffusion_pytorch_model",
        class_name="AutoencoderKL",
        build=_vae,
        rename=(
            (r"(attentions\.\d+)\.query\.", r"\1.to_q."),
            (r"(attentions\.\d+)\.key\.", r"\1.to_k."),
            (r"(attentions\.\d+)\.value\.", r"\1.to_v."),
            (r"(attentions\.\d+)\.proj_attn\.", r"\1.to_out.0."),
        ),
        float32=True,
    ),
}
