"""Viewpoint figures: even sets are even, favoured sides show, real and generated sets are read alike."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.errors import InputError
from datamodules.objects.studio import write_posed_images
from datamodules.renders.model_meshes import studio_models
from datamodules.renders.render_writer import RenderSettings, write_renders
from lit.cli import main
from lit.commands.evaluate.viewpoints import read_viewpoints
from lit.metrics.viewpoints import divergence, entropy, viewpoint_counts, viewpoint_figures


def test_even_and_favoured_sets() -> None:
    even = np.arange(0, 360, 0.5)
    figures = viewpoint_figures(even, np.zeros(len(even)))
    assert figures["azimuth_entropy"] == pytest.approx(1)
    assert figures["azimuth_peak"] == pytest.approx(1)
    assert (figures["front_share"], figures["back_share"], figures["side_share"]) == (0.25, 0.25, 0.5)
    front = viewpoint_figures(np.full(10, 359.0), np.full(10, 5.0))
    assert (front["azimuth_entropy"], front["azimuth_peak"], front["front_share"]) == (0, 36, 1)


@given(st.lists(st.integers(0, 9), min_size=4, max_size=12), st.lists(st.integers(0, 9), min_size=12, max_size=12))
def test_divergence_is_symmetric_and_bounded(one: list[int], other: list[int]) -> None:
    p, q = np.array(one) + 1, np.array(other[: len(one)]) + 1
    assert divergence(p, q) == pytest.approx(divergence(q, p))
    assert 0 <= divergence(p, q) + 1e-12 <= 1
    assert divergence(p, p) == pytest.approx(0, abs=1e-12)
    assert 0 <= entropy(p) <= 1 + 1e-12


def test_disjoint_sets_are_a_bit_apart() -> None:
    assert divergence(np.array([3, 0]), np.array([0, 5])) == pytest.approx(1)


@pytest.mark.parametrize(("azimuth", "elevation"), [([], []), ([0.0], [95.0]), ([np.nan], [0.0]), ([0.0, 1.0], [0.0])])
def test_bad_angles_are_refused(azimuth: list[float], elevation: list[float]) -> None:
    with pytest.raises(InputError, match="viewpoints"):
        viewpoint_counts(np.array(azimuth), np.array(elevation))


def test_renders_posed_sets_and_kitti_are_compared(tiny_world: Path, tmp_path: Path) -> None:
    write_renders(tmp_path / "r", studio_models(["car"], 1), RenderSettings(size=16, views=3, mode=3, supersample=1))
    write_posed_images(tmp_path / "p", 1, 4, 16, elevation=(10.0, 10.0), workers=1)
    _, elevation = read_viewpoints(tmp_path / "p")
    np.testing.assert_allclose(elevation, 10, atol=1e-3)
    azimuth, elevation = read_viewpoints(tiny_world, "Car")
    assert len(azimuth) > 5
    assert ((elevation > 0) & (elevation < 30)).all()  # the camera stands above the cars' middle
    assert len(read_viewpoints(tmp_path / "r", "Car")[0]) == len(read_viewpoints(tmp_path / "r", "car")[0]) == 3
    sets = [f"drawn={tmp_path / 'r'}", f"orbit={tmp_path / 'p'}", f"world={tiny_world}"]
    plot, out = tmp_path / "plot.png", tmp_path / "out.json"
    assert main(["evaluate", "viewpoints", "--set", *sets, "--plot", str(plot), "--out", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert 0 <= figures["drawn, world/azimuth_divergence"] <= 1
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_bad_sets_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "viewpoints", "--set", f"x={tmp_path}"]) == 2
    assert "holds no renders.json, posed.json or training/label_2" in capsys.readouterr().err
    assert main(["evaluate", "viewpoints", "--set", "nothing"]) == 2
    assert "got 'nothing', expected NAME=FOLDER" in capsys.readouterr().err
