"""The wire: every event survives it, nothing in-process or not finite crosses it, and no line can break the reader."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i2v_mlx import events
from i2v_mlx.errors import I2VError
from i2v_mlx.events import (
    MAX_LINE_BYTES,
    PROTOCOL,
    STAGES,
    TERMINAL,
    Accepted,
    Block,
    Cancelled,
    Converting,
    Done,
    Failed,
    Frame,
    Heartbeat,
    Hello,
    Notice,
    Stage,
    Step,
    decode,
    encode,
)

KINDS = (Hello, Heartbeat, Accepted, Stage, Converting, Block, Step, Frame, Notice, Done, Cancelled, Failed)

text = st.text(st.characters(codec=None), max_size=30)
number = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(-(2**63), 2**63)
value = text | number | whole | st.booleans() | st.none() | st.lists(number, max_size=3)
values = st.dictionaries(text, value, max_size=4)
any_event = st.one_of(
    st.builds(Hello, version=text, device=text, memory_bytes=whole, models=st.lists(text, max_size=3), protocol=whole),
    st.builds(Heartbeat, memory_bytes=whole),
    st.builds(Accepted, request=values, peak_bytes=whole),
    st.builds(Stage, name=st.sampled_from(STAGES)),
    st.builds(Converting, part=text, index=whole, count=whole),
    st.builds(Block, index=whole, count=whole),
    st.builds(Step, index=whole, count=whole, seconds=number, preview=st.none() | values),
    st.builds(Frame, index=whole, count=whole),
    st.builds(Notice, code=text, message=text),
    st.builds(Done, path=text, seconds=number, peak_bytes=whole, recipe=values),
    st.builds(Cancelled, stage=text, step=whole, checkpoint=st.none() | text),
    st.builds(Failed, code=text, message=text, hint=text, checkpoint=st.none() | text),
)


@settings(deadline=None, max_examples=300)
@given(any_event, text)
def test_round_trip(event, job):
    line = encode(event, job)
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and line.isascii()
    assert decode(line) == (job, event)


def test_the_strategy_above_covers_every_kind():
    assert set(KINDS) == set(events._NAMES.values())
    assert set(TERMINAL) == {Done, Cancelled, Failed}


def test_arrays_stay_in_the_process():
    step = Step(1, 2, latents=object(), clean_latents=object())
    frame = Frame(1, 2, pixels=object())
    assert set(json.loads(encode(step))) == {"v", "event", "job", "index", "count", "seconds", "preview"}
    assert set(json.loads(encode(frame))) == {"v", "event", "job", "index", "count"}
    assert decode(encode(step))[1].latents is None


def test_arrays_cannot_be_smuggled_in():
    line = json.dumps({"v": PROTOCOL, "event": "frame", "index": 1, "count": 2, "pixels": [1, 2]}).encode()
    assert decode(line)[1].pixels is None


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf])
def test_nothing_that_is_not_finite_is_sent(seconds):
    with pytest.raises(ValueError):
        encode(Step(1, 2, seconds=seconds))


def test_unknown_fields_are_ignored_and_missing_optional_ones_have_their_default():
    line = json.dumps({"v": PROTOCOL, "event": "step", "index": 1, "count": 2, "new": [1]}).encode()
    assert decode(line) == ("", Step(1, 2))


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"garbage", b"{", b"null", b"[]", b"5", b'"step"', b"\xff\xfe\x00", b"\xc3\x28", b"{}",
        b'{"v": 1}', b'{"event": "stage", "name": "load"}', b'{"v": 2, "event": "stage", "name": "load"}',
        b'{"v": "1", "event": "stage", "name": "load"}', b'{"v": null, "event": "stage", "name": "load"}',
        b'{"v": 1, "event": "unknown"}', b'{"v": 1, "event": null}', b'{"v": 1, "event": ["stage"]}',
        b'{"v": 1, "event": "Stage", "name": "load"}', b'{"v": 1, "event": "stage"}',
        b'{"v": 1, "event": "step", "index": 1}',
        b'{"v": 1, "event": "stage", "name": "load", "job": 5}',
        b'{"v": 1, "event": "stage", "name": "load", "job": null}',
        b'{"v": 1, "event": "stage", "name": "lo', b"[" * 100_000, b'{"v": 1, "a": ' + b"9" * 10_000 + b"}",
        b'{"v": 1, "event": "__class__"}', b'{"v": 1, "event": "event"}',
    ],
    ids=lambda line: line[:40].decode("latin-1"),
)  # fmt: skip
def test_lines_that_are_no_events(line):
    assert decode(line) is None


def test_a_line_has_a_length():
    event = Notice("a", "x" * 1000)
    line = encode(event)
    assert decode(line[:-1] + b" " * (MAX_LINE_BYTES - len(line)) + b"\n") == ("", event)
    assert decode(line[:-1] + b" " * MAX_LINE_BYTES + b"\n") is None


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes(line):
    assert decode(line) is None


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = sorted({field.name for kind in KINDS for field in dataclasses.fields(kind)})


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(events._NAMES)), st.dictionaries(st.sampled_from(names), any_json, max_size=8))
def test_any_fields_give_an_event_of_that_name_or_nothing(name, fields):
    pair = decode(json.dumps({**fields, "v": PROTOCOL, "event": name, "job": "a1"}).encode())
    assert pair is None or (pair[0] == "a1" and type(pair[1]).__name__.lower() == name)


@settings(deadline=None, max_examples=100)
@given(any_event, st.data())
def test_half_a_line_is_nothing(event, data):
    line = encode(event, "a1")
    assert decode(line[: data.draw(st.integers(0, len(line) - 2))]) is None


def test_events_are_values():
    assert Step(1, 2, latents=1) == Step(1, 2, latents=2) and "latents" not in repr(Step(1, 2, latents=1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        Step(1, 2).index = 3


def test_an_error_keeps_its_parts_wherever_it_goes():
    error = I2VError("image_missing", "There is no picture.", "Give one.")
    again = pickle.loads(pickle.dumps(error))  # as between the processes of a test runner
    for one in (error, again):
        assert (one.code, one.message, one.hint) == ("image_missing", "There is no picture.", "Give one.")
        assert str(one) == "There is no picture. Give one."
    assert str(I2VError("a", "Only this.")) == "Only this."
