"""Checked reading and strict loading, on a module with one layer of each kind."""

from __future__ import annotations

import json
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from safetensors.numpy import save_file

from i2v_mlx import weights
from i2v_mlx.errors import I2VError
from i2v_mlx.weights import TensorInfo, load, parameters, quantize, read_header, read_json, size_in


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.point = nn.Linear(3, 5, bias=False)  # a 1x1 convolution in the hub's file
        self.temporal = nn.Conv2d(4, 2, (3, 1), bias=False)
        self.blocks = [nn.Linear(64, 4), nn.Linear(6, 4)]
        self.norm = nn.LayerNorm(4)


HUB_SHAPES = {
    "conv.weight": (2, 3, 3, 3), "conv.bias": (2,), "point.weight": (5, 3, 1, 1), "temporal.weight": (2, 4, 3, 1, 1),
    "blocks.0.weight": (4, 64), "blocks.0.bias": (4,), "blocks.1.weight": (4, 6), "blocks.1.bias": (4,),
    "norm.weight": (4,), "norm.bias": (4,),
}


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.standard_normal(shape, np.float32) for name, shape in HUB_SHAPES.items()}


def written(folder: Path, tensors: dict[str, np.ndarray], name: str = "unet/model.safetensors") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    save_file({key: np.ascontiguousarray(tensor) for key, tensor in tensors.items()}, path)
    return path


def read(file: Path, layout: weights.Layout = "hub", dtype: mx.Dtype = mx.float32, **options) -> dict[str, np.ndarray]:
    toy = Toy()
    load(toy, [file], layout=layout, dtype=dtype, **options)
    return {name: np.array(x) for name, x in parameters(toy).items()}


def test_hub_layout_becomes_ours(tensors, tmp_path):
    ours = read(written(tmp_path, tensors))
    expected = tensors | {
        "conv.weight": tensors["conv.weight"].transpose(0, 2, 3, 1),
        "point.weight": tensors["point.weight"].reshape(5, 3),
        "temporal.weight": tensors["temporal.weight"][..., 0].transpose(0, 2, 3, 1),
    }
    assert ours.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(ours[name], tensor, name)


def test_the_layers_compute_the_same_as_numpy(tensors, tmp_path):
    toy = Toy()
    load(toy, [written(tmp_path, tensors)], layout="hub", dtype=mx.float32)
    x = np.random.default_rng(1).standard_normal((1, 3, 3, 3), np.float32)  # (B, C, H, W)
    ours = np.array(toy.conv(mx.array(x.transpose(0, 2, 3, 1))))[0, 0, 0]
    theirs = np.einsum("bihw,oihw->o", x, tensors["conv.weight"]) + tensors["conv.bias"]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_our_layout_is_read_back_bit_for_bit(tensors, tmp_path):
    ours = read(written(tmp_path, tensors))
    again = read(written(tmp_path, ours, "unet/weights.safetensors"), layout="mlx")
    assert all(np.array_equal(again[name], ours[name]) for name in ours)


@pytest.mark.parametrize("dtype", [mx.float16, mx.float32])
def test_every_float_format_is_cast(tensors, tmp_path, dtype):
    whole = written(tmp_path, tensors)
    for stored in (mx.float16, mx.bfloat16, mx.float32):
        path = tmp_path / "unet" / f"{str(stored)[9:]}.safetensors"
        mx.save_safetensors(str(path), {name: mx.array(x).astype(stored) for name, x in tensors.items()})
        toy = Toy()
        load(toy, [path], layout="hub", dtype=dtype)
        assert {x.dtype for x in parameters(toy).values()} == {dtype}
        np.testing.assert_allclose(np.array(toy.conv.weight, np.float32), read(whole)["conv.weight"], atol=2e-2)


def test_rename_and_ignore(tensors, tmp_path):
    theirs = {("old_" + name if name.startswith("conv.") else name): x for name, x in tensors.items()}
    theirs["position_ids"] = np.arange(7)
    file = written(tmp_path, theirs)
    ours = read(file, rename=((r"^old_conv\.", "conv."),), ignore="position_ids")
    np.testing.assert_array_equal(ours["conv.bias"], tensors["conv.bias"])
    with pytest.raises(I2VError, match="not wanted: position_ids"):
        read(file, rename=((r"^old_conv\.", "conv."),))


def test_shards_are_one_model(tensors, tmp_path):
    names = list(tensors)
    shards = [written(tmp_path, {name: tensors[name] for name in chosen}, f"unet/{i}.safetensors")
              for i, chosen in enumerate((names[:4], names[4:]))]
    toy = Toy()
    load(toy, shards, layout="hub", dtype=mx.float32)
    np.testing.assert_array_equal(toy.norm.bias, tensors["norm.bias"])
    twice = written(tmp_path, {names[0]: tensors[names[0]]}, "unet/2.safetensors")
    with pytest.raises(I2VError, match=r"not wanted: conv\.weight"):
        load(Toy(), [*shards, twice], layout="hub", dtype=mx.float32)


def test_names_and_shapes_that_do_not_fit_are_all_named(tensors, tmp_path):
    tensors["temporal.weight"] = tensors["temporal.weight"].reshape(2, 4, 1, 3, 1)
    tensors["point.weight"] = tensors["point.weight"].reshape(3, 5, 1, 1)
    del tensors["norm.bias"]
    tensors |= {f"stray.{i}": np.ones(1, np.float32) for i in range(7)}
    with pytest.raises(I2VError) as caught:
        read(written(tmp_path, tensors))
    assert caught.value.code == "weights_mismatch"
    message = caught.value.message
    assert "unet/model.safetensors" in message and "missing: norm.bias" in message
    assert "stray.0, stray.1, stray.2, stray.3, stray.4 and 2 more" in message and "stray.5" not in message
    assert "point.weight is 3x5x1x1" in message and "temporal.weight is 2x4x1x3x1" in message


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", ["norm.bias", "blocks.0.weight"])
def test_nothing_is_loaded_when_one_value_is_not_finite(value, name, tensors, tmp_path):
    toy = Toy()
    before = np.array(toy.conv.weight)
    tensors[name].flat[2] = value
    with pytest.raises(I2VError, match=name) as caught:
        load(toy, [written(tmp_path, tensors)], layout="hub", dtype=mx.float32)
    assert caught.value.code == "weights_not_finite"
    np.testing.assert_array_equal(toy.conv.weight, before)


def test_values_that_float16_cannot_hold_are_refused(tensors, tmp_path):
    tensors["norm.weight"][1] = 70_000
    file = written(tmp_path, tensors)
    assert read(file)["norm.weight"][1] == 70_000
    with pytest.raises(I2VError, match=r"norm\.weight .* infinite in float16") as caught:
        read(file, dtype=mx.float16)
    assert caught.value.code == "weights_not_finite"


def test_every_header_length_is_read(tmp_path):
    """Of these files one begins with the byte of "<", one with that of a pickle."""
    path = tmp_path / "model.safetensors"
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
    for _ in range(256):
        header += " "
        path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(4))
        assert read_header(path) == {"a": TensorInfo("F32", (1,))}


def test_loaded_arrays_do_not_depend_on_the_file(tensors, tmp_path):
    path = written(tmp_path, tensors)
    toy = Toy()
    load(toy, [path], layout="hub", dtype=mx.float32)
    path.write_bytes(bytes(path.stat().st_size))
    np.testing.assert_array_equal(toy.conv.bias, tensors["conv.bias"])


def test_peak_memory_is_the_result_and_a_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "EVAL_BYTES", 2**21)
    module = nn.Module()
    module.layers = [nn.Conv2d(64, 256, 4, bias=False) for _ in range(32)]  # 1 MB each
    tensor = np.ones((256, 64, 4, 4), np.float32)
    path = written(tmp_path, {f"layers.{i}.weight": tensor for i in range(32)})
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    load(module, [path], layout="hub", dtype=mx.float16)
    result = 32 * tensor.size * 2
    assert abs(mx.get_active_memory() - before - result) < 2**16
    assert mx.get_peak_memory() - before < result + 12 * 2**20


def test_quantised_layers_are_chosen_by_path_and_width():
    toy = Toy()
    quantize(toy, r"blocks\.", 8)
    assert isinstance(toy.blocks[0], nn.QuantizedLinear) and toy.blocks[0].bits == 8
    assert isinstance(toy.blocks[1], nn.Linear)  # its width is 6
    assert isinstance(toy.point, nn.Linear)
    toy = Toy()
    quantize(toy, None, 8)
    assert isinstance(toy.blocks[0], nn.Linear)


def test_quantised_weights_are_read_back_and_checked(tmp_path):
    toy = Toy()
    quantize(toy, "blocks", 4)
    path = tmp_path / "weights.safetensors"
    mx.save_safetensors(str(path), parameters(toy))
    again = Toy()
    quantize(again, "blocks", 4)
    load(again, [path], layout="mlx", dtype=mx.float16)
    assert again.blocks[0].weight.dtype == mx.uint32 and again.blocks[0].scales.dtype == mx.float16
    np.testing.assert_array_equal(again.blocks[0].weight, toy.blocks[0].weight)
    with pytest.raises(I2VError, match=r"blocks\.0\.scales"):
        load(Toy(), [path], layout="mlx", dtype=mx.float16)


def test_size_in_counts_packed_weights_as_they_are():
    toy = Toy()
    floats = sum(int(np.prod(shape)) for shape in HUB_SHAPES.values())
    assert size_in(toy, mx.float16) == 2 * floats
    quantize(toy, "blocks", 8)
    assert size_in(toy, mx.float32) == 4 * (floats - 256) + 256 + 4 * 4 * 2


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "damaged"),
    (b"[1]", "not a JSON object"),
    (b'{"a": 1, "a": 2}', "the key a is there twice"),
    (b'{"a": NaN}', "NaN is not a number"),
    (b'{"a": -Infinity}', "Infinity is not a number"),
    (b'{"a": "\xff"}', "utf-8"),
    (b'{"a":' * 100_000, "nested too deep"),
    (b'{"a": "' + b"x" * 2**20 + b'"}', "larger than 1 MB"),
])
def test_bad_json_is_refused(content, reason, tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(I2VError, match=reason) as caught:
        read_json(path)
    assert caught.value.code == "config_invalid"


def test_missing_json(tmp_path):
    for path in (tmp_path / "config.json", tmp_path):
        with pytest.raises(I2VError) as caught:
            read_json(path)
        assert caught.value.code == "config_missing"
