"""``python -m i2v_mlx estimate``: what a video costs, before it is made, on this machine or on another."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import mlx.core as mx

from . import chips, cost, device, hub, memory, presets
from .chips import Chip
from .cost import Costs
from .errors import I2VError
from .i2vgen_xl.config import UNetConfig
from .i2vgen_xl.unet import I2VGenXLUNet
from .model_folder import open_model
from .parts.clip_text import CLIPTextConfig, CLIPTextModel
from .parts.clip_vision import CLIPVisionConfig, CLIPVisionModelWithProjection
from .parts.vae import AutoencoderKL, VAEConfig
from .presets import PRESETS, Preset
from .request import Request
from .weights import size_in


@dataclass(frozen=True)
class Model:
    """What an estimate needs to know of a model. The defaults of the configurations are the released model.

    Attributes:
        weights: bytes of each part in memory, in the precision that the machine in question uses.
        presets: its own, where it brings them.
    """

    unet: UNetConfig
    vae: VAEConfig
    weights: dict[str, int]
    presets: tuple[Preset, ...] = PRESETS

    @classmethod
    def find(cls, name: str, dtype: mx.Dtype) -> Model:
        """A model on this machine; the released one is known without its files. Raises I2VError ``model_*``."""
        try:
            folder = open_model(hub.resolve(name))
        except I2VError as error:
            if error.code != "model_not_found" or hub.full_name(name) != hub.RELEASED:
                raise
            return cls.released(dtype)
        return cls(UNetConfig.from_dict(folder.config("unet")), VAEConfig.from_dict(folder.config("vae")),
                   folder.weight_bytes(dtype), presets.presets(folder.path))

    @classmethod
    def released(cls, dtype: mx.Dtype) -> Model:
        unet, vae = UNetConfig(), VAEConfig()
        weights = {"text_encoder": size_in(CLIPTextModel(CLIPTextConfig()), dtype),
                   "image_encoder": size_in(CLIPVisionModelWithProjection(CLIPVisionConfig()), dtype),
                   "unet": size_in(I2VGenXLUNet(unet), dtype), "vae": size_in(AutoencoderKL(vae), mx.float32)}
        return cls(unet, vae, weights)


@dataclass(frozen=True)
class Estimate:
    """Attributes:
        evaluation: one evaluation of the network, nothing shared.
        denoising: all steps, with what the branches of guidance share computed once.
        coding: the picture into latents, and the frames out of them.
        evaluations: of the network; two in a step with both branches.
        peak_bytes: of memory, in the hungriest stage.
    """

    evaluation: Costs
    denoising: Costs
    coding: Costs
    evaluations: int
    peak_bytes: int


def estimate(request: Request, model: Model, dtype: mx.Dtype, kind: str) -> Estimate:
    """Counted in the graphs that the request would run.

    Args:
        dtype: of the UNet's numbers.
        kind: "gpu" or "cpu"; their kernels need different amounts of memory.
    """
    h, w = request.height // model.vae.scale, request.width // model.vae.scale
    shared, alone = cost.unet_costs(model.unet, request.num_frames, h, w, request.key_pooling)
    encode, decode = cost.vae_costs(model.vae, h, w)
    both, single = presets.evaluations(request)
    steps = both + single
    return Estimate(
        evaluation=shared + alone,
        denoising=shared * steps + alone * (steps + both),
        coding=encode + decode * request.num_frames,
        evaluations=steps + both,
        peak_bytes=memory.peak_bytes(model.weights, model.unet, model.vae, request.width, request.height,
                                     request.num_frames, dtype.size, kind),
    )  # fmt: skip


def run(request: Request, preset: str, steps: int | None, chip_name: str | None) -> int:
    """The command: prints the estimate for a chip, or for this machine; with another number of steps than the preset's
    where `steps` says so."""
    on_gpu = device.on_gpu() or (chip_name is not None and "cpu" not in chip_name.lower())
    dtype = mx.float16 if on_gpu else mx.float32
    chip = _chip(chip_name)
    model = Model.find(request.model, dtype)
    request = next(own for own in model.presets if own.name == preset).apply(request)
    if steps is not None:
        request = dataclasses.replace(request, num_inference_steps=steps, grid="model")    # no grid changes the work
    request.validate()
    found = estimate(request, model, dtype, "gpu" if on_gpu else "cpu")
    print("\n".join(_lines(request, found, chip, chip_name or device.name())))
    return 0


def _chip(name: str | None) -> Chip:
    if name is None:
        return chips.find(device.name())
    chip = chips.find(name)
    if chip is chips.UNKNOWN:
        raise I2VError("chip_unknown", f"There is no chip {name!r} in the table.",
                       f"Use one of {', '.join(chips.CHIPS)}, CPU.")
    return chip


def _lines(request: Request, found: Estimate, chip: Chip, name: str) -> list[str]:
    one, whole = found.evaluation, found.denoising
    rows = [(kind, one.by_kind[kind]) for kind in cost.KINDS] + [("all", one.total)]
    seconds = [part.seconds(chip) for part in (one, whole, found.coding)]
    lines = [f"{request.model} at {request.width}x{request.height}, {request.num_frames} frames, on {name}",
             "",
             f"{'one evaluation of the network':32}{'TFLOP':>10}{'%':>6}{'on Metal':>10}{'GB moved':>10}{'seconds':>9}"]
    for kind, part in rows:
        took = seconds[0] if kind == "all" else part.seconds(chip)
        lines.append(f"  {kind:30}{part.flops / 1e12:10.4g}{100 * part.flops / one.total.flops:6.1f}"
                     f"{part.executed / 1e12:10.4g}{part.bytes / 1e9:10.4g}{took:9.3g}")
    lines += ["", f"{request.num_inference_steps} steps, {found.evaluations} evaluations: "
              f"{whole.total.flops / 1e15:.4g} PFLOP ({whole.total.flops / one.total.flops:.1f} evaluations' worth, "
              "since the branches of guidance share their beginning)",
              f"picture and frames through the VAE: {found.coding.total.flops / 1e12:.4g} TFLOP",
              "time, when each kind of operation is as fast as arithmetic or memory let it: "
              f"{_duration(seconds[1])} and {_duration(seconds[2])}",
              f"memory at the peak: {found.peak_bytes / 1e9:.1f} GB"]
    return lines


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
