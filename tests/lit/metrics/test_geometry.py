"""Scores of depth maps: against a loop of torch.histc, closed forms, and everything they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from datamodules.errors import InputError
from lit.commands.bench.geometry import depth_maps, histc_scores, measure
from lit.metrics import geometry
from lit.metrics.geometry import depth_accuracy, depth_errors, non_flatness_score, non_flatness_scores

NAN, INF = float("nan"), float("inf")


def counted(values: Tensor, near: float, far: float, bins: int) -> Tensor:
    """The histogram (bins,) behind the score of a clamped map."""
    array = values.reshape(1, -1).numpy()
    counts = np.zeros((1, bins), np.int64)
    kind = array.dtype.type
    geometry._histograms(array, np.zeros((0, 0), np.bool_), kind(near), kind(far), kind(bins), counts)
    return torch.from_numpy(counts[0]).to(values.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bins", [1, 7, 50, 64, 100])
def test_bins_are_those_of_histc_on_and_beside_every_edge(dtype: torch.dtype, bins: int) -> None:
    rng = np.random.default_rng(bins)
    for _ in range(40):
        near = float(rng.uniform(0, 2))
        far = near + float(rng.uniform(0.01, 5))
        edges = torch.linspace(near, far, bins + 1, dtype=dtype)
        beside = [torch.nextafter(edges, torch.full_like(edges, side * INF)) for side in (-1, 1)]
        values = torch.cat([edges, *beside, torch.tensor([near, far], dtype=dtype)]).clamp(near, far)
        assert torch.equal(counted(values, near, far, bins), torch.histc(values, bins, near, far))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 3.0), st.floats(1e-3, 10.0), st.integers(1, 100))
def test_equals_a_loop_of_histc(seed: int, near: float, width: float, bins: int) -> None:
    rng = np.random.default_rng(seed)
    depth = torch.from_numpy(rng.normal(near + width / 2, width, (3, 9, 7)).astype(np.float32))
    depth[0, 0, :3] = torch.tensor([INF, -INF, near + width])
    expected = histc_scores(depth, near, near + width, bins)
    scores = non_flatness_scores(depth, near, near + width, bins)
    torch.testing.assert_close(scores, expected, rtol=1e-12, atol=0)
    assert non_flatness_score(depth, near, near + width, bins) == pytest.approx(float(expected.mean()), rel=1e-12)
    assert ((scores >= 1 - 1e-9) & (scores <= bins + 1e-9)).all()


def test_closed_forms() -> None:
    flat, even = torch.full((4, 4), 0.3), torch.linspace(0, 1, 64).reshape(8, 8)
    assert non_flatness_score(flat, 0, 1) == pytest.approx(1, abs=1e-9)
    assert non_flatness_score(even, 0, 1) == pytest.approx(64, abs=1e-6)
    both = torch.stack([flat[:2, :2].expand(2, 2), torch.tensor([[0.1, 0.1], [0.9, 0.9]])])
    assert non_flatness_score(both, 0, 1) == pytest.approx(1.5, abs=1e-9)  # the exponential comes before the mean
    assert non_flatness_score(both, 0, 0.05) == pytest.approx(1, abs=1e-9)  # everything is clamped to far


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32])
def test_any_precision_is_scored_in_float64(dtype: torch.dtype) -> None:
    depth = (torch.rand(5, 32, 32, generator=torch.Generator().manual_seed(0)) * 9).to(dtype)
    kind = torch.float64 if dtype in (torch.float64, torch.int32) else torch.float32
    scores = non_flatness_scores(depth, 1, 8)
    assert scores.dtype == torch.float64
    torch.testing.assert_close(scores, histc_scores(depth.to(kind), 1, 8, 64), rtol=1e-12, atol=0)


def test_what_the_mask_leaves_out_may_be_anything() -> None:
    depth = depth_maps(6, 1)
    mask = torch.rand(depth.shape, generator=torch.Generator().manual_seed(2)) < 0.4
    wanted = torch.cat([histc_scores(d[m][None], 0.9, 1.1, 64) for d, m in zip(depth, mask)])
    for junk in (NAN, INF, -INF, 1.0):
        dirty = torch.where(mask, depth, torch.tensor(junk))
        torch.testing.assert_close(non_flatness_scores(dirty, 0.9, 1.1, mask=mask), wanted, rtol=1e-12, atol=0)
        other = torch.where(mask, depth.flip(1), torch.tensor(-junk))
        assert depth_accuracy(dirty, other, mask) == pytest.approx(
            np.mean([2 - 2 * np.corrcoef(a[m], b[m])[0, 1] for a, b, m in zip(depth, depth.flip(1), mask)]), abs=1e-6
        )
    rows = non_flatness_scores(depth[:, None].mT, 0.9, 1.1, mask=mask[:, None].mT)  # not contiguous, more axes
    torch.testing.assert_close(rows, wanted, rtol=1e-12, atol=0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1e4), st.floats(-1e3, 1e3))
def test_depth_accuracy_is_two_times_one_minus_the_correlation(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 4, 6, 5))
    expected = [2 * (1 - np.corrcoef(x.ravel(), y.ravel())[0, 1]) for x, y in zip(a, b)]
    found = depth_errors(torch.from_numpy(a * scale + shift), torch.from_numpy(b))
    assert found.tolist() == pytest.approx(expected, abs=1e-8)
    assert depth_accuracy(torch.from_numpy(a * scale + shift), torch.from_numpy(a)) == pytest.approx(0, abs=1e-9)
    assert depth_accuracy(torch.from_numpy(-a), torch.from_numpy(a)) == pytest.approx(4, abs=1e-9)


def test_depth_accuracy_of_extreme_and_short_numbers() -> None:
    depth = torch.rand(1, 8, 8, dtype=torch.float64)
    assert depth_accuracy(depth * 1e300, depth * 1e-300) == pytest.approx(0, abs=1e-9)
    assert depth_accuracy((depth * 6e4).half(), depth) < 1e-5


GOOD = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(1))


def spoilt(value: float) -> Tensor:
    depth = GOOD.clone()
    depth[1, 2, 2] = value
    return depth


@pytest.mark.parametrize(
    ("depth", "options", "message"),
    [
        (GOOD, {"near": 1.0, "far": 1.0}, "near < far"),
        (GOOD, {"near": 2.0}, "near < far"),
        (GOOD, {"far": NAN}, "near < far"),
        (GOOD, {"far": INF}, "near < far"),
        (GOOD, {"near": 1.0, "far": 1.0 + 1e-12}, "one number in float32"),
        (GOOD, {"bins": 0}, "at least 1"),
        (GOOD[:0], {}, "holds no pixels"),
        (GOOD[0, 0], {}, r"\(\.\.\., H, W\)"),
        (GOOD > 0.5, {}, "real numbers"),
        (spoilt(NAN), {}, "map 1 holds NaN"),
        (spoilt(NAN), {"mask": torch.ones_like(GOOD, dtype=torch.bool)}, "map 1 holds NaN"),
        (GOOD, {"mask": torch.ones(2, 4, 5, dtype=torch.bool)}, "expected bool"),
        (GOOD, {"mask": torch.ones(2, 4, 4)}, "expected bool"),
        (GOOD, {"mask": torch.tensor([True, False])[:, None, None].expand(2, 4, 4)}, "map 1 has no pixel"),
    ],
)
def test_non_flatness_refuses(depth: Tensor, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        non_flatness_score(depth, **({"near": 0.0, "far": 1.0} | options))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("pred", "target", "mask", "message"),
    [
        (GOOD, GOOD[:1], None, "equal shapes"),
        (GOOD[:0], GOOD[:0], None, "holds no pixels"),
        (spoilt(NAN), GOOD, None, "pred: map 1 holds values that are not finite"),
        (GOOD, spoilt(-INF), None, "target: map 1 holds values that are not finite"),
        (GOOD, torch.full_like(GOOD, 0.1), None, "target: map 0 is flat"),
        (torch.zeros_like(GOOD), GOOD, None, "pred: map 0 is flat"),
        (GOOD, GOOD, torch.zeros_like(GOOD, dtype=torch.bool), "map 0 has no pixel"),
        (GOOD, GOOD, torch.ones(4, 4, dtype=torch.bool), "expected bool"),
    ],
)
def test_depth_accuracy_refuses(pred: Tensor, target: Tensor, mask: Tensor | None, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        depth_accuracy(pred, target, mask)
    assert "\n" not in str(error.value)


def test_bench_compares_equal_values() -> None:
    figures = measure(maps=300)
    assert figures["nfs_difference"] < 1e-9
    assert figures["nfs_ratio"] > 2
    assert math.isfinite(figures["nfs"])
