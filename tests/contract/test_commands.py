"""The wire from the app to the worker."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2v_mlx.commands import Cancel, Generate, Quit, Resume, decode, encode
from i2v_mlx.errors import I2VError
from i2v_mlx.events import MAX_LINE_BYTES
from i2v_mlx.request import Request

ONE_OF_EACH = [
    Generate(Request("a.png", "ä\n\"quoted\" \u2028").to_dict(), "/out/clip", "/state/a1.safetensors", 12.5),
    Resume("/state/a1.safetensors", "/out/clip", 8.0),
    Cancel(keep=True),
]


@pytest.mark.parametrize("command", ONE_OF_EACH, ids=lambda command: type(command).__name__)
def test_every_command_survives_the_wire_as_one_line(command):
    line = encode(command, "a1")
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and line.isascii()
    job, found = decode(line)
    assert job == "a1"
    if isinstance(command, Generate):
        assert Request.from_dict(found.request) == Request.from_dict(command.request)
        assert (found.output, found.checkpoint, found.playback_fps) == ("/out/clip", "/state/a1.safetensors", 12.5)
    else:
        assert found == command


def test_quit_needs_no_job():
    assert decode(encode(Quit())) == ("", Quit())


@pytest.mark.parametrize("line", [
    b"", b"hello", b"\xff\xfe", b"[]", b"[" * 100_000, b" " * (MAX_LINE_BYTES + 1),
    b'{"v": 2, "command": "quit"}',
    b'{"v": 1, "command": "explode", "job": "a"}',
    b'{"v": 1, "command": "cancel", "keep": true}',
    b'{"v": 1, "command": "cancel", "job": "a", "keep": "yes"}',
    b'{"v": 1, "command": "cancel", "job": 7}',
    b'{"v": 1, "command": "resume", "job": "a", "output": "x"}',
    b'{"v": 1, "command": "resume", "job": "a", "output": "x", "checkpoint": 5}',
    b'{"v": 1, "command": "generate", "job": "a", "output": "x", "checkpoint": "y", "request": []}',
    b'{"v": 1, "command": "resume", "job": "a", "output": "x", "checkpoint": "y", "playback_fps": true}',
])
def test_what_is_no_command_is_refused_with_a_reason(line):
    with pytest.raises(I2VError) as caught:
        decode(line)
    assert caught.value.code == "command_invalid"


keys = st.sampled_from(["v", "command", "job", "keep", "output", "request"])
values = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["cancel", "quit", "resume", "generate", "a"])


@given(st.binary(max_size=200) | st.dictionaries(keys, values).map(lambda command: json.dumps(command).encode()))
def test_nothing_else_is_raised(line):
    try:
        decode(line)
    except I2VError as error:
        assert error.code == "command_invalid"
