"""The request: ranges, the round trip through JSON, and what damaged or hostile JSON does."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i2v_mlx.errors import I2VError
from i2v_mlx.request import GRIDS, SAMPLERS, Request, check_frames, check_number, check_size, check_steps

HUGE = 10**400  # a JSON integer that no float can hold


def refusal(function, *args, **kwargs) -> I2VError:
    with pytest.raises(I2VError) as caught:
        function(*args, **kwargs)
    return caught.value


def test_the_defaults_are_valid_but_for_the_picture():
    assert refusal(Request().validate).code == "image_missing"
    Request(image="cat.png").validate()


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("width", 16, 4096), ("height", 16, 4096), ("num_frames", 1, 128), ("num_inference_steps", 1, 999),
        ("target_fps", 1, 120), ("guidance_scale", 0.0, 100.0), ("eta", 0.0, 1.0), ("seed", 0, 2**32 - 1),
        ("guidance_refresh", 1, 999),
    ],
)  # fmt: skip
def test_ranges(field, low, high):
    for value in (low, high):
        Request(image="cat.png", **{field: value}).validate()
    step = 8 if field in ("width", "height") else 1 if isinstance(low, int) else 1e-9 * high
    for value in (low - step, high + step, -high, math.nan, math.inf, -math.inf, True, None, "5", [5], HUGE, -HUGE):
        error = refusal(Request(image="cat.png", **{field: value}).validate)
        assert error.code == f"{field}_out_of_range", value
        assert field in error.message and str(low) in error.hint and str(high) in error.hint


@pytest.mark.parametrize("grid", ["", "model,", "981,,1", "1,981", "981,981,1", "-5", "9.5", "99999,1", "981 1",
                                  "\u0665"])
def test_grids_that_are_none(grid):
    error = refusal(Request(image="cat.png", grid=grid, num_inference_steps=2).validate)
    assert error.code in ("grid_unknown", "num_inference_steps_out_of_range")


def test_a_grid_of_timesteps_has_one_for_every_step():
    Request(image="cat.png", grid="981,400,1", num_inference_steps=3).validate()
    error = refusal(Request(image="cat.png", grid="981,400,1", num_inference_steps=4).validate)
    assert error.code == "num_inference_steps_out_of_range" and "3" in error.hint


def test_a_nested_grid_has_no_more_steps_than_the_reference():
    Request(image="cat.png", sampler="forecast", grid="nested", num_inference_steps=50).validate()
    error = refusal(Request(image="cat.png", sampler="forecast", grid="nested", num_inference_steps=51).validate)
    assert error.code == "num_inference_steps_out_of_range" and "50" in error.hint


@pytest.mark.parametrize("weights", [
    "1", "0.5,0.5/1", "0.5,0.5/0.5,x,1", "0.5,nan/0.5,0.5", "0.5,inf/0.5,0.5", "0.5,1e9/0.5,0.5", "0.5,0.5,0.5/0.5,0.5",
    "0.5,0.5/0.1,0.2,0.3,0.4", "/", "0.5,0.5/", "__import__('os')", "0.5,0.5" + "/0.5,0.5,0,0,0,0" * 5, "9" * 10_000,
])  # fmt: skip
def test_weights_that_are_none(weights):
    assert refusal(Request(image="a", sampler="forecast", grid="981,1", num_inference_steps=2,
                           weights=weights).validate).code == "weights_invalid"


def test_weights_belong_to_listed_steps_of_the_forecast():
    fitting = {"sampler": "forecast", "grid": "981,1", "num_inference_steps": 2, "weights": "0.4,0.6/0.2,0.9,-0.1"}
    Request(image="a", **fitting).validate()
    for change in ({"sampler": "ddim"}, {"grid": "nested"}, {"grid": "981,401,1", "num_inference_steps": 3}):
        assert refusal(Request(image="a", **fitting | change).validate).code == "weights_invalid"


@pytest.mark.parametrize("field", ["width", "height", "num_frames", "num_inference_steps", "target_fps", "seed",
                                   "guidance_refresh"])
def test_whole_numbers_are_whole(field):
    error = refusal(Request(image="cat.png", **{field: 64.0}).validate)
    assert error.code == f"{field}_out_of_range" and "whole number" in error.hint


@pytest.mark.parametrize("field", ["width", "height"])
@pytest.mark.parametrize(("side", "nearest"), [(17, 16), (513, 512), (519, 520), (4095, 4096), (19, 16), (23, 24)])
def test_sides_are_multiples_of_8(field, side, nearest):
    error = refusal(Request(image="cat.png", **{field: side}).validate)
    assert error.code == "size_not_multiple_of_8"
    assert field in error.message and str(side) in error.message and str(nearest) in error.hint
    Request(image="cat.png", **{field: nearest}).validate()


@pytest.mark.parametrize(
    "crop",
    [(0, 0, 0, 1), (0.5, 0, 0.5, 1), (0.6, 0, 0.4, 1), (-0.1, 0, 1, 1), (0, 0, 1.1, 1), (0, 0, 1, math.nan),
     (math.nan, 0, 1, 1), (0, 0.9, 1, 0.1), (0, 0, math.inf, 1)],
)  # fmt: skip
def test_crops_outside_the_picture(crop):
    error = refusal(Request(image="cat.png", crop=crop).validate)
    assert error.code == "crop_invalid" and error.hint


def test_crops_inside_the_picture():
    Request(image="cat.png", crop=(0, 0, 1, 1)).validate()
    Request(image="cat.png", crop=(0.25, 0.5, 0.26, 0.75)).validate()


def test_fidelity():
    Request(image="cat.png", fidelity="original").validate()
    error = refusal(Request(image="cat.png", fidelity="best").validate)
    assert error.code == "fidelity_unknown" and "best" in error.message and "original" in error.hint


@pytest.mark.parametrize(("field", "known"), [("sampler", SAMPLERS), ("grid", GRIDS)])
def test_samplers_and_grids(field, known):
    for value in known:
        Request(image="cat.png", **{field: value}).validate()
    error = refusal(Request(image="cat.png", **{field: "heun"}).validate)
    assert error.code == f"{field}_unknown" and "heun" in error.message and all(value in error.hint for value in known)


def test_fresh_noise_is_for_ddim():
    Request(image="cat.png", eta=0.5).validate()
    for sampler in SAMPLERS[1:]:
        Request(image="cat.png", sampler=sampler).validate()
        error = refusal(Request(image="cat.png", sampler=sampler, eta=0.5).validate)
        assert error.code == "eta_out_of_range" and sampler in error.message and "ddim" in error.hint


@pytest.mark.parametrize("clip_skip", [-1, -1000, 1001, HUGE], ids=["-1", "-1000", "1001", "huge"])
def test_clip_skip_out_of_range(clip_skip):
    assert refusal(Request(image="cat.png", clip_skip=clip_skip).validate).code == "clip_skip_out_of_range"


@pytest.mark.parametrize("clip_skip", [None, 0, 1, 2])
def test_clip_skip(clip_skip):
    Request(image="cat.png", clip_skip=clip_skip).validate()


def test_shared_checks_take_what_the_request_takes():
    check_size(16, 4096)
    check_frames(1)
    check_steps(999)
    check_number("eta", 1, 0.0, 1.0)
    for check, value in ((check_frames, 0), (check_steps, 1000), (check_steps, 0), (check_frames, 129)):
        assert refusal(check, value).hint


# ---------------------------------------------------------------- JSON


texts = st.text(st.characters(codec=None), max_size=30)
fractions = st.floats(0, 1, allow_nan=False)
requests = st.builds(
    Request,
    image=texts, prompt=texts, negative_prompt=texts, model=texts,
    width=st.integers(-10, 10_000), height=st.integers(-10, 10_000), num_frames=st.integers(), seed=st.integers(),
    num_inference_steps=st.integers(), target_fps=st.integers(),
    guidance_scale=st.floats(allow_nan=False, allow_infinity=False),
    eta=st.floats(allow_nan=False, allow_infinity=False),
    sampler=st.sampled_from(SAMPLERS), grid=st.sampled_from([*GRIDS, "981,400,1"]), guidance_refresh=st.integers(),
    key_pooling=st.booleans(), weights=st.sampled_from(["", "0.4,0.6/0.2,0.9,-0.1"]) | st.text(max_size=9),
    clip_skip=st.none() | st.integers(), fidelity=st.sampled_from(["diffusers", "original"]),
    crop=st.none() | st.tuples(fractions, fractions, fractions, fractions),
)  # fmt: skip


@settings(deadline=None)
@given(requests)
def test_round_trip(request):
    assert Request.from_dict(request.to_dict()) == request
    text = json.dumps(request.to_dict(), allow_nan=False)
    assert Request.from_dict(json.loads(text)) == request


def test_every_field_is_in_the_json():
    assert set(Request().to_dict()) == {field.name for field in dataclasses.fields(Request)}


def test_missing_fields_keep_their_default():
    assert Request.from_dict({}) == Request()
    assert Request.from_dict({"prompt": "a cat"}) == Request(prompt="a cat")


def test_unknown_fields_are_refused_by_name():
    error = refusal(Request.from_dict, {"prompt": "a", "loop": True, "camera": "left"})
    assert error.code == "request_invalid" and "camera, loop" in error.message


@pytest.mark.parametrize("values", [None, [], "a", 5, [["prompt", "a"]]])
def test_not_an_object(values):
    assert refusal(Request.from_dict, values).code == "request_invalid"


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Request)])
def test_wrong_types_are_refused_by_name(field):
    texts = ("image", "prompt", "negative_prompt", "model", "fidelity", "sampler", "grid", "weights")
    wrong = [5, 5.5, None, True, ["a"], {}] if field in texts else ["5", True, {}, [1], [[1, 2, 3, 4]]]
    if field not in (*texts, "clip_skip", "crop"):
        wrong.append(None)
    if field == "key_pooling":
        wrong = [5, "yes", None, 1, []]
    if field == "crop":
        wrong += [5, [0, 0, 1], [0, 0, 1, 1, 1], [0, 0, 1, "1"], [0, 0, 1, True], [0, 0, 1, None]]
    for value in wrong:
        error = refusal(Request.from_dict, {field: value})
        assert error.code == "request_invalid" and field in error.message, value


@pytest.mark.parametrize("field", ["guidance_scale", "eta", "crop"])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, HUGE], ids=["nan", "inf", "-inf", "huge"])
def test_numbers_that_are_no_floats(field, number):
    value = [0, 0, 1, number] if field == "crop" else number
    assert refusal(Request.from_dict, {field: value}).code == "request_invalid"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.just(HUGE),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(Request)]), json_values, max_size=6))
def test_any_json_is_a_request_that_can_be_checked_or_an_error(values):
    try:
        request = Request.from_dict(values)
        request.validate()
    except I2VError as error:
        assert error.code and error.message
    else:
        json.dumps(request.to_dict(), allow_nan=False)


def test_a_request_is_a_value():
    assert hash(Request(prompt="a")) == hash(Request(prompt="a")) and Request(seed=1) != Request(seed=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Request().seed = 5
