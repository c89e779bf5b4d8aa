"""One window, a log of what went wrong, and a report without secrets."""

import dataclasses
import subprocess
import sys
import threading
import time

import pytest
from PySide6.QtCore import QObject, QTimer, Signal, qWarning
from PySide6.QtGui import QFileOpenEvent

from gui.app import _TOGETHER_MS, App
from gui.background import Background
from gui.crash_log import CrashLog
from gui.engine_log import EngineLog
from gui.jobs import Job
from gui.keep_awake import KeepAwake, command
from gui.problems import LABELS, of_error, of_job
from gui.single_instance import SingleInstance
from i2v_mlx.errors import I2VError
from i2v_mlx.request import Request


@pytest.fixture
def first(qapp, tmp_path):
    instance = SingleInstance(tmp_path)
    assert instance.acquire()
    yield instance
    instance.release()


def test_a_second_start_raises_the_first_and_hands_its_files_over(first, qtbot, tmp_path, photo):
    code = ("import sys; from pathlib import Path; from gui.single_instance import SingleInstance\n"
            "me = SingleInstance(Path(sys.argv[1])); assert not me.acquire(); me.hand_over(sys.argv[2:])")
    with qtbot.waitSignal(first.raised, timeout=10_000) as raised:
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(photo)])
    assert raised.args == [[str(photo)]]
    assert process.wait(10) == 0
    assert list((tmp_path / "letters").iterdir()) == []


def test_the_lock_of_a_dead_owner_is_taken_over(qapp, tmp_path):
    code = ("import os, sys; from pathlib import Path; from gui.single_instance import SingleInstance\n"
            "instance = SingleInstance(Path(sys.argv[1])); assert instance.acquire(); os._exit(0)")
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=20)
    assert (tmp_path / "livestill.lock").exists()
    instance = SingleInstance(tmp_path)
    assert instance.acquire()
    instance.release()


def test_letters_that_nobody_wrote_properly_are_dropped(first, qtbot, tmp_path):
    (tmp_path / "letters" / "0.json").write_bytes(b"{not json")
    with qtbot.waitSignal(first.raised, timeout=10_000) as raised:
        (tmp_path / "letters" / "1.json").write_text('["/a.png", 7]')
    assert raised.args[0] in ([], ["/a.png"])
    qtbot.waitUntil(lambda: not list((tmp_path / "letters").iterdir()), timeout=10_000)


@pytest.fixture
def crash_log(qapp, tmp_path, monkeypatch):
    monkeypatch.setattr("faulthandler.enable", lambda file: None)      # pytest has its own
    monkeypatch.setattr("faulthandler.disable", lambda: None)
    log = CrashLog(tmp_path)
    yield log
    log.close()


def test_an_exception_nobody_caught_is_told_and_logged(crash_log, qtbot):
    try:
        raise ZeroDivisionError("oops")
    except ZeroDivisionError as error:
        with qtbot.waitSignal(crash_log.raised) as raised:
            sys.excepthook(type(error), error, error.__traceback__)
    assert raised.args[0].code == "unexpected" and "oops" in raised.args[0].message
    assert "test_an_exception_nobody_caught" in crash_log.app_log.read_text()
    known = I2VError("disk_full", "There is no space.")
    with qtbot.waitSignal(crash_log.raised) as raised:
        sys.excepthook(I2VError, known, None)
    assert raised.args == [known]


@pytest.mark.qt_no_exception_capture
def test_qts_own_messages_are_in_the_log(crash_log):
    qWarning("something about a widget")
    assert "WARNING Qt: something about a widget" in crash_log.app_log.read_text()


def test_a_crash_is_told_at_the_next_start_and_only_once(qapp, tmp_path):
    code = ("import sys, faulthandler; from pathlib import Path; from gui.crash_log import CrashLog\n"
            "log = CrashLog(Path(sys.argv[1])); print(len(log.previous)); sys.stdout.flush()\n"
            "if len(sys.argv) > 2: faulthandler._sigsegv()\nlog.close()")

    def start(*arguments):
        return subprocess.run([sys.executable, "-c", code, str(tmp_path), *arguments], capture_output=True, text=True,
                              timeout=20)

    assert start("crash").returncode < 0
    assert int(start().stdout) > 50
    assert int(start().stdout) == 0
    assert "Segmentation fault" in (tmp_path / "crash.previous.log").read_text()


def test_results_come_back_on_the_main_thread(qapp, qtbot):
    background, threads, errors = Background(), [], []

    def done(worker):
        threads.extend((worker, threading.get_ident()))

    try:
        background.run(threading.get_ident, done, errors.append)
        background.run(lambda: 1 / 0, threads.append, errors.append)
        qtbot.waitUntil(lambda: bool(threads and errors), timeout=5000)
    finally:
        background.close()
    worker, main = threads
    assert worker != main == threading.get_ident()
    assert errors[0].code == "unexpected"


def test_results_after_the_end_are_dropped(qapp, qtbot):
    background, late = Background(), []
    background.run(lambda: 7, late.append, late.append)
    background.close()
    qtbot.wait(20)
    assert late == []


def test_the_engine_log_rotates_and_cannot_be_painted_over(tmp_path, monkeypatch):
    monkeypatch.setattr("gui.engine_log.MAX_BYTES", 2000)
    log = EngineLog(tmp_path / "engine.log")
    for number in range(200):
        log.feed(f"line {number} \x1b[2J\x07".encode()[:11])
        log.feed(b" \xff rest\n")
    log.feed(b"x" * 10_000)
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert files == ["engine.log", "engine.log.1", "engine.log.2", "engine.log.3"]
    assert all(path.stat().st_size < 5000 for path in tmp_path.iterdir())
    assert "\x1b" not in "".join(log.tail)


def test_the_reason_is_the_exception_and_not_what_follows_it():
    log = EngineLog(None)
    log.feed(b"Traceback (most recent call last):\n  File x, line 1\nImportError: no mlx here\nresources: a warning\n")
    assert log.reason() == "ImportError: no mlx here"
    assert EngineLog(None).reason() == ""


def test_the_mac_stays_awake_while_it_works(monkeypatch, qapp):
    monkeypatch.setattr("sys.platform", "darwin")
    assert command(42) == ["caffeinate", "-i", "-w", "42"]
    monkeypatch.setattr("sys.platform", "linux")
    assert command(42) == []
    awake = KeepAwake()
    awake.begin(42)
    awake.end()


def test_every_problem_has_buttons_that_exist():
    job = Job("a1", Request("a.png"), state="failed", code="engine_crashed", checkpoint="x")
    assert of_job(job).actions == ("resume", "show_log")
    job.checkpoint = None
    assert of_job(job).actions == ("run_again", "show_log")
    job.code = "image_unreadable"
    assert of_job(job).actions == ()
    job.code, job.checkpoint = "checkpoint_damaged", "x"
    assert of_job(job).actions == ("run_again",)
    job.code, job.checkpoint = "memory_too_small", None
    assert of_job(job).actions == ("smaller",)
    assert all(action in LABELS for code in ("disk_full", "engine_quiet", "would_not_fit", "unexpected", "dream")
               for action in of_error(I2VError(code, "x")).actions)


def test_files_on_the_dock_come_together_and_a_second_start_may_bring_none(session, qtbot, photo, tmp_path):
    """macOS sends one event for each file; App is no QApplication of its own here, since there can be only one."""
    app = session({}, start=False)
    app.open_files([])
    assert app.problems == []
    told = []

    class Dock(QObject):
        files_opened = Signal(list)
        _tell_opened = App._tell_opened

    dock = Dock()
    dock._opened, dock._opened_soon = [], QTimer(dock, singleShot=True, interval=_TOGETHER_MS)
    dock._opened_soon.timeout.connect(dock._tell_opened)
    dock.files_opened.connect(told.append)
    for name in ("a.png", "b.png", "c.png"):
        App.event(dock, QFileOpenEvent(str(tmp_path / name)))
    qtbot.waitUntil(lambda: bool(told), timeout=5000)
    assert told == [[str(tmp_path / name) for name in ("a.png", "b.png", "c.png")]]


def test_long_work_ends_with_the_app(qapp):
    background, rounds = Background(), []

    def work():
        while True:
            rounds.append(1)
            time.sleep(0.005)
            background.stop_if_closed()

    background.run(work, rounds.append, rounds.append)
    while not rounds:
        time.sleep(0.005)
    background.close()                                     # waits for it, and so hangs here if it does not end
    assert set(rounds) == {1}


def test_a_report_holds_no_prompt_and_no_name(session, qtbot, photo):
    app = session({"jobs": [{"at": {"2": "garbage"}}]})
    (app.places.logs / "app.log").write_text(
        f"could not read {photo}\nthe prompt was: my secret wish!\n"
        "I2VError: '/Volumes/Disk/My Wedding.HEIC' cannot be found.\nopened /Volumes/kiss.png, step 3 of 50.\n")
    app.draft.change(prompt="my secret wish", negative_prompt="ugly thing")
    app.draft.set_picture(str(photo))
    qtbot.waitUntil(lambda: app.engine.state == "ready", timeout=10_000)
    text = app.diagnostics()
    assert "Livestill 0" in text and "Fake M1" in text and "the prompt was: [hidden]!" in text
    assert "step 3 of 50" in text and "cannot be found" in text
    for secret in ("secret", "harbour", "ugly", str(photo.parent), "Wedding", "kiss"):
        assert secret not in text


def test_preferences_are_kept_and_told(session, qtbot):
    app = session(start=False)
    with qtbot.waitSignal(app.preferences_changed):
        app.set_preferences(dataclasses.replace(app.preferences, seed_mode="locked", playback_fps=12.5))
    assert app.draft.seed_mode == "locked"
    app.close()
    again = session(start=False)
    assert again.preferences.playback_fps == 12.5 and again.draft.seed_mode == "locked"


def test_a_clips_folder_that_is_gone_is_said_and_replaced(session, tmp_path):
    app = session(start=False)
    (tmp_path / "file").write_text("in the way")
    app.set_preferences(dataclasses.replace(app.preferences, clips_folder=str(tmp_path / "file" / "clips")))
    app.close()
    again = session({})
    assert again.places.clips == tmp_path / "home" / "clips"
    assert any("cannot be used" in notice for notice in again.notices)
