"""Weight files that lie, each built from code: the list of reference/faults.md (M1 to M7, 4.3) and of the safetensors
project's own attacks. As a program it is the child process in which they are opened.
"""

from __future__ import annotations

import io
import json
import pickle
import resource
import struct
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from i2v_mlx.errors import I2VError
from i2v_mlx.weights import load

SHAPES = {"conv.weight": (2, 3, 3, 3), "conv.bias": (2,), "linear.weight": (4, 2), "linear.bias": (4,)}


class Victim(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.linear = nn.Linear(2, 4)


class Bomb:
    """What a pickle under a false name would do when it is loaded: leave a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def pack(header: dict[str, Any] | str | bytes, data: bytes, length: int | None = None) -> bytes:
    """A safetensors file of any header, true or not."""
    text = header if isinstance(header, bytes) else (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def honest() -> tuple[dict[str, Any], bytes]:
    """Header and data of a file that is in order."""
    header: dict[str, Any] = {}
    data = b""
    for name, shape in SHAPES.items():
        tensor = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape).tobytes()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(data), len(data) + len(tensor)]}
        data += tensor
    return header, data


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def changed(name: str, **values: Any) -> bytes:
    """An honest file but for one tensor's entry."""
    header, data = honest()
    header[name] |= values
    return pack(header, data)


def planted(value: float) -> bytes:
    """An honest file but for one number of linear.bias."""
    header, data = honest()
    begin, end = header["linear.bias"]["data_offsets"]
    numbers = np.frombuffer(data[begin:end], np.float32).copy()
    numbers[1] = value
    return pack(header, data[:begin] + numbers.tobytes() + data[end:])


def resized(name: str, dtype: str, width: int) -> bytes:
    """An honest file but for one tensor's number format, its bytes made to fit."""
    header, data = honest()
    shapes = {key: value["shape"] for key, value in header.items()}
    header, data = {}, b""
    for key, shape in shapes.items():
        count = int(np.prod(shape)) * (width if key == name else 4)
        header[key] = entry(dtype if key == name else "F32", shape, len(data), len(data) + count)
        data += bytes(count)
    return pack(header, data)


def without(name: str) -> bytes:
    header, data = {}, b""
    for key, shape in SHAPES.items():
        if key != name:
            count = int(np.prod(shape)) * 4
            header[key] = entry("F32", list(shape), len(data), len(data) + count)
            data += bytes(count)
    return pack(header, data)


def alone(shape: list[int], count: int = 0) -> bytes:
    """One tensor of a shape whose bytes are said to be `count`."""
    return pack({"linear.bias": entry("F32", shape, 0, count)}, bytes(count))


def archive(marker: Path) -> bytes:
    """What torch.save writes: a zip with a pickle in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as inside:
        inside.writestr("archive/data.pkl", pickle.dumps(Bomb(marker)))
    return file.getvalue()


def contents(marker: Path) -> Iterator[tuple[str, bytes, str]]:
    """(name, bytes, code of the error that refuses it)"""
    header, data = honest()
    text = json.dumps(header)
    whole = pack(header, data)
    start = header["linear.weight"]["data_offsets"][0]

    # Truncation at each section.
    yield "empty", b"", "weights_not_downloaded"
    yield "cut in the length", whole[:5], "weights_truncated"
    yield "only a length", whole[:8], "weights_truncated"
    yield "cut in the header", whole[: 8 + len(text) // 2], "weights_truncated"
    yield "header without data", whole[: 8 + len(text)], "weights_truncated"
    yield "cut in the first tensor", whole[: 8 + len(text) + 7], "weights_truncated"
    yield "cut at a tensor's edge", whole[: 8 + len(text) + start], "weights_truncated"
    yield "last byte gone", whole[:-1], "weights_truncated"

    # Something else under the name.
    yield "web page", b"<!DOCTYPE html><html><body>Sign in</body></html>", "weights_not_downloaded"
    yield "indented web page", b"\n\n  <html>" + b" " * 3000, "weights_not_downloaded"
    yield "lfs pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5", "weights_not_downloaded"
    yield "json error", b'{"error": "Repository not found"}', "weights_invalid"
    yield "pickle", pickle.dumps(Bomb(marker)), "weights_pickle"
    yield "torch archive", archive(marker), "weights_pickle"
    yield "gguf", b"GGUF" + bytes(100), "weights_invalid"
    yield "npy", b"\x93NUMPY\x01\x00" + bytes(100), "weights_invalid"
    yield "zeros", bytes(4096), "weights_invalid"

    # Length of the header.
    yield "length zero", pack(header, data, length=0), "weights_invalid"
    yield "length one short", pack(header, data, length=len(text) - 1), "weights_invalid"
    yield "length one long", pack(header, data, length=len(text) + 1), "weights_invalid"
    yield "length 2^62", pack(header, data, length=2**62), "weights_invalid"
    yield "length 2^64-1", pack(header, data, length=2**64 - 1), "weights_invalid"
    yield "100 MB header", pack(text + " " * (100_000_000 - len(text)), data), "weights_invalid"
    yield "4 MB of empty lists", pack('{"a":[' + "[]," * 1_390_000 + "[]]}", b""), "weights_invalid"
    yield "4 MB of empty objects", pack('{"a":[' + "{}," * 1_390_000 + "{}]}", b""), "weights_invalid"
    yield "4 MB of names", pack("{" + ",".join(f'"{i}":0' for i in range(370_000)) + "}", b""), "weights_invalid"
    yield "60,000 tensors", pack({f"{i}": entry("F32", [0], 0, 0) for i in range(60_000)}, b""), "weights_mismatch"

    # JSON.
    yield "not json", pack("{" + "x" * 100, data), "weights_invalid"
    yield "not utf-8", pack(b'{"\xff\xfe": 1}', data), "weights_invalid"
    yield "utf-16", pack(text.encode("utf-16-le"), data), "weights_invalid"
    yield "a list", pack("[]", b""), "weights_invalid"
    yield "nested 100,000 deep", pack('{"a":' * 100_000 + "1" + "}" * 100_000, b""), "weights_invalid"
    yield "nested lists", pack('{"a":' + "[" * 500_000 + "]" * 500_000 + "}", b""), "weights_invalid"
    yield "NaN in the header", pack(text.replace("[0,", "[NaN,", 1), data), "weights_invalid"
    again = json.dumps({"conv.bias": header["conv.bias"]})[1:]
    yield "key twice", pack(f"{text[:-1]}, {again}", data), "weights_invalid"
    yield "field twice", pack(text.replace('"dtype"', '"dtype": "F16", "dtype"', 1), data), "weights_invalid"
    yield "metadata is a number", pack(header | {"__metadata__": 1}, data), "weights_invalid"
    yield "metadata of lists", pack(header | {"__metadata__": {"a": [1]}}, data), "weights_invalid"
    yield "entry is a list", pack(header | {"x": []}, data), "weights_invalid"
    yield "entries without names", pack({"linear.bias": ["F32", [4], [0, 16]]}, bytes(16)), "weights_invalid"
    yield "no offsets", pack(header | {"x": {"dtype": "F32", "shape": [0]}}, data), "weights_invalid"
    yield "a number of 4000 digits", changed("conv.bias", data_offsets=[0, int("9" * 4000)]), "weights_truncated"
    yield "a number of 5000 digits", pack('{"a":' + "9" * 5000 + "}", b""), "weights_invalid"

    # Offsets.
    yield "overlap", changed("conv.bias", data_offsets=[0, 8]), "weights_invalid"
    yield "500 tensors over the same bytes", pack(
        {f"t{i}": entry("U8", [4_000_000], 0, 4_000_000) for i in range(500)}, bytes(4_000_000)), "weights_invalid"
    yield "hole", pack(
        {"linear.bias": entry("F32", [4], 0, 16), "x": entry("F32", [4], 32, 48)}, bytes(48)), "weights_invalid"
    yield "hole at the beginning", pack({"linear.bias": entry("F32", [4], 16, 32)}, bytes(32)), "weights_invalid"
    yield "trailing bytes", whole + b"polyglot", "weights_invalid"
    yield "offsets turned round", changed("conv.bias", data_offsets=[16, 8]), "weights_invalid"
    yield "negative offset", changed("conv.bias", data_offsets=[-8, 0]), "weights_invalid"
    yield "offsets that are text", changed("conv.bias", data_offsets="ab"), "weights_invalid"
    yield "three offsets", changed("conv.bias", data_offsets=[0, 4, 8]), "weights_invalid"
    yield "offset 2^64", changed("conv.bias", data_offsets=[0, 2**64]), "weights_truncated"
    yield "end beyond the file", changed("linear.bias", data_offsets=[start, 10**12]), "weights_truncated"

    # Shapes.
    yield "shape unlike its bytes", changed("conv.bias", shape=[3]), "weights_invalid"
    yield "65536^4, no bytes", alone([65536] * 4), "weights_invalid"
    yield "65536^3 x 16384, no bytes", alone([65536, 65536, 65536, 16384]), "weights_invalid"
    yield "2^32 + 1", alone([2**32 + 1], 4), "weights_invalid"
    yield "2^31 by 0", alone([2**31, 0]), "weights_invalid"
    yield "2^63 by 2", alone([2**63, 2]), "weights_invalid"
    yield "2^64", alone([2**64], 4), "weights_invalid"
    yield "negative side", alone([-4], 16), "weights_invalid"
    yield "fraction of a side", alone([2.5], 10), "weights_invalid"  # type: ignore[list-item]
    yield "a million sides", alone([1] * 1_000_000, 4), "weights_mismatch"

    # Number formats.
    yield "float64", resized("linear.bias", "F64", 8), "weights_dtype"
    yield "int8", resized("linear.bias", "I8", 1), "weights_dtype"
    yield "float8", resized("linear.bias", "F8_E4M3", 1), "weights_dtype"
    yield "uint32", resized("linear.bias", "U32", 4), "weights_dtype"
    yield "unknown format", resized("linear.bias", "F33", 4), "weights_invalid"

    # In order, and not the model.
    yield "missing tensor", without("linear.bias"), "weights_mismatch"
    yield "extra tensor", pack(header | {"x": entry("F32", [0], len(data), len(data))}, data), "weights_mismatch"
    yield "transposed", changed("linear.weight", shape=[2, 4]), "weights_mismatch"
    yield "scalar", pack({"linear.bias": entry("F32", [], 0, 4)}, bytes(4)), "weights_mismatch"
    yield "name with an escape sequence", pack(
        header | {"\x1b[2J\n" * 50: entry("F32", [0], len(data), len(data))}, data), "weights_mismatch"
    yield "NaN", planted(float("nan")), "weights_not_finite"
    yield "infinity", planted(float("inf")), "weights_not_finite"


def peak_bytes() -> int:
    """Most memory that this process has ever had resident."""
    if sys.platform == "linux":  # ru_maxrss there counts the parent's memory from before exec
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Loads the files that are named on stdin, one a line, an honest one first; prints one line of JSON for each."""
    for line in sys.stdin:
        code, message, start = "none", "", time.perf_counter()
        try:
            load(Victim(), [Path(line.strip())], layout="hub", dtype=mx.float32)
        except I2VError as error:
            code, message = error.code, str(error)
        print(json.dumps({"code": code, "message": message, "seconds": time.perf_counter() - start,
                          "peak": peak_bytes()}), flush=True)


if __name__ == "__main__":
    main()
