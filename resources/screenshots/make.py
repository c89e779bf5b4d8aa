"""Takes the screenshots of the README: `make screenshots`, or `python resources/screenshots/make.py [STATE ...]`.

The window is the real one, with a staged engine (staged_worker.py) and drawn pictures (scenes.py).
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent.parent), str(HERE), os.environ.get("PYTHONPATH", "")])
sys.path[:0] = [str(HERE.parent.parent), str(HERE)]

import numpy as np  # noqa: E402
import scenes  # noqa: E402
from PIL import Image  # noqa: E402
from PySide6.QtGui import QFont, QFontDatabase  # noqa: E402
from PySide6.QtWidgets import QApplication, QWidget  # noqa: E402

from gui import theme  # noqa: E402
from gui.app import App  # noqa: E402
from gui.engine_client import EngineClient  # noqa: E402
from gui.main_window import SMALLEST, MainWindow  # noqa: E402
from gui.places import Places  # noqa: E402
from gui.presets import BALANCED, presets  # noqa: E402
from gui.session import Session  # noqa: E402
from i2v_mlx import recipe, video  # noqa: E402
from i2v_mlx.request import Request  # noqa: E402

SIZE = (1280, 800)
LARGEST = 300_000                          # bytes
TWICE = ("first-start", "finished", "preferences")          # also with two pixels a point
PROMPTS = {
    "harbour": "Sailing boats sway on the evening tide, gulls cross the sky, light glitters on the water",
    "balloons": "Hot air balloons drift over misty hills",
    "aurora": "The aurora ripples above a still mountain lake",
    "lighthouse": "The beam of a lighthouse sweeps over a calm sea at dusk",
}


def main() -> None:
    wanted = [name for name in sys.argv[1:] if name in STATES] or list(STATES)
    if "--here" in sys.argv:
        take(wanted, 2 if os.environ.get("QT_SCALE_FACTOR") == "2" else 1)
        return
    for scale in (1, 2):                     # Qt reads the scale when it starts
        names = wanted if scale == 1 else [name for name in wanted if name in TWICE]
        if names:
            environment = dict(os.environ, QT_SCALE_FACTOR=str(scale))
            subprocess.run([sys.executable, __file__, "--here", *names], env=environment, check=True)


def take(names: list[str], scale: int) -> None:
    app = App(["livestill"])
    if "Inter" in QFontDatabase.families():
        app.setFont(QFont("Inter", 10))      # the nearest that a Linux machine has to the Mac's
    for appearance in ("light", "dark"):
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                stage = Stage(Path(folder), appearance)
                shown = STATES[name](stage)
                stage.settle()
                suffix = "@2x" if scale == 2 else ""
                save(shown, HERE / f"{name}-{appearance}{suffix}.png")
                stage.close()


def save(widget: QWidget, path: Path) -> None:
    """As a small PNG; pngquant, if it is there, gives large ones a palette."""
    widget.grab().save(str(path))
    picture = Image.open(path).convert("RGB")
    picture.save(path, optimize=True)
    pngquant = shutil.which("pngquant")
    if pngquant and path.stat().st_size > LARGEST:
        subprocess.run([pngquant, "--nofs", "--force", "--output", str(path), str(path)], check=True)


class Stage:
    """A session of its own, with a window, and what is needed to fill it."""

    def __init__(self, folder: Path, appearance: str):
        self.folder, self.appearance = folder, appearance
        os.environ["HOME"] = str(folder)           # paths of nobody's machine
        self.pictures = folder / "pictures"
        self.pictures.mkdir()
        for name in scenes.SCENES:
            Image.fromarray(scenes.frame(name, 1600, 1067, 0.0)).save(self.pictures / f"{name}.jpg", quality=92)

    def open(self, *worker: str, size: tuple[int, int] = SIZE) -> MainWindow:
        engine = EngineClient([sys.executable, str(HERE / "staged_worker.py"), *(worker or ("0",))])
        places = Places(self.folder / "state", self.folder / "Movies" / "Livestill")
        self.session = Session(places, engine)
        theme.apply(QApplication.instance(), self.appearance)
        preferences = dataclasses.replace(self.session.preferences, appearance=self.appearance, sound=False)
        self.session.set_preferences(preferences)
        self.window = MainWindow(self.session)
        self.window.resize(*size)
        self.window.show()
        self.session.start()
        self.wait(lambda: self.session.engine.hello is not None)
        return self.window

    def fill(self, name: str, **fields: object) -> None:
        """A picture and its words."""
        self.session.open_files([str(self.picture(name))])
        self.wait(lambda: self.session.draft.request.image == str(self.picture(name)))
        values: dict[str, object] = {"model": "i2vgen-xl", "width": 704, "height": 448, "num_frames": 16, "seed": 42,
                                     "prompt": PROMPTS[name], "negative_prompt": "blurry, distorted, static",
                                     **presets("i2vgen-xl")[BALANCED].fields, **fields}
        self.session.draft.change("fill", **values)
        self.session.draft.undo_stack.clear()

    def add_clip(self, name: str, seed: int, hours: float, favourite: bool = False, frames: int = 16) -> int:
        request = Request(image=str(self.picture(name)), prompt=PROMPTS[name], model="i2vgen-xl", width=704, height=448,
                          num_frames=frames, seed=seed)
        request = presets("i2vgen-xl")[BALANCED].apply(request)
        folder = self.session.places.clips / f"{name}-{seed}"
        made = recipe.to_json(recipe.make(request, {"name": "staged"}, 8.0))
        pixels = scenes.clip(name, 704, 448, frames)
        video.write_video(folder, np.roll(pixels, seed % frames, axis=0), 8.0, made)
        from gui import clip_frames

        contents = clip_frames.read(folder)
        clip = self.session.library.add(folder, made, request, 8.0, contents.thumbnail, time.time() - 3600 * hours)
        if favourite:
            self.session.library.set_favourite(clip.id, True)
        return clip.id

    def add_clips(self) -> int:
        """A library; returns the newest clip."""
        for index, (name, seed) in enumerate((("lighthouse", 7), ("aurora", 1187), ("balloons", 23), ("harbour", 42))):
            newest = self.add_clip(name, seed, 5 - index, favourite=name == "aurora")
        return newest

    def picture(self, name: str) -> Path:
        return self.pictures / f"{name}.jpg"

    def wait(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not condition():
            QApplication.processEvents()
            time.sleep(0.01)
            if time.monotonic() > end:
                raise TimeoutError("the stage is not set")

    def settle(self) -> None:
        """Thumbnails come, layouts settle."""
        self.session.player.pause()
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.01)

    def close(self) -> None:
        self.window.close()
        self.session.close()
        self.window.deleteLater()
        self.session.deleteLater()
        QApplication.processEvents()


def first_start(stage: Stage) -> QWidget:
    return stage.open("0", "demo")


def picture(stage: Stage) -> QWidget:
    window = stage.open()
    stage.fill("harbour", crop=(0.02, 0.11, 0.87, 0.922))
    request = stage.session.draft.request
    stage.session.estimator.learn(request, [9.4] * request.num_inference_steps, 28, 5 * 10**9)
    stage.session.draft.change(guidance_scale=9.0, seed=43)
    return window


def denoising(stage: Stage) -> QWidget:
    window = stage.open("9")
    stage.add_clip("lighthouse", 7, 3)
    stage.add_clip("aurora", 1187, 2, favourite=True)
    stage.fill("harbour")
    stage.session.generate()
    stage.fill("balloons", seed=23)
    stage.session.generate()
    stage.fill("harbour")
    stage.wait(lambda: stage.session.player.is_preview)
    stage.wait(lambda: stage.session.engine.memory_bytes > 0)
    stage.settle()
    stage.session.player.seek(5)
    return window


def finished(stage: Stage) -> QWidget:
    window = stage.open()
    stage.fill("harbour")
    clip = stage.add_clips()
    stage.session.show_clip(clip)
    stage.wait(lambda: stage.session.shown is not None)
    stage.settle()
    stage.session.player.seek(6)
    return window


def queue_and_library(stage: Stage) -> QWidget:
    window = stage.open("10", size=SMALLEST)
    clip = stage.add_clips()
    stage.add_clip("balloons", 24, 30)
    stage.add_clip("aurora", 1188, 31)
    for name, seed in (("lighthouse", 8), ("balloons", 25), ("aurora", 90), ("harbour", 44)):
        stage.fill(name, seed=seed)
        stage.session.generate()
    stage.wait(lambda: stage.session.player.is_preview)
    stage.session.show_clip(clip)
    stage.wait(lambda: stage.session.shown is not None)
    window.actions_.advanced.setChecked(True)
    stage.settle()
    stage.session.player.seek(3)
    return window


def preferences(stage: Stage) -> QWidget:
    window = stage.open("0", "demo")
    window.actions_.preferences.trigger()
    stage.settle()
    return window.commands.dialog


def error(stage: Stage) -> QWidget:
    window = stage.open("11", "crash")
    stage.add_clips()
    stage.fill("harbour")
    stage.session.generate()
    stage.wait(lambda: window.error_bar.problem is not None)
    stage.settle()
    return window


STATES: dict[str, Callable[[Stage], QWidget]] = {
    "first-start": first_start, "picture": picture, "denoising": denoising, "finished": finished,
    "queue-and-library": queue_and_library, "preferences": preferences, "error": error}

if __name__ == "__main__":
    main()
