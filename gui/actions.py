"""Every command of the app as a QAction: one name, one shortcut, one place that says when it makes sense.

Menus, buttons and shortcuts all use these. What opens a dialog is connected by the window.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QAction, QActionGroup, QKeySequence

from .icons import icon
from .jobs import CLEARED
from .labels import TIMES
from .player import SPEEDS
from .presets import label, presets
from .seed import SeedMode
from .session import Session

TAKES = (2, 4, 8)
RECALLABLE: tuple[tuple[str, frozenset[str]], ...] = (
    ("Prompt", frozenset({"prompt"})),
    ("What to Avoid", frozenset({"negative_prompt"})),
    ("Picture and Crop", frozenset({"image", "crop"})),
    ("Seed", frozenset({"seed"})),
    ("Size", frozenset({"width", "height"})),
    ("Frames", frozenset({"num_frames"})),
    ("Steps", frozenset({"num_inference_steps", "sampler", "grid", "guidance_refresh", "key_pooling", "weights"})),
    ("Guidance", frozenset({"guidance_scale"})),
    ("Motion", frozenset({"target_fps"})),
)
_SIDES = {"Left": (-1, 0), "Right": (1, 0), "Up": (0, -1), "Down": (0, 1)}       # right, down
_Key = QKeySequence.StandardKey
_SEED_MODES: tuple[tuple[SeedMode, str, str], ...] = (
    ("random", "New Seed Every Time", "dice"), ("locked", "Keep the Seed", "lock"),
    ("next", "Count Seeds Up", "plus-one"))


class Actions(QObject):
    """The commands that need no dialog act on the session; `refresh` sets what is enabled and checked."""

    def __init__(self, session: Session, parent: QObject):
        super().__init__(parent)
        self._session = session
        add = self._add
        player, draft = session.player, session.draft

        self.open = add("Open Picture or Clip…", _Key.Open, "folder")
        self.cut = add("Cut", _Key.Cut)
        self.copy = add("Copy", _Key.Copy)
        self.paste = add("Paste", _Key.Paste)
        self.select_all = add("Select All", _Key.SelectAll)
        self.export = add("Export…", "Ctrl+E", "export")
        self.export_again = add("Export as Last", "Ctrl+Shift+E")
        self.preferences = add("Preferences…", _Key.Preferences)
        self.preferences.setMenuRole(QAction.MenuRole.PreferencesRole)
        self.close = add("Close Window", _Key.Close)
        self.about = add("About Livestill")
        self.about.setMenuRole(QAction.MenuRole.AboutRole)
        self.quit = add("Quit Livestill", _Key.Quit)
        self.quit.setMenuRole(QAction.MenuRole.QuitRole)

        self.undo = draft.undo_stack.createUndoAction(self, "Undo")
        self.undo.setShortcut(_Key.Undo)
        self.redo = draft.undo_stack.createRedoAction(self, "Redo")
        self.redo.setShortcut(_Key.Redo)

        self.generate = add("Generate", "Ctrl+Return", run=lambda: session.generate())
        self.takes = [add(f"Generate {count} Takes", run=partial(session.generate, count)) for count in TAKES]
        self.takes[1].setShortcut("Ctrl+Shift+Return")
        self.pause_job = add("Pause and Free the Memory", "Ctrl+P", "pause", session.pause)
        self.resume_job = add("Resume", "Ctrl+Shift+P", "play", lambda: session.resume())
        self.cancel_job = add("Cancel", "Ctrl+.", "close", lambda: session.cancel())
        self.watch = add("Show the Clip in the Making", "Ctrl+J", "play", session.watch)
        self.presets = [add(label(preset), f"Ctrl+{index + 1}", run=partial(self._use_preset, index), checkable=True)
                        for index, preset in enumerate(presets(""))]
        self.dice = add("Roll the Seed", "Ctrl+R", "dice", draft.roll_seed)
        self.seed_modes = {mode: add(label, None, picture, partial(draft.set_seed_mode, mode), checkable=True)
                           for mode, label, picture in _SEED_MODES}
        self._group(self.seed_modes.values())
        self.remove_picture = add("Remove Picture", run=lambda: draft.set_picture(""))
        self.reset_crop = add("Reset Crop", "Ctrl+Shift+R", "reset", lambda: draft.change("crop", crop=None))
        self.larger_crop = add("Larger Crop", "Ctrl++")
        self.smaller_crop = add("Smaller Crop", "Ctrl+-")
        self.move_crop = {by: add(f"Move Crop {side}", f"Ctrl+Alt+{side}") for side, by in _SIDES.items()}
        self.swap_sides = add("Swap Width and Height", None, "swap", self._swap_sides)
        self.lock_aspect = add("Lock Width to Height", None, "link", checkable=True)
        self.lock_aspect.toggled.connect(self._lock_aspect)

        self.play = add("Play", "Space", "play", player.toggle)
        self.next_frame = add("Next Frame", "Right", "forward", partial(player.step, 1))
        self.previous_frame = add("Previous Frame", "Left", "back", partial(player.step, -1))
        self.first_frame = add("First Frame", "Home", run=partial(player.seek, 0))
        self.last_frame = add("Last Frame", "End", run=lambda: player.seek(player.count - 1))
        self.boomerang = add("Boomerang", "Ctrl+B", "boomerang", checkable=True)
        self.boomerang.toggled.connect(player.set_boomerang)
        self.compare = add("Show the Still", "Ctrl+D", "compare", checkable=True)
        self.compare.toggled.connect(lambda on: player.set_side("source" if on else "clip"))
        self.speeds = {speed: add(f"{speed:g}{TIMES}", None, None, partial(player.set_speed, speed), checkable=True)
                       for speed in SPEEDS}
        self._group(self.speeds.values())
        # These keys mean something else in a text field or on a button: they work where the clip has the focus.
        self.viewer_keys = (self.play, self.next_frame, self.previous_frame, self.first_frame, self.last_frame)
        for action in self.viewer_keys:
            action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)

        self.recall = add("Use All Settings", "Ctrl+I", run=lambda: self._with_clip(session.recall))
        self.recall_fields = [add(label, run=partial(self._recall, fields)) for label, fields in RECALLABLE]
        self.favourite = add("Favourite", "Ctrl+Shift+F", "star", self._favourite, checkable=True)
        self.copy_file = add("Copy as File", "Ctrl+Shift+C")
        self.copy_frame = add("Copy Frame", "Ctrl+Alt+C")
        file_manager = "Reveal in Finder" if sys.platform == "darwin" else "Show in Folder"
        self.reveal = add(file_manager, "Ctrl+Shift+O", "folder")
        self.delete_clip = add("Move Clip to Bin", "Ctrl+Backspace", "trash")

        self.show_job = add("Show Result")
        self.job_resume = add("Resume Job", None, "play")
        self.job_again = add("Run Again")
        self.job_up = add("Move Up", "Alt+Up", "up")
        self.job_down = add("Move Down", "Alt+Down", "down")
        self.job_remove = add("Remove from Queue", "Backspace", "close")
        self.job_remove.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        self.clear_finished = add("Clear Finished", run=session.queue.clear_finished)

        self.library = add("Library and Queue", "Ctrl+L", checkable=True)
        self.library.setChecked(True)
        self.filmstrip = add("Filmstrip", "Ctrl+Shift+L", checkable=True)
        self.filmstrip.setChecked(True)
        self.advanced = add("All Settings", "Ctrl+Alt+I", checkable=True)
        self.find = add("Find in Library", _Key.Find)
        self.full_screen = add("Full Screen", _Key.FullScreen, checkable=True)
        self.model = add("Get the Full Model…", None, "download")
        self.shortcuts = add("Keyboard Shortcuts", "Ctrl+/")
        self.log = add("Show Log", "Ctrl+Shift+G")
        self.diagnostics = add("Copy Diagnostics")

        for signal in (player.changed, player.frames_changed, session.held_changed, session.shown_changed,
                       session.queue.changed, session.queue.job_changed, session.library.changed,
                       draft.changed, draft.seed_mode_changed, session.picture.changed, session.engine_changed):
            signal.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """What makes sense now."""
        session, player = self._session, self._session.player
        running = session.queue.running()
        paused = any(job.state == "paused" for job in session.queue.jobs)
        has_clip, has_frames = session.shown is not None, player.count > 0

        # While a picture is being opened, a clip would be made of the one before.
        ready = session.draft.problem() is None and not session.picture.opening
        for action in (self.generate, *self.takes):
            action.setEnabled(ready)
        self.generate.setText("Add to Queue" if running else "Generate")
        self.pause_job.setEnabled(running is not None)
        self.cancel_job.setEnabled(running is not None)
        self.watch.setEnabled(running is not None and has_clip)
        self.resume_job.setEnabled(running is None and (paused or session.held))
        has_picture = session.picture.image is not None
        self.remove_picture.setEnabled(bool(session.draft.request.image))
        self.reset_crop.setEnabled(has_picture and session.draft.request.crop is not None)
        for action in (self.larger_crop, self.smaller_crop, *self.move_crop.values()):
            action.setEnabled(has_picture)
        current = session.draft.preset()
        for index, action in enumerate(self.presets):
            action.setChecked(current == presets(session.draft.request.model)[index])
        self.seed_modes[session.draft.seed_mode].setChecked(True)

        self.play.setEnabled(player.count > 1)
        self.play.setText("Pause" if player.playing else "Play")
        self.play.setIcon(icon("pause" if player.playing else "play"))
        for action in (self.next_frame, self.previous_frame, self.first_frame, self.last_frame, self.copy_frame):
            action.setEnabled(has_frames)
        self.boomerang.setChecked(player.boomerang)
        self.compare.setChecked(player.side == "source")
        self.compare.setEnabled(has_frames and has_picture)
        if player.speed in self.speeds:
            self.speeds[player.speed].setChecked(True)

        for action in (self.recall, *self.recall_fields, self.favourite, self.reveal, self.delete_clip):
            action.setEnabled(has_clip)
        there = session.shown is not None and not session.shown.missing
        for action in (self.export, self.export_again, self.copy_file):
            action.setEnabled(there)
        self.favourite.setChecked(session.shown is not None and session.shown.favourite)
        self.favourite.setIcon(icon("star-filled" if self.favourite.isChecked() else "star"))
        self.clear_finished.setEnabled(any(job.state in CLEARED for job in session.queue.jobs))

    def _add(self, text: str, shortcut: str | QKeySequence.StandardKey | None = None, picture: str | None = None,
             run: Callable[[], object] | None = None, *, checkable: bool = False) -> QAction:
        action = QAction(text, self)
        action.setCheckable(checkable)
        action.setIconVisibleInMenu(False)
        if shortcut is not None:
            action.setShortcut(QKeySequence(shortcut))
        if picture is not None:
            action.setIcon(icon(picture))
        if run is not None:
            action.triggered.connect(lambda _checked=False: run())
        return action

    def _group(self, actions: object) -> None:
        group = QActionGroup(self)
        for action in actions:        # type: ignore[attr-defined]
            group.addAction(action)

    def _use_preset(self, index: int) -> None:
        self._session.draft.use_preset(presets(self._session.draft.request.model)[index])
        self.refresh()

    def _swap_sides(self) -> None:
        request = self._session.draft.request
        self._session.draft.change("size", width=request.height, height=request.width)

    def _lock_aspect(self, on: bool) -> None:
        self._session.draft.aspect_locked = on

    def _with_clip(self, act: Callable[[int], object]) -> None:
        if self._session.shown is not None:
            act(self._session.shown.id)

    def _recall(self, fields: frozenset[str]) -> None:
        self._with_clip(lambda clip: self._session.recall(clip, fields))

    def _favourite(self) -> None:
        on = self.favourite.isChecked()
        self._with_clip(lambda clip: self._session.library.set_favourite(clip, on))
