"""Everything can be found by name, reached by key, and done without a drag."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QMenu, QScrollArea, QScrollBar, QWidget

from gui.commands import _Shortcuts
from gui.export_dialog import ExportDialog
from gui.log_viewer import LogViewer
from gui.main_window import MainWindow
from gui.model_card import ModelCard
from gui.preferences_dialog import PreferencesDialog

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")     # offscreen has no window manager


@pytest.fixture
def window(session, qtbot, photo):
    made = MainWindow(session())
    qtbot.addWidget(made)
    made.show()
    made.session.open_files([str(photo)])
    qtbot.waitUntil(lambda: None not in (made.session.picture.image, made.session.engine.hello), timeout=10_000)
    made.session.draft.change("fill", prompt="boats sway", num_inference_steps=3, num_frames=4)
    with qtbot.waitSignal(made.session.job_done, timeout=20_000):
        made.actions_.generate.trigger()
    qtbot.waitUntil(lambda: made.session.shown is not None, timeout=10_000)
    made.actions_.advanced.setChecked(True)
    return made


def focusable(root: QWidget) -> list[QWidget]:
    """Widgets that the keyboard can reach; parts of another control speak with its name."""
    inner = (QAbstractSpinBox, QComboBox)
    return [widget for widget in root.findChildren(QWidget)
            if widget.focusPolicy() & Qt.FocusPolicy.TabFocus and not isinstance(widget, QScrollBar | QMenu)
            and not isinstance(widget.parentWidget(), inner) and widget.objectName() != "qt_scrollarea_viewport"
            and widget.window() is root.window() and not widget.objectName().startswith("qt_")]


def name_of(widget: QWidget) -> str:
    return QAccessible.queryAccessibleInterface(widget).text(QAccessible.Text.Name)


def test_every_control_has_a_name(window, qtbot, session):
    clip = window.session.shown
    dialogs = [ExportDialog(window.session, clip, window), LogViewer(window.session, window), _Shortcuts(window),
               PreferencesDialog(window.session, ModelCard(window.session, window.download), window)]
    for root in (window, *dialogs):
        found = focusable(root)
        assert found
        nameless = [widget for widget in found if not name_of(widget).strip() and not isinstance(widget, QScrollArea)]
        assert not nameless, (root, nameless)
    qtbot.waitUntil(lambda: bool(dialogs[1].text.toPlainText()), timeout=10_000)


def test_names_say_what_is_meant(window):
    """Two controls with one name would be two riddles; icons have words behind them."""
    names = [name_of(widget) for widget in focusable(window) if isinstance(widget, QAbstractButton | QAbstractSpinBox)
             and widget.isVisible()]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    assert all(len(name) > 1 for name in names)


def test_the_filmstrip_and_the_progress_have_values(window):
    window.session.player.pause()
    window.session.player.seek(2)
    strip = QAccessible.queryAccessibleInterface(window.filmstrip)
    assert strip.role() == QAccessible.Role.Slider and strip.valueInterface().currentValue() == 2
    bar = QAccessible.queryAccessibleInterface(window.run_bar.progress.bar)
    assert bar.role() == QAccessible.Role.ProgressBar


def test_tab_goes_through_the_window_from_left_to_right(window, qtbot):
    """Picture, words, settings, then the clip and the button, then queue and library; and around."""
    order, widget = [], window.image_well.crop_editor
    widget.setFocus()
    for _ in range(200):
        order.append(widget)
        widget = widget.nextInFocusChain()
        while not (widget.focusPolicy() & Qt.FocusPolicy.TabFocus and widget.isVisible() and widget.isEnabled()):
            widget = widget.nextInFocusChain()
        if widget is order[0]:
            break
    places = [order.index(widget) for widget in (
        window.image_well.crop_editor, window.prompts.prompt.edit, window.prompts.avoid.edit, window.settings.seed,
        window.settings.width_, window.settings.height_, window.clip_view, window.filmstrip, window.run_bar.generate,
        window.queue_panel.list, window.library_panel.search, window.library_panel.view)]
    assert places == sorted(places)


def test_tab_leaves_the_text_fields(window, qtbot):
    window.activateWindow()
    window.prompts.prompt.edit.setFocus()
    qtbot.keyClick(window.prompts.prompt.edit, Qt.Key.Key_Tab)
    assert window.prompts.prompt.edit.toPlainText() == "boats sway"


def in_menus(window: MainWindow) -> set:
    """Actions of the menu bar: of its own menus, their submenus, and the context menus that stand in it too."""
    in_bar = [menu for menu in window.findChildren(QMenu)
              if menu.parent() in (window, window.menuBar()) or menu is window.queue_panel.menu]
    return {action for menu in in_bar for action in menu.actions()}


def test_every_command_is_in_the_menu_bar_and_no_shortcut_is_given_twice(window):
    in_bar = in_menus(window)
    missing = [action.text() for action in all_of(window.actions_) if action not in in_bar]
    assert not missing
    shortcuts = [action.shortcut().toString() for action in in_bar if not action.shortcut().isEmpty()]
    assert len(shortcuts) == len(set(shortcuts)), sorted(s for s in shortcuts if shortcuts.count(s) > 1)


def all_of(actions) -> list:
    from PySide6.QtGui import QAction

    return [action for action in actions.children() if isinstance(action, QAction)]


def test_every_drag_has_a_twin_in_the_menus(window):
    actions = window.actions_
    in_bar = in_menus(window)
    twins = {"picture in": actions.open, "picture pasted": actions.paste, "clip out": actions.copy_file,
             "job up": actions.job_up, "job down": actions.job_down, "crop larger": actions.larger_crop,
             "crop smaller": actions.smaller_crop, "scrub": actions.next_frame}
    assert all(action in in_bar for action in twins.values())


def test_space_presses_a_button_and_does_not_play(window, qtbot):
    window.session.player.pause()
    button = window.run_bar.generate
    button.setFocus()
    pressed = []
    button.clicked.disconnect()
    button.clicked.connect(lambda: pressed.append(True))
    qtbot.keyClick(button, Qt.Key.Key_Space)
    assert pressed and not window.session.player.playing


def test_choices_side_by_side_are_one_stop_with_arrows_inside(window, qtbot):
    preset = window.settings.preset
    preset.value = "draft"
    stops = [button for button in preset.findChildren(QAbstractButton)
             if button.focusPolicy() & Qt.FocusPolicy.TabFocus]
    assert [button.text() for button in stops] == ["Draft"]
    stops[0].setFocus()
    with qtbot.waitSignal(preset.picked) as picked:
        qtbot.keyClick(stops[0], Qt.Key.Key_Right)
    assert picked.args == ["balanced"] and window.session.draft.preset().name == "balanced"
