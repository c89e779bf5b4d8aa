"""A small I2VGen-XL with random weights, as a diffusers pipeline and as the same model in the hub's layout on disk."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, I2VGenXLUNet
from diffusers.pipelines.deprecated.i2vgen_xl.pipeline_i2vgen_xl import I2VGenXLPipeline
from mirror import randomise
from PIL import Image
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

WORDS = ["a", "cat", "runs", "in", "the", "sea", "blurry", "still", "very", "long"]
START, END = "<|startoftext|>", "<|endoftext|>"
DIMS = 24  # of text states and image embeddings


def build(folder: Path, seed: int = 0) -> I2VGenXLPipeline:
    """The reference, float32, every parameter random; saved to `folder` as the hub has it."""
    unet = I2VGenXLUNet(
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=DIMS,
        attention_head_dim=8,
        sample_size=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=32,
        scaling_factor=0.18125,
    )
    text_config = CLIPTextConfig(
        vocab_size=1000, hidden_size=DIMS, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        hidden_act="gelu", bos_token_id=998, eos_token_id=999, pad_token_id=999,
    )  # fmt: skip
    vision_config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32,
        patch_size=8, projection_dim=DIMS, hidden_act="gelu",
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", rescale_betas_zero_snr=True,
        timestep_spacing="leading", steps_offset=1, set_alpha_to_one=True, clip_sample=False,
    )  # fmt: skip
    networks = [unet, vae, CLIPTextModel(text_config), CLIPVisionModelWithProjection(vision_config)]
    unet, vae, text_encoder, image_encoder = (randomise(network, seed + i) for i, network in enumerate(networks))
    pipe = I2VGenXLPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer(folder.parent / "vocabulary"),
        image_encoder=image_encoder,
        feature_extractor=CLIPImageProcessor(crop_size=32, size=32),
        unet=unet,
        scheduler=scheduler,
    )
    pipe.set_progress_bar_config(disable=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.save_pretrained(folder)
    # transformers 5 has no `text_model` between the class and its layers; the pipeline still asks for it
    object.__setattr__(pipe.text_encoder, "text_model", pipe.text_encoder)
    return pipe


def tokenizer(folder: Path) -> CLIPTokenizer:
    """All bytes, and the words in WORDS as single tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokens = letters + [letter + "</w>" for letter in letters]
    merges = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            if (parts[0], parts[1]) not in merges:
                merges.append((parts[0], parts[1]))
                tokens.append(parts[0] + parts[1])
            parts[:2] = [parts[0] + parts[1]]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))} | {START: 998, END: 999}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges))
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft colours and some grain."""
    draw = np.random.default_rng(seed)
    colours = Image.fromarray(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    soft = colours.resize((width, height), Image.Resampling.BICUBIC)
    grain = draw.normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(soft) + grain, 0, 255).astype(np.uint8))


def sound_picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture of which the reference's crops to (width, height) and (width, width) are not one pixel short."""
    side = 2 * max(width, height)
    while not all(side // min(side / width, side / other) >= max(width, other) for other in (height, width)):
        side += 1
    return picture(side, side, seed)


def seeded(seed: int) -> None:
    """The reference's global generator, from which it draws everything when it is given none."""
    torch.manual_seed(seed)
