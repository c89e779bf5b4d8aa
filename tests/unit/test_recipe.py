"""The recipe comes back as it went in, says nothing private, and hostile ones are named errors."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i2v_mlx import files, recipe
from i2v_mlx.errors import I2VError
from i2v_mlx.request import Request


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "private" / "photo é.png"
    path.parent.mkdir()
    path.write_bytes(b"pixels")
    return path


def make(picture, **changes):
    return recipe.make(Request(image=str(picture), **changes), {"name": "demo"}, 12.5)


def test_round_trip(picture):
    settings = {"prompt": '"quotes" \\ \n 漢 🎬 \ud800', "seed": 7, "crop": (0.0, 0.1, 1.0, 0.9)}
    made = make(picture, **settings)
    text = recipe.to_json(made)
    assert text.isascii() and recipe.is_recipe(text)
    back = recipe.from_json(text)
    assert back == json.loads(json.dumps(made))
    assert Request.from_dict(back["request"]) == Request(image="photo é.png", **settings)
    assert back["app"] == "Livestill" and back["recipe"] == 1 and back["playback_fps"] == 12.5


@pytest.mark.parametrize(("model", "kept"), [
    ("/Users/ana/models/mine", "mine"), ("~/models/mine", "mine"), ("./mine", "mine"), ("ali-vilab/i2vgen-xl",) * 2,
    ("demo", "demo")])
def test_no_folder_of_this_machine_is_in_it(picture, model, kept):
    made = make(picture, model=model)
    assert made["request"]["model"] == kept
    text = recipe.to_json(made)
    assert str(picture.parent) not in text and "private" not in text and "ana" not in text


def changed(**changes):
    good = {"app": "Livestill", "version": "9.9", "recipe": 1, "request": {"image": "a.png"}, "model": {},
            "source": {"name": "a.png", "sha256": "0" * 64}, "playback_fps": 8}
    return json.dumps(good | changes)


@pytest.mark.parametrize(("text", "code"), [
    ("", "recipe_invalid"), ("null", "recipe_invalid"), ("[]", "recipe_invalid"), ("{", "recipe_invalid"),
    ("[" * 10**5, "recipe_invalid"), (changed(app="Other"), "recipe_invalid"), (changed(recipe="1"), "recipe_invalid"),
    (changed(recipe=True), "recipe_invalid"), (changed(recipe=0), "recipe_invalid"),
    (changed(recipe=2), "recipe_too_new"), (changed(model=None), "recipe_invalid"),
    (changed(source=[]), "recipe_invalid"),
    (changed(source={"name": "../a.png", "sha256": "0" * 64}), "recipe_invalid"),
    (changed(source={"name": "..", "sha256": "0" * 64}), "recipe_invalid"),
    (changed(source={"name": "a\0", "sha256": "0" * 64}), "recipe_invalid"),
    (changed(source={"name": "a.png", "sha256": "0" * 63 + "\n"}), "recipe_invalid"),
    (changed(playback_fps=0), "recipe_invalid"), (changed(playback_fps="8"), "recipe_invalid"),
    (changed(playback_fps=float("nan")), "recipe_invalid"), (changed(playback_fps=float("inf")), "recipe_invalid"),
    (changed(request={"steps": 4}), "request_invalid"), (changed(request={"seed": "1"}), "request_invalid"),
    (changed(request=None), "request_invalid"), (changed(more="x" * 2**20), "recipe_too_large"),
])
def test_damaged_and_hostile_recipes(text, code):
    with pytest.raises(I2VError) as caught:
        recipe.from_json(text)
    assert caught.value.code == code


def test_the_unchanged_one_is_good():
    assert recipe.from_json(changed())["version"] == "9.9"


words = st.text(max_size=5)
json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | words,
                           lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["app", "recipe", "request", "model", "source", "playback_fps"]), json_values)
def test_any_value_in_any_place_is_accepted_or_a_named_error(key, value):
    try:
        recipe.from_json(changed(**{key: value}))
    except I2VError as error:
        assert error.code in ("recipe_invalid", "recipe_too_new", "request_invalid")


def test_too_long_for_a_file(picture):
    with pytest.raises(I2VError) as caught:
        recipe.to_json(make(picture, prompt="漢" * 200_000))
    assert caught.value.code == "recipe_too_large"


def test_find_image(picture, tmp_path, monkeypatch):
    made = make(picture)
    video = tmp_path / "videos" / "clip.mp4"
    video.parent.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    bundled = tmp_path / "resources"
    (bundled / "examples").mkdir(parents=True)
    monkeypatch.setattr(recipe, "resource", lambda name: bundled / name)

    with pytest.raises(I2VError) as caught:
        recipe.find_image(made, video)
    assert caught.value.code == "recipe_image_not_found"
    for folder in (bundled / "examples", elsewhere, video.parent):  # each comes before the one found so far
        (folder / picture.name).write_bytes(b"pixels")
        assert recipe.find_image(made, video) == folder / picture.name
    (video.parent / picture.name).write_bytes(b"other pixels")
    assert recipe.find_image(made, video) == elsewhere / picture.name
    assert files.sha256_of(picture) == made["source"]["sha256"]
