"""Copy-paste keeps pixel ray, depth and alpha."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.assets.contract import Asset, AssetSource, Proposal, Wanted
from datamodules.assets.copy_paste import CopyPasteSource, feathered_box
from datamodules.augment import resize
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera, projected_bbox
from datamodules.randomness import derive
from datamodules.scene import Frame, Objects

CAMERA = Camera(np.array([[700.0, 0, 300, 40], [0, 700, 90, 0.2], [0, 0, 1, 0.003]]), 600, 180)


def frame(boxes: Boxes3D, masks: bool = True, sample_id: str = "000001", **changes: np.ndarray) -> Frame:
    """Each box's projected rectangle filled with a colour of its own."""
    bbox = projected_bbox(CAMERA, boxes)
    image = np.full((CAMERA.height, CAMERA.width, 3), 90, dtype=np.uint8)
    instances = np.zeros(image.shape[:2], dtype=np.uint8)
    for row, (left, top, right, bottom) in enumerate(np.rint(bbox).astype(int)):
        image[top : bottom + 1, left : right + 1] = (40 * row + 30, 200, 10)
        instances[top : bottom + 1, left : right + 1] = row + 1
    count = len(boxes)
    fields = {"truncation": np.zeros(count), "occlusion": np.zeros(count, np.int64), **changes}
    objects = Objects(boxes, np.array(["Car"] * count), bbox, fields["truncation"], fields["occlusion"], boxes.alpha)
    return Frame(image.transpose(2, 0, 1), CAMERA, objects, sample_id, instances=instances if masks else None)


class Frames(list[Frame]):
    def read(self, index: int) -> Frame:
        return self[index]


def boxes(*rows: tuple[float, float, float]) -> Boxes3D:
    """Boxes from (x, z, yaw)."""
    return Boxes3D.concatenate([Boxes3D.single([x, 1.65, z], [3.9, 1.5, 1.6], yaw) for x, z, yaw in rows])


@pytest.mark.parametrize("masks", [True, False])
def test_same_camera_pastes_the_same_pixels(masks: bool) -> None:
    source, origin = CopyPasteSource(), frame(boxes((-2, 15, 0.3), (3, 20, -1.2)), masks)
    source.bind(Frames([origin]))
    assert isinstance(source, AssetSource)
    assert len(source.crops) == 2
    for row in range(2):
        asset = source.crops[row].posed_for(CAMERA)
        assert isinstance(asset, Asset)
        np.testing.assert_array_equal(asset.pose.center, origin.objects.boxes.center[[row]])  # type: ignore[union-attr]
        layer = asset.render(CAMERA, asset.pose)  # type: ignore[arg-type]
        assert layer is not None
        inner = layer.rgba[..., 3] == 255
        rows, columns = np.nonzero(inner)
        pasted = origin.image.transpose(1, 2, 0)[layer.top + rows, layer.left + columns]
        np.testing.assert_array_equal(layer.rgba[inner][:, :3], pasted)
        centre_depth = CAMERA.project(asset.pose.center[0])[1]  # type: ignore[union-attr]
        np.testing.assert_allclose(layer.depth[layer.mask], centre_depth, rtol=1e-5)
        if masks:
            assert np.abs(layer.full_bbox - origin.objects.bbox[row]).max() <= 0.51


@settings(max_examples=30, deadline=None)
@given(
    st.floats(-4, 4),
    st.floats(12, 40),
    st.floats(-3.1, 3.1),
    st.floats(500, 900),
    st.floats(-15, 15),
    st.floats(-0.1, 0.1),
)
def test_other_camera_keeps_ray_depth_and_alpha(
    x: float, z: float, yaw: float, focal: float, shift: float, offset: float
) -> None:
    source = CopyPasteSource(min_height=5)
    source.bind(Frames([frame(boxes((x, z, yaw)))]))
    other = Camera(np.array([[focal, 0, 300 + shift, focal * offset], [0, focal, 90, 0], [0, 0, 1, 0]]), 600, 180)
    asset = source.crops[0].posed_for(other)
    pose = asset.pose
    assert pose is not None
    lift = np.array([0, 0.75, 0])
    before, after = CAMERA.project(asset.box.center[0] - lift), other.project(pose.center[0] - lift)
    np.testing.assert_allclose(before[0], after[0], atol=1e-6)
    np.testing.assert_allclose(before[1], after[1], atol=1e-6)
    np.testing.assert_allclose(np.cos(pose.alpha - asset.box.alpha), 1, atol=1e-9)
    np.testing.assert_array_equal(pose.dims, asset.box.dims)
    layer = asset.render(other, pose)
    if layer is not None and layer.full_bbox[0] > 0 and layer.full_bbox[2] < 599:
        size = layer.full_bbox[2:] - layer.full_bbox[:2] + 1
        original = np.array(asset.rgba.shape[1::-1])
        # The crop's two edges are rounded to whole source pixels, the mask's to whole target pixels.
        assert np.abs(size - original * focal / 700).max() < 2 * focal / 700 + 1
        middle = (layer.full_bbox[:2] + layer.full_bbox[2:]) / 2
        old = np.array([asset.left, asset.top]) + (original - 1) / 2
        assert np.abs((middle - after[0]) - (old - before[0]) * focal / 700).max() < 1.6


def test_at_the_size_of_training_a_crop_lies_where_the_resized_picture_has_it() -> None:
    origin = frame(boxes((-2, 15, 0.3), (3, 20, -1.2)))
    source, small = CopyPasteSource(), resize(origin, 150, 45)
    source.bind(Frames([origin]))
    sampled = source.sample(derive(0), small, Wanted(lambda _: Proposal(origin.objects.boxes[[1]], -1.2, 0.0)))
    for row, asset in enumerate([crop.posed_for(small.camera) for crop in source.crops]):
        assert asset.pose is not None
        np.testing.assert_allclose(asset.pose.center, origin.objects.boxes.center[[row]], atol=0.02)
        layer = asset.render(small.camera, asset.pose)
        assert layer is not None
        assert np.abs(layer.full_bbox - small.objects.bbox[row]).max() < 1
        height, width = layer.mask.shape
        shown = small.image[:, layer.top : layer.top + height, layer.left : layer.left + width].transpose(1, 2, 0)
        inner = layer.rgba[..., 3] == 255
        assert inner.any()
        assert np.abs(layer.rgba[..., :3].astype(int) - shown)[inner].max() < 12
    assert sampled.pose is not None
    assert abs(sampled.pose.center[0, 2] - 20) < 0.1


def test_flipped_crop_is_the_mirrored_picture() -> None:
    source = CopyPasteSource()
    source.bind(Frames([frame(boxes((-2, 15, 0.3)))]))
    asset = source.crops[0].flipped()
    layer, original = asset.render(asset.camera, asset.box), source.crops[0].render(CAMERA, source.crops[0].box)
    assert layer is not None
    assert original is not None
    np.testing.assert_array_equal(layer.rgba[:, ::-1], original.rgba)
    assert layer.left == CAMERA.width - original.left - original.rgba.shape[1]
    np.testing.assert_allclose(asset.camera.project(asset.box.center)[1], CAMERA.project(source.crops[0].box.center)[1])


def test_only_clear_objects_are_copied() -> None:
    rows = boxes((-3, 15, 0.3), (0, 15, 0.3), (3, 15, 0.3), (0, 60, 0.3))
    origin = frame(rows, truncation=np.array([0.5, 0, 0, 0]), occlusion=np.array([0, 2, 0, 0]))
    source = CopyPasteSource()
    source.bind(Frames([origin]))
    assert [crop.id for crop in source.crops] == ["copy-000001-2"]


def test_sampling_follows_the_generator_and_needs_binding() -> None:
    origin = frame(boxes((-2, 15, 0.3), (3, 20, -1.2)))
    source = CopyPasteSource()
    with pytest.raises(InputError, match="bound"):
        source.sample(derive(0), origin)
    source.bind(Frames([origin, frame(boxes((0, 18, 1.0)), sample_id="000002")]))
    draws = [source.sample(derive(0, i), origin).id for i in range(20)]
    assert draws == [source.sample(derive(0, i), origin).id for i in range(20)]
    assert len(set(draws)) == 3


@pytest.mark.parametrize("flip", [False, True])
def test_a_crop_is_drawn_after_the_place_that_is_wanted_and_only_where_it_can_stand(flip: bool) -> None:
    rows = [(-4, 12, 1.5), (0, 15, -1.5), (3, 20, 1.5), (-3, 30, -1.5), (2, 30, 1.5), (3, 44, -1.5)]
    origin, other = frame(boxes(*rows)), frame(boxes(), sample_id="000002")
    source = CopyPasteSource(min_height=5, flip=flip)
    source.bind(Frames([origin]))
    assert source.pool == len(rows)

    def drawn(z: float, alpha: float, taken: float = 0.0) -> Boxes3D:
        box = Boxes3D.single([0.0, 1.65, z], [3.9, 1.5, 1.6], alpha)
        place = Proposal(box, alpha, 0.0)
        wanted = Wanted(lambda _: place, lambda _, poses: np.where(poses.center[:, 2] > taken, 0, np.inf))
        return Boxes3D.concatenate([source.sample(derive(0, i), other, wanted).pose for i in range(10)])  # type: ignore[misc]

    assert np.abs(drawn(44.0, -1.5).center[:, 2] - 44).max() < 0.1
    assert np.abs(drawn(30.0, -1.5).yaw + 1.5).max() < 0.5
    assert drawn(12.0, 1.5, taken=14.0).center[:, 2].min() > 14
    uniform = CopyPasteSource(min_height=5, draw="uniform")
    uniform.bind(Frames([origin]))
    far = Wanted(lambda _: Proposal(boxes((0, 44, -1.5)), -1.5, 0.0))
    assert len({uniform.sample(derive(0, i), other, far).id for i in range(60)}) == len(rows)


def test_no_admissible_object_is_an_input_error() -> None:
    with pytest.raises(InputError, match="none of 1 frames"):
        CopyPasteSource(min_height=500).bind(Frames([frame(boxes((0, 18, 1.0)))]))


def test_feather_fades_out_at_the_border_only() -> None:
    alpha = feathered_box(40, 60, 0.1)
    assert alpha[20, 30] == 255
    assert alpha[0].max() < 64
    assert alpha[:, 0].max() < 64
    assert (alpha[10:30, 10:50] == 255).all()
