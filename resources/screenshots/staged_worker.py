"""An engine for screenshots: scenes come out of noise, up to a step or to the end, or it crashes there.

    python staged_worker.py STOP [crash]      STOP is the step after which nothing moves any more
"""

from __future__ import annotations

import base64
import os
import sys
import time
from pathlib import Path

import numpy as np
import scenes

import i2v_mlx
from i2v_mlx import commands, events
from i2v_mlx.request import Request


def preview(name: str, step: int, steps: int, width: int, height: int, frames: int) -> dict:
    """What the predicted clean frames look like after `step`: first the colours, then the shapes."""
    clean = scenes.clip(name, width, height, frames).astype(np.float32)
    known = (step / steps) ** 0.6
    dice = np.random.default_rng(1)
    noise = dice.normal(0, 1, (*clean.shape[:3], 1)) + 0.3 * dice.normal(0, 1, clean.shape)
    blurred, soft = _blurred(clean, round(5 * (1 - known))), _blurred(noise.astype(np.float32), 3)
    mixed = known * blurred + (1 - known) * clean.mean((1, 2), keepdims=True) + 26 * (1 - known) * soft / soft.std()
    mixed = np.clip(mixed, 0, 255).astype(np.uint8)
    return {"width": width, "height": height, "frames": frames, "rgb": base64.b64encode(mixed.tobytes()).decode()}


def _blurred(pixels: np.ndarray, times: int) -> np.ndarray:
    for axis in (1, 2):
        for _ in range(times):
            pixels = (np.roll(pixels, 1, axis) + pixels + np.roll(pixels, -1, axis)) / 3
    return pixels


def main() -> None:
    stop, crash = int(sys.argv[1]), "crash" in sys.argv[2:]

    def say(event: events.Event, job: str = "") -> None:
        os.write(1, events.encode(event, job))

    models = ["demo"] if "demo" in sys.argv[2:] else ["i2vgen-xl", "demo"]
    say(events.Hello(i2v_mlx.__version__, "Apple M2", 16 * 10**9, models))
    for line in sys.stdin.buffer:
        job, command = commands.decode(line)
        if isinstance(command, commands.Quit):
            return
        if not isinstance(command, commands.Generate):
            continue
        request = Request.from_dict(command.request)
        steps = request.num_inference_steps
        say(events.Accepted(request.to_dict(), 5 * 10**9), job)
        for stage in ("load", "encode", "denoise"):
            say(events.Stage(stage), job)
        say(events.Heartbeat(4_700_000_000))
        for step in range(1, stop + 1):
            picture = preview(Path(request.image).stem, step, steps, request.width // 8, request.height // 8,
                              request.num_frames) if step == stop else None
            say(events.Step(step, steps, 4.0, picture), job)
        if crash:
            Path(command.checkpoint).write_bytes(b"kept")
            time.sleep(0.5)
            os.abort()


if __name__ == "__main__":
    main()
