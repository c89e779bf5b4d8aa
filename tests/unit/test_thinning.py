"""Where both branches of guidance are evaluated, and what is done where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import picture

from i2v_mlx import I2VGenXLPipeline, checkpoint
from i2v_mlx.events import Block, Step
from i2v_mlx.parts.ddim import DDIM, DDIMConfig
from i2v_mlx.parts.thinning import both_branches
from i2v_mlx.parts.time_grid import timesteps
from i2v_mlx.request import GRIDS, SAMPLERS, Request, Sampling

FEWER = Sampling("dpm++2m", "blended", 3)


@pytest.mark.parametrize(("steps", "where"), [
    (16, [*range(8), 9, 12, 15]), (12, [*range(6), 7, 10]), (8, [0, 1, 2, 3, 5]), (1, [0]), (2, [0]), (3, [0, 1]),
])  # fmt: skip
def test_every_third(steps, where):
    assert [i for i, both in enumerate(both_branches(steps, 3)) if both] == where


@pytest.mark.parametrize("steps", [1, 2, 7, 16, 50])
def test_one_is_the_reference_and_more_is_less(steps):
    assert both_branches(steps, 1) == [True] * steps
    counts = [sum(both_branches(steps, refresh)) for refresh in range(1, 60)]
    assert counts == sorted(counts, reverse=True) and counts[-1] >= (steps + 1) // 2


@pytest.mark.parametrize("grid", GRIDS)
def test_while_there_is_more_noise_than_signal_both_are(grid):
    """The layout of the video is decided there, by guidance."""
    schedule = DDIM(DDIMConfig())
    for steps in range(1, 51 if grid == "nested" else 101):
        both = both_branches(steps, 999)
        assert all(both[i] for i, t in enumerate(timesteps(schedule, steps, grid)) if t > 510)


# ---------------------------------------------------------------- in the loop


@pytest.fixture(scope="module")
def pipe(tiny_model):
    return I2VGenXLPipeline.from_pretrained(tiny_model[1], keep_loaded=True)


def events(pipe, sampling=None, resume=None, **changes):
    call = {
        "prompt": "a cat runs", "image": picture(60, 50), "height": 32, "width": 48, "num_frames": 2, "generator": 7,
        "num_inference_steps": 6, "target_fps": 16, "guidance_scale": 9.0, "negative_prompt": None, "eta": 0.0,
        "num_videos_per_prompt": 1, "decode_chunk_size": 1, "latents": None, "prompt_embeds": None,
        "negative_prompt_embeds": None, "clip_skip": 1,
    } | changes  # fmt: skip
    inputs = pipe.check_inputs(**call, sampling=sampling or Sampling())
    return list(pipe.run(inputs, decode=False, resume=resume))


def steps_of(all_events) -> list[Step]:
    return [event for event in all_events if isinstance(event, Step)]


def test_what_is_skipped_is_not_computed(pipe):
    per_step, blocks = [], 0
    for event in events(pipe, Sampling("ddim", "model", 3)):
        if isinstance(event, Block):
            blocks = event.index
            count = event.count
        elif isinstance(event, Step):
            assert blocks == count
            per_step.append(blocks)
    full, thin = per_step[0], per_step[3]
    assert per_step == [full, full, full, thin, full, thin] and 0.5 <= thin / full < 0.6


def test_the_difference_is_held_in_v(pipe):
    """Undone by hand: v of a thinned step is the positive branch plus (scale - 1) times the difference held."""
    full = steps_of(events(pipe))
    thinned = steps_of(events(pipe, Sampling("ddim", "model", 3)))
    for one, other in zip(full[:3], thinned[:3], strict=True):
        assert np.array_equal(np.array(one.latents), np.array(other.latents))
    assert not np.array_equal(np.array(full[3].latents), np.array(thinned[3].latents))
    assert np.array_equal(np.array(thinned[2].history["difference"]), np.array(thinned[3].history["difference"]))
    assert not np.array_equal(np.array(thinned[3].history["difference"]), np.array(thinned[4].history["difference"]))

    alone = steps_of(events(pipe, guidance_scale=1.0, resume=thinned[2]))[0]    # the positive branch only
    a = float(pipe.scheduler.alpha_bar[pipe.scheduler.timesteps(6)[3]])
    held = np.array(thinned[2].history["difference"]).transpose(0, 4, 1, 2, 3)
    expected = np.array(alone.clean_latents) - np.sqrt(1 - a) * 8 * held
    assert np.abs(np.array(thinned[3].clean_latents) - expected).max() / expected.std() < 1e-5


def test_without_guidance_there_is_nothing_to_thin(pipe):
    plain = steps_of(events(pipe, guidance_scale=1.0))
    thinned = steps_of(events(pipe, Sampling("ddim", "model", 3), guidance_scale=1.0))
    for one, other in zip(plain, thinned, strict=True):
        assert np.array_equal(np.array(one.latents), np.array(other.latents)) and other.history == {}


def test_several_videos_keep_their_own_difference(pipe):
    sampling = FEWER
    alone = [steps_of(events(pipe, sampling, generator=seed))[-1] for seed in (7, 8)]
    together = steps_of(events(pipe, sampling, generator=[7, 8], num_videos_per_prompt=2))[-1]
    for b, one in enumerate(alone):
        assert np.abs(np.array(together.latents)[b] - np.array(one.latents)[0]).max() < 1e-5


@pytest.mark.parametrize("refresh", [1, 3])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_run_carries_on_from_its_checkpoint_with_the_same_bytes(pipe, tmp_path, sampler, refresh):
    sampling = Sampling(sampler, "blended", refresh)
    whole = steps_of(events(pipe, sampling))
    path = tmp_path / "run.safetensors"
    request = Request("a.png", num_frames=2, num_inference_steps=6, sampler=sampler, grid="blended")
    for done in (1, 4):
        checkpoint.save(path, request, whole[done - 1])
        _, resume = checkpoint.load(path)
        rest = steps_of(events(pipe, sampling, resume=resume))
        assert [step.index for step in rest] == list(range(done + 1, 7))
        assert np.array_equal(np.array(rest[-1].latents), np.array(whole[-1].latents)), done


def test_a_step_without_its_history_measures_the_difference_anew(pipe):
    sampling = Sampling("ddim", "model", 3)
    whole = steps_of(events(pipe, sampling))
    bare = Step(3, 6, latents=whole[2].latents)
    rest = steps_of(events(pipe, sampling, resume=bare))
    assert np.array_equal(np.array(rest[0].latents), np.array(steps_of(events(pipe))[3].latents))


def test_the_pipelines_own_sampling_is_what_a_call_uses(pipe):
    call = {"height": 32, "width": 48, "num_frames": 2, "num_inference_steps": 6, "generator": 7,
            "output_type": "latent"}
    plain = pipe("a cat runs", picture(60, 50), **call).frames
    pipe.sampling = FEWER
    try:
        changed = pipe("a cat runs", picture(60, 50), **call).frames
    finally:
        pipe.sampling = Sampling()
    assert np.array_equal(np.array(changed), np.array(steps_of(events(pipe, FEWER))[-1].latents))
    assert not np.array_equal(np.array(changed), np.array(plain))
