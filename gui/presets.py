"""Draft, Balanced and Best: one click for steps, size and frames."""

from __future__ import annotations

from dataclasses import dataclass

from i2v_mlx.request import Request


@dataclass(frozen=True)
class Preset:
    """Attributes: `name` as shown, and the Request fields of the same names."""

    name: str
    width: int
    height: int
    num_frames: int
    num_inference_steps: int

    def size(self, portrait: bool) -> tuple[int, int]:
        """(width, height) for a picture that is higher than wide, or not."""
        return (self.height, self.width) if portrait else (self.width, self.height)

    def matches(self, request: Request) -> bool:
        """Whether the request has these values, upright or on its side."""
        return ((request.width, request.height) in (self.size(False), self.size(True))
                and request.num_frames == self.num_frames and request.num_inference_steps == self.num_inference_steps)


_RELEASED = (
    Preset("Draft", 512, 288, 16, 15),
    Preset("Balanced", 704, 448, 16, 25),
    Preset("Best", 1280, 704, 16, 50),
)
_DEMO = (
    Preset("Draft", 96, 96, 8, 10),
    Preset("Balanced", 96, 96, 16, 20),
    Preset("Best", 96, 96, 16, 50),
)


def presets(model: str) -> tuple[Preset, ...]:
    """Draft, Balanced, Best for a model, in this order."""
    return _DEMO if model == "demo" else _RELEASED
