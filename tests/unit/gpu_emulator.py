"""Runs a kernel's text on the CPU, as MLX would hand it to Metal or to CUDA (see gpu_emulator.h).

For Metal the whole text is MLX's own, with the signature that it writes and the grid that it was given: MLX tells both
when it exports a graph, on any machine. For CUDA, which it does not tell, the signature is written as MLX 0.32 does.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np

from i2v_mlx.layers.norm_kernel import CUDA, METAL, Dialect, Kernel

METAL_KERNEL = mx.fast.metal_kernel  # as it is before any test replaces it
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
        launch = {"inputs": inputs, "output_shape": output_shape, "output_dtype": output_dtype,
                  "template": template, "grid": grid, "threadgroup": threadgroup}  # fmt: skip
        self.launches.append({"kernel": kernel, **launch, "template": dict(template)})
        assert len(inputs) == len(kernel.inputs)
        edited = replace(kernel, source=self.edit(kernel.source))
        if self.dialect is METAL:
            text, call, grid, threadgroup = _for_metal(edited, launch)
        else:
            text, call = _for_cuda(edited, launch)
        run = self._compiled(text, call)
        arrays = [np.array(array) for array in inputs]
        arrays.append(np.zeros(output_shape, np.float16 if output_dtype == mx.float16 else np.float32))
        guarded = []
        for array in arrays:
            memory = np.full(array.size + 2 * GUARD, np.nan if array.dtype.kind == "f" else -1, array.dtype)
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

    def _compiled(self, text: str, call: str):
        program = f"""
#define {'METAL' if self.dialect is METAL else 'CUDA'}
#include "gpu_emulator.h"
{text}
static void** memory;
extern "C" int run(void** arrays, const unsigned* grid, const unsigned* group, bool descending) {{
    memory = arrays;
    return emulator::run(grid, group, descending, [] {{ {call}; }});
}}
"""
        name = hashlib.sha256(program.encode()).hexdigest()[:16]
        library = self.folder / f"{name}.so"
        if not library.exists():
            source = self.folder / f"{name}.cpp"
            source.write_text(program)
            command = [COMPILER, "-std=c++17", "-O1", "-shared", "-fPIC", "-I", Path(__file__).parent, source,
                       "-o", library]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr[:3000]
        return ctypes.CDLL(str(library)).run


def _for_metal(kernel: Kernel, launch) -> tuple[str, str, tuple[int, ...], tuple[int, ...]]:
    """(the text that MLX compiles, the call, grid, threadgroup)"""
    records = []
    make = METAL_KERNEL(name=kernel.name, input_names=list(kernel.inputs), output_names=[kernel.output],
                        source=METAL.prologue + kernel.source, header=METAL.header)  # fmt: skip

    def function(*inputs):
        return make(inputs=list(inputs), output_shapes=[launch["output_shape"]], output_dtypes=[launch["output_dtype"]],
                    **{name: launch[name] for name in ("template", "grid", "threadgroup")})  # fmt: skip

    mx.export_function(records.append, function, *launch["inputs"])
    [record] = [record for record in records if record.get("name") == "CustomKernel"]
    name, text, *numbers = record["arguments"]
    text, instance = text.split("\ntemplate [[host_name(")
    instance = re.search(r"decltype\((.*)\) ", instance)[1]
    assert instance.startswith(name)
    parameters = re.search(rf"void {name}\((.*?)\) {{\n", text, re.DOTALL)[1].split(",\n")
    arguments = []
    for i, parameter in enumerate(parameters):
        kind, attribute = re.fullmatch(r"\s*(.*\S) ?\b\w+ \[\[(.*)\]\]", parameter).groups()
        arguments.append(f"({kind})memory[{i}]" if attribute == f"buffer({i})" else f"HERE.{POSITIONS[attribute]}")
    text = re.sub(r"\[\[.*?\]\]", "", text)
    return text, f"{instance}({', '.join(arguments)})", tuple(numbers[:3]), tuple(numbers[3:6])


def _for_cuda(kernel: Kernel, launch) -> tuple[str, str]:
    """As in mlx/backend/cuda/custom_kernel.cpp."""
    kinds = [f"const {TYPES[array.dtype]}*" for array in launch["inputs"]] + [f"{TYPES[launch['output_dtype']]}*"]
    names = [*kernel.inputs, kernel.output]
    parameters = ", ".join(f"{kind} {name}" for kind, name in zip(kinds, names, strict=True))
    constants = ""
    for name, value in launch["template"]:
        if isinstance(value, mx.Dtype):
            constants += f"using {name} = {TYPES[value]};\n"
        else:
            constants += f"constexpr {type(value).__name__} {name} = {int(value)};\n"
    text = f"{CUDA.header}\nvoid text({parameters}) {{\n{constants}{CUDA.prologue}{kernel.source}\n}}\n"
    return text, f"text({', '.join(f'({kind})memory[{i}]' for i, kind in enumerate(kinds))})"
