"""Writes a model in our layout: kernels channels last, one file per part, optionally quantised, with a manifest.

    convert_weights("ali-vilab/i2vgen-xl", "i2vgen-xl-8bit", quantize=8)

What is quantised: the Linear layers inside the transformers of the UNet (their blocks, proj_in, proj_out) and of both
CLIP encoders whose input width is a multiple of 64, in groups of 64. What stays in float: convolutions, norms,
embeddings, the embeddings of time, fps and context, the residual blocks' projections, the tiny temporal encoder of the
image latents, CLIP's final projection, and the whole VAE, which is also kept in float32.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import mlx.core as mx

from . import __version__, hub, presets
from .errors import I2VError
from .events import Converting
from .files import atomic, check_output, output_error, sha256_of
from .i2vgen_xl.weights import PARTS
from .model_folder import FAMILY, FORMAT, WEIGHTS, ModelFolder, open_model
from .weights import GROUP_SIZE, parameters, size_in
from .weights import quantize as quantize_layers

SMALL_FILES = (*hub.SMALL_FILES, presets.FILE)

DTYPES = ("float16", "float32")
BITS = (8, 4)

Progress = Callable[[str, int, int], None]


def convert_weights(source: str | Path, target: str | Path, dtype: str = "float16", quantize: int | None = None,
                    progress: Progress | None = None) -> Path:
    """Converts a model, part by part; the target appears when it is whole, or not at all.

    Args:
        source: a folder, or the hub name of a model that is on this machine.
        target: a folder that does not exist or is empty.
        dtype: "float16" or "float32", of what is not quantised; the VAE is always float32.
        quantize: 8 or 4 bits, or None.
        progress: called with (part, index from 1, count) before each part. If it raises, nothing is left.

    Returns:
        the target.

    Raises what `steps` raises.
    """
    with closing(steps(source, target, dtype, quantize)) as parts:
        for part in parts:
            if progress is not None:
                progress(part.part, part.index, part.count)
    return Path(target)


def steps(source: str | Path, target: str | Path, dtype: str = "float16", quantize: int | None = None
          ) -> Generator[Converting, None, None]:
    """`convert_weights` as a generator that yields before each part. Closed before its end it leaves nothing.

    Raises I2VError ``dtype_unknown``, ``quantize_unknown``, ``already_quantized``, and those of
        `files.check_output`, `hub.resolve`, `open_model` and `ModelFolder.load_part`.
    """
    if dtype not in DTYPES:
        raise I2VError("dtype_unknown", f"There is no dtype {dtype!r}.", "Use float16 or float32.")
    if quantize not in (None, *BITS):
        raise I2VError("quantize_unknown", f"Weights cannot be quantised to {quantize!r} bits.", "Use 8 or 4.")
    target = Path(target)
    check_output(target, folder=True)
    folder = hub.resolve(source)
    model = open_model(folder)
    if model.bits is not None:
        raise I2VError("already_quantized", f"{source} is quantised already.", "Convert the original model.")
    check_output(target, folder=True, needed_bytes=_size(model, getattr(mx, dtype), quantize))
    name = hub.full_name(source) or folder.resolve().name  # no path: it may name a person, and models are passed on
    try:
        with atomic(target) as partial:
            yield from _write(model, partial, name, dtype, quantize)
            open_model(partial)
    except OSError as error:
        raise output_error(error, target) from error


def _write(model: ModelFolder, folder: Path, source: str, dtype: str, bits: int | None
           ) -> Generator[Converting, None, None]:
    written = [name for name in SMALL_FILES if (model.path / name).is_file()]
    for name in written:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.path / name, folder / name)
    for index, (name, part) in enumerate(PARTS.items(), 1):
        yield Converting(name, index, len(PARTS))
        module = model.load_part(name, getattr(mx, dtype))
        if bits is not None:
            quantize_layers(module, part.quantized, bits)
            for x in parameters(module).values():  # one by one: each lets go of the matrix that it was made of
                mx.eval(x)
        with (folder / name / WEIGHTS).open("wb") as file:
            mx.save_safetensors(file, parameters(module), metadata={"format": "mlx"})
        written.append(f"{name}/{WEIGHTS}")
        del module
        mx.clear_cache()  # before the next part is loaded
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "family": FAMILY,
        "source": source,
        "dtype": dtype,
        "quantization": None if bits is None else {"bits": bits, "group_size": GROUP_SIZE},
        "created_by": f"livestill {__version__}",
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)} for name in written
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _size(model: ModelFolder, dtype: mx.Dtype, bits: int | None) -> int:
    """Bytes of the converted model, the small files and 5 percent to spare included."""
    weights = 0
    for name, part in PARTS.items():
        module = model.build(name)
        if bits is not None:
            quantize_layers(module, part.quantized, bits)
        weights += size_in(module, model.dtype_of(name, dtype))
    small = sum((model.path / name).stat().st_size for name in SMALL_FILES if (model.path / name).is_file())
    return (weights + small) * 105 // 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``convert_weights.py`` and of ``python -m i2v_mlx convert``."""
    parser.add_argument("source", metavar="SOURCE", help="model folder, or the hub name of a downloaded model")
    parser.add_argument("target", metavar="TARGET", help="folder to write; it must not exist yet")
    parser.add_argument("--dtype", choices=DTYPES, default="float16", help="of what stays in float (default: float16)")
    parser.add_argument("--quantize", type=int, choices=BITS, metavar="8|4",
                        help="bits of the transformers' matrices; 8 is for Macs with 8 GB")


def run(args: argparse.Namespace) -> int:
    """Converts as the arguments say; returns 0 or raises I2VError."""
    def show(name: str, index: int, count: int) -> None:
        print(f"{name} ({index} of {count})", file=sys.stderr)

    print(convert_weights(args.source, args.target, args.dtype, args.quantize, show))
    return 0


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0, 1 (failed), 2 (usage), 130 (interrupted)."""
    parser = argparse.ArgumentParser(prog="convert_weights.py", description="Writes a model in this project's layout.")
    add_arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except I2VError as error:
        print(f"{error.message}\n{error.hint}".strip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
