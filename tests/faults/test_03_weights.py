"""Every hostile weight file is refused by name, in one process that survives them all and stays small."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import hostile_weights
import pytest
from driver import copy_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from i2v_mlx.events import Done

CHILD = Path(hostile_weights.__file__)


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marker") / "executed"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, marker: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """(name, expected code, what the child said) of every case; the honest file comes first."""
    folder = tmp_path_factory.mktemp("hostile")
    cases: list[tuple[str, Path, str]] = []

    def add(name: str, path: Path, code: str) -> None:
        cases.append((name, path, code))

    (folder / "honest.safetensors").write_bytes(hostile_weights.pack(*hostile_weights.honest()))
    add("honest", folder / "honest.safetensors", "none")
    for index, (name, data, code) in enumerate(hostile_weights.contents(marker)):
        (folder / f"{index}.safetensors").write_bytes(data)
        add(name, folder / f"{index}.safetensors", code)
    add("no file", folder / "absent.safetensors", "weights_missing")
    add("a folder", folder, "weights_unreadable")
    os.mkfifo(folder / "pipe.safetensors")
    add("a pipe", folder / "pipe.safetensors", "weights_unreadable")
    (folder / "device.safetensors").symlink_to("/dev/zero")
    add("an endless device", folder / "device.safetensors", "weights_unreadable")
    (folder / "loop.safetensors").symlink_to("loop.safetensors")
    add("a link to itself", folder / "loop.safetensors", "weights_unreadable")
    (folder / "nowhere.safetensors").symlink_to("absent")
    add("a link to nothing", folder / "nowhere.safetensors", "weights_missing")
    with (folder / "sparse.safetensors").open("wb") as file:
        file.truncate(2**42)
    add("4 TB of nothing", folder / "sparse.safetensors", "weights_invalid")

    child = subprocess.run([sys.executable, CHILD], input="\n".join(str(path) for _, path, _ in cases), text=True,
                           capture_output=True, timeout=300)
    for path in folder.iterdir():  # hundreds of MB that pytest would keep
        path.unlink()
    lines = child.stdout.splitlines()
    assert len(lines) == len(cases), f"{cases[len(lines)][0]} ended the process: {child.stderr[-1000:]}"
    assert child.returncode == 0
    return [(name, code, json.loads(line)) for (name, _, code), line in zip(cases, lines, strict=True)]


def test_each_is_refused_by_name(results, cases):
    wrong = {name: (said["code"], said["message"]) for name, code, said in results if said["code"] != code}
    assert wrong == {}
    cases(len(results) - 1)


def test_in_the_place_of_a_models_weights(place, marker, tmp_path, cases):
    """Each is refused by the worker, which lives and stays small; the model with its own file then runs."""
    worker = place.worker()
    assert isinstance(worker.run(place.request(), "first"), Done)
    place.remove("clip")
    model, before, done = copy_model(tmp_path / "spoilt"), worker.rss(), 0
    file = model / "unet" / "diffusion_pytorch_model.safetensors"
    own = file.read_bytes()
    for name, data, _ in hostile_weights.contents(marker):
        if len(data) > 10_000_000:         # seen above, in a process of its own
            continue
        file.write_bytes(data)
        failed = worker.fails(place.request(model=str(model)), f"job-{done}")
        assert failed.code.startswith("weights_"), (name, failed)
        assert place.left() == set() and worker.alive, name
        done += 1
    assert worker.rss() - before < 300e6
    file.write_bytes(own)
    assert isinstance(worker.run(place.request(model=str(model)), "own"), Done)
    assert not marker.exists()
    place.check("clip")
    cases(done)


@pytest.mark.parametrize("ending", [".bin", ".pt", ".pth", ".ckpt"])
def test_a_pickle_in_the_place_of_the_weights(ending, place, marker, tmp_path):
    """Nothing opens it, whatever it is called."""
    model = copy_model(tmp_path / "pickled")
    file = model / "unet" / "diffusion_pytorch_model.safetensors"
    file.unlink()
    file.with_suffix(ending).write_bytes(pickle.dumps(hostile_weights.Bomb(marker)))
    failed = place.worker().fails(place.request(model=str(model)), "a")
    assert failed.code == "model_incomplete" and "Pickles" in failed.hint and not marker.exists()
    place.check(next_run=False)


def test_messages_fit_a_terminal(results):
    for name, _, said in results:
        assert said["message"].isprintable() and len(said["message"]) < 1000, name


def test_memory_stays_small(results):
    first, *rest = [said["peak"] for _, _, said in results]
    assert max(rest) - first < 300e6


def test_none_takes_long(results):
    assert max(said["seconds"] for _, _, said in results) < 10


def test_no_pickle_ran(results, marker):
    assert not marker.exists()


@pytest.mark.parametrize(("cut", "tensor"), [(-1, "linear.bias"), (-17, "linear.weight")])
def test_a_truncated_file_names_the_tensor(cut, tensor, tmp_path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(hostile_weights.pack(*hostile_weights.honest())[:cut])
    with pytest.raises(hostile_weights.I2VError, match=f"{tensor} is not whole"):
        hostile_weights.load(hostile_weights.Victim(), [path], layout="hub", dtype=hostile_weights.mx.float32)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 2**16), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4))
def test_a_file_with_changed_bytes_loads_whole_or_is_refused(changes, tmp_path):
    data = bytearray(hostile_weights.pack(*hostile_weights.honest()))
    for place, values in changes:
        place %= len(data)
        data[place : place + len(values)] = values
    path = tmp_path / "changed.safetensors"
    path.write_bytes(data)
    victim = hostile_weights.Victim()
    try:
        hostile_weights.load(victim, [path], layout="hub", dtype=hostile_weights.mx.float32)
    except hostile_weights.I2VError as error:
        assert error.code.startswith("weights_")
    else:
        assert victim.linear.weight.shape == (4, 2) and bool(hostile_weights.mx.isfinite(victim.linear.weight).all())
