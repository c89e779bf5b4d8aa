"""The app never computes: no part of it imports mlx, and no part of it is ready for a network before the user asks."""

import subprocess
import sys
from pathlib import Path

import gui

FILES = sorted(path for path in Path(gui.__file__).parent.glob("*.py") if path.stem != "__main__")
FORBIDDEN = ("mlx", "torch", "transformers", "huggingface_hub", "http.client", "ssl", "PySide6.QtNetwork")


def test_no_mlx_and_no_network():
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(*sys.modules)"
    names = [f"gui.{path.stem}" if path.stem != "__init__" else "gui" for path in FILES]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split()
    assert "gui.session" in loaded
    assert [name for name in FORBIDDEN if name in loaded] == []


def test_only_the_engine_client_talks_to_a_worker():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert "shell=True" not in text and "pickle" not in text, path.name
        if path.stem != "engine_client":
            assert "i2v_mlx.commands" not in text and "worker_command" not in text, path.name
