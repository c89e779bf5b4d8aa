"""The network's numbers, and the three places where the two references disagree.

References: diffusers 0.42 (models/unets/unet_i2vgen_xl.py, pipelines/.../pipeline_i2vgen_xl.py) and the original, VGen
4014d1f (tools/modules/unet/unet_i2vgen.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import I2VError

DOWN_BLOCKS = {"CrossAttnDownBlock3D": True, "DownBlock3D": False}
UP_BLOCKS = {"CrossAttnUpBlock3D": True, "UpBlock3D": False}


@dataclass(frozen=True)
class UNetConfig:
    """Defaults are the released model.

    Attributes:
        block_out_channels: channels of each level, finest first.
        down_attention, up_attention: whether a level has transformers, in the order of the data's way.
        head_dim: channels of one attention head. The hub calls it ``attention_head_dim``; ``num_attention_heads`` there
            is ignored by the reference, and here.
        sample_size: side of the latents when no size is asked for.
    """

    in_channels: int = 4
    out_channels: int = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    down_attention: tuple[bool, ...] = (True, True, True, False)
    up_attention: tuple[bool, ...] = (False, True, True, True)
    layers_per_block: int = 2
    norm_num_groups: int = 32
    cross_attention_dim: int = 1024
    head_dim: int = 64
    sample_size: int = 32

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> UNetConfig:
        """From the hub's unet/config.json. Raises I2VError if the network cannot be built from it."""
        try:
            config = cls(
                in_channels=_positive(values, "in_channels", 4),
                out_channels=_positive(values, "out_channels", 4),
                block_out_channels=tuple(_positive_list(values, "block_out_channels", cls.block_out_channels)),
                down_attention=tuple(DOWN_BLOCKS[name] for name in values["down_block_types"])
                if "down_block_types" in values
                else cls.down_attention,
                up_attention=tuple(UP_BLOCKS[name] for name in values["up_block_types"])
                if "up_block_types" in values
                else cls.up_attention,
                layers_per_block=_positive(values, "layers_per_block", 2),
                norm_num_groups=_positive(values, "norm_num_groups", 32),
                cross_attention_dim=_positive(values, "cross_attention_dim", 1024),
                head_dim=_positive(values, "attention_head_dim", 64),
                sample_size=_positive(values, "sample_size", 32),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise I2VError("config_invalid", f"The UNet's config.json cannot be used: {error}.") from error
        levels = len(config.block_out_channels)
        if not levels == len(config.down_attention) == len(config.up_attention):
            raise I2VError("config_invalid", "The UNet's config.json names different numbers of levels.")
        if any(channels % config.norm_num_groups for channels in config.block_out_channels):
            raise I2VError("config_invalid", "The UNet's channels are not a multiple of norm_num_groups.")
        return config


def _positive(values: dict[str, Any], name: str, default: int) -> int:
    value = values.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 65536:
        raise ValueError(f"{name} is {value!r}")
    return value


def _positive_list(values: dict[str, Any], name: str, default: tuple[int, ...]) -> list[int]:
    given = values.get(name, list(default))
    if not isinstance(given, list) or not 1 <= len(given) <= 16:
        raise ValueError(f"{name} is {given!r}")
    return [_positive({name: value}, name, 0) for value in given]


@dataclass(frozen=True)
class Fidelity:
    """Which reference to follow. None leaves the number to the model's own files.

    Attributes:
        image_gain: how often the image signal is added at the network's entrance. VGen's unet_i2vgen.py adds it twice,
            and the weights were trained so; diffusers adds it once.
        vae_scaling_factor: diffusers' converted config says 0.18125, VGen 0.18215.
        pad_token_id: diffusers pads prompts with the end token, VGen with token 0.
    """

    image_gain: float = 1.0
    vae_scaling_factor: float | None = None
    pad_token_id: int | None = None


FIDELITIES = {
    "diffusers": Fidelity(),
    "original": Fidelity(image_gain=2.0, vae_scaling_factor=0.18215, pad_token_id=0),
}
