"""Visual prompts follow the render, text prompts name its class; damaged sources are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.randomness import derive
from datamodules.renders.model_meshes import studio_models
from datamodules.renders.render_set import RenderedModel, RenderSet
from datamodules.renders.render_writer import RenderSettings, write_renders
from datamodules.renders.text_prompts import PromptBook, read_captions, template_prompt, write_text_prompts
from datamodules.renders.visual_prompts import canny_edges, depth_prompt, normal_prompt, on_white, write_visual_prompts

CAR = RenderedModel("02958343", "a", "Car", "car", ["sedan", "sports car"], (4.0, 1.5, 1.7), 1, True)


@pytest.fixture(scope="module")
def renders(tmp_path_factory: pytest.TempPathFactory) -> RenderSet:
    settings = RenderSettings(size=48, views=2, mode=3)
    return write_renders(tmp_path_factory.mktemp("prompts") / "set", studio_models(["bicycle", "van"], 1), settings)


def test_a_transparent_colour_leaves_no_edge() -> None:
    """Dropping alpha would show the colour that lies behind it."""
    rgba = np.zeros((32, 32, 4), np.uint8)
    rgba[:, :16, 0] = 255  # red, but transparent
    assert not canny_edges(on_white(rgba)).any()
    assert canny_edges(rgba[..., :3]).any()
    rgba[8:24, 8:24, 3] = 255
    edges = canny_edges(on_white(rgba))
    assert edges[8:24, 7:9].any()
    with pytest.raises(InputError, match="Canny thresholds 200 and 100"):
        canny_edges(on_white(rgba), 200, 100)


def test_depth_is_bright_where_near_and_normals_where_they_face() -> None:
    depth = np.array([[0.0, 2.0], [4.0, 3.0]])
    shown = depth_prompt(depth)
    assert shown[0, 0] == 0
    assert shown[0, 1] == 255 > shown[1, 1] > shown[1, 0] == 40
    assert not depth_prompt(np.zeros((2, 2))).any()
    towards_and_left = np.array([[[0.0, 0, -1], [-1, 0, 0], [0, 0, 0]]])
    np.testing.assert_array_equal(normal_prompt(towards_and_left)[0], [[128, 128, 255], [255, 128, 128], [0, 0, 0]])


def test_prompts_lie_beside_the_renders(renders: RenderSet) -> None:
    assert write_visual_prompts(renders, ("canny", "depth", "normal")) == 12
    for render in renders:
        edges: Any = cv2.imread(str(render.path("canny")), cv2.IMREAD_UNCHANGED)
        near = cv2.dilate((render.rgba[..., 3] > 0).astype(np.uint8), np.ones((3, 3)))
        assert edges.shape == (48, 48)
        assert (edges > 0).sum() > 30
        assert (near[edges > 0] > 0).all()


def test_templates_are_many_and_name_the_class() -> None:
    drawn = {template_prompt(CAR, derive(0, index)) for index in range(200)}
    assert len(drawn) > 150
    assert all("car" in text for text in drawn)
    assert any("sedan (car)" in text for text in drawn)
    assert not any("sports car (car)" in text for text in drawn)


def test_text_prompts_by_templates_captions_and_a_language_model(renders: RenderSet, tmp_path: Path) -> None:
    assert write_text_prompts(renders, seed=1) == 4
    first = {render.key: PromptBook(renders.root)[render][0] for render in renders}
    write_text_prompts(renders, seed=1)
    assert first == {render.key: PromptBook(renders.root)[render][0] for render in renders}
    captions = tmp_path / "captions.csv"
    captions.write_text("class,caption\nbicycle,a red bicycle\nvan,a van by the sea\n")
    write_text_prompts(renders, captions=captions)
    assert {PromptBook(renders.root)[render][0] for render in renders} == {"a red bicycle", "a van by the sea"}
    write_text_prompts(renders, complete=lambda start, seed: "on the moon" if "van" in start else "")
    told = {render.key: PromptBook(renders.root)[render][0] for render in renders}
    assert told["van/000000/000"] == "A photo of a van on the moon"
    assert "bicycle" in told["bicycle/000000/000"]  # a silent model leaves the template
    with pytest.raises(InputError, match="expected one of both"):
        write_text_prompts(renders, captions=captions, complete=lambda start, seed: "")
    stored = renders.root / "van" / "prompts.json"
    content = json.loads(stored.read_text())
    content["prompts"].pop("000000/001")
    stored.write_text(json.dumps(content))
    with pytest.raises(InputError, match="no prompt of 000000/001"):
        [PromptBook(renders.root)[render] for render in renders]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("klass,caption\n", "no column class"),
        ("class,caption\ncar,x\ncra,x\n", "line 3: class 'cra' is not of the renders; did you mean 'car'"),
        ("class,caption\ncar,\n", "line 2: no caption"),
        ("class,caption\ncar,a car, at dusk\n", "line 2: 3 cells, expected 2"),
        ('class,caption\ncar,"a car\n' + "car,a car\n" * 2000, "a caption of 20005 letters.* quote left open"),
        ("class,caption\n", r"no caption for the class 'car' \(02958343\)"),
    ],
)
def test_bad_captions_are_refused(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text(content)
    with pytest.raises(InputError, match=said):
        read_captions(tmp_path / "captions.csv", [CAR])
