"""The draft: every change can be undone, typing is one change, and seeds move as they should."""

import pytest

from gui import settings_panel
from gui.draft import MAX_PROMPT, Draft
from gui.presets import presets
from i2v_mlx.request import SAMPLERS, SEED_LIMIT, Request


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def draft(qapp, clock):
    return Draft(Request(image="a.png", width=512, height=288, seed=5), clock)


def test_a_change_says_what_differs_and_can_be_undone(draft, qtbot):
    with qtbot.waitSignal(draft.changed) as changed:
        draft.change(prompt="boats", width=512)
    assert changed.args == [frozenset({"prompt"})]
    draft.change(prompt="boats")                           # nothing differs: nothing to undo
    assert draft.undo_stack.count() == 1
    draft.undo_stack.undo()
    assert draft.request.prompt == ""
    draft.undo_stack.redo()
    assert draft.request.prompt == "boats"


def test_typing_is_one_change_until_there_is_a_pause(draft, clock):
    for now, text in [(0.0, "b"), (0.4, "bo"), (0.9, "boa"), (5.0, "boat")]:
        clock.now = now
        draft.change(prompt=text)
    draft.change(seed=6)
    draft.change(prompt="boats")
    found = []
    while draft.undo_stack.canUndo():
        draft.undo_stack.undo()
        found.append((draft.request.prompt, draft.request.seed))
    assert found == [("boat", 6), ("boat", 5), ("boa", 5), ("", 5)]


def test_a_new_picture_drops_the_crop_of_the_old_one_in_one_step(draft):
    draft.change(crop=(0.0, 0.0, 0.5, 0.5))
    draft.set_picture("b.png")
    assert (draft.request.image, draft.request.crop) == ("b.png", None)
    draft.undo_stack.undo()
    assert (draft.request.image, draft.request.crop) == ("a.png", (0.0, 0.0, 0.5, 0.5))


def test_sizes_are_multiples_of_8_and_keep_the_shape_when_locked(draft):
    draft.set_size(width=700)
    assert (draft.request.width, draft.request.height) == (704, 288)
    draft.undo_stack.undo()
    draft.aspect_locked = True
    draft.set_size(width=1024)
    assert (draft.request.width, draft.request.height) == (1024, 576)
    draft.set_size(height=288)
    assert (draft.request.width, draft.request.height) == (512, 288)
    draft.set_size(width=10**6)
    assert draft.request.width == 4096


def test_presets_say_how_much_work_and_not_which_video(draft):
    draft.change(eta=0.5)
    for preset in presets(draft.request.model):
        draft.use_preset(preset)
        assert draft.preset() is preset and draft.request.eta == 0.0
        draft.request.validate()
        assert (draft.request.width, draft.request.height, draft.request.seed) == (512, 288, 5)
    draft.set_steps(33)
    assert draft.preset() is None
    draft.undo_stack.undo()
    assert draft.preset() is presets(draft.request.model)[2]


def test_another_number_of_steps_leaves_no_grid_that_was_made_for_one(draft):
    draft.change(num_inference_steps=2, grid="900,1")
    draft.set_steps(2)
    assert draft.request.grid == "900,1"
    draft.set_steps(5)
    draft.request.validate()
    assert draft.request.num_inference_steps == 5


@pytest.mark.parametrize("change", [lambda draft: draft.set_steps(5), lambda draft: draft.set_sampler("unipc")])
def test_weights_that_were_fitted_to_listed_steps_do_not_outlive_them(draft, change):
    draft.change(num_inference_steps=2, grid="900,1", sampler="forecast", weights="0.4,0.6/0.2,0.9,-0.1")
    change(draft)
    assert draft.request.weights == ""
    draft.request.validate()
    draft.undo_stack.undo()
    assert draft.request.weights


def test_every_sampler_of_the_engine_can_be_chosen():
    assert {sampler for sampler, _ in settings_panel._SAMPLERS} == set(SAMPLERS)


def test_fresh_noise_goes_with_the_sampler_that_takes_it(draft):
    draft.change(eta=0.5)
    draft.set_sampler("unipc")
    draft.request.validate()
    assert (draft.request.sampler, draft.request.eta) == ("unipc", 0.0)


def test_the_video_turns_with_the_picture(draft):
    draft.set_picture("b.png", (3000, 4000))
    assert (draft.request.width, draft.request.height) == (288, 512)
    draft.set_picture("c.png", (100, 4000))
    assert (draft.request.width, draft.request.height) == (288, 512)
    draft.set_picture("d.png", (700, 700))
    assert (draft.request.width, draft.request.height) == (288, 512)
    draft.set_picture("e.png", (4000, 3000))
    assert (draft.request.width, draft.request.height) == (512, 288)
    draft.undo_stack.undo()                                # one step back is all of it
    assert (draft.request.image, draft.request.width) == ("d.png", 288)
    draft.change(width=512, height=512)
    draft.set_picture("f.png", (3000, 4000))
    assert (draft.request.width, draft.request.height) == (512, 512)


def test_another_model_begins_with_its_own_size(draft):
    draft.change(prompt="boats")
    draft.use_model("demo")
    assert (draft.request.model, draft.request.width, draft.request.prompt) == ("demo", 96, "boats")
    assert draft.preset() is presets("demo")[1]


@pytest.mark.parametrize(("mode", "then"), [("locked", 5), ("next", 8)])
def test_takes_count_up_and_leave_the_seed_where_the_mode_says(draft, mode, then):
    draft.set_seed_mode(mode)
    assert [request.seed for request in draft.takes(3)] == [5, 6, 7]
    assert draft.request.seed == then


def test_a_random_seed_is_another_one_in_range_and_takes_wrap_around(draft):
    draft.change(seed=SEED_LIMIT - 1)
    assert [request.seed for request in draft.takes(2)] == [SEED_LIMIT - 1, 0]
    seen = set()
    for _ in range(20):
        draft.roll_seed()
        seen.add(draft.request.seed)
    assert len(seen) == 20 and all(0 <= seed < SEED_LIMIT for seed in seen)


def test_recall_takes_all_or_some(draft):
    other = Request(image="c.png", prompt="fox", seed=9, num_inference_steps=7)
    draft.recall(other, {"prompt", "seed"})
    assert (draft.request.image, draft.request.prompt, draft.request.seed) == ("a.png", "fox", 9)
    draft.recall(other)
    assert draft.request == other
    draft.undo_stack.undo()
    assert draft.request.image == "a.png"


def test_problems_are_said_before_anything_runs(draft, photo):
    assert draft.problem().code == "image_not_found"
    draft.set_picture(str(photo))
    assert draft.problem() is None
    draft.change(prompt="x" * (MAX_PROMPT + 1))
    assert draft.problem().code == "prompt_too_long"
    draft.change(prompt="x" * MAX_PROMPT)
    assert draft.problem() is None
    draft.change(num_frames=0)
    assert draft.problem().code == "num_frames_out_of_range"
    draft.change(image="")
    assert draft.problem().code == "image_missing"
