"""A folder with a model in it: in the hub's layout, or in ours, as `convert` writes it.

    model_index.json  scheduler/scheduler_config.json  feature_extractor/preprocessor_config.json  tokenizer/...
    <part>/config.json
    <part>/<stem>.safetensors, .fp16.safetensors or shards     the hub's
    <part>/weights.safetensors and manifest.json               ours

`open_model` looks at everything that costs little (names, shapes, sizes) before anything is loaded.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from .errors import I2VError
from .files import sha256_of
from .i2vgen_xl.weights import CLASS_NAME, PARTS
from .weights import AGAIN, GROUP_SIZE, Layout, Part, check, load, quantize, read_header, read_json, size_in

FAMILY = "i2vgen-xl"
FORMAT = 1                                 # of manifest.json
WEIGHTS = "weights.safetensors"
CONFIGS = ("model_index.json", "scheduler/scheduler_config.json", "feature_extractor/preprocessor_config.json",
           "tokenizer/tokenizer_config.json")
TOKENIZERS = (("tokenizer/vocab.json", "tokenizer/merges.txt"), ("tokenizer/tokenizer.json",))  # either is enough
MOST_LAYERS = 256                          # of one level of a network; the released model has 32

# Keys that give away what a file really is, the most telling first.
LOOKS_LIKE = (
    ("lora_", "a LoRA"),
    ("model.diffusion_model.", "a checkpoint in a single file"),
    ("input_blocks.", "an original checkpoint that diffusers has not converted"),
    ("motion_modules.", "an AnimateDiff network"),
    ("spatial_res_block.", "Stable Video Diffusion"),
    ("image_latents_proj_in.", "the UNet of I2VGen-XL"),
    ("temp_convs.", "a text-to-video UNet (ModelScope)"),
    ("time_embedding.", "a Stable Diffusion UNet"),
    ("vision_model.", "a CLIP image encoder"),
    ("token_embedding.", "a CLIP text encoder"),
    ("decoder.up_blocks.", "a VAE"),
)


@dataclass(frozen=True)
class ModelFolder:
    """An opened model. Nothing of its weights is in memory.

    Attributes:
        layout: "hub" or "mlx".
        manifest: of a converted model: format, family, source, dtype, quantization ({"bits", "group_size"} or None),
            created_by, files ({name: {"bytes", "sha256"}}). None for the hub's layout.
    """

    path: Path
    layout: Layout
    manifest: dict[str, Any] | None = None

    @property
    def bits(self) -> int | None:
        """Of the quantised layers; None when there are none."""
        quantization = self.manifest and self.manifest["quantization"]
        return quantization["bits"] if quantization else None

    @property
    def tokenizer(self) -> Path:
        """The folder with the tokenizer's files."""
        return self.path / "tokenizer"

    def config(self, name: str) -> dict[str, Any]:
        """The JSON of a part, or of "scheduler", "feature_extractor" or "tokenizer"."""
        file = {"scheduler": "scheduler_config.json", "feature_extractor": "preprocessor_config.json",
                "tokenizer": "tokenizer_config.json"}.get(name, "config.json")
        return read_json(self.path / name / file)

    def load_part(self, name: str, dtype: mx.Dtype) -> nn.Module:
        """"text_encoder", "image_encoder", "unet" or "vae" with its weights, floats in `dtype` (the VAE's in float32).

        Raises I2VError ``config_*`` or ``weights_*`` naming what is wrong.
        """
        part = PARTS[name]
        dtype = self.dtype_of(name, dtype)
        module = self.build(name)
        load(module, self._files(name, dtype), layout=self.layout, dtype=dtype, rename=part.rename, ignore=part.ignore)
        return module

    def weight_bytes(self, dtype: mx.Dtype) -> dict[str, int]:
        """Bytes in memory of each part when it is loaded in `dtype`."""
        return {name: size_in(self.build(name), self.dtype_of(name, dtype)) for name in PARTS}

    def verify(self) -> None:
        """Reads every file of a converted model. Raises I2VError ``weights_checksum`` naming one that has changed."""
        for name, entry in (self.manifest or {"files": {}})["files"].items():
            if sha256_of(self.path / name) != entry["sha256"]:
                raise I2VError("weights_checksum", f"{name} has changed since the model was converted.", AGAIN)

    def fingerprint(self) -> str:
        """A hash of the UNet's size and its first and last megabyte: tells weights apart without reading them all."""
        digest = hashlib.sha256()
        for file in self._files("unet", mx.float16):
            with file.open("rb") as weights:
                size = file.stat().st_size
                digest.update(str(size).encode() + weights.read(2**20))
                weights.seek(max(0, size - 2**20))
                digest.update(weights.read())
        return digest.hexdigest()[:16]

    def dtype_of(self, name: str, dtype: mx.Dtype) -> mx.Dtype:
        """What a part is kept in when the model is loaded in `dtype`."""
        return mx.float32 if PARTS[name].float32 else dtype

    def build(self, name: str) -> nn.Module:
        """The part's module as its config says; the parameters are lazy, of the right shapes and not filled."""
        config = self.config(name)
        _check_config(config, name, PARTS[name])
        try:
            module = PARTS[name].build(config)
            if self.bits is not None:
                quantize(module, PARTS[name].quantized, self.bits)
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError) as error:
            reason = str(error)[:200]
            raise I2VError("config_invalid", f"{name}/config.json cannot be used: {reason}.", AGAIN) from error
        # Every initial value that is not used has chained a key to the global state, which would grow for ever.
        mx.eval(mx.random.state)
        return module

    def _files(self, name: str, dtype: mx.Dtype) -> list[Path]:
        """The weight files of a part; of two variants the one that is in `dtype` already."""
        folder = self.path / name
        if self.layout == "mlx":
            return [folder / WEIGHTS]
        stem = PARTS[name].stem
        full = _variant(folder, f"{stem}.safetensors", f"{stem}.safetensors.index.json")
        half = _variant(folder, f"{stem}.fp16.safetensors", f"{stem}.safetensors.index.fp16.json")
        return half if half and (dtype == mx.float16 or not full) else full

    def _check(self) -> None:
        """Every part's names and shapes."""
        for name, part in PARTS.items():
            files = self._files(name, mx.float16)
            try:
                check(self.build(name), files, layout=self.layout, rename=part.rename, ignore=part.ignore)
            except I2VError as error:
                if error.code != "weights_mismatch":
                    raise
                raise I2VError(error.code, error.message, _looks_like(files)) from error


def open_model(folder: str | Path) -> ModelFolder:
    """The model in a folder, after every check that is cheap: about a second for the released one.

    Raises I2VError: ``model_not_found``, ``model_not_a_folder``, ``model_incomplete`` (names what is missing),
        ``model_wrong_family``, ``model_too_new``, ``manifest_invalid``, ``config_*``, ``weights_*``.
    """
    path = Path(folder)
    if not path.exists():
        raise I2VError("model_not_found", f"There is no folder {path}.")
    if not path.is_dir():
        raise I2VError("model_not_a_folder", f"{path} is a file; a model is a folder.",
                       "Archives, checkpoints in one file and pickles are not opened.")
    ours = (path / "manifest.json").is_file()
    model = ModelFolder(path, "mlx" if ours else "hub", _manifest(path) if ours else None)
    if not (path / "model_index.json").is_file():
        raise I2VError("model_incomplete", f"{path} is no model: model_index.json is missing.",
                       "Give the folder that has model_index.json in it.")
    class_name = read_json(path / "model_index.json").get("_class_name")
    if class_name != CLASS_NAME:
        raise I2VError("model_wrong_family", f"{path} holds a {str(class_name)[:100]!r}, not an {CLASS_NAME}.",
                       "Only models of the I2VGen-XL family can be run.")
    if missing := missing_files(model):
        raise I2VError("model_incomplete", f"{path} is incomplete. Missing: {', '.join(missing[:5])}"
                       + (f" and {len(missing) - 5} more." if len(missing) > 5 else "."), _why_missing(path))
    model._check()
    return model


def missing_files(model: ModelFolder) -> list[str]:
    """What has to be in the folder and is not."""
    wanted = [*CONFIGS, *(f"{name}/config.json" for name in PARTS)]
    missing = [name for name in wanted if not (model.path / name).is_file()]
    if not any(all((model.path / name).is_file() for name in names) for names in TOKENIZERS):
        missing += [name for name in TOKENIZERS[0] if not (model.path / name).is_file()]
    for name, part in PARTS.items():
        files = model._files(name, mx.float16) or [model.path / name / f"{part.stem}.safetensors"]
        missing += [f"{name}/{file.name}" for file in files if not file.exists()]
    return missing


def _variant(folder: Path, single: str, index: str) -> list[Path]:
    """The one file, or the shards that an index names, or nothing."""
    if (folder / single).exists():
        return [folder / single]
    if not (folder / index).exists():
        return []
    names = read_json(folder / index).get("weight_map")
    files = sorted(set(map(str, names.values()))) if isinstance(names, dict) else []
    if not files or not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\.safetensors", file) for file in files):
        raise I2VError("config_invalid", f"{folder.name}/{index} does not name weight files.", AGAIN)
    return [folder / file for file in files]


def _manifest(path: Path) -> dict[str, Any]:
    """manifest.json, with every file of the size it says."""
    manifest = read_json(path / "manifest.json")
    version = manifest.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise I2VError("model_too_new", f"{path} was written by a newer version of Livestill.", "Update Livestill.")
    if manifest.get("family") != FAMILY and isinstance(manifest.get("family"), str):
        raise I2VError("model_wrong_family", f"{path} holds a model of the family {manifest['family'][:100]!r}.",
                       "Only models of the I2VGen-XL family can be run.")
    quantization = manifest.get("quantization")
    files = manifest.get("files")
    if version != FORMAT or not isinstance(files, dict) or not {f"{name}/{WEIGHTS}" for name in PARTS} <= files.keys() \
            or quantization not in (None, *({"bits": bits, "group_size": GROUP_SIZE} for bits in (4, 8))):
        raise I2VError("manifest_invalid", f"{path}/manifest.json is damaged.", "Convert the model again.")
    for name, entry in files.items():
        if not re.fullmatch(r"([a-z_]+/)?[A-Za-z0-9_]+\.(json|txt|safetensors)", name) or not isinstance(entry, dict) \
                or not isinstance(entry.get("bytes"), int) or not isinstance(entry.get("sha256"), str):
            raise I2VError("manifest_invalid", f"{path}/manifest.json is damaged.", "Convert the model again.")
        if not (path / name).is_file():
            raise I2VError("model_incomplete", f"{path} is incomplete. Missing: {name}.", AGAIN)
        if (size := (path / name).stat().st_size) != entry["bytes"]:
            raise I2VError("model_incomplete", f"{path}/{name} has {size} bytes, not {entry['bytes']}.", AGAIN)
    return manifest


def _check_config(config: dict[str, Any], name: str, part: Part) -> None:
    """Guards against numbers that would build a network for hours; whether they are right, the tensors' shapes tell."""
    given = config.get("_class_name", config.get("architectures"))
    if given is not None and part.class_name not in (given if isinstance(given, list) else [given]):
        raise I2VError("model_wrong_family", f"{name}/config.json is for {str(given)[:100]!r}, "
                       f"not for {part.class_name}.", AGAIN)
    for key, given in config.items():
        values = given if isinstance(given, list) else [given]
        numbers = [value for value in values if isinstance(value, int | float)]
        limit = MOST_LAYERS if "layers" in key else 2**20
        if len(values) > 64 or not all(abs(value) <= limit for value in numbers):
            raise I2VError("config_invalid", f"{name}/config.json has the impossible value {str(given)[:40]} for "
                           f"{key[:40]!r}.", AGAIN)


def _looks_like(files: list[Path]) -> str:
    keys = [key for file in files for key in read_header(file)]
    for mark, what in LOOKS_LIKE:
        if any(mark in key for key in keys):
            return f"The file looks like {what}."
    return AGAIN


def _why_missing(path: Path) -> str:
    names = [file.name for file in path.rglob("*") if not file.is_dir()]
    if any(name.endswith((".incomplete", ".part")) for name in names):
        return "Its download was not finished; start it again."
    if any(name.endswith((".bin", ".pt", ".pth", ".ckpt")) for name in names):
        return "Pickles (.bin, .ckpt, .pth) can run code and are not opened; get the safetensors files."
    return AGAIN
