"""CLIP's image encoder (arXiv 2103.00020; transformers CLIPVisionModelWithProjection): what the picture is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import mlx.core as mx
import mlx.nn as nn

from .clip_encoder import CLIPEncoder, CLIPEncoderConfig


@dataclass(frozen=True)
class CLIPVisionConfig(CLIPEncoderConfig):
    """``image_encoder/config.json``. The defaults are the released model, OpenCLIP's ViT-H/14."""

    hidden_size: int = 1280
    intermediate_size: int = 5120
    projection_dim: int = 1024
    num_hidden_layers: int = 32
    num_attention_heads: int = 16
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 14
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5

    reference: ClassVar = {
        "hidden_size": 768, "intermediate_size": 3072, "projection_dim": 512, "num_hidden_layers": 12,
        "num_attention_heads": 12, "patch_size": 32, "hidden_act": "quick_gelu",
    }  # fmt: skip


class CLIPVisionEmbeddings(nn.Module):
    """The picture cut into patches, a class token before them. Patches don't overlap: the convolution is one product
    per patch, which Metal runs as implicit GEMM."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        patches = (config.image_size // config.patch_size) ** 2
        self.class_embedding = mx.zeros((config.hidden_size,))
        self.patch_embedding = nn.Conv2d(
            config.num_channels, config.hidden_size, config.patch_size, stride=config.patch_size, bias=False
        )
        self.position_embedding = nn.Embedding(1 + patches, config.hidden_size)

    def __call__(self, pixels: mx.array) -> mx.array:
        B = pixels.shape[0]
        patches = self.patch_embedding(pixels.astype(self.patch_embedding.weight.dtype))
        patches = patches.flatten(1, 2)  # (B, patches, C), row after row
        first = mx.broadcast_to(self.class_embedding, (B, 1, patches.shape[-1]))
        x = mx.concatenate([first, patches], axis=1)
        return x + self.position_embedding(mx.arange(x.shape[1]))


class CLIPVisionTransformer(nn.Module):
    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        self.embeddings = CLIPVisionEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)  # the checkpoint's spelling
        self.encoder = CLIPEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def __call__(self, pixels: mx.array) -> mx.array:
        x = self.encoder(self.pre_layrnorm(self.embeddings(pixels)))
        return self.post_layernorm(x[:, 0])  # only the class token is used


class CLIPVisionModelWithProjection(nn.Module):
    """A picture to one vector in the space that it shares with the texts."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        self.config = config
        self.vision_model = CLIPVisionTransformer(config)
        self.visual_projection = nn.Linear(config.hidden_size, config.projection_dim, bias=False)

    def __call__(self, pixels: mx.array) -> mx.array:
        """pixels (B, S, S, 3), S = image_size, with CLIP's mean and standard deviation taken out -> (B, D) in the
        weights' dtype, not scaled to length one."""
        return self.visual_projection(self.vision_model(pixels))
