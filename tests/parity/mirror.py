"""The same random weights on both sides: a torch module, the reference, and its MLX twin."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import torch
from mlx.utils import tree_flatten


def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Fills every parameter with random values, so that none is zero or one and no fault hides behind it.

    Kernels and matrices have variance 1 / fan-in, norm weights lie around one, everything else around zero.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            elif name.endswith("weight"):
                parameter.copy_(1 + 0.2 * noise)
            else:
                parameter.copy_(0.2 * noise)
    return module.eval()


def mirror(theirs: torch.nn.Module, ours: nn.Module, rename: dict[str, str] | None = None) -> nn.Module:
    """Copies the reference's weights into ours. Strict: names and, after the change of layout, shapes are equal.

    Args:
        rename: prefixes of their names and what ours begin with instead; the first that fits is used.
    """
    target = {name: array.shape for name, array in tree_flatten(ours.parameters())}
    weights = {}
    for name, tensor in theirs.state_dict().items():
        for old, new in (rename or {}).items():
            if name.startswith(old):
                name = new + name.removeprefix(old)
                break
        weights[name] = _channels_last(tensor.numpy(), len(target.get(name, tensor.shape)))
    assert weights.keys() == target.keys(), f"names differ: {sorted(weights.keys() ^ target.keys())}"
    for name, array in weights.items():
        assert array.shape == target[name], f"{name}: theirs is {array.shape}, ours {target[name]}"
    ours.load_weights([(name, mx.array(array)) for name, array in weights.items()], strict=True)
    return ours.eval()


def relative_error(ours: mx.array | np.ndarray, theirs: torch.Tensor | np.ndarray) -> float:
    """Largest difference, in standard deviations of the reference. The shapes must be equal and all values finite."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape, f"ours is {ours.shape}, theirs {theirs.shape}"
    assert np.isfinite(ours).all() and np.isfinite(theirs).all()
    return float(np.abs(ours - theirs).max() / theirs.std())


def _channels_last(kernel: np.ndarray, rank: int) -> np.ndarray:
    """Torch's layout to ours; rank is that of our array."""
    if kernel.ndim == 5:                        # (O, I, 3, 1, 1), a temporal kernel: its last axis goes
        kernel = kernel[..., 0]
    if kernel.ndim == 4:
        kernel = kernel.transpose(0, 2, 3, 1)   # (O, I, kh, kw) -> (O, kh, kw, I)
    if kernel.ndim == 4 and rank == 2:
        kernel = kernel[:, 0, 0]                # (O, 1, 1, I) -> (O, I), a 1x1 kernel is a Linear
    return kernel
