from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.augment import flip
from datamodules.geometry import Boxes3D, wrap_angle
from datamodules.scene import Frame, collate
from detectors.targets import CentreTargets, Selection, encode
from tests.detectors import scenes

CLASSES = ("Car", "Pedestrian", "Cyclist")


def encoded(*frames: Frame, selection: Selection | None = None, reach: int = 0) -> CentreTargets:
    return encode(collate(list(frames)), CLASSES, 4, selection or Selection(), reach=reach)


def renamed(frame: Frame, name: str) -> Frame:
    return frame.with_(objects=scenes.objects(frame.camera, frame.objects.boxes, [name] * len(frame.objects)))


def test_heatmap_is_one_exactly_at_the_positives() -> None:
    targets = encoded(scenes.frame(0), scenes.frame(1))
    frame, row, column = targets.index.unbind(1)
    assert len(targets) == 6
    assert (targets.heatmap[frame, targets.label, row, column] == 1).all()
    assert int((targets.heatmap == 1).sum()) == 6
    assert targets.heatmap.max() == 1
    assert targets.heatmap[:, 1:].max() == 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_flip_mirrors_the_targets(seed: int) -> None:
    frame = scenes.frame(seed)
    straight, mirrored = encoded(frame), encoded(flip(frame))
    ambiguous = (straight.offset[:, 0].abs() > 0.499).any()  # the centre lies between two cells: either is right
    if len(straight) and not ambiguous:
        assert torch.allclose(straight.heatmap.flip(3), mirrored.heatmap, atol=1e-4)
        assert torch.allclose(straight.offset * torch.tensor([-1.0, 1]), mirrored.offset, atol=1e-4)
        assert torch.allclose(straight.sides[:, [2, 1, 0, 3]], mirrored.sides, atol=1e-4)
        assert torch.allclose(straight.depth, mirrored.depth)
        turned = torch.from_numpy(wrap_angle(np.pi - straight.alpha.numpy() - mirrored.alpha.numpy()))
        assert torch.allclose(turned, torch.zeros_like(turned), atol=1e-5)


def test_depth_target_does_not_depend_on_the_focal_length_of_what_looks_alike() -> None:
    """Twice the focal length at twice the distance gives the same picture of a distant object, and the same target."""
    boxes = Boxes3D.single(np.array([0.0, 1.0, 20.0]), np.array([4.0, 1.5, 1.6]), 0.3)
    far = Boxes3D(boxes.center * np.array([1, 1, 2.0]), boxes.dims, boxes.yaw)
    targets = []
    for focal, placed in ((190.0, boxes), (380.0, far)):
        view = scenes.camera(focal=focal)
        view.projection[:, 3] = 0
        image = np.zeros((3, view.height, view.width), np.uint8)
        targets.append(encoded(Frame(image, view, scenes.objects(view, placed, ["Car"]), "0")))
    assert torch.allclose(targets[0].depth, targets[1].depth, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "ignored"), [("Van", [0]), ("Person_sitting", [1]), ("DontCare", [0, 1, 2]), ("Tram", [])]
)
def test_look_alikes_are_neither_positive_nor_negative(name: str, ignored: list[int]) -> None:
    targets = encoded(renamed(scenes.frame(3), name))
    assert len(targets) == 0
    assert targets.heatmap.max() == 0
    for label in range(3):
        assert bool((targets.weight[:, label] == 0).any()) == (label in ignored)


def test_hard_objects_are_ignored_for_their_own_class() -> None:
    targets = encoded(scenes.frame(0), selection=Selection(min_height=1000))
    assert len(targets) == 0
    assert (targets.weight[:, 0] == 0).any()
    assert (targets.weight[:, 1:] == 1).all()


def test_a_positive_inside_an_ignored_area_still_counts() -> None:
    frame = scenes.frame(0, count=1)
    both = Boxes3D.concatenate([frame.objects.boxes, frame.objects.boxes])
    targets = encoded(frame.with_(objects=scenes.objects(frame.camera, both, ["Car", "DontCare"])))
    image, row, column = targets.index[0]
    assert targets.weight[image, 0, row, column] == 1


def test_a_centre_outside_the_image_sits_in_the_border_cell() -> None:
    view = scenes.camera()
    boxes = Boxes3D.single(np.array([-5.2, 1.6, 5.2]), np.array([4.0, 1.5, 1.6]), 0.0)
    middle, _ = view.project(boxes.center - np.array([0, 0.75, 0]))
    assert middle[0, 0] < -2
    frame = Frame(np.zeros((3, 96, 320), np.uint8), view, scenes.objects(view, boxes, ["Car"]), "0")
    targets = encoded(frame)
    assert targets.index[0, 2] == 0
    pixel = (targets.index[0, 2] + targets.offset[0, 0]) * 4 + 1.5
    assert pixel == pytest.approx(middle[0, 0], abs=1e-3)


def test_frames_without_objects() -> None:
    frame = scenes.frame(0)
    targets = encoded(frame.with_(objects=frame.objects[:0]))
    assert len(targets) == 0
    assert (targets.weight == 1).all()


def test_cells_beside_a_centre_point_back_to_it() -> None:
    centre, around = encoded(scenes.frame(0)), encoded(scenes.frame(0), reach=1)
    assert len(around) > len(centre)
    assert around.share.sum() == pytest.approx(3, abs=0.1)
    assert torch.equal(around.index[:3], centre.index)
    keypoints = around.index[:, [2, 1]] + around.offset
    wanted = centre.index[:, [2, 1]] + centre.offset
    gaps = (keypoints[:, None] - wanted).abs().amax(2)
    assert gaps.min(1).values.max() < 1e-4
