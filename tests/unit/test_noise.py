"""Our normals against torch.randn, live: same seed, same shapes in turn, same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from i2v_mlx.parts.noise import NoiseSource, TorchNoise

CLOSE = 3 * 2**-23  # units in the last place: the logarithms and cosines of two libraries
SEEDS = [0, 1, 7, 12345, 2**31, 2**32 - 1]


def difference(ours: np.ndarray, theirs: torch.Tensor) -> float:
    assert ours.dtype == np.float32 and ours.shape == tuple(theirs.shape)
    return float((np.abs(ours - theirs.numpy()) / np.maximum(np.abs(ours), 1)).max(initial=0))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [*range(1, 50), 63, 64, 65, 1000, 1023, 4099])
def test_every_length(seed, n):
    generator = torch.Generator().manual_seed(seed)
    assert difference(TorchNoise(seed).normal((n,)), torch.randn(n, generator=generator)) <= CLOSE


@pytest.mark.parametrize("shape", [(1, 4, 16, 64, 40), (2, 4, 5, 7), (3, 5), (1,), (1, 1, 1), (16, 1), (3, 4, 0)])
def test_every_shape(shape):
    generator = torch.Generator().manual_seed(3)
    assert difference(TorchNoise(3).normal(shape), torch.randn(shape, generator=generator)) <= CLOSE


@pytest.mark.parametrize(
    "lengths",
    [[3, 3, 3], [1, 20, 1], [15, 16, 17], [5, 100, 5, 33, 2], [40, 40, 40], [1] * 7, [16, 3, 16, 3],
     [625, 1, 1300, 15]],
    ids=str,
)  # fmt: skip
def test_draws_in_turn(lengths):
    generator = torch.Generator().manual_seed(11)
    noise = TorchNoise(11)
    for n in lengths:
        assert difference(noise.normal((n,)), torch.randn(n, generator=generator)) <= CLOSE


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(-(2**63), 2**64 - 1), lengths=st.lists(st.integers(0, 80), max_size=6))
def test_any_seed_and_any_draws(seed, lengths):
    generator = torch.Generator().manual_seed(seed)
    noise = TorchNoise(seed)
    for n in lengths:
        assert difference(noise.normal((n,)), torch.randn(n, generator=generator)) <= CLOSE


@pytest.mark.parametrize("seed", [2**32, 2**32 + 7, 2**40 + 1, 2**63, 2**64 - 1, -1, -5])
def test_torch_uses_the_low_32_bits_of_a_seed_and_so_do_we(seed):
    generator = torch.Generator().manual_seed(seed)
    assert difference(TorchNoise(seed).normal((100,)), torch.randn(100, generator=generator)) <= CLOSE
    assert np.array_equal(TorchNoise(seed).normal((100,)), TorchNoise(seed % 2**32).normal((100,)))


def test_the_global_generator_gives_the_same():
    torch.manual_seed(5)
    assert difference(TorchNoise(5).normal((4, 6)), torch.randn(4, 6)) <= CLOSE


def test_no_global_state():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first = TorchNoise(9).normal((50,))
    TorchNoise(1).normal((7,))
    assert np.array_equal(TorchNoise(9).normal((50,)), first)
    assert np.array_equal(np.random.get_state()[1], before)


def test_a_million_are_normal_and_seeds_differ():
    values = TorchNoise(0).normal((1_000_000,))
    assert np.isfinite(values).all()
    assert abs(values.mean()) < 0.005 and abs(values.std() - 1) < 0.005
    assert abs(np.corrcoef(values, TorchNoise(1).normal((1_000_000,)))[0, 1]) < 0.005


def test_one_seed_draws_for_all_videos_at_once():
    source = NoiseSource(7, 3)
    stream = TorchNoise(7)
    assert source.shared
    assert np.array_equal(source.draw((4, 5)), stream.normal((3, 4, 5)))
    assert np.array_equal(source.draw((2, 2), 2), stream.normal((2, 2, 2)))
    assert np.array_equal(source.draw((6,)), stream.normal((3, 6)))


def test_a_list_of_seeds_gives_each_video_what_it_would_have_alone():
    source = NoiseSource([7, 8, 9], 3)
    alone = [NoiseSource(seed, 1) for seed in (7, 8, 9)]
    assert not source.shared
    for shape in ((4, 5), (3,), (2, 8, 3)):
        assert np.array_equal(source.draw(shape), np.concatenate([one.draw(shape) for one in alone]))


def test_a_list_of_one_is_that_seed():
    assert np.array_equal(NoiseSource([7], 1).draw((4, 5)), NoiseSource(7, 1).draw((4, 5)))
