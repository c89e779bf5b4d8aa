"""Who imports whom, seen in fresh interpreters, and what no file of the project does."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import i2v_mlx

ROOT = Path(i2v_mlx.__file__).parents[1]
SHARED = ("i2v_mlx.errors", "i2v_mlx.request", "i2v_mlx.events", "i2v_mlx.commands")


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def modules(package: str) -> list[str]:
    """Names of all modules that can be imported without running a program."""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sources(package)]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def brought_in(*names: str) -> set[str]:
    """The top-level packages in memory because of these imports."""
    code = (
        "import sys, json, importlib; before = set(sys.modules)\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return set(json.loads(done.stdout))


def test_there_is_something_to_look_at():
    assert {*SHARED, "i2v_mlx.i2vgen_xl.pipeline", "i2v_mlx.parts.ddim"} <= set(modules("i2v_mlx"))
    assert "gui" in modules("gui")


def test_importing_the_package_is_cheap():
    heavy = {"torch", "transformers", "mlx", "PySide6", "numpy", "PIL", "huggingface_hub", "safetensors"}
    assert not brought_in("i2v_mlx") & heavy


def test_what_app_and_engine_share_is_standard_library_only():
    assert brought_in(*SHARED) <= {*sys.stdlib_module_names, "i2v_mlx"}


def test_the_engine_knows_no_qt_and_no_torch():
    found = brought_in(*modules("i2v_mlx"))
    assert "mlx" in found
    assert not found & {"PySide6", "shiboken6", "torch", "diffusers", "gui"}


def test_a_public_name_brings_neither_torch_nor_transformers():
    code = (
        "import sys, i2v_mlx; [getattr(i2v_mlx, name) for name in i2v_mlx.__all__]\n"
        "assert not {'torch', 'transformers', 'PySide6'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_app_knows_no_mlx():
    pytest.importorskip("PySide6")
    assert not brought_in(*modules("gui")) & {"mlx", "torch", "transformers", "diffusers"}


# ---------------------------------------------------------------- what is in the files


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", ["i2v_mlx", "gui"])
def test_imports_within_functions_obey_as_well(package):
    """`brought_in` sees what importing does; this sees what calling would."""
    forbidden = {
        "i2v_mlx": {"PySide6", "torch", "diffusers", "gui"},
        "gui": {"mlx", "torch", "diffusers"},
    }[package]
    for path in sources(package):
        assert not imports(path) & forbidden, path.name


@pytest.mark.parametrize("package", ["i2v_mlx", "gui"])
def test_no_pickle_no_eval_no_shell_no_remote_code(package):
    for path in sources(package):
        assert not imports(path) & {"pickle", "marshal", "shelve", "dill", "cloudpickle"}, path.name
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in ("eval", "exec", "os.system", "os.popen", "torch.load"), (path.name, node.lineno)
                for keyword in node.keywords:
                    yes = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
                    dangerous = keyword.arg in ("shell", "trust_remote_code", "allow_pickle") and yes
                    assert not dangerous, (path.name, node.lineno)
