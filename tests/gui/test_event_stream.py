"""Whatever comes down the pipe, in whatever pieces: only sound events come out, all of them, in order."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gui.event_stream import EventStream
from i2v_mlx import events

ONE_OF_EACH = [
    events.Hello("0.1.0", "M1", 16 * 10**9, ["demo"]),
    events.Heartbeat(5),
    events.Accepted({"prompt": "ä\n\"x\""}, 3),
    events.Stage("denoise"),
    events.Block(1, 26),
    events.Step(2, 50, 0.5, {"width": 4, "height": 4, "frames": 1, "rgb": "AAAA"}),
    events.Frame(1, 16),
    events.Notice("prompt_cut", "words were cut off"),
    events.Done("/x/clip", 12.5, 7, {"app": "Livestill"}),
    events.Cancelled("denoise", 3, "/x/c.safetensors"),
    events.Failed("not_finite", "It broke.", "Try float32."),
]
GARBAGE = [
    b"Loading checkpoint shards: 100%",
    b"\xff\xfe\x00",
    b"{",
    b"[" * 100_000,
    b"null",
    b'{"v": 2, "event": "stage", "job": "a", "name": "load"}',
    b'{"v": 1, "event": "dream", "job": "a"}',
    b'{"v": 1, "event": "step", "job": 7, "index": 1, "count": 2}',
    b'{"v": 1, "event": "step", "job": "a", "index": 1}',
    b'{"v": 1, "event": "step", "job": "a", "index": "1", "count": 2}',
    b'{"v": 1, "event": "step", "job": "a", "index": true, "count": 2}',
    b'{"v": 1, "event": "step", "job": "a", "index": 1, "count": 2, "seconds": NaN}',
    b'{"v": 1, "event": "step", "job": "a", "index": 1, "count": 2, "preview": [1]}',
    b'{"v": 1, "event": "done", "job": "a", "path": null, "seconds": 1}',
    b'{"v": 1, "event": "hello", "version": "1", "device": "", "memory_bytes": 1, "models": [1]}',
]


def pieces(data: bytes, cuts: list[int]):
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


lines = st.lists(st.one_of(
    st.sampled_from(ONE_OF_EACH).map(lambda event: (events.encode(event, "a"), event)),
    st.sampled_from(GARBAGE).map(lambda line: (line + b"\n", None)),
    st.binary(max_size=40).map(lambda line: (b"x" + line.replace(b"\n", b"") + b"\n", None)),
))


@given(lines, st.lists(st.integers(0, 10**6)))
def test_any_mixture_in_any_pieces(lines, cuts):
    stream = EventStream()
    found = [pair for piece in pieces(b"".join(line for line, _ in lines), cuts) for pair in stream.feed(piece)]
    assert found == [("a", event) for _, event in lines if event is not None]
    assert stream.dropped == sum(event is None for _, event in lines)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2), max_leaves=3)


@given(st.sampled_from(ONE_OF_EACH), st.data())
def test_a_value_of_the_wrong_kind_is_dropped_or_harmless(event, data):
    values = json.loads(events.encode(event, "a"))
    name = data.draw(st.sampled_from(sorted(values)))
    values[name] = data.draw(json_values)
    for _, found in EventStream().feed(json.dumps(values).encode() + b"\n"):
        assert isinstance(found, events.Event)
        events.encode(found)                   # every field is a JSON value of its kind
        if isinstance(found, events.Step):
            assert type(found.index) is int and type(found.count) is int


def test_a_line_without_end_takes_no_memory(monkeypatch):
    monkeypatch.setattr("gui.event_stream.MAX_LINE_BYTES", 1000)
    stream = EventStream()
    for _ in range(1000):
        assert stream.feed(b"x" * 100) == []
    assert len(stream._line) <= 1100
    assert stream.feed(b"\n" + events.encode(ONE_OF_EACH[3], "a")) == [("a", ONE_OF_EACH[3])]
    assert stream.dropped == 1


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: type(event).__name__)
def test_every_event_passes(event):
    assert EventStream().feed(events.encode(event, "a")) == [("a", event)]
