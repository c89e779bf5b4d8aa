"""The four networks at the released configuration, through the files and loader of a real run, against the reference.

Each has random weights of which every one counts, is computed by the reference, written as the hub has it, forgotten by
torch, and only then loaded by us: never more than two copies of one network are in memory.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import diffusers
import mlx.core as mx
import numpy as np
import pytest
import torch
import transformers
from mirror import randomise, relative_error
from released import CONFIGS
from safetensors.torch import save_file

from i2v_mlx.i2vgen_xl.weights import PARTS
from i2v_mlx.model_folder import ModelFolder

pytestmark = pytest.mark.full

FORWARD = 1e-4
MEMORY = 20e9
TABLES = Path(__file__).parent / "tables"

Forward = Callable[[torch.nn.Module], dict[str, torch.Tensor]]


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with torch.no_grad():
        yield
    torch.set_num_threads(before)


def test_text_encoder(tmp_path):
    ids = np.random.default_rng(0).integers(0, CONFIGS["text_encoder"]["vocab_size"], (2, 77), dtype=np.int32)

    def reference(network):
        out = network(torch.from_numpy(ids).long(), output_hidden_states=True)
        skipped = {k: network.final_layer_norm(out.hidden_states[-(k + 1)]) for k in (1, 2)}
        return {"clip_skip None": out.last_hidden_state} | {f"clip_skip {k}": x for k, x in skipped.items()}

    network = transformers.CLIPTextModel(transformers.CLIPTextConfig(**CONFIGS["text_encoder"]))
    ours, expected = through_files("text_encoder", network, reference, tmp_path, prefix="text_model.")
    for clip_skip in (None, 1, 2):
        hold(expected, f"clip_skip {clip_skip}", ours(mx.array(ids), clip_skip))


def test_image_encoder(tmp_path):
    pixels = normal(1, 224, 224, 3)
    network = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**CONFIGS["image_encoder"]))
    ours, expected = through_files(
        "image_encoder", network, lambda network: {"224x224": network(channels_first(pixels)).image_embeds}, tmp_path
    )
    hold(expected, "224x224", ours(mx.array(pixels)))


def test_vae(tmp_path):
    pixels, latents = normal(1, 96, 64, 3), normal(1, 12, 8, 4)

    def reference(network):
        posterior = network.encode(channels_first(pixels)).latent_dist
        decoded = network.decode(channels_first(latents)).sample
        outputs = {"encode, mean": posterior.mean, "encode, std": posterior.std, "decode": decoded}
        return {name: x.permute(0, 2, 3, 1).contiguous() for name, x in outputs.items()}

    ours, expected = through_files("vae", diffusers.AutoencoderKL(**CONFIGS["vae"]), reference, tmp_path)
    mean, std = ours.encode(mx.array(pixels))
    hold(expected, "encode, mean", mean)
    hold(expected, "encode, std", std)
    hold(expected, "decode", ours.decode(mx.array(latents)))


def test_unet(tmp_path):
    sizes = {"8x8 latents, 2 frames": (2, 8, 8), "10x7 latents, 3 frames": (3, 10, 7)}
    x_t = {name: normal(1, *size, 4) for name, size in sizes.items()}
    image_latents = {name: normal(1, *size, 4, seed=1) for name, size in sizes.items()}
    text, embedding = normal(1, 77, 1024), normal(1, 1024)
    t, fps = 981, 16

    def reference(network):
        return {
            name: network(
                channels_first(x_t[name]), t, torch.tensor([fps]), channels_first(image_latents[name]),
                torch.from_numpy(embedding)[:, None], torch.from_numpy(text),
            ).sample.movedim(1, -1).contiguous()
            for name in sizes
        }  # fmt: skip

    ours, expected = through_files("unet", diffusers.I2VGenXLUNet(**CONFIGS["unet"]), reference, tmp_path)
    emb = ours.embed(mx.array([t]), fps)
    for name in sizes:
        conditioning = ours.condition(mx.array(text), mx.array(embedding), mx.array(image_latents[name]))
        hold(expected, name, ours(mx.array(x_t[name]), emb, conditioning))


def through_files(name: str, network: torch.nn.Module, reference: Forward, folder: Path, prefix: str = ""):
    """(our network with the same weights, what the reference computes). `network` is emptied.

    Args:
        prefix: what the hub's keys begin with and those of today's transformers do not.
    """
    randomise(network)
    expected = {key: x.numpy().copy() for key, x in reference(network).items()}
    weights = {prefix + key: x for key, x in network.state_dict().items()}
    assert {key: tuple(x.shape) for key, x in weights.items()} == table(name)
    (folder / name).mkdir()
    (folder / name / "config.json").write_text(json.dumps(CONFIGS[name]))
    save_file(weights, folder / name / f"{PARTS[name].stem}.safetensors")
    del weights
    network.to("meta")
    gc.collect()
    ours = ModelFolder(folder, "hub").load_part(name, mx.float32)  # strict by name and shape
    (folder / name / f"{PARTS[name].stem}.safetensors").unlink()
    print(f"\n{name}: {len(table(name))} tensors, names and shapes as released; largest difference from the reference")
    return ours, expected


def table(name: str) -> dict[str, tuple[int, ...]]:
    """Key -> shape in the released file."""
    lines = (TABLES / f"{name}.tsv").read_text().splitlines()
    return {key: tuple(map(int, shape.split("x"))) for key, shape in (line.split("\t") for line in lines)}


def hold(expected: dict[str, np.ndarray], name: str, ours: mx.array) -> None:
    error = relative_error(ours, expected[name])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"  {name}: {error:.1e} of the output's standard deviation; {peak / 1e9:.1f} GB of memory so far")
    assert error < FORWARD
    assert peak < MEMORY


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def channels_first(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).movedim(-1, 1).contiguous()
