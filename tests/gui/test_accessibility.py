"""Everything can be found by name, reached by key, and done without a drag."""

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QAccessible, QDropEvent, QGuiApplication
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractScrollArea,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QFileDialog,
    QLineEdit,
    QMenu,
    QScrollArea,
    QScrollBar,
    QWidget,
)

from gui.commands import _Shortcuts
from gui.export_dialog import ExportDialog
from gui.log_viewer import LogViewer
from gui.main_window import MainWindow
from gui.model_card import ModelCard
from gui.preferences_dialog import PreferencesDialog
from gui.segmented import Segmented

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


def drag(qtbot, widget, start, end):
    qtbot.mousePress(widget, Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(widget, end)
    qtbot.mouseRelease(widget, Qt.MouseButton.LeftButton, pos=end)


def trigger(window, action):
    """From the menu bar, where it has to be, and enabled."""
    assert action in in_menus(window) and action.isEnabled()
    action.trigger()


def test_what_a_drag_does_to_the_crop_the_menu_does_too(window, qtbot):
    editor, draft, actions = window.image_well.crop_editor, window.session.draft, window.actions_
    trigger(window, actions.smaller_crop)
    middle, centre = draft.request.crop, editor.rect().center()
    assert middle[2] - middle[0] < 1
    drag(qtbot, editor, centre, centre + QPoint(3, 2))
    assert draft.request.crop[0] > middle[0] and draft.request.crop[1] > middle[1]
    for by, (axis, sign) in {(-1, 0): (0, -1), (1, 0): (0, 1), (0, -1): (1, -1), (0, 1): (1, 1)}.items():
        draft.change(crop=middle)
        trigger(window, actions.move_crop[by])
        assert sign * (draft.request.crop[axis] - middle[axis]) > 0
        assert draft.request.crop[1 - axis] == pytest.approx(middle[1 - axis])
    draft.change(crop=middle)
    trigger(window, actions.larger_crop)
    assert draft.request.crop[2] - draft.request.crop[0] > middle[2] - middle[0]
    trigger(window, actions.reset_crop)
    assert draft.request.crop is None


def test_what_a_drag_does_to_the_frames_the_menu_does_too(window, qtbot):
    player, strip = window.session.player, window.filmstrip
    drag(qtbot, strip, QPoint(2, 20), QPoint(strip.width() // 2 + 4, 20))
    assert player.position == 2 and not player.playing
    trigger(window, window.actions_.next_frame)
    assert player.position == 3
    trigger(window, window.actions_.first_frame)
    assert player.position == 0


def test_what_a_drag_does_to_the_queue_the_menu_does_too(window):
    queue, jobs = window.session.queue, window.queue_panel.list
    window.session.runner._hold(True)
    first, second = queue.jobs[0], queue.add(window.session.draft.request, 8.0)
    jobs.setCurrentRow(1)
    place = QPointF(jobs.visualItemRect(jobs.item(0)).center())
    event = QDropEvent(place, Qt.DropAction.MoveAction, QMimeData(), Qt.MouseButton.LeftButton,
                       Qt.KeyboardModifier.NoModifier)
    jobs.setCurrentRow(1)
    event.source = lambda: jobs                        # only a real drag has one
    jobs.dropEvent(event)
    assert queue.jobs == [second, first]
    trigger(window, window.actions_.job_down)
    assert queue.jobs == [first, second]
    trigger(window, window.actions_.job_up)
    assert queue.jobs == [second, first]


def test_pictures_come_in_and_clips_go_out_from_the_menu(window, qtbot, monkeypatch, tmp_path, photo):
    other = tmp_path / "fox.jpg"
    other.write_bytes(photo.read_bytes())
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: ([str(other)], ""))
    trigger(window, window.actions_.copy_file)
    qtbot.waitUntil(lambda: window.session.drag_file(window.session.shown.id) is not None, timeout=20_000)
    trigger(window, window.actions_.copy_file)
    (url,) = QGuiApplication.clipboard().mimeData().urls()
    assert url.toLocalFile().endswith(".mp4") and Path(url.toLocalFile()).is_file()
    trigger(window, window.actions_.open)
    qtbot.waitUntil(lambda: window.session.draft.request.image == str(other), timeout=10_000)
    window.clip_view.setFocus()
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(photo))])
    QGuiApplication.clipboard().setMimeData(mime)
    trigger(window, window.actions_.paste)
    qtbot.waitUntil(lambda: window.session.draft.request.image == str(photo), timeout=10_000)


def test_the_mouse_reaches_nothing_that_the_keyboard_does_not(window):
    """Every button and field is a stop of Tab, one of a group that the arrow keys walk through, or in the menus."""
    kinds = QAbstractButton | QAbstractSpinBox | QComboBox | QAbstractSlider | QAbstractItemView
    groups = Segmented | QAbstractSpinBox | QComboBox | QLineEdit | QAbstractScrollArea
    controls = [control for control in window.findChildren(QWidget) if isinstance(control, kinds)
                and not isinstance(control, QScrollBar) and not isinstance(control.parentWidget(), groups)
                and not control.objectName().startswith("qt_") and control.window() is window]
    assert len(controls) > 30
    assert not [control for control in controls if not control.focusPolicy() & Qt.FocusPolicy.TabFocus]


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
