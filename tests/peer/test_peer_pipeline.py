"""What diffusers tests of its I2VGenXLPipeline, asked of ours, in our own words.

Left out, with the reason. Names are those of the peer's own file or of its tests/pipelines/test_pipelines_common.py:

    test_attention_slicing_forward_pass            skipped by the peer itself
    test_xformers_attention_forwardGenerator_pass  CUDA only
    test_sequential_cpu_offload_forward_pass,
    test_model_cpu_offload_forward_pass,
    group offload, device map, layerwise casting   offloading to another device; here memory is one, and that networks
                                                   come and go without a trace is in tests/contract
    test_i2vgen_xl (slow)                          needs the released weights
    test_num_images_per_prompt                     the pipeline has no such parameter; it returns at once
    test_callback_inputs, test_callback_cfg        the pipeline has no callbacks; it returns at once
    test_StableDiffusionMixin_component            inheritance of the peer's mixins
    test_fused_qkv_projections                     an optimisation of torch modules
    test_save_load_optional_components             there are no optional parts
    test_to_device, test_float16_inference on CUDA torch devices; half precision is below, on MLX's default device
    test_cpu_offload_*, test_pipeline_with_accelerator_device_map  as above
    test_push_to_hub, test_pipeline_level_group_offloading         as above
"""

from __future__ import annotations

import copy
import errno
import inspect
import json
import shutil
import warnings
from pathlib import Path

import adapter
import mlx.core as mx
import numpy as np
import pytest
import torch
from adapter import Reference, ours, theirs
from diffusers import AutoencoderKL
from diffusers.pipelines.deprecated.i2vgen_xl.pipeline_i2vgen_xl import I2VGenXLPipelineOutput as ReferenceOutput
from diffusers.pipelines.pipeline_utils import StableDiffusionMixin

from i2v_mlx import I2VError, I2VGenXLPipeline, I2VGenXLPipelineOutput

SMALL = {"width": 16, "height": 16, "num_frames": 2}
PUBLISHED = [0.5146, 0.6525, 0.6032, 0.5204, 0.5675, 0.4125, 0.3016, 0.5172, 0.4095]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """(diffusers' pipeline, folder)"""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("peer") / "model"
    return adapter.build(folder), folder


@pytest.fixture(scope="module")
def reference(model):
    return model[0]


@pytest.fixture(scope="module")
def folder(model):
    return model[1]


@pytest.fixture(scope="module")
def pipe(folder):
    return I2VGenXLPipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def small(pipe):
    """Frames of the peer's inputs at a smaller size."""
    return frames(pipe)


def frames(pipe, **changes) -> np.ndarray:
    return pipe(**ours(**{**SMALL, **changes})).frames


# ---------------------------------------------------------------- its own tests


def test_default_case_gives_the_published_numbers(pipe):
    """The peer seeds its latents, and not the posterior noise: that is within its tolerance."""
    latents = torch.randn((1, 4, 4, 32, 32), generator=torch.Generator().manual_seed(0)).numpy()
    video = pipe(**ours(latents=latents)).frames
    assert video.shape == (1, 4, 32, 32, 3)
    assert np.abs(video[0][0][-3:, -3:, -1].ravel() - PUBLISHED).max() < 1e-2


def test_default_case_gives_the_references_numbers(pipe, reference):
    assert np.abs(pipe(**ours()).frames - reference(**theirs()).frames).max() < 1e-4


def test_num_videos_per_prompt(pipe):
    """The first of two videos from given noise is the one that this noise gives alone."""
    noise = np.random.default_rng(0).standard_normal((2, 4, 2, 16, 16), np.float32)
    videos = frames(pipe, num_videos_per_prompt=2, latents=noise)
    assert videos.shape == (2, 2, 16, 16, 3)
    assert np.array_equal(videos[0], frames(pipe, latents=noise[:1])[0])


def test_save_load_local(pipe, small, tmp_path):
    pipe.save_pretrained(tmp_path / "saved")
    again = I2VGenXLPipeline.from_pretrained(tmp_path / "saved")
    assert np.array_equal(frames(again), small)
    with pytest.raises(I2VError) as caught:
        pipe.save_pretrained(tmp_path / "saved")
    assert caught.value.code == "output_exists"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saved"]


def test_save_that_fails_leaves_nothing(pipe, tmp_path, monkeypatch):
    def full(source, target, *args, **kwargs):
        Path(target).mkdir()
        (Path(target) / "model_index.json").write_text("{")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(I2VError) as caught:
        pipe.save_pretrained(tmp_path / "saved")
    assert caught.value.code == "disk_full" and caught.value.hint
    assert not list(tmp_path.iterdir())


def test_dict_and_tuple_outputs_are_equivalent(pipe, small):
    output = pipe(**ours(**SMALL), return_dict=True)
    assert isinstance(output, I2VGenXLPipelineOutput)
    as_tuple = pipe(**ours(**SMALL), return_dict=False)
    assert isinstance(as_tuple, tuple) and len(as_tuple) == 1
    assert np.array_equal(as_tuple[0], output.frames) and np.array_equal(output.frames, small)


def test_inference_batch_single_identical(pipe, small):
    """The last prompt of the peer's batch is 100 times "very long", which does not fit."""
    prompts = [adapter.PROMPT, 100 * "very long"]
    batch = frames(pipe, prompt=prompts, image=[adapter.pixels()] * 2, generator=[0, 1])
    assert len(batch) == 2
    assert np.array_equal(batch[0], small[0])
    assert np.array_equal(batch[1], frames(pipe, prompt=prompts[1], generator=1)[0])


# ---------------------------------------------------------------- tests of every pipeline


def arguments(function) -> dict[str, object]:
    parameters = list(inspect.signature(function).parameters.values())
    return {p.name: p.default for p in parameters if p.name != "self"}


def test_call_signature_is_the_references_by_name_order_and_default():
    mine, other = arguments(I2VGenXLPipeline.__call__), arguments(Reference.__call__)
    assert list(mine.items()) == list(other.items())


def test_encode_prompt_signature():
    """Ours runs where MLX runs, so it takes no device; then `num_videos_per_prompt` can have a default."""
    mine, other = arguments(I2VGenXLPipeline.encode_prompt), arguments(Reference.encode_prompt)
    del other["device"]
    other["num_videos_per_prompt"] = 1
    assert list(mine.items()) == list(other.items())


def test_switches_have_the_references_names_and_arguments():
    """Newer releases of diffusers have the VAE's switches on the VAE; earlier ones had these names on the pipeline."""
    for switch in ("enable", "disable"):
        freeu = f"{switch}_freeu"
        assert arguments(getattr(I2VGenXLPipeline, freeu)) == arguments(getattr(StableDiffusionMixin, freeu))
        for feature in ("slicing", "tiling"):
            assert hasattr(AutoencoderKL, f"{switch}_{feature}")
            assert arguments(getattr(I2VGenXLPipeline, f"{switch}_vae_{feature}")) == {}


def test_output_has_the_references_field():
    assert list(arguments(I2VGenXLPipelineOutput)) == list(arguments(ReferenceOutput))


def test_components(folder, reference, small):
    pipe = I2VGenXLPipeline.from_pretrained(folder)
    components = pipe.components
    assert set(components) == set(reference.components)
    for name in ("unet", "vae", "text_encoder", "image_encoder"):
        assert components[name] is getattr(pipe, name)
    assert np.array_equal(frames(pipe), small)


def test_cfg(pipe, small):
    """Guidance off and on both run and give the same shape; at 1 it is off, so the negative prompt plays no part."""
    off = frames(pipe, guidance_scale=1.0)
    assert off.shape == small.shape and np.isfinite(off).all()
    assert np.abs(off - frames(pipe, guidance_scale=7.5)).max() > 1e-4
    assert np.array_equal(off, frames(pipe, guidance_scale=0.5, negative_prompt="blurry"))


def test_encode_prompt_works_in_isolation(pipe, small):
    positive, negative = pipe.encode_prompt(adapter.PROMPT, clip_skip=1)
    assert positive.shape == negative.shape == (1, 77, 4)
    apart = frames(pipe, prompt=None, prompt_embeds=positive, negative_prompt_embeds=negative)
    assert np.array_equal(apart, small)
    as_numpy = frames(pipe, prompt=None, prompt_embeds=np.array(positive), negative_prompt_embeds=np.array(negative))
    assert np.array_equal(as_numpy, small)


def test_encode_prompt_repeats_for_the_videos_of_a_prompt(pipe):
    positive, negative = pipe.encode_prompt(["a cat", "the sea"], num_videos_per_prompt=2, negative_prompt="blurry")
    assert positive.shape == negative.shape == (4, 77, 4)
    one = pipe.encode_prompt("the sea", negative_prompt="blurry")
    for i in (2, 3):
        assert np.array_equal(np.array(positive[i]), np.array(one[0][0]))
        assert np.array_equal(np.array(negative[i]), np.array(one[1][0]))
    repeated = pipe.encode_prompt(None, 3, prompt_embeds=one[0], negative_prompt_embeds=one[1])
    assert all(np.array_equal(np.array(states[2]), np.array(one[k][0])) for k, states in enumerate(repeated))


@pytest.mark.parametrize("chunk", [2, 3, None])
def test_chunks_of_decoding_change_nothing(pipe, chunk):
    whole = frames(pipe, num_frames=5, num_inference_steps=1)
    assert np.array_equal(whole, frames(pipe, num_frames=5, num_inference_steps=1, decode_chunk_size=chunk))


def test_vae_slicing(folder):
    pipe = I2VGenXLPipeline.from_pretrained(folder)
    call = {"num_videos_per_prompt": 2, "num_inference_steps": 1, "decode_chunk_size": None}
    plain = frames(pipe, **call)
    pipe.enable_vae_slicing()
    assert np.array_equal(frames(pipe, **call), plain)
    pipe.disable_vae_slicing()
    assert np.array_equal(frames(pipe, **call), plain)


def test_vae_tiling(folder):
    """The tile is 32 latents, so a side of 40 is two; the peer allows 0.5, DESIGN's faults page 2e-2."""
    pipe = I2VGenXLPipeline.from_pretrained(folder)
    call = {"width": 40, "height": 16, "num_inference_steps": 1}
    plain = frames(pipe, **call)
    pipe.enable_vae_tiling()
    tiled = frames(pipe, **call)
    assert np.abs(tiled - plain).max() < 0.5 and not np.array_equal(tiled, plain)
    assert np.abs(tiled - plain).mean() < 2e-2
    pipe.disable_vae_tiling()
    assert np.array_equal(frames(pipe, **call), plain)


def test_freeu(pipe, small):
    pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    changed = frames(pipe)
    pipe.disable_freeu()
    assert np.abs(changed - small).max() > 1e-4
    assert np.array_equal(frames(pipe), small)


def test_latents_as_input_and_output(pipe):
    noise = np.random.default_rng(0).standard_normal((1, 4, 2, 16, 16), np.float32)
    latents = frames(pipe, latents=noise, output_type="latent")
    assert isinstance(latents, mx.array) and latents.shape == noise.shape
    assert np.array_equal(np.array(latents), np.array(frames(pipe, latents=mx.array(noise), output_type="latent")))
    assert np.abs(frames(pipe, latents=noise) - frames(pipe, latents=-noise)).max() > 1e-3


# ---------------------------------------------------------------- precision and variants


def test_half_precision_is_finite_and_near(folder, small):
    """The peer allows 5e-2 for float16; measured here 3e-3."""
    half = frames(I2VGenXLPipeline.from_pretrained(folder, dtype="float16"))
    assert np.isfinite(half).all() and half.dtype == np.float32
    assert 0 < np.abs(half - small).max() < 2e-2


def test_to_dtype(folder):
    """float16 is that of the networks but the VAE, which is float32 always."""
    for dtype in ("float16", "float32"):
        parts = I2VGenXLPipeline.from_pretrained(folder, dtype=dtype).components
        assert parts["unet"].conv_in.weight.dtype == getattr(mx, dtype)
        assert parts["image_encoder"].visual_projection.weight.dtype == getattr(mx, dtype)
        assert parts["vae"].decoder.conv_in.weight.dtype == mx.float32
    for wrong in ("bfloat16", "fp16", "int8", "", mx.bfloat16, mx.int8):
        with pytest.raises(I2VError) as caught:
            I2VGenXLPipeline.from_pretrained(folder, dtype=wrong)
        assert caught.value.code == "dtype_unknown" and "float16" in caught.value.hint


PARTS = ("unet", "vae", "text_encoder", "image_encoder")


def without_weights(folder, target):
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors"))
    return target


def saved(part, folder, **options) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        part.save_pretrained(folder, **options)


def test_variants(folder, reference, small, tmp_path):
    """A folder with float16 files only, and one with both, of which the fitting one is read."""
    half = without_weights(folder, tmp_path / "half")
    both = tmp_path / "both"
    shutil.copytree(folder, both)
    for name in PARTS:
        rounded = copy.deepcopy(getattr(reference, name)).half()
        for target in (half, both):
            saved(rounded, target / name, variant="fp16")
        assert list((half / name).glob("*.fp16.safetensors"))
    from_half = frames(I2VGenXLPipeline.from_pretrained(half))
    assert 0 < np.abs(from_half - small).max() < 2e-2
    assert np.array_equal(frames(I2VGenXLPipeline.from_pretrained(both, dtype="float32")), small)
    in_half = [frames(I2VGenXLPipeline.from_pretrained(one, dtype="float16")) for one in (folder, both)]
    assert np.array_equal(*in_half)


def test_sharded_weights(folder, reference, small, tmp_path):
    target = without_weights(folder, tmp_path / "shards")
    for name in PARTS:
        saved(getattr(reference, name), target / name, max_shard_size="100KB")
    assert len(list((target / "unet").glob("*.safetensors"))) > 1
    assert json.loads((target / "unet/diffusion_pytorch_model.safetensors.index.json").read_text())["weight_map"]
    assert np.array_equal(frames(I2VGenXLPipeline.from_pretrained(target)), small)


def test_a_missing_variant_is_named(folder, tmp_path):
    empty = without_weights(folder, tmp_path / "empty")
    with pytest.raises(I2VError) as caught:
        I2VGenXLPipeline.from_pretrained(empty)
    assert caught.value.code == "model_incomplete"
    assert "unet/diffusion_pytorch_model.safetensors" in caught.value.message


# ---------------------------------------------------------------- models


def test_determinism(pipe, small):
    assert np.array_equal(frames(pipe), small)


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_output_has_the_frames_asked_for(pipe, count):
    video = frames(pipe, num_frames=count, num_inference_steps=1)
    assert video.shape == (1, count, 16, 16, 3) and np.isfinite(video).all()
