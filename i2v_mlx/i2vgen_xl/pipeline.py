"""Prompt and picture in, video out: encode, denoise, decode.

Reference: diffusers 0.42, pipelines/deprecated/i2vgen_xl/pipeline_i2vgen_xl.py. Where that is wrong, this is right: no
black edge after the crop, every prompt keeps its own picture, the seed covers all noise, pictures of any mode.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from PIL import Image

from .. import device, files, hub, images
from ..errors import I2VError
from ..events import Block, Event, Frame, Notice, Stage, Step
from ..model_folder import ModelFolder, open_model
from ..parts.clip_text import CLIPTextConfig, check_clip_skip
from ..parts.ddim import DDIM, DDIMConfig
from ..parts.noise import NoiseSource
from ..parts.time_grid import timesteps
from ..parts.tokenizer import Tokenizer
from ..parts.vae import VAEConfig
from ..request import Sampling, check_number
from .blocks import FreeU
from .config import FIDELITIES, UNetConfig
from .encoding import Encoded, Memory, clip_pixels_config, digest, with_ramp
from .inputs import Array, Inputs, Picture, Prompts, check, check_output_type, check_prompts
from .networks import NETWORKS, Networks
from .sampling import Plan, denoise, from_reference


@dataclass
class I2VGenXLPipelineOutput:
    """Attributes:
    frames: one video after another. "pil": lists of PIL images; "np", "mx": (B, F, H, W, 3) float32 in [0, 1];
        "latent": (B, 4, F, h, w) float32, times the scaling factor.
    """

    frames: Any


class I2VGenXLPipeline:
    """I2VGen-XL with the interface of diffusers' pipeline of this name.

    Networks are loaded when they are needed and let go when their stage is over, unless `keep_loaded`. What the
    encoders said of a prompt and a picture is kept. The same call gives the same bytes, whatever ran before it.

    Attributes:
        fidelity: "diffusers", or "original" for what the weights were trained with (image signal twice, VAE scale
            0.18215, padding with token 0).
        networks: which of them are in memory.
        sampling: sampler, time grid and thinning of guidance; the reference's unless it is set, as in
            ``pipe.sampling = Sampling("dpm++2m", "blended", guidance_refresh=3)``.
    """

    def __init__(
        self, folder: ModelFolder, dtype: mx.Dtype | None = None, fidelity: str = "diffusers", keep_loaded: bool = False
    ):
        if dtype is not None and dtype not in (mx.float16, mx.float32):
            raise I2VError("dtype_unknown", "The networks run in float16 or float32 only.",
                           "bfloat16 loses too much in Metal's convolutions; use float16.")
        if fidelity not in FIDELITIES:
            raise I2VError("fidelity_unknown", f"There is no fidelity {fidelity!r}.", "Use diffusers or original.")
        self.folder = folder
        self.dtype = dtype or device.compute_dtype()
        self.fidelity = fidelity
        self.unet_config = UNetConfig.from_dict(folder.config("unet"))
        self.vae_config = VAEConfig.from_dict(folder.config("vae"))
        self.text_config = CLIPTextConfig.from_dict(folder.config("text_encoder"))
        self.scheduler = DDIM(DDIMConfig.from_dict(folder.config("scheduler")))
        self.feature_extractor = folder.config("feature_extractor")
        self.clip_pixels = clip_pixels_config(self.feature_extractor, folder.config("image_encoder"))
        self.networks = Networks(folder, self.dtype, keep_loaded)
        self.sampling = Sampling()
        self._freeu: FreeU | None = None
        self._memory = Memory()

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, dtype: mx.Dtype | str | None = None, fidelity: str = "diffusers",
        keep_loaded: bool = False,
    ) -> I2VGenXLPipeline:  # fmt: skip
        """Opens a model; its networks are loaded by the first call.

        Args:
            name_or_path: a folder in the hub's layout (float32 or ``fp16`` files) or written by ``convert_weights.py``;
                a hub id such as "ali-vilab/i2vgen-xl", fetched if it is not there; or "demo", the bundled model.
            dtype: of UNet and CLIP, "float16" or "float32"; float16 on a GPU and float32 on a CPU unless told. The VAE
                is float32 always.

        Raises:
            I2VError: naming what is missing or wrong in the model.
        """
        if isinstance(dtype, str):
            dtype = {"float16": mx.float16, "float32": mx.float32}.get(dtype, mx.bfloat16)
        return cls(open_model(hub.resolve(name_or_path, download=True)), dtype, fidelity, keep_loaded)

    def save_pretrained(self, path: str | Path) -> None:
        """Writes the model to a new folder, as it was opened. Raises I2VError ``output_*`` or ``disk_full``."""
        files.check_output(path, folder=True)
        try:
            with files.atomic(path) as part:
                shutil.copytree(self.folder.path, part)
        except OSError as error:
            raise files.output_error(error, Path(path)) from error

    # ---------------------------------------------------------------- networks

    @property
    def text_encoder(self) -> nn.Module:
        return self.networks.hold("text_encoder")

    @property
    def image_encoder(self) -> nn.Module:
        return self.networks.hold("image_encoder")

    @property
    def unet(self) -> nn.Module:
        return self.networks.hold("unet")

    @property
    def vae(self) -> nn.Module:
        return self.networks.hold("vae")

    @cached_property
    def weight_bytes(self) -> dict[str, int]:
        """Of each network in memory."""
        return self.folder.weight_bytes(self.dtype)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer(self.folder.tokenizer, FIDELITIES[self.fidelity].pad_token_id)

    @property
    def components(self) -> dict[str, Any]:
        """Every part by the name of its folder. Loads the networks; they stay loaded."""
        parts = {name: self.networks.hold(name) for name in NETWORKS}
        return {**parts, "tokenizer": self.tokenizer, "feature_extractor": self.feature_extractor,
                "scheduler": self.scheduler}

    def enable_freeu(self, s1: float, s2: float, b1: float, b2: float) -> None:
        """FreeU (arXiv 2309.11497): s1, s2 scale the skips of the two coarsest up blocks, b1, b2 their backbone."""
        self._freeu = FreeU(s1, s2, b1, b2)

    def disable_freeu(self) -> None:
        self._freeu = None

    def enable_vae_slicing(self) -> None:
        """Nothing to do: frames go through the VAE one by one always. Here for scripts of the reference."""

    def disable_vae_slicing(self) -> None:
        """Nothing to do, see `enable_vae_slicing`."""

    def enable_vae_tiling(self) -> None:
        """Large frames go through the VAE in overlapping tiles: less memory, and slightly other pixels."""
        self.networks.vae_tiling = True
        self.networks.set_vae()

    def disable_vae_tiling(self) -> None:
        self.networks.vae_tiling = False
        self.networks.set_vae()

    # ---------------------------------------------------------------- running

    def __call__(
        self,
        prompt: str | list[str] | None = None,
        image: Picture | list[Picture] | None = None,
        height: int | None = 704,
        width: int | None = 1280,
        target_fps: int = 16,
        num_frames: int = 16,
        num_inference_steps: int = 50,
        guidance_scale: float = 9.0,
        negative_prompt: str | list[str] | None = None,
        eta: float = 0.0,
        num_videos_per_prompt: int = 1,
        decode_chunk_size: int | None = 1,
        generator: Any = None,
        latents: Array | None = None,
        prompt_embeds: Array | None = None,
        negative_prompt_embeds: Array | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        cross_attention_kwargs: dict[str, Any] | None = None,
        clip_skip: int | None = 1,
    ) -> I2VGenXLPipelineOutput | tuple[Any]:
        """Makes `num_videos_per_prompt` videos of each prompt and its picture.

        Args:
            prompt: what should happen; one text or several.
            image: a picture for each prompt, or one for all: path, PIL image, or array (H, W, 3) of uint8 or of floats
                in [0, 1].
            height, width: pixels, multiples of 8; None for the model's own.
            target_fps: how the motion was sampled in training, a condition. Sets no output rate.
            num_inference_steps: 1 to 999.
            guidance_scale: weight of the prompt (equation 6 of arXiv 2207.12598); at most 1 turns guidance off.
            eta: share of fresh noise in each step, 0 to 1 (equation 16 of arXiv 2010.02502); for DDIM only.
            decode_chunk_size: frames that are decoded before they are handed over; None for all of a video. No effect
                on the result: within a chunk they go through the VAE one by one.
            generator: seed for all noise (also a torch.Generator, of which the initial seed counts), or a list with
                one for each video. None for a random one.
            latents: (B, 4, F, h, w) to start from instead of noise.
            prompt_embeds, negative_prompt_embeds: (P, 77, D) as `encode_prompt` returns them, instead of texts.
            output_type: "pil", "np", "mx" or "latent"; see `I2VGenXLPipelineOutput`.
            return_dict: False for a tuple with the frames.
            cross_attention_kwargs: accepted for the reference's sake. There it has one key without a warning,
                ``scale``, which is ignored; here everything is.
            clip_skip: layers left out at the end of the text encoder; None for none.

        Raises:
            I2VError: before anything heavy if an argument is wrong.
        """
        check_output_type(output_type)
        inputs = self.check_inputs(
            prompt=prompt, image=image, height=height, width=width, target_fps=target_fps, num_frames=num_frames,
            num_inference_steps=num_inference_steps, guidance_scale=guidance_scale, negative_prompt=negative_prompt,
            eta=eta, num_videos_per_prompt=num_videos_per_prompt, decode_chunk_size=decode_chunk_size,
            generator=generator, latents=latents, prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds, clip_skip=clip_skip,
        )  # fmt: skip
        result: Any = None
        pixels: list[np.ndarray] = []
        for event in self.run(inputs, decode=output_type != "latent"):
            if isinstance(event, Step):
                result = event.latents
            elif isinstance(event, Frame):
                pixels.append(event.pixels)
        if output_type != "latent":
            videos = np.stack(pixels).reshape(inputs.count, num_frames, inputs.height, inputs.width, 3)
            result = _as(output_type, videos)
        return I2VGenXLPipelineOutput(frames=result) if return_dict else (result,)

    def check_inputs(self, **arguments: Any) -> Inputs:
        """The arguments of a call, and `sampling` where it is not to be the pipeline's, checked. Loads nothing.

        Raises:
            I2VError: naming the argument that is wrong and what to give instead.
        """
        arguments.setdefault("sampling", self.sampling)
        side = self.unet_config.sample_size * self.latent_size
        arguments["height"] = arguments["height"] or side
        arguments["width"] = arguments["width"] or side
        inputs = check(**arguments, latent_size=self.latent_size, text_shape=self.text_shape)
        check_clip_skip(inputs.clip_skip, self.text_config)
        timesteps(self.scheduler, inputs.num_inference_steps, inputs.sampling.grid)
        return inputs

    @property
    def text_shape(self) -> tuple[int, int]:
        """(77, D): tokens of a prompt and the width of their states."""
        return self.text_config.max_position_embeddings, self.text_config.hidden_size

    @property
    def latent_size(self) -> int:
        """Pixels to a latent, along one side: 8 for the released model."""
        return 2 ** (len(self.vae_config.block_out_channels) - 1)

    def run(self, inputs: Inputs, decode: bool = True, resume: Step | None = None) -> Iterator[Event]:
        """The run as a generator: Stage, Notice, Block, Step and Frame events in the order in which things happen.

        To stop iterating is to cancel; `close` the generator to let go of what it holds at once.

        Args:
            resume: a step that an earlier run of the same inputs has reached; its `index`, `latents` and `history`
                count. With them the run ends in the same bytes as the earlier would have; without the history a
                sampler of second order starts anew with a step of first order.
        """
        device.set_limits()
        try:
            latents: Any = resume.latents if resume else None
            yield Stage("encode")
            for text in self._dropped(inputs):
                yield Notice("prompt_cut", f"The prompt is too long; this was left out: {text[:200]}")
            encoded = self._encode(inputs)
            for event in self._denoise(inputs, encoded, resume):
                latents = event.latents if isinstance(event, Step) else latents
                yield event
            self.networks.release("unet")
            if decode:
                yield from self._decode(inputs, latents)
        finally:
            self.networks.release()

    def encode_prompt(
        self,
        prompt: str | list[str] | None,
        num_videos_per_prompt: int = 1,
        negative_prompt: str | list[str] | None = None,
        prompt_embeds: Array | None = None,
        negative_prompt_embeds: Array | None = None,
        clip_skip: int | None = None,
    ) -> tuple[mx.array, mx.array]:
        """Texts -> (positive, negative) embeddings, each (P * num_videos_per_prompt, 77, D), in prompt order.

        What is given as embeddings already is only repeated.
        """
        checked = check_prompts(prompt, negative_prompt, prompt_embeds, negative_prompt_embeds, self.text_shape)
        check_number("num_videos_per_prompt", num_videos_per_prompt, 1, 64)
        check_clip_skip(clip_skip, self.text_config)
        n = num_videos_per_prompt
        positive, negative = (
            mx.repeat(self._text(side, clip_skip), n, axis=0) for side in (checked.positive, checked.negative)
        )
        self.networks.release("text_encoder")
        return positive, negative

    # ---------------------------------------------------------------- stages

    def _encode(self, inputs: Inputs) -> Encoded:
        """Each encoder is gone before the next comes."""
        text, negative_text = self._texts(inputs.prompts, inputs.clip_skip, inputs.guided)
        pixels = [images.clip_pixels(image, inputs.width, **self.clip_pixels) for image in inputs.images]
        image_embeddings = mx.concatenate([self._seen(picture) for picture in pixels])
        self.networks.release("image_encoder")

        mean, std = self._posteriors(inputs)
        self.networks.release("vae")
        return Encoded(
            text=text,
            negative_text=negative_text,
            image_embeddings=image_embeddings,
            mean=mean,
            std=std,
        )

    def _posteriors(self, inputs: Inputs) -> tuple[mx.array, mx.array]:
        """Mean and standard deviation (P, h, w, 4) of each picture's latents."""
        means, stds = [], []
        for image in inputs.images:
            pixels = images.vae_pixels(image, inputs.width, inputs.height)
            key = "vae", digest(pixels), self.networks.vae_tiling
            mean, std = self._recall(key, partial(self._encode_vae, pixels))
            means.append(mean)
            stds.append(std)
        return mx.concatenate(means), mx.concatenate(stds)

    def _encode_vae(self, pixels: np.ndarray) -> list[mx.array]:
        return list(self.networks.get("vae").encode(mx.array(pixels)))

    def _denoise(self, inputs: Inputs, encoded: Encoded, resume: Step | None) -> Iterator[Block | Step | Stage]:
        yield Stage("denoise")
        noise = NoiseSource(inputs.seeds, inputs.count)
        z_0 = self._scaling_factor * encoded.image_latents(noise, inputs.videos)
        shape = (4, inputs.num_frames, *z_0.shape[1:3])
        start = noise.draw(shape) if inputs.latents is None else inputs.latents
        x_t = from_reference(mx.array(resume.latents if resume else start))
        unet = self.networks.get("unet")
        gain = FIDELITIES[self.fidelity].image_gain
        image_latents = with_ramp(z_0, inputs.num_frames)
        guidances = [
            encoded.guidance(unet, b // inputs.videos, image_latents[b : b + 1], inputs.guidance_scale, gain)
            for b in range(inputs.count)
        ]
        plan = Plan.make(self.scheduler, inputs.num_inference_steps, inputs.sampling, inputs.eta)
        yield from denoise(
            unet, plan, x_t, guidances, inputs.target_fps, noise if inputs.eta > 0 else None, self._freeu,
            inputs.sampling.key_pooling, steps_done=resume.index if resume else 0,
            history=resume.history if resume else None,
        )  # fmt: skip

    def _decode(self, inputs: Inputs, latents: mx.array) -> Iterator[Stage | Frame]:
        """latents (B, 4, F, h, w)"""
        yield Stage("decode")
        vae = self.networks.get("vae")
        z = from_reference(mx.array(latents)) / self._scaling_factor
        at_once = inputs.decode_chunk_size or inputs.num_frames
        done = 0
        for video in z:
            for i in range(0, inputs.num_frames, at_once):
                frames = np.array(vae.decode(video[i : i + at_once]) / 2 + 0.5)  # (n, H, W, 3)
                if not np.isfinite(frames).all():
                    raise I2VError("frames_not_finite", f"The VAE produced no picture at frame {done + 1}.",
                                   "Run `python -m i2v_mlx doctor`, and fetch the weights again if it passes.")
                for pixels in frames.clip(0, 1):
                    done += 1
                    yield Frame(done, inputs.count * inputs.num_frames, pixels)

    # ---------------------------------------------------------------- within a stage

    @property
    def _scaling_factor(self) -> float:
        return FIDELITIES[self.fidelity].vae_scaling_factor or self.vae_config.scaling_factor

    def _texts(self, prompts: Prompts, clip_skip: int | None, guided: bool) -> tuple[mx.array, mx.array | None]:
        """(positive, negative) states (P, 77, D); no negative ones without guidance."""
        positive = self._text(prompts.positive, clip_skip)
        negative = self._text(prompts.negative, clip_skip) if guided else None
        self.networks.release("text_encoder")
        return positive, negative

    def _text(self, prompts: list[str] | Array, clip_skip: int | None) -> mx.array:
        if not isinstance(prompts, list):
            return mx.array(prompts)
        tokenizer = self.tokenizer
        tokenizer.check(self.text_config.max_position_embeddings, self.text_config.vocab_size)
        return mx.concatenate([self._read(ids[None], clip_skip) for ids in tokenizer.encode(prompts).ids])

    # One prompt and one picture at a time: a product's last bits depend on how many rows it has, and a video must not
    # depend on what is made beside it.

    def _read(self, ids: np.ndarray, clip_skip: int | None) -> mx.array:
        (states,) = self._recall(
            ("text_encoder", digest(ids), clip_skip),
            lambda: [self.networks.get("text_encoder")(mx.array(ids), clip_skip)],
        )
        return states

    def _seen(self, pixels: np.ndarray) -> mx.array:
        (embeddings,) = self._recall(
            ("image_encoder", digest(pixels)),
            lambda: [self.networks.get("image_encoder")(mx.array(pixels).astype(self.dtype))],
        )
        return embeddings

    def _recall(self, key: tuple[Any, ...], encode: Callable[[], list[mx.array]]) -> list[mx.array]:
        """From memory, unless somebody may have changed a network."""
        if self.networks.may_be_changed:
            self._memory = Memory()
        return self._memory.recall(key, encode)

    def _dropped(self, inputs: Inputs) -> list[str]:
        return [left for left in self.tokenizer.encode(inputs.prompts.texts).dropped if left]


def _as(output_type: str, videos: np.ndarray) -> Any:
    """videos (B, F, H, W, 3)"""
    if output_type == "np":
        return videos
    if output_type == "mx":
        return mx.array(videos)
    return [[Image.fromarray(frame) for frame in video] for video in (videos * 255).round().astype(np.uint8)]
