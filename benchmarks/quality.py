"""How close the presets come to the reference, and at what price, on the demo model.

    python benchmarks/quality.py                 30 videos, each made eleven ways: a quarter of an hour on two cores
    python benchmarks/quality.py --plot resources/quality.svg

Every way starts from the same seed. The reference is DDIM with 50 steps and both branches of guidance in all of them,
100 evaluations of the network; the yardstick is how far the reference itself is from DDIM with 100 steps. The baselines
are what anybody has: DDIM with fewer steps. "line" is our sampler as it is before `calibrate` has fitted it to a model,
"shortest" is fitted like the presets, for 8 to 10 evaluations, here at the start. Pictures, prompts and seeds of the
report were used for nothing else: `calibrate` sees other pictures, and the demo model was trained on none of these.

Errors are over the clips together (root of the sum of squares), those of latents and motion multiples of the yardstick.
Motion is the difference of neighbouring frames' latents. "sign" is the share of clips that move as the prompt says.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "resources" / "demo"
sys.path.insert(0, str(DEMO))  # for measure, moves and scenes

import i2v_mlx  # noqa: E402, F401, I001  first of all: it loads OpenBLAS before anything imports mlx
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from i2v_mlx import calibrate  # noqa: E402
from i2v_mlx.parts.thinning import both_branches  # noqa: E402
from i2v_mlx.presets import Preset, presets  # noqa: E402
from i2v_mlx.request import Sampling  # noqa: E402

FRAMES = 4
SIZE = 96
SCENES_SEED = 900_001    # of drawn scenes; training and the demo's report use others
FIRST_SEED = 5000        # of noise
PROMPTS = {"left": "the camera pans to the left", "right": "pan right", "up": "the camera tilts up",
           "down": "pan down", "in": "slow zoom in", "out": "zoom out"}  # fmt: skip


SHORTEST = ((4, 1), (5, 2), (6, 999))    # (steps, guidance_refresh): 8, 9 and 10 evaluations
MOONSHOT = 8.3                            # evaluations at which nobody has shown DDIM-25's errors


@dataclass(frozen=True)
class Way:
    """A way to sample."""

    name: str
    steps: int
    sampling: Sampling = Sampling()  # noqa: RUF009 - it is frozen

    @classmethod
    def of(cls, preset: Preset) -> Way:
        return cls(preset.name, preset.num_inference_steps, preset.sampling)

    @property
    def evaluations(self) -> int:
        return self.steps + sum(both_branches(self.steps, self.sampling.guidance_refresh))


def ways() -> list[Way]:
    draft, balanced, best = (Way.of(preset) for preset in presets(DEMO))
    line = Sampling("forecast", "nested")
    return [
        replace(best, name="reference"), Way("ddim-100", 100), Way("ddim-25", 25), Way("ddim-13", 13), Way("ddim-6", 6),
        Way("2m-16", 16, Sampling("dpm++2m", "blended", 3)), Way("line-12", 12, line), balanced,
        Way("line-6", 6, line), draft, shortest(),
    ]  # fmt: skip


def shortest() -> Way:
    """The best of SHORTEST on the pictures that `calibrate` sees."""
    calibration = calibrate.Calibration(_pipeline(), SIZE, SIZE, FRAMES)
    found, _ = min((calibration.best("draft", (pattern,)) for pattern in SHORTEST), key=lambda candidate: candidate[1])
    return replace(Way.of(found), name="shortest")


@dataclass(frozen=True)
class Clip:
    """A picture with a prompt and a seed. `picture`: a file of resources/demo/heldout, or the number of a scene."""

    picture: str | int
    move: str
    seed: int


def clips(count: int) -> list[Clip]:
    """Photographs and drawn scenes in turn, the moves going round."""
    photos = sorted(file.name for file in (DEMO / "heldout").glob("*.jpg"))
    moves = list(PROMPTS)
    found = []
    for i in range(count):
        picture: str | int = photos[i // 2 % len(photos)] if i % 2 else i
        found.append(Clip(picture, moves[(i + i // len(moves)) % len(moves)], FIRST_SEED + i))
    return found


def picture_of(clip: Clip) -> Image.Image:
    if isinstance(clip.picture, str):
        return Image.open(DEMO / "heldout" / clip.picture)
    import scenes

    canvas = scenes.drawn_canvas(np.random.default_rng([SCENES_SEED, clip.picture]))
    edge = (scenes.CANVAS - scenes.VIEW) // 2    # a frame shows the middle
    return Image.fromarray((canvas[edge:-edge, edge:-edge] * 255).round().astype(np.uint8))


# ---------------------------------------------------------------- one clip, all ways


def run(clip: Clip, ways: list[Way]) -> dict[str, dict[str, Any]]:
    """What each way makes of it: sums of squares, so that clips can be added up, and what the camera did."""
    import measure

    pipe = _pipeline()
    latents, pixels, seconds = {}, {}, {}
    for way in ways:
        pipe.sampling = way.sampling
        started = time.process_time()
        result = pipe(
            PROMPTS[clip.move], picture_of(clip), height=SIZE, width=SIZE, num_frames=FRAMES,
            num_inference_steps=way.steps, generator=clip.seed, output_type="latent",
        )  # fmt: skip
        latents[way.name] = np.array(result.frames)[0]  # (4, F, h, w)
        seconds[way.name] = time.process_time() - started
        pixels[way.name] = _decoded(pipe, latents[way.name])
    reference, shown = latents["reference"], pixels["reference"]
    found = {}
    for name, z in latents.items():
        way_gone = measure.camera_between(pixels[name][0], pixels[name][-1])
        found[name] = {
            "error": float(((z - reference) ** 2).sum()),
            "motion_error": float(((np.diff(z, axis=1) - np.diff(reference, axis=1)) ** 2).sum()),
            "motion": float(np.abs(np.diff(z, axis=1)).mean()),
            "psnr": measure.psnr(pixels[name], shown) if name != "reference" else float("inf"),
            "ssim": ssim(pixels[name], shown),
            "along": measure.along(clip.move, way_gone),
            "seconds": seconds[name],
        }
    return found


@cache
def _pipeline() -> Any:
    """One for each process."""
    from i2v_mlx import I2VGenXLPipeline

    return I2VGenXLPipeline.from_pretrained("demo", keep_loaded=True)


def _decoded(pipe: Any, latents: np.ndarray) -> np.ndarray:
    """(4, F, h, w) -> (F, H, W, 3) in [0, 1]"""
    import mlx.core as mx

    z = mx.array(latents.transpose(1, 2, 3, 0)) / pipe.vae_config.scaling_factor
    return np.array(pipe.networks.get("vae").decode(z) / 2 + 0.5).clip(0, 1)


def ssim(a: np.ndarray, b: np.ndarray, window: int = 7) -> float:
    """Structural similarity (Wang et al. 2004) of (F, H, W, 3) in [0, 1], with a flat window, on grey."""
    x, y = (frames @ np.array([0.299, 0.587, 0.114]) for frames in (a, b))

    def mean(f: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(f, (window, window), axis=(1, 2))
        return windows.mean(axis=(-1, -2))

    mx_, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx_**2, mean(y * y) - my**2, mean(x * y) - mx_ * my
    c1, c2 = 0.01**2, 0.03**2
    return float(((2 * mx_ * my + c1) * (2 * cov + c2) / ((mx_**2 + my**2 + c1) * (vx + vy + c2))).mean())


# ---------------------------------------------------------------- all clips


def table(results: list[dict[str, dict[str, Any]]], ways: list[Way]) -> list[dict[str, Any]]:
    """A row for each way."""

    def total(name: str, key: str) -> float:
        return float(np.sum([result[name][key] for result in results]))

    rows = []
    for way in ways:
        rows.append({
            "name": way.name, "evaluations": way.evaluations,
            "latents": (total(way.name, "error") / total("ddim-100", "error")) ** 0.5,
            "motion": (total(way.name, "motion_error") / total("ddim-100", "motion_error")) ** 0.5,
            "ratio": total(way.name, "motion") / total("reference", "motion"),
            "psnr": float(np.mean([result[way.name]["psnr"] for result in results])),
            "ssim": total(way.name, "ssim") / len(results),
            "sign": float(np.mean([result[way.name]["along"] > 0 for result in results])),
            "seconds": total(way.name, "seconds") / len(results),
        })  # fmt: skip
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    print(f"{'':20}{'evals':>6}{'seconds':>9}{'latents':>9}{'motion':>8}{'ratio':>7}{'PSNR':>7}{'SSIM':>7}{'sign':>6}")
    whole = rows[0]["seconds"]
    for row in rows:
        print(f"{row['name']:20}{row['evaluations']:6}{row['seconds'] / whole:8.2f}x{row['latents']:9.2f}"
              f"{row['motion']:8.2f}{row['ratio']:7.3f}{row['psnr']:7.1f}{row['ssim']:7.3f}{row['sign']:6.2f}")


def judge(rows: list[dict[str, Any]]) -> list[str]:
    """The bounds of the presets, and whether they hold."""
    by_name = {row["name"]: row for row in rows}
    reference, ddim25 = by_name["reference"], by_name["ddim-25"]
    balanced, draft, least = (by_name[name] for name in ("balanced", "draft", "shortest"))
    checks = [
        ("balanced: 27 evaluations at most", balanced["evaluations"] <= 27),
        ("balanced: latents no further than the reference from 100 steps", balanced["latents"] <= 1),
        ("balanced: motion no further than DDIM-25's", balanced["motion"] <= ddim25["motion"]),
        ("balanced: motion ratio 0.95 to 1.05", 0.95 <= balanced["ratio"] <= 1.05),
        ("draft: 13 evaluations at most", draft["evaluations"] <= 13),
        ("draft: latents no further than DDIM-25's", draft["latents"] <= ddim25["latents"]),
        ("draft: motion ratio 0.85 to 1.15", 0.85 <= draft["ratio"] <= 1.15),
        ("draft: sign within 3 points of the reference", draft["sign"] >= reference["sign"] - 0.03),
        (f"moonshot: {MOONSHOT} evaluations at DDIM-25's latents and motion",
         least["evaluations"] <= MOONSHOT and least["latents"] <= ddim25["latents"]
         and least["motion"] <= ddim25["motion"]),
    ]  # fmt: skip
    return [f"  {'yes' if holds else 'NO '}  {what}" for what, holds in checks]


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    """Quality against work, both logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "livestill"  # the same figures make the same file
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharex=True, layout="constrained")
    families = [
        ("DDIM, fewer steps", "#8a8f98", ("ddim-25", "ddim-13", "ddim-6")),
        ("DPM-Solver++ 2M, thinned", "#4b9b6e", ("2m-16",)),
        ("forecast, before calibrate", "#8fb4f2", ("line-12", "line-6")),
        ("forecast, calibrated", "#2f6fde", ("balanced", "draft", "shortest")),
    ]
    for axis, key, title in zip(axes, ("latents", "motion"), ("latents", "motion between frames"), strict=True):
        for label, colour, names in families:
            chosen = sorted((row for row in rows if row["name"] in names), key=lambda row: row["evaluations"])
            points = [(row["evaluations"], row[key]) for row in chosen]
            axis.plot(*zip(*points, strict=True), "o-", color=colour, label=label)
            for row, point in zip(chosen, points, strict=True):
                axis.annotate(row["name"], point, (4, 5), textcoords="offset points", fontsize=8)
        axis.axhline(1, color="#c08a2b", linewidth=1, linestyle="--")
        axis.set(xscale="log", yscale="log", title=f"error of the {title}", xlabel="evaluations of the network, of 100")
        axis.set_xticks([8, 13, 27, 50], ["8", "13", "27", "50"])
        axis.set_xlim(7.5, 66)
        axis.minorticks_off()
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("multiples of the reference's own")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(file, metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, help="keep every clip's figures in this file")
    parser.add_argument("--plot", type=Path, metavar="SVG")
    args = parser.parse_args()

    results, tried = [], ways()
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as pool:
        for result in pool.map(partial(run, ways=tried), clips(args.clips)):
            results.append(result)
            print(f"\r{len(results)} of {args.clips} clips", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rows = table(results, tried)
    print(f"{args.clips} clips of {FRAMES} frames, {SIZE}x{SIZE}; errors against the reference at the same seed")
    show(rows)
    verdicts = judge(rows)
    print("\n".join(verdicts))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    if args.plot:
        plot(rows, args.plot)
    return any("NO" in verdict and "moonshot" not in verdict for verdict in verdicts)


if __name__ == "__main__":
    raise SystemExit(main())
