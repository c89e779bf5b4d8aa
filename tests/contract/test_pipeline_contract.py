"""What whoever iterates over a run may rely on: the order of events, cancelling anywhere, and the same bytes always."""

from __future__ import annotations

import socket
import weakref
from collections.abc import Iterator
from itertools import pairwise

import mlx.core as mx
import numpy as np
import pytest
from PIL import Image
from tiny import picture

from i2v_mlx import I2VGenXLPipeline
from i2v_mlx.errors import I2VError
from i2v_mlx.events import Block, Frame, Notice, Stage, Step

FRAMES, STEPS = 2, 2
CALL = {
    "prompt": "a cat runs", "height": 32, "width": 48, "num_frames": FRAMES, "num_inference_steps": STEPS,
    "generator": 7,
}  # fmt: skip
LONG = "very long " * 60


@pytest.fixture(scope="module")
def pipe(tiny_model):
    return I2VGenXLPipeline.from_pretrained(tiny_model[1])


@pytest.fixture(scope="module")
def kept(tiny_model):
    """The same, quicker: its networks stay loaded, which changes nothing (see the test that says so)."""
    return I2VGenXLPipeline.from_pretrained(tiny_model[1], keep_loaded=True)


@pytest.fixture(autouse=True)
def nothing_stays_loaded(request):
    yield
    if "pipe" in request.fixturenames:
        assert request.getfixturevalue("pipe").networks.loaded == []


@pytest.fixture(scope="module")
def still():
    return picture(60, 50)


@pytest.fixture(scope="module")
def expected(pipe, still):
    """The undisturbed run."""
    return frames(pipe, image=still)


def frames(pipe, **call) -> np.ndarray:
    return pipe(**{**CALL, "output_type": "np", **call}).frames


def inputs(pipe, **call):
    everything = {
        "target_fps": 16, "guidance_scale": 9.0, "negative_prompt": None, "eta": 0.0, "num_videos_per_prompt": 1,
        "decode_chunk_size": 1, "latents": None, "prompt_embeds": None, "negative_prompt_embeds": None, "clip_skip": 1,
    }  # fmt: skip
    return pipe.check_inputs(**{**everything, **CALL, **call})


def run(pipe, **call) -> Iterator:
    return pipe.run(inputs(pipe, **call))


# ---------------------------------------------------------------- events


def kinds(events) -> list[str]:
    """Names in order, repeats left out."""
    names = [event.name if isinstance(event, Stage) else type(event).__name__ for event in events]
    return [names[0], *(name for before, name in pairwise(names) if name != before)]


def test_the_order_of_events(pipe, still):
    events = list(run(pipe, image=still, prompt=LONG))
    assert kinds(events) == ["encode", "Notice", "denoise", *["Block", "Step"] * STEPS, "decode", "Frame"]
    assert "left out" in next(event.message for event in events if isinstance(event, Notice))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_steps_are_exactly_1_to_n(pipe, still, steps):
    steps_seen = [event for event in run(pipe, image=still, num_inference_steps=steps) if isinstance(event, Step)]
    assert [event.index for event in steps_seen] == list(range(1, steps + 1))
    assert {event.count for event in steps_seen} == {steps}
    for event in steps_seen:
        assert event.latents.shape == event.clean_latents.shape == (1, 4, FRAMES, 4, 6)
        assert event.latents.dtype == event.clean_latents.dtype == mx.float32
        assert event.seconds > 0
    assert np.array_equal(np.array(steps_seen[-1].latents), np.array(steps_seen[-1].clean_latents))


def blocks_of_a_step(pipe, **call) -> int:
    """How many blocks every step announces; fails unless they come as 1..count, each step."""
    seen: list[Block] = []
    counts = set()
    for event in run(pipe, **call):
        if isinstance(event, Block):
            seen.append(event)
            counts.add(event.count)
        elif isinstance(event, Step):
            assert [block.index for block in seen] == list(range(1, seen[0].count + 1))
            seen.clear()
    assert len(counts) == 1 and not seen
    return counts.pop()


def test_blocks_are_as_many_as_announced(kept, still):
    plain = blocks_of_a_step(kept, image=still, guidance_scale=1.0)
    guided = blocks_of_a_step(kept, image=still)
    assert 2 + 1 + 2 <= plain < guided <= 2 * plain  # two levels down, the middle, two levels up
    for more in ({"num_videos_per_prompt": 2}, {"prompt": ["a cat", "the sea"]}):
        assert blocks_of_a_step(kept, image=still, **more) == 2 * guided


def test_frames_are_exactly_1_to_n_and_the_result(pipe, still, expected):
    seen = [event for event in run(pipe, image=still) if isinstance(event, Frame)]
    assert [event.index for event in seen] == [1, 2] and {event.count for event in seen} == {FRAMES}
    for event, pixels in zip(seen, expected[0], strict=True):
        assert event.pixels.dtype == np.float32 and np.array_equal(event.pixels, pixels)
        assert event.pixels.min() >= 0 and event.pixels.max() <= 1


def test_without_decoding_there_is_no_decode_stage(pipe, still):
    events = list(pipe.run(inputs(pipe, image=still), decode=False))
    assert kinds(events)[-1] == "Step"


def test_every_dropped_text_is_reported(pipe, still):
    notices = [e for e in run(pipe, image=still, prompt=LONG + "blurry", negative_prompt=LONG) if isinstance(e, Notice)]
    assert [notice.code for notice in notices] == ["prompt_cut"] * 2
    assert "very long" in notices[0].message
    assert not any(isinstance(event, Notice) for event in run(pipe, image=still, prompt="very long " * 30))


# ---------------------------------------------------------------- what is in memory


def test_each_network_is_there_for_its_stage_only(pipe, still):
    stage = ""
    for event in run(pipe, image=still):
        if isinstance(event, Stage):
            stage = event.name
            assert pipe.networks.loaded == [], stage
        else:
            assert pipe.networks.loaded == [{"denoise": "unet", "decode": "vae"}[stage]]


def test_the_encoders_come_one_after_the_other(tiny_model, still, monkeypatch):
    pipe = I2VGenXLPipeline.from_pretrained(tiny_model[1])
    loads = []
    load = type(pipe.folder).load_part

    def watched(folder, name, dtype):
        assert pipe.networks.loaded == [], f"{name} is loaded beside {pipe.networks.loaded}"
        loads.append(name)
        return load(folder, name, dtype)

    monkeypatch.setattr(type(pipe.folder), "load_part", watched)
    frames(pipe, image=still)
    assert loads == ["text_encoder", "image_encoder", "vae", "unet", "vae"]


def test_memory_is_as_before_the_run(pipe, still, expected):
    frames(pipe, image=still)
    before = mx.get_active_memory()
    for _ in range(3):
        frames(pipe, image=still)
    assert mx.get_active_memory() <= before + 1024


@pytest.mark.parametrize("kind", [Block, Step, Frame])
def test_a_cancelled_run_has_let_go_of_its_network_before_the_cache_is_cleared(pipe, still, kind, monkeypatch):
    """What is freed after the clearing stays in MLX's cache: with the real UNet that is 2.6 GB after a cancel."""
    cleared: list[bool] = []
    events = run(pipe, image=still)
    next(event for event in events if isinstance(event, kind))
    (network,) = (weakref.ref(module) for module in pipe.networks._loaded.values())
    monkeypatch.setattr(mx, "clear_cache", lambda: cleared.append(network() is None))
    events.close()
    assert cleared and cleared[-1]


def test_keep_loaded_changes_nothing(tiny_model, still, expected):
    keeping = I2VGenXLPipeline.from_pretrained(tiny_model[1], keep_loaded=True)
    assert np.array_equal(frames(keeping, image=still), expected)
    assert keeping.networks.loaded == ["image_encoder", "text_encoder", "unet", "vae"]
    assert np.array_equal(frames(keeping, image=still), expected)


def test_looking_at_a_network_keeps_it_and_changes_nothing(tiny_model, still, expected):
    looking = I2VGenXLPipeline.from_pretrained(tiny_model[1])
    assert looking.unet is looking.unet
    assert np.array_equal(frames(looking, image=still), expected)
    assert looking.networks.loaded == ["unet"]
    looking.unet.conv_out.bias = looking.unet.conv_out.bias + 0.1
    assert not np.array_equal(frames(looking, image=still), expected)


# ---------------------------------------------------------------- cancelling


def test_cancelling_at_every_single_event(pipe, still, expected):
    """One step and one frame, so that every event of a run is met in a few seconds."""
    call = {"image": still, "prompt": LONG, "num_inference_steps": 1, "num_frames": 1}
    whole = list(run(pipe, **call))
    assert {type(event) for event in whole} == {Stage, Notice, Block, Step, Frame}
    total = len(whole)
    whole.clear()  # latents and frames
    before = mx.get_active_memory()
    for count in range(total + 1):
        events = run(pipe, **call)
        for _ in range(count):
            next(events)
        events.close()
        assert pipe.networks.loaded == []
        assert next(events, None) is None
    assert mx.get_active_memory() <= before + 1024
    assert np.array_equal(frames(pipe, image=still), expected)


@pytest.mark.parametrize("kind", [Stage, Block, Step, Frame])
def test_the_run_after_a_cancelled_one_is_undisturbed(pipe, still, expected, kind):
    for event in run(pipe, image=still, generator=99, eta=0.5):
        if isinstance(event, kind):
            break
    assert np.array_equal(frames(pipe, image=still), expected)


def test_an_error_in_between_leaves_nothing_and_disturbs_nothing(pipe, still, expected):
    with pytest.raises(KeyboardInterrupt):
        for event in run(pipe, image=still):
            if isinstance(event, Block):
                raise KeyboardInterrupt
    assert np.array_equal(frames(pipe, image=still), expected)


def test_two_runs_in_turn_do_not_mix(pipe, still, expected):
    seen: list[list] = [[], []]
    for pair in zip(run(pipe, image=still), run(pipe, image=still, generator=8), strict=True):
        for events, event in zip(seen, pair, strict=True):
            if isinstance(event, Frame):
                events.append(event.pixels)
    assert np.array_equal(np.stack(seen[0]), expected[0])
    assert np.array_equal(np.stack(seen[1]), frames(pipe, image=still, generator=8)[0])


# ---------------------------------------------------------------- the same request, the same bytes


def test_whatever_ran_before(pipe, still, expected):
    others = [
        {"generator": 1, "eta": 1.0}, {"guidance_scale": 1.0}, {"prompt": ["a", "b"], "num_videos_per_prompt": 2},
        {"height": 40, "width": 40, "num_frames": 1}, {"image": picture(33, 90, 4)}, {"output_type": "latent"},
        {"clip_skip": None},
        {"latents": np.ones((1, 4, FRAMES, 4, 6), np.float32) * np.arange(6, dtype=np.float32)},
    ]  # fmt: skip
    for call in others:
        pipe(**{**CALL, "image": still, **call})
        if call in others[::3]:
            assert np.array_equal(frames(pipe, image=still), expected), call


def test_global_randomness_plays_no_part(pipe, still, expected):
    mx.random.seed(123)
    np.random.seed(123)
    assert np.array_equal(frames(pipe, image=still), expected)


def test_another_pipeline_gives_the_same(tiny_model, still, expected):
    assert np.array_equal(frames(I2VGenXLPipeline.from_pretrained(tiny_model[1]), image=still), expected)


def test_another_seed_or_none_gives_another_video(kept, still, expected):
    for generator in (8, None):
        assert np.abs(frames(kept, image=still, generator=generator) - expected).max() > 0.01


def test_the_callers_arrays_are_left_alone(kept, still):
    pixels = np.asarray(still).copy()
    latents = np.random.default_rng(0).standard_normal((1, 4, FRAMES, 4, 6), np.float32)
    before = latents.copy()
    first = frames(kept, image=pixels, latents=latents)
    assert np.array_equal(latents, before) and np.array_equal(pixels, np.asarray(still))
    assert np.array_equal(frames(kept, image=pixels, latents=mx.array(latents)), first)


def test_the_ways_to_give_a_picture(kept, still, expected, tmp_path):
    still.save(tmp_path / "still.png")
    for image in (
        np.asarray(still), np.asarray(still) / np.float32(255), str(tmp_path / "still.png"), tmp_path / "still.png",
        [still], (still,),
    ):  # fmt: skip
        assert np.array_equal(frames(kept, image=image), expected), type(image)


def test_the_ways_to_get_the_frames(kept, still, expected):
    pil = frames(kept, image=still, output_type="pil")
    assert len(pil) == 1 and [frame.size for frame in pil[0]] == [(48, 32)] * FRAMES
    assert np.abs(np.stack([np.asarray(frame) for frame in pil[0]]) - expected[0] * 255).max() <= 0.5 + 1e-4
    mlx = frames(kept, image=still, output_type="mx")
    assert isinstance(mlx, mx.array) and mlx.dtype == mx.float32 and np.array_equal(np.array(mlx), expected)
    assert all(isinstance(frame, Image.Image) for frame in pil[0])
    latent = frames(kept, image=still, output_type="latent")
    assert isinstance(latent, mx.array) and latent.shape == (1, 4, FRAMES, 4, 6)


# ---------------------------------------------------------------- several videos

ETAS = pytest.mark.parametrize("eta", [0.0, 0.7])


@ETAS
def test_a_video_of_a_list_of_seeds_is_what_its_seed_gives_alone(kept, still, eta):
    seeds = [5, 7, 2**32 - 1]
    together = frames(kept, image=still, num_videos_per_prompt=3, generator=seeds, eta=eta)
    assert together.shape == (3, FRAMES, 32, 48, 3)
    for video, seed in zip(together, seeds, strict=True):
        assert np.array_equal(video, frames(kept, image=still, generator=seed, eta=eta)[0])


@ETAS
def test_one_seed_gives_several_different_videos(kept, still, eta):
    videos = frames(kept, image=still, num_videos_per_prompt=2, eta=eta)
    assert np.abs(videos[0] - videos[1]).max() > 0.01
    assert np.array_equal(videos, frames(kept, image=still, num_videos_per_prompt=2, eta=eta))


@ETAS
def test_every_prompt_keeps_its_picture_and_the_videos_of_a_prompt_are_together(kept, eta):
    prompts, pictures, seeds = ["a cat", "the sea"], [picture(60, 50, 1), picture(50, 60, 2)], [1, 2, 3, 4]
    negatives = ["blurry", "still"]
    videos = frames(
        kept, prompt=prompts, image=pictures, negative_prompt=negatives, num_videos_per_prompt=2, generator=seeds,
        eta=eta,
    )  # fmt: skip
    assert videos.shape == (4, FRAMES, 32, 48, 3)
    for i, video in enumerate(videos):
        alone = frames(
            kept, prompt=prompts[i // 2], image=pictures[i // 2], negative_prompt=negatives[i // 2], generator=seeds[i],
            eta=eta,
        )  # fmt: skip
        assert np.array_equal(video, alone[0]), i


def test_one_picture_and_one_negative_prompt_serve_all_prompts(kept, still):
    videos = frames(kept, prompt=["a cat", "the sea"], image=still, negative_prompt="blurry", generator=[1, 2])
    for video, prompt, seed in zip(videos, ["a cat", "the sea"], [1, 2], strict=True):
        alone = frames(kept, prompt=prompt, image=still, negative_prompt="blurry", generator=seed)
        assert np.array_equal(video, alone[0])


def test_given_latents_are_paired_with_their_prompts(kept, still):
    latents = np.random.default_rng(0).standard_normal((2, 4, FRAMES, 4, 6), np.float32)
    both = frames(kept, prompt=["a cat", "the sea"], image=still, latents=latents, generator=[1, 2])
    for i, prompt in enumerate(["a cat", "the sea"]):
        alone = frames(kept, prompt=prompt, image=still, latents=latents[i : i + 1], generator=i + 1)
        assert np.array_equal(both[i], alone[0])


# ---------------------------------------------------------------- carrying on


@ETAS
@pytest.mark.parametrize("seeds", [7, [7, 8]], ids=["one seed", "a list"])
def test_a_run_that_is_resumed_ends_with_the_same_bytes(kept, still, eta, seeds):
    call = {"image": still, "generator": seeds, "eta": eta, "num_videos_per_prompt": 2, "num_inference_steps": 3}
    whole = list(run(kept, **call))
    reached = [event for event in whole if isinstance(event, Step)]
    pixels = np.stack([event.pixels for event in whole if isinstance(event, Frame)])
    for step in reached:
        reloaded = Step(step.index, step.count, latents=np.array(step.latents))  # as a file gives it back
        rest = list(kept.run(inputs(kept, **call), resume=reloaded))
        assert [event.index for event in rest if isinstance(event, Step)] == list(range(step.index + 1, 4))
        assert np.array_equal(np.stack([event.pixels for event in rest if isinstance(event, Frame)]), pixels)


# ---------------------------------------------------------------- failing hardware and damaged weights


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_answers_nonsense_ends_the_run_at_once(tiny_model, still, value):
    pipe = I2VGenXLPipeline.from_pretrained(tiny_model[1])
    pipe.unet.conv_out.bias = pipe.unet.conv_out.bias * value
    with pytest.raises(I2VError) as caught:
        frames(pipe, image=still)
    assert caught.value.code == "latents_not_finite" and "step 1" in caught.value.message and caught.value.hint
    assert pipe.networks.loaded == ["unet"]


def test_a_decoder_that_answers_nonsense_is_not_taken_for_a_video(tiny_model, still):
    pipe = I2VGenXLPipeline.from_pretrained(tiny_model[1])
    pipe.vae.decoder.conv_out.bias = pipe.vae.decoder.conv_out.bias * float("nan")
    with pytest.raises(I2VError) as caught:
        frames(pipe, image=still)
    assert caught.value.code.endswith("not_finite") and caught.value.hint


# ---------------------------------------------------------------- the network


def test_no_socket_is_opened(tiny_model, still, expected, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert np.array_equal(frames(I2VGenXLPipeline.from_pretrained(tiny_model[1]), image=still), expected)


# ---------------------------------------------------------------- what is kept from one call to the next


@pytest.fixture
def loads(monkeypatch):
    """Names of the networks that are read from files, in order."""
    from i2v_mlx.model_folder import ModelFolder

    names = []
    load_part = ModelFolder.load_part

    def noted(self, name, dtype):
        names.append(name)
        return load_part(self, name, dtype)

    monkeypatch.setattr(ModelFolder, "load_part", noted)
    return names


def test_another_take_needs_no_encoder(tiny_model, still, loads):
    pipe = I2VGenXLPipeline.from_pretrained(tiny_model[1])
    frames(pipe, image=still)
    assert loads == ["text_encoder", "image_encoder", "vae", "unet", "vae"]
    del loads[:]
    again = frames(pipe, image=still.copy(), generator=8)
    assert loads == ["unet", "vae"]
    fresh = frames(I2VGenXLPipeline.from_pretrained(tiny_model[1]), image=still, generator=8)
    assert np.array_equal(again, fresh)


@pytest.mark.parametrize(("change", "needed"), [
    ({"prompt": "a cat sleeps"}, "text_encoder"), ({"clip_skip": 2}, "text_encoder"),
    ({"negative_prompt": "blurred"}, "text_encoder"), ({"image": picture(61, 50)}, "image_encoder"),
    ({"width": 64}, "vae"),
])  # fmt: skip
def test_what_has_changed_is_encoded_anew(tiny_model, still, loads, change, needed):
    pipe = I2VGenXLPipeline.from_pretrained(tiny_model[1])
    frames(pipe, image=still)
    del loads[:]
    call = {"image": still, **change}
    changed = frames(pipe, **call)
    assert needed in loads[: loads.index("unet")]
    assert np.array_equal(changed, frames(I2VGenXLPipeline.from_pretrained(tiny_model[1]), **call))


def test_nothing_is_kept_of_a_network_that_may_have_been_changed(tiny_model, still):
    pipe = I2VGenXLPipeline.from_pretrained(tiny_model[1])
    before = frames(pipe, image=still)
    weight = pipe.text_encoder.text_model.final_layer_norm
    weight.bias = weight.bias + 1
    assert not np.array_equal(before, frames(pipe, image=still))


def test_a_network_that_may_stay_is_not_read_again(tiny_model, still, expected, loads):
    pipe = I2VGenXLPipeline.from_pretrained(tiny_model[1])
    pipe.networks.staying = {"unet"}
    assert np.array_equal(frames(pipe, image=still), expected)
    assert pipe.networks.loaded == ["unet"]
    del loads[:]
    assert np.array_equal(frames(pipe, image=still), expected)
    assert loads == ["vae"]
    pipe.networks.staying = set()
    pipe.networks.release()
    assert pipe.networks.loaded == []
