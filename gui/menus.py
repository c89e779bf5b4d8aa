"""The menu bar: every command of the app, and so every shortcut."""

from __future__ import annotations

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QMenuBar, QWidget

from .actions import Actions

Entry = QAction | QMenu | None            # None is a separator


def clip_menu(actions: Actions, parent: QWidget) -> QMenu:
    """What can be done with the shown clip: in the menu bar, and as the context menu of the clip and the library."""
    one = QMenu("Use One Setting", parent)
    one.addActions(actions.recall_fields)
    menu = QMenu("Clip", parent)
    _fill(menu, [actions.recall, one, None, actions.export, actions.export_again, actions.copy_file, actions.copy_frame,
                 None, actions.favourite, actions.reveal, None, actions.delete_clip])
    return menu


def fill_menu_bar(bar: QMenuBar, actions: Actions, clip: QMenu, job: QMenu) -> None:
    """`clip` and `job` are the context menus, which stand in the bar too."""
    takes = QMenu("Several Takes", bar)
    takes.addActions(actions.takes)
    seed = QMenu("Seed", bar)
    _fill(seed, [actions.dice, None, *actions.seed_modes.values()])
    crop = QMenu("Crop", bar)
    crop.addActions(list(actions.move_crop.values()))
    _fill(crop, [None, actions.larger_crop, actions.smaller_crop, None, actions.reset_crop])
    size = QMenu("Size", bar)
    _fill(size, [actions.swap_sides, actions.lock_aspect])
    speed = QMenu("Speed", bar)
    speed.addActions(list(actions.speeds.values()))
    job.setTitle("Queue")

    menus: dict[str, list[Entry]] = {
        "File": [actions.open, None, actions.export, actions.export_again, actions.reveal, None, actions.preferences,
                 None, actions.close, actions.quit],
        "Edit": [actions.undo, actions.redo, None, actions.cut, actions.copy, actions.paste,
                 actions.select_all, None, actions.copy_frame, actions.copy_file, None,
                 actions.remove_picture, crop, None, actions.find],
        "Make": [actions.generate, takes, None, actions.pause_job, actions.resume_job, actions.cancel_job,
                 actions.watch, None, *actions.presets, None, seed, size, None, actions.model],
        "Play": [actions.play, actions.next_frame, actions.previous_frame, actions.first_frame, actions.last_frame,
                 None, actions.boomerang, speed, actions.compare],
    }
    for title, entries in menus.items():
        _fill(bar.addMenu(title), entries)
    bar.addMenu(clip)
    bar.addMenu(job)
    _fill(bar.addMenu("View"), [actions.library, actions.filmstrip, actions.advanced, None, actions.full_screen])
    _fill(bar.addMenu("Help"), [actions.shortcuts, None, actions.log, actions.diagnostics, None, actions.about])


def _fill(menu: QMenu, entries: list[Entry]) -> None:
    for entry in entries:
        if entry is None:
            menu.addSeparator()
        elif isinstance(entry, QMenu):
            menu.addMenu(entry)
        else:
            menu.addAction(entry)
