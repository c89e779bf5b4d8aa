"""Both CLIP towers against transformers, on random weights."""

import mlx.core as mx
import numpy as np
import pytest
import torch
import transformers
from mirror import mirror, randomise, relative_error

from i2v_mlx.errors import I2VError
from i2v_mlx.parts.clip_text import CLIPTextConfig, CLIPTextModel
from i2v_mlx.parts.clip_vision import CLIPVisionConfig, CLIPVisionModelWithProjection

TEXT = {
    "vocab_size": 100, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
    "max_position_embeddings": 77, "hidden_act": "gelu", "layer_norm_eps": 1e-5,
}  # fmt: skip
VISION = {
    "hidden_size": 40, "intermediate_size": 56, "projection_dim": 24, "num_hidden_layers": 3, "num_attention_heads": 4,
    "image_size": 28, "patch_size": 7, "hidden_act": "gelu", "layer_norm_eps": 1e-5,
}  # fmt: skip


def text_models(**changes):
    config = TEXT | changes
    theirs = randomise(transformers.CLIPTextModel(transformers.CLIPTextConfig(**config)))
    ours = CLIPTextModel(CLIPTextConfig.from_dict(config))
    # The hub's names begin with text_model., which the class has lost in transformers 5.
    return theirs, mirror(theirs, ours, {"": "text_model."})


def token_ids(batch: int, length: int = 77) -> np.ndarray:
    return np.random.default_rng(0).integers(0, TEXT["vocab_size"], (batch, length), dtype=np.int32)


def reference_states(theirs, ids: np.ndarray, clip_skip: int | None) -> torch.Tensor:
    """As diffusers' pipeline takes them."""
    with torch.no_grad():
        out = theirs(torch.from_numpy(ids).long(), output_hidden_states=True)
        if clip_skip is None:
            return out.last_hidden_state
        return theirs.final_layer_norm(out.hidden_states[-(clip_skip + 1)])


@pytest.mark.parametrize("clip_skip", [None, 0, 1, 2, 4])
def test_text_equals_the_reference(clip_skip):
    theirs, ours = text_models()
    ids = token_ids(2)
    assert relative_error(ours(mx.array(ids), clip_skip), reference_states(theirs, ids, clip_skip)) < 1e-5


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
@pytest.mark.parametrize("layers", [1, 12])
def test_text_activation_and_depth(activation, layers):
    theirs, ours = text_models(hidden_act=activation, num_hidden_layers=layers)
    ids = token_ids(1)
    assert relative_error(ours(mx.array(ids)), reference_states(theirs, ids, None)) < 1e-5


def test_text_states_do_not_look_ahead():
    _, ours = text_models()
    ids = token_ids(1)
    changed = ids.copy()
    changed[:, 40:] = (changed[:, 40:] + 1) % TEXT["vocab_size"]
    before, after = np.array(ours(mx.array(ids))), np.array(ours(mx.array(changed)))
    np.testing.assert_array_equal(before[:, :40], after[:, :40])
    assert np.abs(before[:, 40:] - after[:, 40:]).min(axis=-1).max() > 0


def test_layers_that_are_skipped_are_not_run():
    _, ours = text_models()
    ids = mx.array(token_ids(1))
    before = np.array(ours(ids, 2))
    ours.text_model.encoder.layers[2:] = [None, None]
    np.testing.assert_array_equal(before, np.array(ours(ids, 2)))


@pytest.mark.parametrize("clip_skip", [-1, 5])
def test_clip_skip_out_of_range(clip_skip):
    ours = CLIPTextModel(CLIPTextConfig.from_dict(TEXT))
    with pytest.raises(I2VError) as caught:
        ours(mx.array(token_ids(1)), clip_skip)
    assert caught.value.code == "clip_skip_out_of_range"
    assert "4" in caught.value.hint


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_vision_equals_the_reference(activation):
    config = VISION | {"hidden_act": activation}
    theirs = randomise(transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**config)))
    ours = mirror(theirs, CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(config)))
    pixels = np.random.default_rng(0).standard_normal((2, 28, 28, 3), dtype=np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(pixels).permute(0, 3, 1, 2)).image_embeds
    assert relative_error(ours(mx.array(pixels)), expected) < 1e-5


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(CLIPTextConfig, transformers.CLIPTextConfig), (CLIPVisionConfig, transformers.CLIPVisionConfig)],
)
def test_a_value_that_the_file_leaves_out_is_the_references(ours, theirs):
    config, reference = ours.from_dict({"eos_token_id": 2, "torch_dtype": "float16"}), theirs()
    for name in vars(config):
        assert getattr(config, name) == getattr(reference, name), name


@pytest.mark.parametrize("values", [{"hidden_act": "relu"}, {"hidden_size": 30}])
@pytest.mark.parametrize("config", [CLIPTextConfig, CLIPVisionConfig])
def test_a_config_we_cannot_build_is_refused(config, values):
    with pytest.raises(I2VError) as caught:
        config.from_dict(values)
    assert caught.value.code == "config_invalid"


def test_half_precision_stays_half():
    ours = CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(VISION))
    ours.set_dtype(mx.float16)
    assert ours(mx.zeros((1, 28, 28, 3))).dtype == mx.float16
