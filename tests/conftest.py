"""What tests in more than one folder share: a small random model, built once a session."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import i2v_mlx  # noqa: F401 - loads OpenBLAS before any test imports mlx

sys.path.insert(0, str(Path(__file__).parent / "parity"))  # `tiny` and `mirror` are there


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """(diffusers' pipeline, the folder with the same model), see `tiny.build`."""
    import torch  # seconds to import, and most tests do without it
    from tiny import build

    torch.set_num_threads(1)  # with a second thread on a busy core, small networks take ten times as long
    folder = tmp_path_factory.mktemp("tiny") / "model"
    return build(folder), folder
