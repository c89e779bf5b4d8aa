"""Model folders in both layouts, and the way from one to the other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import hub_folder
import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from i2v_mlx import convert, files
from i2v_mlx.convert import convert_weights
from i2v_mlx.errors import I2VError
from i2v_mlx.i2vgen_xl.weights import PARTS
from i2v_mlx.model_folder import ModelFolder, open_model
from i2v_mlx.weights import parameters


@pytest.fixture(scope="module")
def reference() -> dict[str, torch.nn.Module]:
    return hub_folder.reference_parts()


@pytest.fixture(scope="module")
def hub(reference, tmp_path_factory) -> Path:
    """fp32 only."""
    folder = tmp_path_factory.mktemp("models") / "hub"
    hub_folder.write(folder, reference)
    return folder


@pytest.fixture(scope="module")
def ours(hub) -> Path:
    """The same in our layout, float32."""
    return convert_weights(hub, hub.parent / "ours", dtype="float32")


@pytest.fixture
def broken(ours, hub, tmp_path):
    """Copies of both folders that a test may spoil."""
    for folder in (ours, hub):
        shutil.copytree(folder, tmp_path / folder.name)
    return tmp_path


def arrays(folder: Path, name: str, dtype: mx.Dtype = mx.float32) -> dict[str, np.ndarray]:
    return {key: np.array(x) for key, x in parameters(open_model(folder).load_part(name, dtype)).items()}


def encode(model: ModelFolder) -> np.ndarray:
    return np.array(model.load_part("text_encoder", mx.float32)(mx.array([[0, 5, 9, 1]])))


def denoise(model: ModelFolder) -> np.ndarray:
    unet = model.load_part("unet", mx.float32)
    random = np.random.default_rng(0)
    text, image, latents, noise = (mx.array(random.standard_normal(shape, np.float32))
                                   for shape in ((1, 7, 64), (1, 64), (1, 2, 8, 8, 4), (1, 2, 8, 8, 4)))
    return np.array(unet(noise, unet.embed(mx.array([501.0]), 16.0), unet.condition(text, image, latents)))


def rounded(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What is left after float16."""
    return {key: x.astype(np.float16).astype(np.float32) for key, x in arrays.items()}


def assert_equal(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not np.array_equal(ours[key], theirs[key])] == []


def code_of(folder: Path) -> tuple[str, str]:
    """Code and text of the error that opening gives."""
    with pytest.raises(I2VError) as caught:
        open_model(folder)
    return caught.value.code, str(caught.value)


def change_json(file: Path, **values) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def change_tensors(file: Path, change) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


# ---------------------------------------------------------------------------------------------------------- round trips

@pytest.mark.parametrize("name", PARTS)
def test_both_layouts_load_the_same_bits(name, hub, ours, reference):
    converted = arrays(ours, name)
    assert_equal(converted, arrays(hub, name))
    assert sum(x.size for x in converted.values()) == sum(x.numel() for x in reference[name].parameters())


def test_float16_and_what_stays_float32(hub, tmp_path):
    model = open_model(convert_weights(hub, tmp_path / "half"))
    assert model.manifest["dtype"] == "float16" and model.bits is None
    for name in PARTS:
        kinds = {x.dtype for x in parameters(model.load_part(name, mx.float16)).values()}
        assert kinds == {mx.float32 if name == "vae" else mx.float16}
    assert_equal(arrays(tmp_path / "half", "unet"), rounded(arrays(hub, "unet")))
    assert_equal(arrays(tmp_path / "half", "vae"), arrays(hub, "vae"))


@pytest.mark.parametrize(("bits", "error"), [(8, 0.02), (4, 0.3)])
def test_quantised_models_load_and_run(bits, error, hub, tmp_path):
    model = open_model(convert_weights(hub, tmp_path / "small", dtype="float32", quantize=bits))
    assert model.bits == bits and model.manifest["quantization"] == {"bits": bits, "group_size": 64}
    unet = model.load_part("unet", mx.float32)
    chosen = {key for key, layer in unet.named_modules() if isinstance(layer, nn.QuantizedLinear)}
    assert "mid_block.attentions.0.transformer_blocks.0.attn1.to_q" in chosen
    assert "mid_block.attentions.0.proj_in" in chosen and "transformer_in.proj_out" in chosen
    assert all("attentions" in key or "transformer_in" in key for key in chosen)
    assert "transformer_in.proj_in" not in chosen  # its width is 32
    assert not any(isinstance(x, nn.QuantizedLinear) for x in model.load_part("vae", mx.float32).modules())
    for run in (encode, denoise):
        small, whole = run(model), run(open_model(hub))
        assert 0 < np.abs(small - whole).mean() / whole.std() < error, run
    assert model.weight_bytes(mx.float16)["unet"] < open_model(hub).weight_bytes(mx.float16)["unet"]


def test_weight_bytes_is_what_is_loaded(ours):
    model = open_model(ours)
    for dtype in (mx.float16, mx.float32):
        for name, size in model.weight_bytes(dtype).items():
            assert size == sum(x.nbytes for x in parameters(model.load_part(name, dtype)).values())


def test_the_manifest_tells_what_was_made_of_what(ours, hub):
    manifest = json.loads((ours / "manifest.json").read_text())
    assert manifest["source"] == "hub" and manifest["family"] == "i2vgen-xl" and manifest["format"] == 1
    present = {path.relative_to(ours).as_posix() for path in ours.rglob("*") if path.is_file()}
    assert present == {*manifest["files"], "manifest.json"}
    for name, entry in manifest["files"].items():
        assert entry == {"bytes": (ours / name).stat().st_size, "sha256": files.sha256_of(ours / name)}
    assert str(hub.parent) not in (ours / "manifest.json").read_text()


def test_ours_can_be_converted_again(ours, tmp_path):
    again = convert_weights(ours, tmp_path / "again", dtype="float32")
    assert_equal(arrays(again, "vae"), arrays(ours, "vae"))


def test_the_written_kernels_are_channels_last(ours, reference):
    stored = load_file(ours / "unet/weights.safetensors")
    kernel = reference["unet"].conv_in.weight.detach().numpy()
    np.testing.assert_array_equal(stored["conv_in.weight"], kernel.transpose(0, 2, 3, 1))


# -------------------------------------------------------------------------------------------------------- hub variants

def test_fp16_is_taken_when_it_is_alone_or_wanted(reference, hub, tmp_path):
    hub_folder.write(tmp_path / "half", reference, variant="fp16")
    whole = arrays(hub, "text_encoder")
    assert_equal(arrays(tmp_path / "half", "text_encoder"), rounded(whole))
    hub_folder.write(tmp_path / "half", reference)
    both = open_model(tmp_path / "half")
    assert [file.name for file in both._files("unet", mx.float16)] == ["diffusion_pytorch_model.fp16.safetensors"]
    assert [file.name for file in both._files("unet", mx.float32)] == ["diffusion_pytorch_model.safetensors"]
    assert_equal(arrays(tmp_path / "half", "text_encoder"), whole)


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards(variant, reference, hub, tmp_path):
    shutil.copytree(hub, tmp_path / "hub")
    (tmp_path / "hub/image_encoder/model.safetensors").unlink()
    reference["image_encoder"].save_pretrained(tmp_path / "hub/image_encoder", variant=variant, max_shard_size="100KB")
    shards = open_model(tmp_path / "hub")._files("image_encoder", mx.float32)
    assert len(shards) > 1
    assert_equal(arrays(tmp_path / "hub", "image_encoder"), arrays(hub, "image_encoder"))
    shards[1].unlink()
    code, text = code_of(tmp_path / "hub")
    assert code == "model_incomplete" and shards[1].name in text


@pytest.mark.parametrize("name", ["../m.safetensors", "/etc/passwd", "model.bin", "a/b.safetensors", ".safetensors"])
def test_an_index_cannot_name_other_places(name, broken):
    file = broken / "hub/text_encoder/model.safetensors"
    file.unlink()
    file.with_name("model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    assert code_of(broken / "hub")[0] == "config_invalid"


def test_keys_of_other_versions(broken, hub):
    """With the prefix of transformers 4 and a buffer of 4.30; with the attention names of diffusers 0.17."""
    def old_text(tensors):
        for key in list(tensors):
            tensors[f"text_model.{key}"] = tensors.pop(key)
        tensors["text_model.embeddings.position_ids"] = np.arange(77)[None]

    def old_vae(tensors):
        names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
        for key in list(tensors):
            for new, old in names.items():
                if f".{new}." in key:
                    tensors[key.replace(f".{new}.", f".{old}.")] = tensors.pop(key)

    change_tensors(broken / "hub/text_encoder/model.safetensors", old_text)
    change_tensors(broken / "hub/vae/diffusion_pytorch_model.safetensors", old_vae)
    for name in ("text_encoder", "vae"):
        assert_equal(arrays(broken / "hub", name), arrays(hub, name))


# ------------------------------------------------------------------------------------------------------ folders refused

def test_no_folder_and_a_file(tmp_path):
    assert code_of(tmp_path / "none")[0] == "model_not_found"
    (tmp_path / "model.zip").write_bytes(b"PK\3\4")
    assert code_of(tmp_path / "model.zip")[0] == "model_not_a_folder"
    code, text = code_of(tmp_path)
    assert code == "model_incomplete" and "model_index.json" in text


@pytest.mark.parametrize("gone", [
    "unet/config.json", "vae/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json",
    "feature_extractor/preprocessor_config.json", "tokenizer/vocab.json", "tokenizer/tokenizer_config.json"])
def test_what_is_missing_is_named(gone, broken):
    (broken / "hub" / gone).unlink()
    code, text = code_of(broken / "hub")
    assert code == "model_incomplete" and f"Missing: {gone}." in text


def test_a_tokenizer_in_one_file_is_enough(broken):
    for name in ("vocab.json", "merges.txt"):
        (broken / "hub/tokenizer" / name).unlink()
    (broken / "hub/tokenizer/tokenizer.json").write_text("{}")
    assert open_model(broken / "hub").layout == "hub"


@pytest.mark.parametrize(("left", "hint"), [("model.safetensors.incomplete", "not finished"),
                                            ("pytorch_model.bin", "Pickles")])
def test_why_it_is_missing(left, hint, broken):
    file = broken / "hub/text_encoder/model.safetensors"
    file.rename(file.with_name(left))
    code, text = code_of(broken / "hub")
    assert code == "model_incomplete" and hint in text


def test_another_family(broken):
    change_json(broken / "hub/model_index.json", _class_name="StableVideoDiffusionPipeline")
    code, text = code_of(broken / "hub")
    assert code == "model_wrong_family" and "StableVideoDiffusionPipeline" in text


@pytest.mark.parametrize(("part", "values"), [("unet", {"_class_name": "UNet3DConditionModel"}),
                                              ("text_encoder", {"architectures": ["T5EncoderModel"]})])
def test_another_network(part, values, broken):
    change_json(broken / f"hub/{part}/config.json", **values)
    code, text = code_of(broken / "hub")
    assert code == "model_wrong_family" and part in text


def test_the_wrong_file_in_the_slot(broken):
    shutil.copy(broken / "hub/vae/diffusion_pytorch_model.safetensors", broken / "hub/unet")
    code, text = code_of(broken / "hub")
    assert code == "weights_mismatch" and "looks like a VAE" in text


def test_a_lora_in_the_slot(broken):
    lora = {"unet.lora_down.weight": np.ones(2, np.float32)}
    save_file(lora, broken / "hub/unet/diffusion_pytorch_model.safetensors")
    code, text = code_of(broken / "hub")
    assert code == "weights_mismatch" and "looks like a LoRA" in text


@pytest.mark.parametrize("change", [
    {"block_out_channels": [10**9, 10**9]}, {"block_out_channels": [2**19, 2**19]}, {"block_out_channels": [32] * 1000},
    {"layers_per_block": 10**6}, {"layers_per_block": -1}, {"layers_per_block": 2}, {"cross_attention_dim": 1e400},
    {"block_out_channels": "wide"}, {"block_out_channels": {}}, {"norm_num_groups": 0}, {"attention_head_dim": None},
    {"down_block_types": ["os.system", "DownBlock3D"]}, {"in_channels": [4, 4]}, {"sample_size": "8"},
])
def test_configs_that_do_not_belong_to_the_weights(change, broken):
    file = broken / "hub/unet/config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change).replace("Infinity", "1e400"))
    code, text = code_of(broken / "hub")
    assert code in ("config_invalid", "weights_mismatch") and "unet" in text.lower()


@pytest.mark.parametrize("part", ["text_encoder", "image_encoder", "vae"])
@pytest.mark.parametrize("value", [0, -1, 10**9, 2**20, "x", None, [], 1.5])
def test_no_number_of_a_config_can_do_harm(part, value, broken):
    path = broken / f"hub/{part}/config.json"
    config = json.loads(path.read_text())
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size", "vocab_size",
                "block_out_channels", "layers_per_block", "latent_channels", "norm_num_groups"):
        if key in config:
            path.write_text(json.dumps(config | {key: value}))
            try:
                open_model(broken / "hub")
            except I2VError as error:
                assert error.code in ("config_invalid", "weights_mismatch"), key


@pytest.mark.parametrize("name", ["unet/weights.safetensors", "tokenizer/vocab.json"])
def test_a_file_of_another_size(name, broken):
    with (broken / "ours" / name).open("ab") as file:
        file.write(b" ")
    code, text = code_of(broken / "ours")
    assert code == "model_incomplete" and name in text


def test_a_flipped_bit_is_found_on_demand(broken):
    path = broken / "ours/vae/weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    model = open_model(broken / "ours")
    with pytest.raises(I2VError, match=r"vae/weights\.safetensors") as caught:
        model.verify()
    assert caught.value.code == "weights_checksum"
    path.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    model.verify()


def test_the_fingerprint_tells_weights_apart(hub, broken):
    same = open_model(broken / "hub").fingerprint()
    assert same == open_model(hub).fingerprint()
    weights = broken / "hub/unet/diffusion_pytorch_model.safetensors"
    change_tensors(weights, lambda tensors: tensors["conv_in.bias"].fill(1))
    assert open_model(broken / "hub").fingerprint() != same


@pytest.mark.parametrize(("values", "code"), [
    ({"format": 2}, "model_too_new"), ({"format": "1"}, "manifest_invalid"), ({"family": "svd"}, "model_wrong_family"),
    ({"quantization": {"bits": 3, "group_size": 64}}, "manifest_invalid"), ({"quantization": 8}, "manifest_invalid"),
    ({"quantization": {"bits": 8, "group_size": 64}}, "weights_mismatch"), ({"files": {}}, "manifest_invalid"),
    ({"files": []}, "manifest_invalid")])
def test_manifests(values, code, broken):
    change_json(broken / "ours/manifest.json", **values)
    assert code_of(broken / "ours")[0] == code


@pytest.mark.parametrize("name", ["../hub/unet/config.json", "/etc/passwd", "unet/../../x.json", "x.py", "a/b/c.json"])
def test_a_manifest_cannot_name_other_places(name, broken):
    manifest = json.loads((broken / "ours/manifest.json").read_text())
    manifest["files"][name] = {"bytes": 1, "sha256": "0"}
    (broken / "ours/manifest.json").write_text(json.dumps(manifest))
    assert code_of(broken / "ours")[0] == "manifest_invalid"


# ----------------------------------------------------------------------------------------------------------- converting

def failed(*args, **options) -> str:
    with pytest.raises(I2VError) as caught:
        convert_weights(*args, **options)
    return caught.value.code


def test_a_target_that_holds_something_is_not_touched(hub, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    assert failed(hub, tmp_path) == "output_exists"
    assert failed(hub, tmp_path / "note.txt") == "output_exists"
    assert failed(hub, tmp_path / "no" / "folder") == "output_folder_missing"
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    (tmp_path / "empty").mkdir()
    assert open_model(convert_weights(hub, tmp_path / "empty")).layout == "mlx"


def test_wrong_arguments(hub, ours, tmp_path):
    assert failed(hub, tmp_path / "t", dtype="bfloat16") == "dtype_unknown"
    assert failed(hub, tmp_path / "t", quantize=3) == "quantize_unknown"
    assert failed(tmp_path / "none", tmp_path / "t") == "model_not_found"
    small = convert_weights(ours, tmp_path / "small", quantize=8)
    assert failed(small, tmp_path / "t") == "already_quantized"
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e5])
def test_weights_that_are_not_finite_leave_no_target(value, broken):
    def spoil(tensors):
        tensors["conv_out.weight"].flat[5] = value

    change_tensors(broken / "hub/unet/diffusion_pytorch_model.safetensors", spoil)
    with pytest.raises(I2VError, match=r"conv_out\.weight") as caught:
        convert_weights(broken / "hub", broken / "target")
    assert caught.value.code == "weights_not_finite"
    assert sorted(path.name for path in broken.iterdir()) == ["hub", "ours"]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_leaves_nothing(part, stop, hub, tmp_path):
    def progress(name: str, index: int, count: int) -> None:
        assert 1 <= index <= count == 4
        if name == part:
            raise stop

    with pytest.raises(stop):
        convert_weights(hub, tmp_path / "target", progress=progress)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_converter_leaves_no_target_and_the_next_cleans_up(hub, tmp_path):
    script = ("import os, sys; from i2v_mlx import convert_weights\n"
              "convert_weights(sys.argv[1], sys.argv[2], progress=lambda n, i, c: i == 3 and os.kill(os.getpid(), 9))")
    child = subprocess.run([sys.executable, "-c", script, hub, tmp_path / "target"], timeout=60)
    assert child.returncode == -9
    left = list(tmp_path.iterdir())
    assert len(left) == 1 and left[0].name.startswith(".") and code_of(left[0])[0] == "model_incomplete"
    convert_weights(hub, tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_full_disk(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "free_bytes", lambda path: 64 * 2**20)
    monkeypatch.setattr(convert, "_size", lambda *args: 65 * 2**20)
    assert failed(hub, tmp_path / "target") == "disk_full"
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_on_the_way(hub, tmp_path):
    script = ("import resource, signal, sys; from i2v_mlx.convert import main\n"
              "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
              "resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))\n"
              "sys.exit(main(sys.argv[1:]))")
    child = subprocess.run([sys.executable, "-c", script, hub, tmp_path / "target"], capture_output=True, text=True,
                           timeout=60)
    assert child.returncode == 1 and "space" in child.stderr and "Traceback" not in child.stderr
    assert list(tmp_path.iterdir()) == []


def test_size_is_what_is_written(hub, ours):
    written = sum(path.stat().st_size for path in ours.rglob("*") if path.is_file())
    assert written < convert._size(open_model(hub), mx.float32, None) < written * 1.1


# --------------------------------------------------------------------------------------------------------- command line

def test_command_line(hub, tmp_path, capsys):
    assert convert.main([str(hub), str(tmp_path / "out"), "--dtype", "float32", "--quantize", "4"]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(tmp_path / "out") and "unet (3 of 4)" in err
    assert open_model(tmp_path / "out").bits == 4
    assert convert.main([str(hub), str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert out == "" and len(err.strip().splitlines()) == 2 and "exists" in err


@pytest.mark.parametrize("arguments", [[], ["a"], ["a", "b", "--quantize", "3"], ["a", "b", "--dtype", "int8"]])
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        convert.main(arguments)
    assert caught.value.code == 2 and "usage" in capsys.readouterr().err


def test_interrupted(hub, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "convert_weights", interrupt)
    assert convert.main([str(hub), str(tmp_path / "out")]) == 130


def test_the_script_at_the_top_is_the_same(capsys):
    script = Path(convert.__file__).parents[1] / "convert_weights.py"
    child = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, timeout=60)
    assert child.returncode == 0 and "--quantize" in child.stdout and "SOURCE" in child.stdout
