"""One request through this project and through diffusers: how the times and the memory compare.

    python benchmarks/compare.py
    python benchmarks/compare.py --released --size 512x320     the released configuration; 25 GB of memory and of disk
    python benchmarks/compare.py --demo --preset balanced      a whole video: our preset against diffusers' 50 steps

Both have the same random weights, the same picture and the same seed, each in a process of its own, and take turns.
What is printed are ratios of medians: this project's over diffusers', so that less than one is better. On a CPU both
compute in float32; where both have a GPU in float16, but for our VAE, which is float32 always.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import i2v_mlx  # noqa: F401  before anything that imports mlx: it loads OpenBLAS

PROMPT, NEGATIVE = "a cat runs in the sea", "blurry still"
SEED = 7
ROWS = ("encode the prompt", "encode the picture (CLIP)", "encode the picture (VAE)", "one denoising step",
        "decode the frames", "everything but loading", "load the weights")


# ---------------------------------------------------------------- the two sides, each in its own process


def ours(folder: Path, call: dict[str, Any]) -> tuple[str, Callable[[], dict[str, Any]]]:
    import mlx.core as mx
    import numpy as np
    from watch import WatchedNetworks

    from i2v_mlx import I2VGenXLPipeline, device, presets
    from i2v_mlx.events import Frame, Step
    from i2v_mlx.request import Sampling

    kind = str(device.compute_dtype()).removeprefix("mlx.core.")
    sampling = Sampling()
    name = call.pop("preset")
    if name:
        preset = next(preset for preset in presets.presets(folder) if preset.name == name)
        sampling = preset.sampling
        call["num_inference_steps"] = preset.num_inference_steps

    def run() -> dict[str, Any]:
        pipeline = I2VGenXLPipeline.from_pretrained(folder)    # a new one: it remembers what was encoded
        networks = WatchedNetworks(pipeline.folder, pipeline.dtype, False)
        pipeline.networks = networks
        inputs = pipeline.check_inputs(
            **call, prompt=PROMPT, negative_prompt=NEGATIVE, image=folder / "picture.png", generator=SEED,
            target_fps=16, guidance_scale=9.0, eta=0.0, num_videos_per_prompt=1, decode_chunk_size=1, clip_skip=1,
            latents=None, prompt_embeds=None, negative_prompt_embeds=None, sampling=sampling,
        )  # fmt: skip
        started = time.perf_counter()
        steps, frames = [], []
        for event in pipeline.run(inputs):
            if isinstance(event, Step):
                steps.append(event.seconds)
            elif isinstance(event, Frame):
                frames.append(event.pixels)
        total = time.perf_counter() - started
        text, clip, encode, _, decode = (stage.working for stage in networks.stages)
        loading = sum(stage.loading for stage in networks.stages)
        np.save(folder / "ours.npy", np.stack(frames))
        return {
            "seconds": [text, clip, encode, median(steps), decode, total - loading, loading],
            "peak": max(stage.peak for stage in networks.stages) if device.on_gpu() else resident_peak(),
        }

    return f"mlx {mx.__version__} on {device.name()}, {kind}", run


def diffusers(folder: Path, call: dict[str, Any]) -> tuple[str, Callable[[], dict[str, Any]]]:
    import numpy as np
    import torch
    from diffusers import __version__
    from diffusers.pipelines.deprecated.i2vgen_xl.pipeline_i2vgen_xl import I2VGenXLPipeline
    from PIL import Image

    on_gpu = call.pop("on_gpu")
    where = next((d for d in ("cuda", "mps") if on_gpu and getattr(torch, d).is_available()), "cpu")
    dtype = torch.float32 if where == "cpu" else torch.float16
    wait = getattr(torch, where).synchronize

    began = time.perf_counter()
    pipe = I2VGenXLPipeline.from_pretrained(folder, torch_dtype=dtype).to(where)
    loading = time.perf_counter() - began
    pipe.set_progress_bar_config(disable=True)
    # transformers 5 has no `text_model` between the class and its layers; the pipeline still asks for it
    object.__setattr__(pipe.text_encoder, "text_model", pipe.text_encoder)

    spent: dict[str, list[float]] = {}

    def clock(owner: Any, method: str, name: str) -> None:
        work = getattr(owner, method)

        def clocked(*args: Any, **kwargs: Any) -> Any:
            wait()
            started = time.perf_counter()
            result = work(*args, **kwargs)
            wait()
            spent.setdefault(name, []).append(time.perf_counter() - started)
            return result

        setattr(owner, method, clocked)

    clock(pipe.text_encoder, "forward", "text")
    clock(pipe.image_encoder, "forward", "clip")
    clock(pipe.vae, "encode", "encode")
    clock(pipe.unet, "forward", "step")
    clock(pipe.vae, "decode", "decode")

    def run() -> dict[str, Any]:
        spent.clear()
        torch.manual_seed(SEED)
        started = time.perf_counter()
        frames = pipe(PROMPT, Image.open(folder / "picture.png"), negative_prompt=NEGATIVE, output_type="np", **call)
        total = time.perf_counter() - started
        np.save(folder / "diffusers.npy", frames.frames[0])
        peaks = {"cuda": lambda: torch.cuda.max_memory_allocated(), "mps": lambda: torch.mps.driver_allocated_memory()}
        return {
            "seconds": [sum(spent["text"]), sum(spent["clip"]), sum(spent["encode"]), median(spent["step"]),
                        sum(spent["decode"]), total, loading],
            "peak": peaks.get(where, resident_peak)(),
        }  # fmt: skip

    note = " (torch finds no GPU)" if on_gpu and where == "cpu" else ""
    kind = str(dtype).removeprefix("torch.")
    return f"torch {torch.__version__}, diffusers {__version__} on {where}{note}, {kind}", run


def resident_peak() -> int:
    """Bytes of memory that this process held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def serve(side: str, folder: Path, call: dict[str, Any]) -> None:
    """Answers every line on stdin with a run."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints
    name, run = {"ours": ours, "diffusers": diffusers}[side](folder, call)
    print(json.dumps(name), file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(run()), file=answers, flush=True)


# ---------------------------------------------------------------- the two of them in turn


class Side:
    """One of the two in a process of its own."""

    def __init__(self, side: str, folder: Path, call: dict[str, Any]):
        command = [sys.executable, __file__, "--serve", side, str(folder), json.dumps(call)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name = self._answer()
        self.runs: list[dict[str, Any]] = []

    def run(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        self.runs.append(self._answer())

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def medians(self) -> list[float]:
        return [median(values) for values in zip(*(run["seconds"] for run in self.runs), strict=True)]

    def _answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"A side ended with exit code {self.process.wait()}; see above.")
        return json.loads(line)


def compare(folder: Path, size: str, frames: int, steps: int, repeats: int, preset: str | None) -> None:
    import numpy as np
    from tiny import sound_picture

    width, height = map(int, size.split("x"))
    sound_picture(width, height).save(folder / "picture.png")
    call = {"width": width, "height": height, "num_frames": frames, "num_inference_steps": steps}
    here = Side("ours", folder, call | {"preset": preset})
    there = Side("diffusers", folder, call | {"on_gpu": "on CPU" not in here.name})
    sides = here, there
    for _ in range(repeats):
        for side in sides:
            side.run()
    for side in sides:
        side.close()

    ours = f"our preset {preset} against " if preset else ""
    print(f"\n{size}, {frames} frames, {ours}denoising steps: {steps}, medians of {repeats} runs in turn")
    print(f"  {here.name}\n  {there.name}")
    print(f"  {'this project / diffusers':30}ratio")
    for row, mine, theirs in zip(ROWS, here.medians(), there.medians(), strict=True):
        print(f"  {row:30}{mine / theirs:5.2f}")
    peaks = [max(run["peak"] for run in side.runs) for side in sides]
    print(f"  {'peak of memory':30}{peaks[0] / peaks[1]:5.2f}   {peaks[0] / 1e9:.2f} and {peaks[1] / 1e9:.2f} GB")
    frames_of = [np.load(folder / f"{name}.npy") for name in ("ours", "diffusers")]
    if preset is None and all(side.name.endswith("float32") for side in sides):  # on GPUs torch draws other noise
        print(f"  {'largest difference of a pixel':30}{np.abs(frames_of[0] - frames_of[1]).max():.1e} of 1")


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--released", action="store_true", help="the released configuration instead of a small one")
    parser.add_argument("--size", action="append", metavar="WxH", help="may be repeated (256x160 and 512x320)")
    parser.add_argument("--demo", action="store_true", help="the bundled model, at its own size")
    parser.add_argument("--preset", choices=("draft", "balanced", "best"), help="ours; diffusers makes its 50 steps")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--steps", type=int, help="each takes as long as the first (default: 1, with a preset 50)")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    from random_model import CONFIGS, MODERATE, ROOT, write

    with tempfile.TemporaryDirectory() as name:
        if args.demo:
            shutil.copytree(ROOT / "resources" / "demo", name, dirs_exist_ok=True)
        else:
            write(Path(name), CONFIGS if args.released else MODERATE)
        for size in args.size or (["96x96"] if args.demo else ["256x160", "512x320"]):
            steps = args.steps or (50 if args.preset else 1)
            compare(Path(name), size, args.frames, steps, args.repeats, args.preset)


if __name__ == "__main__":
    main()
