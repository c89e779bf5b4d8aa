"""The engine client against the fake worker: every job ends in exactly one terminal event, whatever happens to it."""

import shutil
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gui.engine_client import CRASHES_ALLOWED, EngineClient
from i2v_mlx import __version__
from i2v_mlx.events import (
    TERMINAL,
    Accepted,
    Block,
    Cancelled,
    Done,
    Failed,
    Heartbeat,
    Hello,
    Stage,
    Step,
    encode,
)
from i2v_mlx.request import Request


@pytest.fixture
def engine(qapp):
    clients = []

    def make(command, **options):
        client = EngineClient(command, **options)
        client.seen = []
        client.reported.connect(lambda job, event: client.seen.append((job, event)))
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.quit()


@pytest.fixture
def run(qtbot, tmp_path, photo):
    """Begins job `a1` of four steps and waits until it ends; returns its events."""

    def begin(client, on_event=lambda event: None, resume=False):
        checkpoint, output = tmp_path / "a1.safetensors", tmp_path / "clip"
        client.reported.connect(lambda job, event: on_event(event))
        if resume:
            client.resume("a1", checkpoint, output, 8.0)
        else:
            request = Request(str(photo), "boats sway", model="demo", num_frames=4, num_inference_steps=4)
            client.generate("a1", request, output, checkpoint, 8.0)
        qtbot.waitUntil(lambda: client.job is None, timeout=10_000)
        return [event for _, event in client.seen]

    return begin


def at_step_2(act):
    def on_event(event):
        if isinstance(event, Step) and event.index == 2:
            act()

    return on_event


def only_end(events):
    ends = [event for event in events if isinstance(event, TERMINAL)]
    assert len(ends) == 1 and events[-1] is ends[0]
    return ends[0]


def test_a_job_from_hello_to_done(engine, script, run, tmp_path):
    client = engine(script({}))
    events = run(client)
    assert isinstance(only_end(events), Done)
    assert [event.index for event in events if isinstance(event, Step)] == [1, 2, 3, 4]
    assert client.state == "ready" and client.hello.models == ["demo"]
    assert sorted(path.name for path in (tmp_path / "clip").iterdir())[0] == "clip_0001.png"


@pytest.mark.parametrize("how", ["crash", "kill", "exit"])
def test_a_death_is_one_failure_with_the_checkpoint(engine, script, run, qtbot, tmp_path, how):
    client = engine(script({"jobs": [{"at": {"2": how}}]}, {}))
    end = only_end(run(client))
    assert isinstance(end, Failed) and end.code == "engine_crashed"
    assert end.checkpoint == str(tmp_path / "a1.safetensors")
    assert ("memory" in end.hint) == (how == "kill")
    qtbot.waitUntil(lambda: client.state == "ready", timeout=10_000)      # it came back by itself
    client.seen.clear()
    assert isinstance(only_end(run(client, resume=True)), Done)


def test_a_resumed_job_ends_with_the_same_bytes(engine, script, run, tmp_path):
    run(engine(script({})))
    whole = {path.name: path.read_bytes() for path in (tmp_path / "clip").iterdir()}
    (tmp_path / "clip").rename(tmp_path / "first")
    client = engine(script({"jobs": [{"at": {"3": "crash"}}]}, {}))
    run(client)
    client.seen.clear()
    run(client, resume=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "clip").iterdir()} == whole


def test_garbage_between_events_changes_nothing(engine, script, run, tmp_path):
    client = engine(script({"jobs": [{"at": {"1": "garbage", "3": "garbage"}}]}), log=tmp_path / "engine.log")
    events = run(client)
    assert isinstance(only_end(events), Done)
    assert [event.index for event in events if isinstance(event, Step)] == [1, 2, 3, 4]
    assert "not an event" in (tmp_path / "engine.log").read_text()
    assert "no current job: other" in (tmp_path / "engine.log").read_text()


def test_it_gives_up_after_three_crashes_and_can_be_started_again(engine, script, qtbot):
    client = engine(script(*[{"at_start": "exit"}] * CRASHES_ALLOWED, {}))
    with qtbot.waitSignal(client.gave_up, timeout=10_000) as gave_up:
        client.start()
    (error,) = gave_up.args
    assert error.code == "engine_unavailable"
    assert "ModuleNotFoundError: No module named 'mlx'" in error.message
    assert client.state == "broken"
    with qtbot.waitSignal(client.said_hello, timeout=10_000):
        client.start()


def test_crashes_in_jobs_add_up_too(engine, script, run, qtbot):
    client = engine(script({"jobs": [{"at": {"1": "crash"}}]}))
    errors = []
    client.gave_up.connect(errors.append)
    for _ in range(CRASHES_ALLOWED):
        client.seen.clear()
        only_end(run(client))
    assert [error.code for error in errors] == ["engine_keeps_crashing"]
    assert client.state == "broken"


def test_a_program_that_is_not_there(engine, qtbot, run):
    client = engine(["/nowhere/python"])
    with qtbot.waitSignal(client.gave_up) as gave_up:
        client.start()
    assert gave_up.args[0].code == "engine_unavailable"
    end = only_end(run(client))
    assert isinstance(end, Failed) and end.code == "engine_unavailable"


def test_a_worker_of_another_version_is_refused(engine, script, qtbot):
    client = engine(script({"hello": {"version": "0.0.0"}}))
    with qtbot.waitSignal(client.gave_up, timeout=10_000) as gave_up:
        client.start()
    assert gave_up.args[0].code == "engine_version"
    assert client.hello is None


@pytest.mark.parametrize("keep", [False, True])
def test_cancel_and_pause(engine, script, run, tmp_path, keep):
    client = engine(script({"step_seconds": 0.05}))
    end = only_end(run(client, on_event=at_step_2(lambda: client.cancel(keep))))
    assert isinstance(end, Cancelled) and end.step == 2
    assert (end.checkpoint is not None) == keep == (tmp_path / "a1.safetensors").exists()
    assert not (tmp_path / "clip").exists()
    client.cancel()                                    # after the end: harmless
    assert client.state == "ready"


@pytest.mark.parametrize("how", ["hang", "mute"])
def test_a_cancel_that_is_not_obeyed_is_a_kill(engine, script, run, how):
    client = engine(script({"jobs": [{"at": {"2": how}}]}), cancel_grace_s=0.1)
    end = only_end(run(client, on_event=at_step_2(client.cancel)))
    assert end == Cancelled("denoise", 2, None)
    assert client.state == "stopped"


@pytest.mark.parametrize(("how", "alive"), [("hang", True), ("mute", False)])
def test_silence_is_told_and_not_taken_for_death(engine, script, run, qtbot, tmp_path, monkeypatch, how, alive):
    monkeypatch.setattr("gui.engine_client.HEARTBEATS_MISSED", 2)
    client = engine(script({"jobs": [{"at": {"2": how}}]}), quiet_after_s=2)
    told = []
    client.quiet.connect(lambda seconds, alive: (told.append((seconds, alive)), client.stop_now()))
    end = only_end(run(client))
    assert told == [(2, alive)]
    assert end == Cancelled("denoise", 2, str(tmp_path / "a1.safetensors"))


def test_quitting_pauses_what_runs(engine, script, qtbot, tmp_path, photo):
    client = engine(script({"step_seconds": 0.05}))
    request = Request(str(photo), num_inference_steps=40)
    client.generate("a1", request, tmp_path / "clip", tmp_path / "a1.safetensors", 8.0)
    qtbot.waitUntil(lambda: any(isinstance(event, Step) for _, event in client.seen), timeout=10_000)
    client.quit()
    end = only_end([event for _, event in client.seen])
    assert isinstance(end, Cancelled) and end.checkpoint == str(tmp_path / "a1.safetensors")
    assert client.state == "stopped"


def test_quitting_kills_what_does_not_listen(engine, script, qtbot):
    client = engine([sys.executable, "-c", "import signal, time; signal.pause()"])
    client.start()
    client.quit(grace_s=0.1)
    assert client.state == "stopped"


def test_release_gives_the_memory_back_and_the_next_job_starts_anew(engine, script, run, tmp_path):
    client = engine(script({}))
    run(client)
    first = client._process.processId()
    client.release()
    assert client.state == "stopped" and client.memory_bytes == 0
    shutil.rmtree(tmp_path / "clip")
    client.seen.clear()
    assert isinstance(only_end(run(client)), Done)
    assert client._process.processId() != first
    assert client.hello is not None                    # what it said about the machine still holds


def test_a_worker_without_work_gives_its_memory_back(engine, script, run, qtbot, tmp_path):
    client = engine(script({"step_seconds": 0.2}), idle_s=0.4)
    client.start()
    qtbot.waitUntil(lambda: client.state == "ready", timeout=10_000)
    first = client._process
    with qtbot.waitSignal(first.finished, timeout=10_000) as finished:
        pass
    assert finished.args[0] == 0 and client.state == "stopped" and client._crashes == []
    assert isinstance(only_end(run(client)), Done)         # a job of 0.8 s is no idleness
    qtbot.waitUntil(lambda: client.state == "stopped", timeout=10_000)


job_names = st.sampled_from(["a1", "b2", ""])
said = st.lists(st.tuples(job_names, st.sampled_from([
    Stage("load"), Accepted({}, 1), Step(1, 2), Step(2, 2), Block(1, 2), Heartbeat(5), Done("x", 1.0),
    Cancelled("load"), Failed("dream", "It broke."), Hello(__version__, "M1", 1, []),
])), max_size=12)


@given(said, st.integers(1, 40))
def test_whatever_is_said_there_is_one_end_and_nothing_after_it(qapp, said, size):
    client, seen = EngineClient(["unused"]), []
    client.job = "a1"
    client.reported.connect(lambda job, event: seen.append((job, event)))
    data = b"".join(encode(event, job) + b"noise\n" for job, event in said)
    for start in range(0, len(data), size):
        client._take(data[start:start + size])
    mine = [event for job, event in said if job == "a1" and not isinstance(event, Hello | Heartbeat)]
    ends = [index for index, event in enumerate(mine) if isinstance(event, TERMINAL)]
    assert seen == [("a1", event) for event in (mine[:ends[0] + 1] if ends else mine)]
    assert (client.job is None) == bool(ends)


def test_a_second_job_at_the_same_time_is_a_mistake(engine, script, tmp_path, photo, qtbot):
    client = engine(script({"step_seconds": 0.05}))
    begin = ("a1", Request(str(photo), num_inference_steps=3), tmp_path / "clip", tmp_path / "a1.safetensors", 8.0)
    client.generate(*begin)
    with pytest.raises(RuntimeError):
        client.generate(*begin)
