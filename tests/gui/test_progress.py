"""Progress only goes forward, and the time left comes from measured steps."""

import pytest

from gui.progress import Progress
from i2v_mlx.events import Accepted, Block, Done, Frame, Stage, Step


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def progress(clock):
    return Progress(steps=4, after_seconds=5.0, clock=clock)


def whole_run(frames=2):
    yield Stage("load")
    yield Accepted({}, 7)
    yield from (Stage("encode"), Stage("denoise"))
    for index in range(1, 5):
        yield from (Block(block, 3) for block in (1, 2, 3))
        yield Step(index, 4, 2.0)
    yield Stage("decode")
    yield from (Frame(index, frames) for index in range(1, frames + 1))
    yield from (Stage("write"), Done("x", 9.0))


def test_it_never_goes_back_and_ends_at_one(progress):
    fractions = [0.0]
    for event in whole_run():
        progress.feed(event)
        fractions.append(progress.fraction)
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert len(set(fractions)) > 15 and progress.peak_bytes == 7


def test_blocks_move_it_within_a_step(progress):
    for event in (Stage("denoise"), Step(1, 4, 2.0)):
        progress.feed(event)
    before = progress.fraction
    progress.feed(Block(1, 2))
    half = progress.fraction
    progress.feed(Step(2, 4, 2.0))
    assert before < half < progress.fraction
    assert half - before == pytest.approx(progress.fraction - half)


@pytest.mark.parametrize("nonsense", [Step(1, 4), Step(9, 4), Step(-1, 4), Block(0, 0), Block(5, 2), Stage("load"),
                                      Stage("dream"), Frame(3, 2)])
def test_nonsense_changes_nothing(progress, nonsense):
    for event in (Stage("denoise"), Step(1, 4, 2.0), Step(2, 4, 2.0)):
        progress.feed(event)
    before = progress.fraction
    progress.feed(nonsense)
    assert (progress.fraction, progress.step, progress.stage) == (before, 2, "denoise")


def test_time_left_is_that_of_the_usual_step_and_runs_down(progress, clock):
    progress.feed(Stage("denoise"))
    assert progress.seconds_left is None
    for index, seconds in ((1, 30.0), (2, 2.0), (3, 2.0)):         # the first one compiles
        clock.now += seconds
        progress.feed(Step(index, 4, seconds))
    assert progress.seconds_left == pytest.approx(2.0 + 5.0)
    clock.now += 1.5
    assert progress.seconds_left == pytest.approx(0.5 + 5.0)
    clock.now += 100
    assert progress.seconds_left == pytest.approx(5.0)             # late, but never negative
    progress.feed(Stage("decode"))
    clock.now += 2.0
    assert progress.seconds_left == pytest.approx(3.0)


def test_steps_of_less_work_take_less_of_the_bar_and_of_the_time(clock):
    progress = Progress(steps=4, clock=clock, work=[2.0, 2.0, 1.0, 1.0])
    progress.feed(Stage("denoise"))
    begun = progress.fraction
    clock.now += 4.0
    progress.feed(Step(1, 4, 4.0))
    first = progress.fraction - begun
    assert progress.seconds_left == pytest.approx(8.0)
    progress.feed(Step(2, 4, 4.0))
    progress.feed(Step(3, 4, 2.0))
    before = progress.fraction
    progress.feed(Step(4, 4, 2.0))
    assert progress.fraction - before == pytest.approx(first / 2)


def test_steps_that_do_not_tell_their_time_are_measured(progress, clock):
    progress.feed(Stage("denoise"))
    clock.now += 3.0
    progress.feed(Step(1, 4))
    assert progress.step_seconds == [3.0]
