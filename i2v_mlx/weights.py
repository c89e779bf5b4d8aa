"""Weight files: checked before anything reads them, then loaded strictly, by name and shape.

Only safetensors and JSON are opened. MLX's own reader accepts files that the format forbids (overlapping tensors,
holes, shapes whose byte count overflows) and can crash on them, so `read_header` comes first, always.

Two layouts: "hub" (PyTorch: convolution kernels (O, I, kh, kw) and (O, I, kt, 1, 1), the keys of the released files)
and "mlx" (ours: kernels channels last, 1x1 kernels as matrices, keys equal to the module's parameters).
"""

from __future__ import annotations

import json
import os
import re
import stat
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten
from safetensors import SafetensorError, safe_open

from .errors import I2VError

Layout = Literal["hub", "mlx"]

MAX_JSON_BYTES = 2**20
MAX_HEADER_BYTES = 4 * 2**20   # the largest released header has 0.2 MB; parsed JSON takes up to 30 times its size
MAX_SIDE = 2**31 - 1           # MLX counts a side in 32 bits
EVAL_BYTES = 256 * 2**20       # tensors are read, converted and released in batches of about this size
GROUP_SIZE = 64                # weights that share one scale when quantised
INFINITY = {mx.float16: 0x7C00, mx.bfloat16: 0x7F80, mx.float32: 0x7F800000}  # as bits

AGAIN = "Download or convert the model again."

FLOATS = ("F16", "BF16", "F32")
PACKED = "U32"                 # how MLX stores quantised weights


@dataclass(frozen=True)
class TensorInfo:
    """dtype as safetensors writes it ("F16", "BF16", "F32", "U32", ...); shape as in the file."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """How one part of a family is built and which tensors its files hold.

    Attributes:
        stem: of the hub's weight file, as in ``<stem>.fp16.safetensors``.
        class_name: what the hub's config.json says it is.
        build: values of config.json -> module with lazy parameters.
        rename: (pattern, replacement) regular expressions, applied in turn, from the hub's keys to ours.
        ignore: pattern of hub keys that are no parameters.
        quantized: pattern of the paths whose Linear layers may be quantised; None for none.
        float32: kept in float32 whatever the rest is loaded in.
    """

    stem: str
    class_name: str
    build: Callable[[dict[str, Any]], nn.Module]
    rename: tuple[tuple[str, str], ...] = ()
    ignore: str = r"(?!)"
    quantized: str | None = None
    float32: bool = False


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a regular file of at most 1 MB. Raises I2VError ``config_missing`` or ``config_invalid``."""
    if not path.is_file():
        raise I2VError("config_missing", f"{_where(path)} is missing.", AGAIN)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise I2VError("config_invalid", f"{_where(path)} cannot be read: {error.strerror}.") from error
    if len(text) > MAX_JSON_BYTES:
        raise I2VError("config_invalid", f"{_where(path)} is larger than 1 MB, which no config is.")
    return _parse(text, "config_invalid", _where(path))


def read_header(path: Path) -> dict[str, TensorInfo]:
    """What a safetensors file holds, after every check that needs no tensor data.

    The rules are those of the format (https://github.com/huggingface/safetensors, "Format"): no holes, overlaps or
    trailing bytes, shapes that match their bytes; and ours: no key twice, no side over 2^31 - 1, a header up to 4 MB.

    Raises I2VError ``weights_missing``, ``weights_unreadable``, ``weights_not_downloaded``, ``weights_pickle``,
    ``weights_truncated`` or ``weights_invalid``.
    """
    where = _where(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise I2VError("weights_unreadable", f"{where} is not a file.")
        with path.open("rb") as file:
            start = file.read(512)
            length = _header_length(start, where)
            file.seek(8)
            text = file.read(length)
            size = file.seek(0, os.SEEK_END)
    except FileNotFoundError as error:
        raise I2VError("weights_missing", f"{where} is missing.", AGAIN) from error
    except OSError as error:
        raise I2VError("weights_unreadable", f"{where} cannot be read: {error.strerror}.") from error
    if len(text) < length:
        raise I2VError("weights_truncated", f"{where} ends inside its header.", AGAIN)
    entries = _parse(text, "weights_invalid", where)
    _check_structure(path, entries, size - 8 - length)
    entries.pop("__metadata__", None)
    if not all(isinstance(entry, dict) for entry in entries.values()):  # the safetensors library takes a list, too
        raise I2VError("weights_invalid", f"{where} is damaged: its tensors are not described by names.", AGAIN)
    header = {name: TensorInfo(entry["dtype"], tuple(entry["shape"])) for name, entry in entries.items()}
    for name, info in header.items():
        if any(side > MAX_SIDE for side in info.shape):
            raise I2VError("weights_invalid", f"{where}: the tensor {_shown(name)} has the side "
                           f"{max(info.shape)}.")
    return header


def _header_length(start: bytes, where: str) -> int:
    """Bytes of JSON that follow the first 8 bytes."""
    if start[8:9] != b"{":
        raise _not_safetensors(start, where)
    length: int = struct.unpack("<Q", start[:8])[0]
    if length > MAX_HEADER_BYTES:
        raise I2VError("weights_invalid", f"{where} has a header of {length} bytes; {MAX_HEADER_BYTES} are the limit.")
    return length


def _not_safetensors(start: bytes, where: str) -> I2VError:
    """Tells what a file is that has another beginning."""
    if not start:
        return I2VError("weights_not_downloaded", f"{where} is empty.", AGAIN)
    if start.lstrip().startswith(b"<"):
        return I2VError("weights_not_downloaded", f"{where} is a web page, not the weights.", AGAIN)
    if start.startswith(b"version https://git-lfs"):
        return I2VError("weights_not_downloaded", f"{where} is a Git LFS pointer, not the weights.", AGAIN)
    if start.startswith((b"PK\x03\x04", b"\x80")):
        return I2VError("weights_pickle", f"{where} is a pickle or an archive, which could run code.",
                        "Only safetensors files are opened.")
    if len(start) < 9:
        return I2VError("weights_truncated", f"{where} ends inside its header.", AGAIN)
    return I2VError("weights_invalid", f"{where} is not a safetensors file.", AGAIN)


def _check_structure(path: Path, entries: dict[str, Any], data_bytes: int) -> None:
    try:
        with safe_open(path, "np"):
            return
    except (SafetensorError, OSError, ValueError) as error:  # ValueError: a header that is not UTF-8
        for name, entry in entries.items():
            try:
                begin, end = entry["data_offsets"]
                cut = begin <= end and end > data_bytes
            except (TypeError, ValueError, KeyError):
                continue
            if cut:
                raise I2VError("weights_truncated", f"{_where(path)} is cut off: {_shown(name)} is not whole.",
                               AGAIN) from error
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise I2VError("weights_invalid", f"{_where(path)} is damaged: {reason[:200]}.", AGAIN) from error


def check(module: nn.Module, files: Iterable[Path], *, layout: Layout, rename: Iterable[tuple[str, str]] = (),
          ignore: str = r"(?!)") -> dict[Path, dict[str, str]]:
    """Compares the headers of the files with the parameters of the module; allocates nothing.

    Returns:
        for each file, the parameter that each of its tensors becomes.

    Raises I2VError ``weights_mismatch`` or ``weights_dtype`` naming the tensors, and those of `read_header`.
    """
    wanted = {name: (x.shape, x.dtype == mx.uint32) for name, x in parameters(module).items()}
    found: dict[Path, dict[str, str]] = {}
    extra: list[str] = []
    shapes: list[str] = []
    dtypes: list[str] = []
    seen: set[str] = set()
    for file in files:
        found[file] = {}
        for name, info in read_header(file).items():
            if layout == "hub" and re.fullmatch(ignore, name):
                continue
            target = _renamed(name, rename) if layout == "hub" else name
            if target not in wanted or target in seen:
                extra.append(_shown(name))
                continue
            shape, packed = wanted[target]
            seen.add(target)
            found[file][name] = target
            if shape not in (_mlx_shapes(info.shape) if layout == "hub" else (info.shape,)):
                shapes.append(f"{_shown(name)} is {_sides(info.shape)}, not {_sides(shape)}")
            if info.dtype not in ((PACKED,) if packed else FLOATS):
                dtypes.append(f"{name} is {info.dtype}")
    missing = [name for name in wanted if name not in seen]
    where = ", ".join(_where(file) for file in list(found)[:1])
    if missing or extra or shapes:
        reasons = [_first_five(*group) for group in (("missing", missing), ("not wanted", extra), ("misshapen", shapes))
                   if group[1]]
        raise I2VError("weights_mismatch", f"{where} does not fit its config: {'; '.join(reasons)}.")
    if dtypes:
        raise I2VError("weights_dtype", f"{where} is in a number format that is not read: "
                       f"{_first_five('tensors', dtypes)}.", "Weights are read in float16, bfloat16 and float32.")
    return found


def load(module: nn.Module, files: Iterable[Path], *, layout: Layout, dtype: mx.Dtype,
         rename: Iterable[tuple[str, str]] = (), ignore: str = r"(?!)") -> None:
    """Fills the module's parameters, evaluated and contiguous, floats cast to `dtype`. All of them or an error.

    Peak memory is that of the result and one batch of EVAL_BYTES.

    Raises I2VError ``weights_not_finite`` naming a tensor, and those of `check`.
    """
    found = check(module, files, layout=layout, rename=rename, ignore=ignore)
    shapes = {name: x.shape for name, x in parameters(module).items()}
    loaded: dict[str, mx.array] = {}
    for file, names in found.items():
        arrays = cast(dict[str, mx.array], mx.load(str(file), format="safetensors"))
        batch: dict[str, mx.array] = {}
        size = 0
        for name, target in names.items():
            x = arrays.pop(name)  # so that only the batch keeps what the file holds
            if x.ndim > 2 and layout == "hub":
                x = mx.moveaxis(x, 1, -1).reshape(shapes[target])
            batch[target] = mx.contiguous(x if x.dtype == mx.uint32 else x.astype(dtype))
            size += x.nbytes
            if size > EVAL_BYTES:
                _evaluate(batch, file)
                loaded |= batch
                batch, size = {}, 0
        _evaluate(batch, file)
        loaded |= batch
    module.load_weights(list(loaded.items()), strict=True)


def quantize(module: nn.Module, pattern: str | None, bits: int) -> None:
    """Replaces Linear layers whose path matches by quantised ones, if their input width is a multiple of 64.

    The same choice is made when weights are written and when they are read.
    """
    def chosen(path: str, layer: nn.Module) -> bool:
        return isinstance(layer, nn.Linear) and layer.weight.shape[1] % GROUP_SIZE == 0 \
            and pattern is not None and re.search(pattern, path) is not None

    nn.quantize(module, group_size=GROUP_SIZE, bits=bits, class_predicate=chosen)


def parameters(module: nn.Module) -> dict[str, mx.array]:
    """Dotted name -> parameter."""
    return dict(tree_flatten(module.parameters()))


def size_in(module: nn.Module, dtype: mx.Dtype) -> int:
    """Bytes of the parameters when floats are in `dtype`."""
    return sum(x.size * (x.itemsize if x.dtype == mx.uint32 else dtype.size) for x in parameters(module).values())


def _evaluate(batch: dict[str, mx.array], file: Path) -> None:
    largest = {name: _largest_bits(x) for name, x in batch.items() if x.dtype != mx.uint32}
    mx.eval(batch, largest)
    for name, (positive, negative) in largest.items():
        infinity = INFINITY[batch[name].dtype]
        sign = 1 << (8 * batch[name].itemsize - 1)
        if cast(int, positive.item()) >= infinity or cast(int, negative.item()) >= sign | infinity:
            kind = str(batch[name].dtype).removeprefix("mlx.core.")
            raise I2VError("weights_not_finite", f"{_where(file)}: the tensor {name} holds values that are NaN or "
                           f"infinite in {kind}.", AGAIN if kind == "float32" else "float32 may be able to hold them.")


def _largest_bits(x: mx.array) -> tuple[mx.array, mx.array]:
    """Bits of the largest and of the smallest number, as integers. Those of infinities and of NaNs, whose exponents are
    all ones, come after all others: this finds them at a tenth of isfinite's cost."""
    signed, unsigned = (mx.int32, mx.uint32) if x.itemsize == 4 else (mx.int16, mx.uint16)
    return x.view(signed).max(), x.view(unsigned).max()


def _renamed(name: str, rename: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rename:
        name = re.sub(pattern, replacement, name)
    return name


def _mlx_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """What a tensor of the hub's layout may become."""
    if len(shape) == 4:
        O, I, kh, kw = shape
        return [(O, kh, kw, I), (O, I)] if kh == kw == 1 else [(O, kh, kw, I)]
    if len(shape) == 5 and shape[3:] == (1, 1):
        O, I, kt, _, _ = shape
        return [(O, kt, 1, I)]
    return [shape]


def _parse(text: bytes, code: str, where: str) -> dict[str, Any]:
    """A JSON object without a key twice, NaN or nesting deeper than Python's parser takes."""
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in pairs:
            if key in values:
                raise ValueError(f"the key {_shown(key)} is there twice")
            values[key] = value
        return values

    def no_number(literal: str) -> float:
        raise ValueError(f"{literal} is not a number")

    try:
        values = json.loads(text, object_pairs_hook=unique, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise I2VError(code, f"{where} is damaged: {reason}.", AGAIN) from error
    if not isinstance(values, dict):
        raise I2VError(code, f"{where} is damaged: it is not a JSON object.", AGAIN)
    return values


def _first_five(title: str, names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{title}: {', '.join(names[:5])}{more}"


def _shown(name: str) -> str:
    """A name from a file that may be anything, fit for one line of a terminal."""
    return name if len(name) <= 100 and name.isprintable() else repr(name[:100])


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[:8])) if shape else "a number"


def _where(path: Path) -> str:
    """Part and file, as in ``unet/config.json``: what a reader needs, without the folders of the machine."""
    return "/".join(path.parts[-2:])
