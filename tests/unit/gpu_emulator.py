"""Runs a kernel's text on the CPU, as MLX would hand it to Metal or to CUDA (see gpu_emulator.h).

The signature is written as MLX 0.32 writes it: `const device T* name` for the inputs, `device T* name` for the output,
and Metal's positions where the text names them.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np

from i2v_mlx.layers.norm_kernel import METAL, Dialect, Kernel

COMPILER = shutil.which("g++")
TYPES = {mx.float32: "float", mx.float16: "half", mx.int32: "int"}
POSITIONS = {
    "thread_position_in_grid": "thread_in_grid",
    "thread_position_in_threadgroup": "thread_in_group",
    "threadgroup_position_in_grid": "group",
}
GUARD = 2**14  # elements on either side of an array, which no thread may touch


class Emulator:
    """Stands in for the GPU in `norm_kernel.group_norm`.

    Args:
        folder: for what is compiled.
        descending: the last thread of a threadgroup goes first.
        edit: changes a kernel's text before it is compiled.

    Attributes:
        launches: what was asked for, in order.
    """

    def __init__(self, folder: Path, dialect: Dialect = METAL, descending: bool = False, edit=lambda text: text):
        self.folder = folder
        self.dialect = dialect
        self.descending = descending
        self.edit = edit
        self.launches: list[dict] = []

    def __call__(self, kernel: Kernel, inputs, output_shape, output_dtype, template, grid, threadgroup) -> mx.array:
        launch = {"kernel": kernel, "inputs": inputs, "output_shape": output_shape, "output_dtype": output_dtype,
                  "template": dict(template), "grid": grid, "threadgroup": threadgroup}  # fmt: skip
        self.launches.append(launch)
        assert len(inputs) == len(kernel.inputs)
        run = self._compile(replace(kernel, source=self.edit(kernel.source)), inputs, output_dtype, template)
        arrays = [np.array(array) for array in inputs]
        arrays.append(np.zeros(output_shape, np.dtype(np.float16 if output_dtype == mx.float16 else np.float32)))
        fills = [np.nan if array.dtype.kind == "f" else -1 for array in arrays]
        guarded = []
        for array, fill in zip(arrays, fills, strict=True):
            memory = np.full(array.size + 2 * GUARD, fill, array.dtype)
            if array is not arrays[-1]:  # the output begins as NaN everywhere: what is not written stays so
                memory[GUARD:-GUARD] = array.ravel()
            guarded.append(memory)
        before = [memory.copy() for memory in guarded]
        addresses = (ctypes.c_void_p * len(guarded))(*(memory[GUARD:].ctypes.data for memory in guarded))
        unsigned3 = ctypes.c_uint * 3
        assert run(addresses, unsigned3(*grid), unsigned3(*threadgroup), self.descending) == 0, "threads at odds"
        for memory, old in zip(guarded[:-1], before[:-1], strict=True):
            np.testing.assert_array_equal(memory, old, "an input was written")
        for guard in (guarded[-1][:GUARD], guarded[-1][-GUARD:]):
            assert np.isnan(guard).all(), "written beyond the output"
        return mx.array(guarded[-1][GUARD:-GUARD].reshape(output_shape))

    def _compile(self, kernel: Kernel, inputs, output_dtype, template):
        metal = self.dialect is METAL
        space = "device " if metal else ""
        names = [*kernel.inputs, kernel.output]
        types = [TYPES[array.dtype] for array in inputs] + [TYPES[output_dtype]]
        constants = ["const "] * len(inputs) + [""]
        parameters = [f"{const}{space}{kind}* {name}"
                      for const, kind, name in zip(constants, types, names, strict=True)]  # fmt: skip
        arguments = [f"({const}{kind}*)memory[{i}]"
                     for i, (const, kind) in enumerate(zip(constants, types, strict=True))]  # fmt: skip
        if metal:
            used = {name: place for name, place in POSITIONS.items() if name in kernel.source}
            parameters += [f"uint3 {name}" for name in used]
            arguments += [f"HERE.{place}" for place in used.values()]
        kinds = {int: "int", bool: "bool"}
        declared = ", ".join(f"{kinds.get(type(value), 'typename')} {name}" for name, value in template)
        given = ", ".join(str(int(value)) if type(value) in kinds else TYPES[value] for _, value in template)
        text = f"""
#define {'METAL' if metal else 'CUDA'}
#include "gpu_emulator.h"
{self.dialect.header}
template <{declared}> void text({", ".join(parameters)}) {{ {self.dialect.prologue} {kernel.source} }}
static void** memory;
extern "C" int run(void** arrays, const unsigned* grid, const unsigned* group, bool descending) {{
    memory = arrays;
    const bool whole = {str(not metal).lower()};
    return emulator::run(grid, group, whole, descending, [] {{ text<{given}>({", ".join(arguments)}); }});
}}
"""
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        library = self.folder / f"{name}.so"
        if not library.exists():
            source = self.folder / f"{name}.cpp"
            source.write_text(text)
            command = [COMPILER, "-std=c++17", "-O1", "-shared", "-fPIC", "-I", Path(__file__).parent, source,
                       "-o", library]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr[:3000]
        return ctypes.CDLL(str(library)).run
