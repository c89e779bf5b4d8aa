"""The command line as a user meets it: a process, its files, its exit code, what it says."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2v_mlx.frames import probe, read_frames, read_recipe

SMALL = ["--size", "64x48", "--frames", "3", "--steps", "2", "--seed", "5"]


@pytest.fixture
def folder(tmp_path, tiny_model):
    """A folder with a picture and the tiny model in it."""
    (tmp_path / "model").symlink_to(tiny_model[1])
    draw = np.random.default_rng(0)
    pixels = Image.fromarray(draw.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    pixels.resize((120, 90), Image.Resampling.BICUBIC).save(tmp_path / "picture.png")
    return tmp_path


def run(folder: Path, *args: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "i2v_mlx", *args], cwd=folder, capture_output=True, text=True, timeout=120, **more
    )


def generate(folder: Path, *args: str) -> subprocess.CompletedProcess:
    return run(folder, "generate", "picture.png", "--model", "model", "--prompt", "a cat runs", *SMALL, *args)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"model", "picture.png"}


@pytest.mark.parametrize("output", ["clip.mp4", "clip.mov", "clip.gif", "clip.webp", "clip"])
def test_every_kind_of_file_carries_its_recipe(folder, output):
    done = generate(folder, "-o", output, "--negative-prompt", 'blurry "=;#\\', "--playback-fps", "10")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, output, "")
    assert files(folder) == {output}
    made = read_recipe(folder / output)
    assert made["request"]["negative_prompt"] == 'blurry "=;#\\' and made["request"]["seed"] == 5
    assert str(folder) not in str(made)
    video = probe(folder / output)
    assert (video.width, video.height, video.frames, video.fps) == (64, 48, 3, 10)


def test_a_video_is_repeated_from_its_recipe(folder):
    assert generate(folder, "-o", "clip.mp4").returncode == 0
    assert run(folder, "generate", "--from", "clip.mp4", "-o", "again.mp4").returncode == 0
    assert (folder / "again.mp4").read_bytes() == (folder / "clip.mp4").read_bytes()
    assert run(folder, "generate", "--from", "clip.mp4", "--seed", "6", "-o", "other.mp4").returncode == 0
    assert read_recipe(folder / "other.mp4")["request"]["seed"] == 6
    assert not np.array_equal(read_frames(folder / "other.mp4")[0], read_frames(folder / "clip.mp4")[0])


def test_a_recipe_names_how_it_was_sampled(folder):
    options = ["--sampler", "dpm++2m", "--grid", "blended", "--guidance-refresh", "3", "--steps", "4"]
    assert generate(folder, "-o", "clip", *options).returncode == 0
    made = read_recipe(folder / "clip")["request"]
    assert (made["sampler"], made["grid"], made["guidance_refresh"]) == ("dpm++2m", "blended", 3)
    repeat = ("generate", "--from", "clip", "--model", "model")
    assert run(folder, *repeat, "-o", "again").returncode == 0
    assert np.array_equal(read_frames(folder / "again")[0], read_frames(folder / "clip")[0])
    assert run(folder, *repeat, "-o", "plain", "--sampler", "ddim").returncode == 0
    assert not np.array_equal(read_frames(folder / "plain")[0], read_frames(folder / "clip")[0])


def test_a_preset_is_named_in_the_recipe(folder):
    args = ("generate", "picture.png", "--model", "model", "--prompt", "a cat runs", "--size", "64x48", "--frames", "2",
            "--seed", "5", "--preset", "draft")
    assert run(folder, *args, "-o", "clip.gif").returncode == 0
    made = read_recipe(folder / "clip.gif")
    assert made["preset"] == "draft"
    assert (made["request"]["sampler"], made["request"]["num_inference_steps"]) == ("forecast", 8)
    assert run(folder, *args, "-o", "more.gif", "--steps", "9").returncode == 0
    made = read_recipe(folder / "more.gif")
    assert made["preset"] is None and made["request"]["num_inference_steps"] == 9


def test_other_steps_leave_a_models_own_weights_behind(folder):
    own = {"num_inference_steps": 2, "sampler": "forecast", "grid": "981,1", "weights": "0.4,0.6/0.2,0.9,-0.1"}
    shutil.copytree(folder / "model", folder / "fitted")
    (folder / "fitted" / "presets.json").write_text(json.dumps({"draft": own}))
    args = ("generate", "picture.png", "--model", "fitted", "--prompt", "a", "--size", "64x48", "--frames", "2",
            "--seed", "5", "--preset", "draft")  # fmt: skip
    assert run(folder, *args, "-o", "two").returncode == 0
    made = read_recipe(folder / "two")
    assert (made["preset"], made["request"]["weights"]) == ("draft", "0.4,0.6/0.2,0.9,-0.1")
    for start in (args, ("generate", "--from", "two")):
        done = run(folder, *start, "-o", "three", "--steps", "3")
        assert done.returncode == 0, done.stderr
        made = read_recipe(folder / "three")["request"]
        assert (made["sampler"], made["grid"], made["weights"]) == ("forecast", "nested", "")
        shutil.rmtree(folder / "three")
    assert run(folder, "generate", "--from", "two", "-o", "other", "--sampler", "unipc").returncode == 0
    assert read_recipe(folder / "other")["request"]["grid"] == "blended"


def test_a_grid_of_timesteps(folder):
    assert generate(folder, "-o", "clip", "--grid", "981,500,1", "--steps", "3").returncode == 0
    assert read_recipe(folder / "clip")["request"]["grid"] == "981,500,1"


def test_estimate(folder):
    done = run(folder, "estimate", "--size", "512x320", "--chip", "M4-Max")
    assert done.returncode == 0, done.stderr
    assert "12.55" in done.stdout and "100 evaluations" in done.stdout and "GB" in done.stdout
    draft = run(folder, "estimate", "--model", "model", "--size", "64x48", "--preset", "draft")
    assert draft.returncode == 0 and "8 steps, 13 evaluations" in draft.stdout
    unknown = ["--chip", "Z80"], "M1 Max"
    for args, says in (unknown, (["--size", "60x48"], "multiple of 8"), (["--steps", "0"], "1 to")):
        wrong = run(folder, "estimate", *args)
        assert wrong.returncode == 2 and says in wrong.stderr and "Traceback" not in wrong.stderr
    assert run(folder, "estimate", "--model", "someone/nowhere").returncode == 1


def test_count_makes_takes_with_the_next_seeds(folder):
    done = generate(folder, "-o", "clip.gif", "--count", "2")
    assert done.stdout.split() == ["clip-5.gif", "clip-6.gif"]
    assert generate(folder, "-o", "single.gif", "--seed", "6").returncode == 0
    assert np.array_equal(read_frames(folder / "clip-6.gif")[0], read_frames(folder / "single.gif")[0])


def test_info(folder):
    generate(folder, "-o", "clip.mp4")
    done = run(folder, "info", "clip.mp4")
    assert done.returncode == 0 and "64x48, 3 frames at 8 fps, h264" in done.stdout and '"a cat runs"' in done.stdout
    assert "no recipe" in run(folder, "info", "picture.png").stdout
    assert run(folder, "info", "no.mp4").returncode == 1


def test_converted_model_gives_the_same_frames(folder):
    assert run(folder, "convert", "model", "converted", "--dtype", "float32").returncode == 0
    generate(folder, "-o", "clip")
    generate(folder, "-o", "other", "--model", "converted")
    assert np.array_equal(read_frames(folder / "clip")[0], read_frames(folder / "other")[0])


def test_doctor(folder):
    done = run(folder, "doctor")
    assert done.returncode == 0 and "FAILED" not in done.stdout
    assert "matrix product" in done.stdout and "ffmpeg" in done.stdout


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--size", "60x48"], 2, "multiple of 8"),
        (["--size", "large"], 2, "512x320"),
        (["--frames", "0"], 2, "from 1 to"),
        (["--steps", "1000"], 2, "1 to 999"),
        (["--guidance", "nan"], 2, "guidance_scale"),
        (["--eta", "2"], 2, "eta"),
        (["--eta", "0.5", "--sampler", "unipc"], 2, "sampler ddim"),
        (["--sampler", "heun"], 2, "invalid choice"),
        (["--grid", "none"], 2, "blended"),
        (["--grid", "981,1", "--steps", "3"], 2, "Use 2 steps"),
        (["--grid", "2000,1"], 2, "999"),
        (["--preset", "fast"], 2, "invalid choice"),
        (["--preset", "draft", "--eta", "0.5"], 2, "sampler ddim"),
        (["--guidance-refresh", "0"], 2, "guidance_refresh"),
        (["--grid", "blended", "--steps", "990"], 2, "1 to 981"),
        (["--seed", "-1"], 2, "seed"),
        (["--fidelity", "none"], 2, "invalid choice"),
        (["--count", "0"], 2, "count"),
        (["--playback-fps", "0"], 2, "playback_fps"),
        (["--clip-skip", "9"], 2, "clip_skip"),
        (["-o", "clip.avi"], 2, ".mp4, .mov, .gif"),
        (["-o", "missing/clip.mp4"], 1, "no folder"),
        (["--model", "nowhere"], 1, "demo"),
        (["--model", "someone/nowhere"], 1, "download"),
        (["--from", "picture.png"], 1, ""),
        (["--unheard-of"], 2, "unrecognized"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_arguments(folder, args, code, says):
    done = generate(folder, *(["-o", "clip.mp4"] if "-o" not in args else []), *args)
    assert done.returncode == code
    assert says in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == "" and files(folder) == set()


@pytest.mark.parametrize("picture", [None, "no.png", "broken.png", "model"])
def test_wrong_pictures(folder, picture):
    (folder / "broken.png").write_bytes((folder / "picture.png").read_bytes()[:200])
    given = [picture] if picture else []
    done = run(folder, "generate", *given, "--model", "model", "--prompt", "x", *SMALL, "-o", "clip.mp4")
    assert done.returncode == (1 if picture else 2)
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert files(folder) == {"broken.png"}


def test_no_prompt_and_no_model_say_what_to_do(folder, monkeypatch):
    done = run(folder, "generate", "picture.png", "-o", "clip.mp4")
    assert done.returncode == 2 and "--prompt" in done.stderr
    monkeypatch.setenv("HF_HOME", str(folder / "empty"))
    done = run(folder, "generate", "picture.png", "--prompt", "x", "-o", "clip.mp4")
    assert done.returncode == 1
    for word in ("i2v_mlx download", "5.0 GB", "--model demo"):
        assert word in done.stderr


def test_a_damaged_model_is_named(folder, tiny_model, tmp_path):
    import shutil

    (folder / "model").unlink()
    shutil.copytree(tiny_model[1], folder / "model")
    weights = folder / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    done = generate(folder, "-o", "clip.mp4")
    assert done.returncode == 1 and "unet" in done.stderr and "Traceback" not in done.stderr
    weights.unlink()
    assert "unet/diffusion_pytorch_model.safetensors" in generate(folder, "-o", "clip.mp4").stderr
    assert files(folder) == set()


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_no_file(folder, kind):
    process = subprocess.Popen(
        [sys.executable, "-m", "i2v_mlx", "generate", "picture.png", "--model", "model", "--prompt", "x",
         "--size", "64x48", "--frames", "16", "--steps", "900", "-o", "clip.mp4"],
        cwd=folder, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(4)
    assert process.poll() is None
    os.kill(process.pid, kind)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in said
    assert files(folder) == set()
