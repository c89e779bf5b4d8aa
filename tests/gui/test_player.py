"""Playback follows the clock, whatever the ticks do."""

import numpy as np
import pytest
from PySide6.QtGui import QImage

from gui.player import Player


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def clip(count, value=0, side=4):
    frames = np.zeros((count, side, side, 3), np.uint8)
    frames[..., 0] = np.arange(count)[:, None, None] + value
    return frames


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def player(qapp, clock):
    player = Player(clock)
    yield player
    player.pause()


def at(player, clock, seconds):
    clock.now = 100.0 + seconds
    player._tick()
    return player.position


def test_a_loop_at_its_rate(player, clock):
    player.show_clip(clip(4), fps=8.0)
    assert player.playing
    assert [at(player, clock, step / 16) for step in range(12)] == [0, 0, 1, 1, 2, 2, 3, 3, 0, 0, 1, 1]
    assert at(player, clock, 1000.0625) == 0               # a long gap (sleep) is no problem


def test_boomerang_shows_no_end_twice(player, clock):
    player.set_boomerang(True)
    player.show_clip(clip(4), fps=8.0)
    assert [at(player, clock, (step + 0.5) / 8) for step in range(9)] == [0, 1, 2, 3, 2, 1, 0, 1, 2]


def test_speed_and_rate_change_what_follows_and_not_where_it_is(player, clock):
    player.show_clip(clip(100), fps=10.0)
    assert at(player, clock, 2.05) == 20
    player.set_speed(2.0)
    assert player.position == 20 and at(player, clock, 2.05) == 20
    assert at(player, clock, 3.05) == 40
    player.set_fps(5.0)
    assert at(player, clock, 4.05) == 50


def test_the_final_frames_replace_the_previews_without_a_jump(player, clock):
    jumps = []
    player.show_preview(clip(8, side=2))
    assert player.playing and player.is_preview
    at(player, clock, 0.45)
    player.show_preview(clip(8, value=50, side=2))
    player.position_changed.connect(jumps.append)
    player.show_clip(clip(8, value=90, side=16), fps=8.0)
    assert player.position == 3 and jumps == [] and player.playing and not player.is_preview
    assert player.image().pixelColor(0, 0).red() == 93
    assert at(player, clock, 0.5625) == 4                  # and goes on from there


def test_previews_do_not_start_what_the_user_has_paused(player, clock):
    player.show_preview(clip(8))
    player.pause()
    player.seek(5)
    player.show_preview(clip(8, value=1))
    assert not player.playing and player.position == 5
    player.show_clip(clip(8, value=2), fps=8.0)
    assert not player.playing and player.position == 5


def test_another_length_starts_at_the_beginning(player, clock):
    player.show_preview(clip(8))
    at(player, clock, 0.9)
    player.show_clip(clip(3), fps=8.0)
    assert player.position == 0


def test_stepping_pauses_and_goes_round(player):
    player.show_clip(clip(3), fps=8.0)
    player.step(-1)
    assert player.position == 2 and not player.playing
    player.step(1)
    assert player.position == 0
    player.seek(99)
    assert player.position == 2


def test_the_still_beside_the_clip(player):
    assert player.image() is None
    still = QImage(4, 4, QImage.Format.Format_RGB888)
    still.fill(0xFF00FF00)
    player.set_source(still)
    assert player.image().pixelColor(0, 0).green() == 255  # nothing else to show
    player.show_clip(clip(3, value=7), fps=8.0)
    assert player.image().pixelColor(0, 0).red() == 7
    player.set_side("source")
    assert player.image().pixelColor(0, 0).green() == 255
    player.clear()
    assert player.count == 0 and not player.playing


def test_a_clip_of_one_frame_does_not_play(player):
    player.show_clip(clip(1), fps=8.0)
    assert not player.playing and player.image() is not None
    player.set_boomerang(True)
    player.play()
    assert not player.playing


def test_pixels_keep_their_place_and_colour(player):
    frames = np.random.default_rng(0).integers(0, 256, (2, 5, 3, 3), np.uint8)     # rows that Qt pads
    player.show_clip(frames, fps=8.0)
    from gui.pixels import from_qimage
    np.testing.assert_array_equal(from_qimage(player.frame_image(1)), frames[1])
