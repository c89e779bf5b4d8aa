"""The measure itself: it sees what holds up the loop, and not what other programs do."""

import os
import subprocess
import sys
import time

import pytest
from PySide6.QtCore import QTimer
from standstill import _WAITING, LIMIT_S, Standstill, turns

counted = pytest.mark.skipif(not _WAITING.exists(), reason="only Linux counts how long a thread waits for a processor")


def compute(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize("how", [compute, pytest.param(time.sleep, marks=counted)])
def test_a_slot_that_holds_up_the_loop_is_seen(qtbot, how):
    with Standstill() as still:
        QTimer.singleShot(20, lambda: how(1.6 * LIMIT_S))
        qtbot.wait(150)
    assert still.worst >= 1.5 * LIMIT_S


def test_one_that_does_it_every_time_is_not_excused(qtbot):
    def run():
        QTimer.singleShot(20, lambda: compute(1.6 * LIMIT_S))
        qtbot.wait(150)

    assert turns(run) >= 1.5 * LIMIT_S


@counted
def test_a_busy_machine_is_not_taken_for_a_slow_slot(qtbot):
    crowd = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3 * (os.cpu_count() or 1))]
    try:
        assert turns(lambda: qtbot.wait(500)) < LIMIT_S
    finally:
        for process in crowd:
            process.kill()
            process.wait()
