"""Fixtures of the fault suites, and the count of cases in each of the twelve groups."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import fake_hub
import huggingface_hub.constants as constants
import pytest
from driver import Place, contents, copy_model
from fake_hub import FakeHub

from i2v_mlx import hub as names
from i2v_mlx import transfer
from i2v_mlx.events import Done
from i2v_mlx.hub import File, Pinned

GROUPS = {
    1: "cancelled at every event", 2: "killed at every event", 3: "hostile weights", 4: "hostile pictures",
    5: "prompts and names", 6: "disk full, ffmpeg broken", 7: "out of memory", 8: "NaN, infinity, flat latents",
    9: "suspended, two at once, clock jumps", 10: "protocol", 11: "odd servers", 12: "fifty jobs in one worker",
}


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_model(tmp_path_factory.mktemp("demo") / "model")


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, model: Path) -> dict[str, bytes]:
    """The files of a clip that nothing ever disturbed."""
    place = Place(tmp_path_factory.mktemp("whole"), model)
    try:
        assert isinstance(place.worker().run(place.request(), "whole"), Done)
        return contents(place.out / "clip")
    finally:
        place.close()


@pytest.fixture
def place(tmp_path: Path, model: Path, whole: dict[str, bytes]) -> Iterator[Place]:
    place = Place(tmp_path, model, whole)
    yield place
    place.close()


@pytest.fixture(scope="module")
def shared_place(tmp_path_factory: pytest.TempPathFactory, model: Path, whole: dict[str, bytes]) -> Iterator[Place]:
    """For a module whose tests share one warm worker."""
    place = Place(tmp_path_factory.mktemp("place"), model, whole)
    yield place
    place.close()


@pytest.fixture
def cases(record_property: Callable[[str, object], None]) -> Callable[[int], None]:
    """Tells how many cases a test went through; without it a test counts as one."""
    return lambda count: record_property("cases", count)


def released(root: Path) -> Path:
    """Puts the demo model where the released one would be after its download; returns the folder."""
    (known,) = names.pinned().values()
    target = root / "cache" / f"models--{known.repo.replace('/', '--')}" / "snapshots" / known.revision
    return copy_model(target, extras=())


# ------------------------------------------------------------------------------------------------------- a fake hub

@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The fake one, which the hub library takes for the real one."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with fake_hub.running() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                            server.address + "/{repo_id}/resolve/{revision}/{filename}")
        yield server


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub library's cache is an empty folder."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited, in a moment."""
    waited: list[float] = []
    monkeypatch.setattr(transfer.time, "sleep", waited.append)
    return waited


@pytest.fixture
def pinned(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> Pinned:
    """The fake model in the place of models.json, only its UNet with a hash."""
    files = tuple(File(name, len(data) if name in fake_hub.SMALL else None,
                       hashlib.sha256(data).hexdigest() if name == fake_hub.UNET else None)
                  for name, data in hub.files.items())
    model = Pinned("tiny", fake_hub.REPO, fake_hub.REVISION, 2_073_000, "MIT", "A note.", files)
    monkeypatch.setattr(names, "pinned", lambda: {fake_hub.REPO: model})
    return model


# ---------------------------------------------------------------------------------------------------------- the count

def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts: Counter[int] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        match = re.search(r"faults/test_(\d\d)_", report.nodeid)
        if match and report.when == "call":
            counts[int(match[1])] += int(dict(report.user_properties).get("cases", 1))
    if counts:
        terminalreporter.section("faults survived")
        for group in sorted(counts):
            terminalreporter.write_line(f"{group:>3}  {GROUPS[group]:<40}{counts[group]:>7,}")
        terminalreporter.write_line(f"     {'in all':<40}{sum(counts.values()):>7,}")
