"""Real objects at new places: they show there what their pictures show, and their labels say so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.assets.contract import Asset, AssetSource, Proposal, Wanted
from datamodules.assets.recomposition import RecomposedAsset, RecompositionSource
from datamodules.assets.visibility import observation_angles
from datamodules.errors import InputError
from datamodules.geometry import Boxes3D, Camera, canonical_projection, projected_bbox, wrap_angle
from datamodules.injection.compositing import Compositor
from datamodules.injection.injection import Injection
from datamodules.injection.placement import Placement
from datamodules.randomness import derive
from datamodules.scene import Frame
from tests.datamodules.assets.crops.scenes import CAMERA, DIMS, Frames, car_boxes, hiding_box, painted_frame

ORIGIN = painted_frame(car_boxes((-3.0, 12.0, -1.4), (0.5, 20.0, 1.5), (4.0, 30.0, -1.6), (-6.0, 26.0, 0.3)))
EMPTY = painted_frame(car_boxes((9.0, 80.0, 0.0)), sample_id="000002")


def bound(**options: object) -> RecompositionSource:
    source = RecompositionSource(**{"min_height": 5.0, **options})  # type: ignore[arg-type]
    source.bind(Frames([ORIGIN]))
    return source


SOURCE = bound()
CROPS = bound(flip=False).crops


def proposal(x: float, z: float, yaw: float, camera: Camera = CAMERA) -> Proposal:
    box = Boxes3D.single([x, 1.65, z], DIMS, yaw)
    alpha, elevation = observation_angles(canonical_projection(camera, box), box.dims)
    return Proposal(box, float(wrap_angle(alpha)[0]), float(elevation[0]))


def direction(asset: RecomposedAsset, box: Boxes3D) -> float:
    return float(wrap_angle(observation_angles(canonical_projection(CAMERA, box), box.dims)[0] - asset.angles[0])[0])


@pytest.mark.parametrize("clean", [False, True])
def test_at_its_own_box_an_object_shows_its_own_pixels(clean: bool) -> None:
    source = bound(flip=False, clean_edges=clean)
    assert isinstance(source, AssetSource)
    assert [crop.id for crop in source.crops] == [f"recomposition-000001-{row}" for row in range(4)]
    for row, crop in enumerate(source.crops):
        assert isinstance(crop, Asset)
        layer = crop.render(CAMERA, crop.box)
        assert layer is not None
        assert ORIGIN.instances is not None
        drawn = np.zeros(ORIGIN.instances.shape, bool)
        height, width = layer.depth.shape
        drawn[layer.top : layer.top + height, layer.left : layer.left + width] = layer.mask
        np.testing.assert_array_equal(drawn, ORIGIN.instances == row + 1)
        rows, columns = np.nonzero(layer.mask)
        pasted = ORIGIN.image.transpose(1, 2, 0)[layer.top + rows, layer.left + columns]
        assert np.abs(layer.rgba[layer.mask][:, :3].astype(int) - pasted).max() <= 1


@settings(max_examples=40, deadline=None)
@given(st.floats(-8, 8), st.floats(8, 40), st.floats(-np.pi, np.pi), st.integers(0, 1000))
def test_a_settled_object_is_seen_as_it_was_taken(x: float, z: float, yaw: float, seed: int) -> None:
    source, place = SOURCE, proposal(x, z, yaw)
    wanted = Wanted(lambda _: place)
    asset = source.sample(derive(seed), EMPTY, wanted)
    assert isinstance(asset, RecomposedAsset)
    assert asset.pose is not None
    if not len(asset.pose):
        return
    assert asset.pose is wanted.box
    assert abs(direction(asset, asset.pose)) < 1e-9
    np.testing.assert_array_equal(asset.pose.center, place.box.center)
    np.testing.assert_array_equal(asset.pose.dims[0], asset.dims)
    assert abs(wrap_angle(asset.pose.yaw - place.box.yaw)[0]) <= np.radians(10) + 1e-9
    here, own = asset.pose.center[0, [0, 2]], asset.box.center[0, [0, 2]]
    assert 0.5 <= np.linalg.norm(here) / np.linalg.norm(own) <= 1.25
    assert asset.visibility.allows([CAMERA], asset.pose).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3), st.booleans(), st.floats(-6, 6), st.floats(0.5, 1.25), st.floats(400, 900))
def test_pictures_fill_the_new_box_as_they_filled_their_own(
    index: int, flip: bool, x: float, ratio: float, focal: float
) -> None:
    """Through another camera, too: each side of the mask's rectangle lies where it lay in the projected box."""
    crop = CROPS[index]
    crop = crop.flipped() if flip else crop
    other = Camera(np.array([[focal, 0, 320, 5], [0, focal, 80, 0], [0, 0, 1, 0.0]]), 640, 200)
    z = ratio * crop.box.center[0, 2]
    alpha = crop.angles[0]
    box = Boxes3D.single([x, 1.65, z], crop.dims, 0.0)
    seen, _ = observation_angles(canonical_projection(other, box), box.dims)
    box = Boxes3D.single([x, 1.65, z], crop.dims, float(wrap_angle(alpha - seen)[0]))
    layer, own = crop.render(other, box), crop.render(crop.camera, crop.box)
    target, source = (projected_bbox(c, b, clip=False)[0] for c, b in ((other, box), (crop.camera, crop.box)))
    if layer is None or target[0] < 0 or target[2] > 639 or target[3] > 199:
        return
    assert own is not None
    np.testing.assert_allclose(layer.depth[layer.mask], other.project(box.center[0])[1], rtol=0.02)

    def relative(layer_bbox: np.ndarray, box: np.ndarray) -> np.ndarray:
        low, size = np.tile(box[:2], 2), np.tile(box[2:] - box[:2], 2)
        return np.asarray((layer_bbox - low) / size)

    pixel = 2.0 / np.tile(target[2:] - target[:2], 2) + 1.0 / np.tile(source[2:] - source[:2], 2)
    off = np.abs(relative(layer.full_bbox, target) - relative(own.full_bbox, source))
    assert (off <= pixel + 0.06).all()


def test_a_mirrored_object_is_the_mirrored_picture() -> None:
    crop = CROPS[0]
    mirrored = crop.flipped()
    assert mirrored.id == "recomposition-000001-0-flipped"
    np.testing.assert_allclose(wrap_angle(mirrored.angles[0] + crop.angles[0] - np.pi), 0, atol=1e-9)
    layer, original = mirrored.render(mirrored.camera, mirrored.box), crop.render(CAMERA, crop.box)
    assert layer is not None
    assert original is not None
    np.testing.assert_array_equal(layer.mask[:, ::-1], original.mask)


def test_places_that_suit_no_object_get_none() -> None:
    source = bound(flip=False, angle=5.0)
    narrow = proposal(0.0, 15.0, 0.0)  # seen from the side, as no labelled car is
    far = proposal(0.5, 70.0, 1.5)
    taken = Wanted(lambda _: proposal(0.5, 20.0, 1.5), lambda _, boxes: np.full(len(boxes), np.inf))
    for wanted in (Wanted(lambda _: narrow), Wanted(lambda _: far), Wanted(lambda _: None), taken):
        asset = source.sample(derive(0), EMPTY, wanted)
        assert asset.pose is not None
        assert len(asset.pose) == 0
        site = Placement(map=False, depth=(5, 60)).survey(EMPTY)
        assert Placement(map=False).place(site, asset, Boxes3D.empty(), derive(1)) is None
    without = source.sample(derive(0), EMPTY)
    assert without.pose is not None
    assert len(without.pose) == 1


def test_enlarged_pictures_are_drawn_more_seldom() -> None:
    source = RecompositionSource(min_height=5.0, flip=False, depth_ratio=(0.3, 2.0))
    source.bind(Frames([painted_frame(car_boxes((-1.0, 10.0, -1.57), (1.5, 24.0, -1.57)))]))
    place = proposal(0.0, 12.0, -1.57)
    drawn = [source.sample(derive(seed), EMPTY, Wanted(lambda _: place)).id[-1] for seed in range(200)]
    assert 0.1 < drawn.count("1") / 200 < 0.33  # a quarter of the other's chance


def test_injected_objects_are_labelled_and_follow_the_generator() -> None:
    placement = Placement(map=False, depth=(8, 35))
    inject = Injection(SOURCE, placement, Compositor(occluders="boxes"), probability=1.0, count=(2, 2))
    found: list[Frame] = [inject(EMPTY, derive(seed)) for seed in range(8)]
    new = [frame.objects[1:] for frame in found]
    assert sum(map(len, new)) > 8
    ids = {str(one) for objects in new for one in objects.provenance}
    assert ids <= {f"recomposition-000001-{row}{end}" for row in range(4) for end in ("", "-flipped")}
    assert any(one.endswith("-flipped") for one in ids)
    assert found[3].image.tobytes() == inject(EMPTY, derive(3)).image.tobytes()
    for objects in new:
        np.testing.assert_allclose(objects.alpha, objects.boxes.alpha)


def test_frames_without_instance_masks_are_cut_by_grabcut_and_failures_told() -> None:
    hidden = painted_frame(
        Boxes3D.concatenate([car_boxes((-3.0, 12.0, 0.4), (0.0, 40.0, -1.5)), hiding_box()]), masks=False
    )
    source = RecompositionSource(min_height=5.0)
    with pytest.warns(UserWarning, match=r"recomposition: 1 of 3 objects are left out: 1 found by no mask; 2 remain"):
        source.bind(Frames([hidden]))
    assert source.pool == 2


def test_occlusion_that_labels_do_not_tell_is_judged_by_nearer_objects() -> None:
    frame = painted_frame(car_boxes((-1.3, 22.0, -1.5), (0.0, 12.0, -1.5), (5.0, 20.0, -1.5)))
    unknown = frame.with_(
        objects=type(frame.objects)(
            frame.objects.boxes, frame.objects.names, frame.objects.bbox, frame.objects.truncation,
            np.full(3, -1), frame.objects.alpha,
        )
    )  # fmt: skip
    source = RecompositionSource(min_height=5.0)
    source.bind(Frames([unknown]))
    assert [crop.id[-1] for crop in source.crops] == ["1", "2"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"angle": 0.0}, "angle 0: expected above 0"),
        ({"depth_ratio": (1.0, 0.5)}, "expected 0 < least < most"),
        ({"min_score": 2.0}, "min_score 2.0"),
        ({"masks": "nowhere.pth"}, "nowhere.pth: no such file"),
    ],
)
def test_bad_options_are_one_line(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        RecompositionSource(**options)  # type: ignore[arg-type]


def test_nothing_to_recompose_is_an_input_error() -> None:
    with pytest.raises(InputError, match="recomposition: none of 1 frames holds a Car of height >= 500 px"):
        RecompositionSource(min_height=500).bind(Frames([ORIGIN]))
    with pytest.raises(InputError, match="bound to training frames first"):
        RecompositionSource().sample(derive(0), EMPTY)
