"""CLIP's text encoder (arXiv 2103.00020; transformers CLIPTextModel): what the video is told to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import mlx.core as mx
import mlx.nn as nn

from ..errors import I2VError
from .clip_encoder import CLIPEncoder, CLIPEncoderConfig


@dataclass(frozen=True)
class CLIPTextConfig(CLIPEncoderConfig):
    """``text_encoder/config.json``. The defaults are the released model, OpenCLIP's ViT-H/14.

    The token ids of that file are ignored: the released one still has the wrong 0, 1 and 2, which nothing uses.
    """

    vocab_size: int = 49408
    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    max_position_embeddings: int = 77
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5

    reference: ClassVar = {
        "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8,
        "hidden_act": "quick_gelu",
    }  # fmt: skip


class CLIPTextEmbeddings(nn.Module):
    def __init__(self, config: CLIPTextConfig):
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def __call__(self, input_ids: mx.array) -> mx.array:
        return self.token_embedding(input_ids) + self.position_embedding(mx.arange(input_ids.shape[1]))


class CLIPTextTransformer(nn.Module):
    def __init__(self, config: CLIPTextConfig):
        super().__init__()
        self.embeddings = CLIPTextEmbeddings(config)
        self.encoder = CLIPEncoder(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def __call__(self, input_ids: mx.array, layers: int) -> mx.array:
        x = self.encoder(self.embeddings(input_ids), mask="causal", layers=layers)
        return self.final_layer_norm(x)


class CLIPTextModel(nn.Module):
    """Token ids to one vector per token. Padding is not masked, in neither reference: it is part of the condition."""

    def __init__(self, config: CLIPTextConfig):
        super().__init__()
        self.config = config
        self.text_model = CLIPTextTransformer(config)

    def __call__(self, input_ids: mx.array, clip_skip: int | None = None) -> mx.array:
        """Hidden states, normalised by the final layer norm.

        Args:
            input_ids: int32 (B, L), L up to 77, each below vocab_size (not checked here: `Tokenizer.check`).
            clip_skip: layers left out at the end, which are not run; 0 and None for none.

        Returns:
            (B, L, D) in the weights' dtype.

        Raises:
            I2VError: ``clip_skip_out_of_range``.
        """
        check_clip_skip(clip_skip, self.config)
        return self.text_model(input_ids, self.config.num_hidden_layers - (clip_skip or 0))


def check_clip_skip(clip_skip: int | None, config: CLIPTextConfig) -> None:
    """Raises I2VError ``clip_skip_out_of_range`` unless clip_skip is None or 0 to the number of layers."""
    if clip_skip is not None and not 0 <= clip_skip <= config.num_hidden_layers:
        raise I2VError(
            "clip_skip_out_of_range",
            f"clip_skip is {clip_skip}, but the text encoder has {config.num_hidden_layers} layers.",
            f"Use 0 to {config.num_hidden_layers}; the model was trained with 1.",
        )
