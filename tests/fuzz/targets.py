"""What is fuzzed: one function for each kind of file or text that comes from others, fed by hypothesis.

A target fails when anything but a named error comes out, when an example takes long, or when the process dies.
"""

from __future__ import annotations

import io
import itertools
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

import hostile_weights

from gui.event_stream import EventStream
from i2v_mlx import checkpoint, commands, events, frames, images, recipe, video
from i2v_mlx.errors import I2VError
from i2v_mlx.files import resource
from i2v_mlx.model_folder import open_model
from i2v_mlx.request import Request

SLOW_S = 20.0
FOLDER = Path(tempfile.mkdtemp(prefix="livestill-fuzz-"))


@contextmanager
def refused(*prefixes: str) -> Iterator[None]:
    """The only exceptions are our own, with a code that begins so; nothing takes long."""
    began = time.monotonic()
    try:
        yield
    except I2VError as error:
        assert error.code.startswith(prefixes), error.code
        assert error.message.isprintable() and len(error.message) < 2000, error.message
    assert time.monotonic() - began < SLOW_S


def mutated(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of the seeds with bytes replaced, put in, taken out, and cut off, most often near its beginning."""
    place = st.one_of(st.integers(0, 64), st.integers(0, 600), st.integers(0, 2**20))
    change = st.tuples(place, st.integers(0, 8), st.binary(max_size=8))

    def apply(seed: bytes, changes: list[tuple[int, int, bytes]], keep: float) -> bytes:
        data = bytearray(seed)
        for at, gone, new in changes:
            at %= len(data) + 1
            data[at : at + (gone if gone < 4 else len(new))] = new
        return bytes(data[: int(len(data) * keep) + 1])

    return st.builds(apply, st.sampled_from(seeds), st.lists(change, min_size=1, max_size=6),
                     st.one_of(st.just(1.0), st.floats(0, 1)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(
        [2**31, 2**63, 2**64, -1, 10**400, 1e308, "", "../x", "/etc/passwd", "\0", "\ud800", "file:x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4), max_leaves=8)


def changed_json(honest: list[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """One of the objects with some of its values, at any depth, replaced or taken out."""

    def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        if path:
            yield path
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from places(inner, (*path, key))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                yield from places(inner, (*path, index))

    @st.composite
    def change(draw: Any) -> dict[str, Any]:
        value = json.loads(json.dumps(draw(st.sampled_from(honest))))
        for _ in range(draw(st.integers(1, 3))):
            path = draw(st.sampled_from(list(places(value)) or [("x",)]))
            at = value
            for key in path[:-1]:
                at = at[key]
            if isinstance(at, dict) and draw(st.booleans()) and draw(st.booleans()):
                at.pop(path[-1], None)
            else:
                at[path[-1]] = draw(json_values)
        return value

    return change()


# ------------------------------------------------------------------------------------------------------------- pictures

def picture_seeds() -> list[bytes]:
    draw = np.random.default_rng(0)
    noise = Image.fromarray(draw.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    cases: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (noise, "PNG", {}), (noise, "JPEG", {"exif": exif}), (noise, "WEBP", {}), (noise, "GIF", {}),
        (noise, "BMP", {}), (noise, "TIFF", {}), (noise, "PPM", {}), (noise, "JPEG2000", {}),
        (noise.convert("CMYK"), "JPEG", {}), (noise.convert("CMYK"), "TIFF", {"compression": "tiff_lzw"}),
        (noise.convert("P"), "PNG", {"transparency": 3}), (noise.convert("LA"), "PNG", {}),
        (noise.convert("RGBA"), "WEBP", {"lossless": True}), (noise.convert("1"), "TIFF", {"compression": "group4"}),
        (noise.convert("L"), "TIFF", {"compression": "jpeg"}), (noise, "TIFF", {"compression": "tiff_adobe_deflate"}),
        (Image.fromarray(draw.integers(0, 2**16, (24, 32), dtype=np.uint16)), "PNG", {}),
        (noise, "JPEG", {"progressive": True}), (noise, "GIF", {"save_all": True, "append_images": [noise] * 2}),
        (noise, "PNG", {"save_all": True, "append_images": [noise]}),
    ]
    if features.check("avif"):
        cases.append((noise, "AVIF", {}))
    seeds = []
    for image, format, options in cases:
        file = io.BytesIO()
        image.save(file, format, **options)
        seeds.append(file.getvalue())
    return seeds


@given(mutated(picture_seeds()))
def pictures(data: bytes) -> None:
    """A file is an upright RGB picture or a named error."""
    path = FOLDER / "picture"
    path.write_bytes(data)
    with refused("image_"):
        image = images.load(path)
        assert image.mode == "RGB" and 0 < image.width * image.height <= images.MAX_PIXELS
        assert images.centre_crop(image, 64, 40).size == (64, 40)


# ------------------------------------------------------------------------------------------------------- weight headers

HEADER, DATA = hostile_weights.honest()

tensors = st.builds(
    lambda dtype, shape, offsets: {"dtype": dtype, "shape": shape, "data_offsets": offsets},
    st.sampled_from(["F32", "F16", "BF16", "F64", "I8", "U32", "BOOL", "F8_E4M3", "X", ""]) | json_values,
    st.lists(st.sampled_from([0, 1, 2, 3, 4, 2**31, 2**32 + 1, 2**63, 2**64, -1]) | st.integers(), max_size=6)
    | json_values,
    st.lists(st.sampled_from([0, 4, 8, 16, 32, 48, len(DATA), 2**32, 2**63, 2**64]), min_size=2, max_size=2)
    | json_values)
headers = changed_json([HEADER]) | st.dictionaries(
    st.sampled_from([*HEADER, "__metadata__", "x"]) | st.text(max_size=4), tensors | json_values, max_size=5)


@given(st.one_of(
    mutated([hostile_weights.pack(HEADER, DATA)]),
    st.builds(lambda header, cut, length: hostile_weights.pack(header, DATA[:cut], length), headers,
              st.sampled_from([None, 0, 16, len(DATA) - 1]), st.none() | st.integers(0, 2**64 - 1))))
def weights(data: bytes) -> None:
    """A weight file fills the module whole or is refused."""
    path = FOLDER / "weights.safetensors"
    path.write_bytes(data)
    victim = hostile_weights.Victim()
    with refused("weights_"):
        hostile_weights.load(victim, [path], layout="hub", dtype=hostile_weights.mx.float32)
        assert victim.conv.weight.shape == (2, 3, 3, 3) and victim.linear.bias.shape == (4,)
        assert bool(hostile_weights.mx.isfinite(victim.linear.weight).all())


@cache
def model() -> Path:
    """A copy of the demo model, of which one file at a time is spoilt."""
    target = FOLDER / "model"
    ignore = shutil.ignore_patterns("*.py", "*.md", "__pycache__")
    shutil.copytree(resource("demo"), target, ignore=ignore)
    return target


CONFIGS = ("model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json",
           "image_encoder/config.json", "scheduler/scheduler_config.json",
           "feature_extractor/preprocessor_config.json", "tokenizer/tokenizer_config.json")


@given(st.data())
def configs(data: st.DataObject) -> None:
    """A model folder opens, down to its pipeline, or is refused."""
    from i2v_mlx.i2vgen_xl.pipeline import I2VGenXLPipeline

    file = model() / data.draw(st.sampled_from(CONFIGS))
    honest = file.read_bytes()
    try:
        changed = data.draw(changed_json([json.loads(honest)]).map(lambda value: json.dumps(value).encode())
                            | mutated([honest]))
        file.write_bytes(changed)
        with refused("config_", "model_", "weights_", "tokenizer_", "scheduler_", "manifest_"):
            I2VGenXLPipeline(open_model(model()))
    finally:
        file.write_bytes(honest)


def checkpoint_seed() -> bytes:
    latents = np.linspace(-1, 1, 4 * 2 * 3 * 5, dtype=np.float32).reshape(1, 4, 2, 3, 5)
    step = events.Step(2, 4, latents=latents, history={"x": latents.transpose(0, 2, 3, 4, 1)})
    checkpoint.save(FOLDER / "seed.safetensors", Request("a.png", num_frames=2, num_inference_steps=4), step)
    return (FOLDER / "seed.safetensors").read_bytes()


@given(mutated([checkpoint_seed()]))
def checkpoints(data: bytes) -> None:
    """The place where a run stopped can be read or is damaged."""
    path = FOLDER / "checkpoint.safetensors"
    path.write_bytes(data)
    with refused("checkpoint_"):
        request, step = checkpoint.load(path)
        assert 1 <= step.index <= step.count == request.num_inference_steps


# ------------------------------------------------------------------------------------------------------------- protocol

SAID = [events.Hello("0.1.0", "M1", 2**34, ["demo"]), events.Heartbeat(5), events.Accepted({"prompt": "ä"}, 3),
        events.Stage("denoise"), events.Block(1, 26), events.Frame(1, 16), events.Notice("cut", "words"),
        events.Step(2, 50, 0.5, {"width": 4, "height": 4, "frames": 1, "rgb": "AAAA"}),
        events.Done("/x/clip", 12.5, 7, {"app": "Livestill"}), events.Cancelled("denoise", 3, "/x"),
        events.Failed("broken", "It broke.", "Try again.")]
TOLD = [commands.Generate(Request("a.png").to_dict(), "/x/a.mp4", "/x/a.safetensors"),
        commands.Resume("/x/a.safetensors", "/x/a.mp4"), commands.Cancel(True), commands.Quit()]
EVENT_LINES = [events.encode(event, "a1") for event in SAID]
COMMAND_LINES = [commands.encode(command, "a1") for command in TOLD]


def lines(honest: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.one_of(st.sampled_from(honest), mutated(honest), st.binary(max_size=60),
                     changed_json([json.loads(line) for line in honest]).map(lambda v: json.dumps(v).encode() + b"\n"))


@given(st.lists(lines(EVENT_LINES), max_size=12), st.lists(st.integers(0, 4000), max_size=12))
def protocol_events(said: list[bytes], cuts: list[int]) -> None:
    """Cut anywhere, the same events come out, each sound enough to be said again."""
    data = b"".join(said)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    stream, whole = EventStream(), EventStream()
    found = [pair for a, b in itertools.pairwise(edges) for pair in stream.feed(data[a:b])]
    again = whole.feed(data)
    assert repr(found) == repr(again) and stream.dropped == whole.dropped
    for job, event in found:
        assert EventStream().feed(events.encode(event, job)) == [(job, event)]


@given(lines(COMMAND_LINES))
def protocol_commands(line: bytes) -> None:
    """A line is a command whose fields have their types, or is refused."""
    with refused("command_"):
        job, command = commands.decode(line)
        assert commands.decode(commands.encode(command, job)) == (job, command)


# -------------------------------------------------------------------------------------------------------------- recipes

def recipe_seed() -> dict[str, Any]:
    picture = FOLDER / "seed.png"
    Image.new("RGB", (8, 8)).save(picture)
    return recipe.make(Request(str(picture), "a cat", crop=(0, 0, 1, 0.5)), {"fingerprint": "0"}, 8.0)


@given(changed_json([recipe_seed()]).map(json.dumps) | mutated([json.dumps(recipe_seed()).encode()]).map(
    lambda data: data.decode(errors="replace")))
def recipes(text: str) -> None:
    """What came with a file is a request with every field in its type, or is refused; it names no folder."""
    with refused("recipe_", "request_", "fidelity_", "sampler_", "grid_", "crop_", "size_", "image_", "prompt_",
                 *Request().to_dict()):
        made = recipe.from_json(text)
        request = Request.from_dict(made["request"])
        assert Request.from_dict(json.loads(json.dumps(request.to_dict()))) == request
        assert "/" not in made["source"]["name"]
        request.validate()


@cache
def clips() -> list[tuple[str, bytes]]:
    """(suffix, bytes) of a small clip in every form that is one file."""
    draw = np.random.default_rng(0)
    sent = draw.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    made = []
    for suffix in (".gif", ".webp", ".mp4", ".mov"):
        path = FOLDER / f"seed{suffix}"
        video.write_video(path, sent, 8, json.dumps(recipe_seed()))
        made.append((suffix, path.read_bytes()))
    return made


def _read(suffix: str, data: bytes) -> None:
    path = FOLDER / f"clip{suffix}"
    path.write_bytes(data)
    for read in (frames.read_recipe, frames.read_frames):
        with refused("recipe_", "request_", "video_"):
            read(path)


@given(st.data())
def clips_by_pillow(data: st.DataObject) -> None:
    """A gif or webp that somebody sent has a recipe and frames, or is a named error."""
    suffix, seed = data.draw(st.sampled_from(clips()[:2]))
    _read(suffix, data.draw(mutated([seed])))


@given(st.data())
def clips_by_ffmpeg(data: st.DataObject) -> None:
    """The same for mp4 and mov, which take a process each."""
    suffix, seed = data.draw(st.sampled_from(clips()[2:]))
    _read(suffix, data.draw(mutated([seed])))


TARGETS: dict[str, Callable[[], None]] = {
    target.__name__: target for target in (
        pictures, weights, configs, checkpoints, protocol_events, protocol_commands, recipes, clips_by_pillow,
        clips_by_ffmpeg)
}
