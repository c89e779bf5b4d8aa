"""How much sooner each preset is done than the reference path, from the command to the finished file.

    python benchmarks/presets.py             the bundled model at its own size, 16 frames; five minutes on two cores

Each run is a whole process, as a user starts it: loading, encoding, denoising, decoding and writing are all in it. The
presets take turns; what is printed are ratios of medians.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from i2v_mlx.presets import NAMES

PICTURE = Path(__file__).parent.parent / "resources" / "examples" / "cat.jpg"
BOUNDS = {"draft": 6.0, "balanced": 3.5}


def seconds(preset: str, frames: int, folder: Path) -> float:
    command = [sys.executable, "-m", "i2v_mlx", "generate", str(PICTURE), "--model", "demo", "--prompt", "zoom in",
               "--seed", "1", "--frames", str(frames), "--preset", preset, "-o", str(folder / f"{preset}.mp4")]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    taken: dict[str, list[float]] = {name: [] for name in NAMES}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.repeats):
            for name in NAMES:
                taken[name].append(seconds(name, args.frames, Path(folder)))
    times = {name: median(values) for name, values in taken.items()}
    print(f"the bundled model, {args.frames} frames, whole processes, medians of {args.repeats} in turn")
    missed = False
    for name, bound in BOUNDS.items():
        ratio = times["best"] / times[name]
        missed |= ratio < bound
        print(f"  {name:10}{ratio:5.1f} times as quick as the reference path (wanted: {bound:g})")
    print(f"  the reference path took {times['best']:.0f} s")
    return missed


if __name__ == "__main__":
    raise SystemExit(main())
