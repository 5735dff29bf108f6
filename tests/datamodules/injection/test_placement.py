from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Polygon

from datamodules.assets.visibility import Visibility
from datamodules.errors import InputError, PlacementError
from datamodules.geometry import Boxes3D, plane_height, projected_bbox, wrap_angle
from datamodules.injection.ground import fit_plane, ground_to_pixels, pixels_to_ground, prior_plane
from datamodules.injection.placement import Placement
from datamodules.nuscenes.boxes import ATTRIBUTES_OF, DETECTION_NAMES
from datamodules.object_classes import CLASSES, object_class
from datamodules.randomness import derive
from tests.datamodules.injection_scenes import CAMERA, DIMS, SolidAsset, box_at, road_frame

small = st.floats(-0.05, 0.05)


@given(a=small, c=small, height=st.floats(1.2, 2.2), x=st.floats(-15, 15), z=st.floats(3, 80))
def test_inverse_perspective_mapping_undoes_projection(a: float, c: float, height: float, x: float, z: float) -> None:
    plane = np.array([a, -1.0, c, height])
    if plane_height(plane, np.array(x), np.array(z)) < 0.3:
        return  # the plane passes the camera there
    pixels, depth = ground_to_pixels(CAMERA, plane, np.array([x, z]))
    point = pixels_to_ground(CAMERA, plane, pixels)
    np.testing.assert_allclose(point[[0, 2]], [x, z], rtol=1e-6, atol=1e-6)
    assert abs(plane[:3] @ point + plane[3]) < 1e-9
    np.testing.assert_allclose(CAMERA.project(point)[1], depth, rtol=1e-9)


def test_pixels_above_the_horizon_see_no_ground() -> None:
    assert np.isnan(pixels_to_ground(CAMERA, prior_plane(), np.array([150.0, 10.0]))).all()


def test_plane_fit_stays_at_the_prior_without_boxes_and_follows_many() -> None:
    np.testing.assert_allclose(fit_plane(Boxes3D.empty()), prior_plane())
    rng = np.random.default_rng(0)
    x, z = rng.uniform(-8, 8, 60), rng.uniform(5, 40, 60)
    true = np.array([0.01, -1.0, 0.02, 1.6])
    center = np.stack([x, plane_height(true, x, z) + rng.normal(0, 0.05, 60), z], 1)
    fitted = fit_plane(Boxes3D(center, np.tile(DIMS, (60, 1)), np.zeros(60)))
    assert np.abs(plane_height(fitted, x, z) - plane_height(true, x, z)).max() < 0.12
    one_off = Boxes3D.single(np.array([-16.0, 2.4, 58.0]), DIMS, 0.0)
    assert abs(plane_height(fit_plane(one_off), np.array(0.0), np.array(15.0)) - 1.65) < 0.15


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_placed_boxes_stand_on_the_road_and_touch_nothing(seed: int) -> None:
    real = Boxes3D.concatenate([box_at(-2.0, 12.0), box_at(2.5, 18.0, 1.2)])
    frame, placement = road_frame(real), Placement(depth=(5, 40), plane="frame")
    rng, occupied = derive(seed), real
    site = placement.survey(frame)
    for _ in range(3):
        box = placement.place(site, SolidAsset(), occupied, rng)
        if box is None:
            continue
        corners = box.corners[0, :4]
        assert 5 - 4 < box.center[0, 2] < 40 + 4
        pixels, _ = CAMERA.project(corners)
        shown = ((pixels > 1) & (pixels < [CAMERA.width - 2, CAMERA.height - 2])).all(1)
        for left, top, right, bottom in projected_bbox(CAMERA, real):
            shown &= ~((pixels > [left - 1, top - 1]) & (pixels < [right + 1, bottom + 1])).all(1)
        assert (np.abs(corners[shown, 0]) < 5.6).all()
        assert abs(box.center[0, 1] - 1.65) < 1e-9
        shape = Polygon(corners[:, [0, 2]])
        for other in range(len(occupied)):
            assert shape.distance(Polygon(occupied.corners[other, :4][:, [0, 2]])) > 0.05
        occupied = Boxes3D.concatenate([occupied, box])


def test_positions_are_uniform_over_the_ground() -> None:
    frame = road_frame(half_width=3.0)
    site = Placement(depth=(8, 40)).survey(frame)
    z = site.sample(np.random.default_rng(1), 20_000)[:, 2]
    counts = np.histogram(z, np.arange(12, 41, 4))[0]  # from 12 m on the camera sees the whole width
    assert counts.max() / counts.min() < 1.25
    x = site.sample(np.random.default_rng(2), 20_000)[:, 0]
    assert abs(x.mean()) < 0.15
    depth = Placement(depth=(8, 40), map=False).survey(frame).sample(np.random.default_rng(3), 20_000, True)[:, 2]
    counts = np.histogram(depth, np.arange(8, 41, 4))[0]
    assert counts.max() / counts.min() < 1.25


def test_without_map_objects_leave_the_road() -> None:
    frame = road_frame(half_width=2.5)
    placement = Placement(map=False, depth=(8, 40))
    rng, site = derive(0), placement.survey(frame)
    boxes = [placement.place(site, SolidAsset(), Boxes3D.empty(), rng) for _ in range(40)]
    x = np.array([box.center[0, 0] for box in boxes if box is not None])
    assert (np.abs(x) > 4).mean() > 0.3


def test_drawn_from_the_view_the_map_keeps_the_first_candidate_on_the_road() -> None:
    frame = road_frame(half_width=4.0)
    options: dict[str, Any] = {"depth": (8, 40), "drawn_from": "view"}
    on, off = Placement(**options), Placement(map=False, **options)
    shared = 0
    for seed in range(60):
        kept, free = (p.place(p.survey(frame), SolidAsset(), Boxes3D.empty(), derive(seed)) for p in (on, off))
        assert kept is not None
        assert free is not None
        np.testing.assert_array_equal(kept.dims, free.dims)  # the same car
        assert on.survey(frame).holds(kept)[0] == 1.0
        same = np.array_equal(kept.center, free.center)
        assert same == (on.survey(frame).holds(free)[0] == 1.0)  # the pose differs only where the map forbids it
        if same:
            np.testing.assert_array_equal(kept.yaw, free.yaw)
        shared += same
    assert 5 < shared < 55


def test_without_a_mask_a_corridor_is_used() -> None:
    frame, placement = road_frame(road=False), Placement(corridor=(-3.0, 2.0), depth=(5, 60), corridor_depth=25)
    rng, site = derive(0), placement.survey(frame)
    for _ in range(30):
        box = placement.place(site, SolidAsset(), Boxes3D.empty(), rng)
        if box is not None:
            assert box.corners[0, :4, 0].min() >= -3.0
            assert box.corners[0, :4, 0].max() <= 2.0
            assert box.center[0, 2] < 26


def test_a_segmenter_stands_in_for_the_mask() -> None:
    road = road_frame().road
    assert road is not None
    placement = Placement(segmenter=lambda image: road, depth=(5, 40))
    site = placement.survey(road_frame(road=False))
    assert site.mask is road


def test_yaw_follows_the_road() -> None:
    placement = Placement(uniform_yaw_share=0.0, yaw_std=0.0, opposite_share=0.5, depth=(8, 35))
    rng, site = derive(3), placement.survey(road_frame(half_width=3.0))
    boxes = [placement.place(site, SolidAsset(), Boxes3D.empty(), rng) for _ in range(60)]
    yaw = np.array([box.yaw[0] for box in boxes if box is not None])
    assert (np.abs(np.abs(yaw) - np.pi / 2) < 0.05).all()
    assert 0.2 < (yaw > 0).mean() < 0.8


def test_a_fixed_pose_is_kept_or_refused() -> None:
    frame, placement = road_frame(box_at(2.0, 20.0)), Placement(depth=(5, 40))
    site, rng = placement.survey(frame), derive(0)
    pose = box_at(-2.0, 14.0)
    box = placement.place(site, SolidAsset(pose=pose), frame.objects.boxes, rng)
    assert box is not None
    np.testing.assert_array_equal(box.center, pose.center)
    assert placement.place(site, SolidAsset(pose=box_at(2.0, 21.0)), frame.objects.boxes, rng) is None
    assert placement.place(site, SolidAsset(pose=box_at(9.0, 14.0)), frame.objects.boxes, rng) is None


def test_class_dims_follow_their_mean() -> None:
    placement = Placement(dims="class", depth=(6, 40))
    rng, site = derive(1), placement.survey(road_frame(half_width=8.0))
    boxes = [placement.place(site, SolidAsset(), Boxes3D.empty(), rng) for _ in range(60)]
    dims = np.concatenate([box.dims for box in boxes if box is not None])
    np.testing.assert_allclose(dims.mean(0), [3.88, 1.53, 1.63], atol=0.2)
    assert dims.std(0).min() > 0.02


def test_no_class_has_sizes_near_zero() -> None:
    for name, known in CLASSES.items():
        dims = np.array([Placement(dims="class")._draw_dims(name, None, derive(seed)) for seed in range(200)])
        assert (dims >= np.array(known.dims) / 4).all(), name


@pytest.mark.parametrize("azimuth", [45, 90, 135])
def test_an_asset_of_one_side_is_turned_to_show_it(azimuth: int) -> None:
    limits = pickle.loads(pickle.dumps(Visibility.around(np.radians([azimuth]) + np.pi / 2, np.zeros(1), 0.25)))
    placement, frame = Placement(), road_frame()
    site = placement.survey(frame)
    boxes = [placement.place(site, SolidAsset(visibility=limits), Boxes3D.empty(), derive(seed)) for seed in range(40)]
    placed = Boxes3D.concatenate([box for box in boxes if box is not None])
    assert len(placed) > 36
    assert limits.allows([CAMERA], placed).all()
    assert placed.alpha.std() > 0.05


def test_no_road_is_an_error_that_names_the_sample_and_a_cure() -> None:
    frame = road_frame()
    with pytest.raises(PlacementError, match=r"sample 000007: no road.*on_impossible") as error:
        Placement().survey(frame.with_(road=np.zeros_like(frame.road)))
    assert "\n" not in str(error.value)
    with pytest.raises(PlacementError, match="no ground plane"):
        Placement(plane="frame").survey(frame.with_(plane=None))
    with pytest.raises(InputError, match="nearest < farthest"):
        Placement(depth=(30, 10))


def test_a_source_that_asks_is_told_a_free_place_and_its_direction() -> None:
    real = box_at(-2.0, 12.0)
    frame, placement = road_frame(real), Placement(plane="frame")
    site = placement.survey(frame)
    proposals = [placement.wanted({"Car": site}, real, derive(seed))("Car") for seed in range(30)]
    known = [proposal for proposal in proposals if proposal is not None]
    assert len(known) > 20
    for proposal in known:
        assert abs(wrap_angle(proposal.box.alpha - proposal.alpha)[0]) < 0.02  # the fourth column of P
        assert -np.pi <= proposal.alpha < np.pi
        assert 0 < proposal.elevation < 0.3
        made = SolidAsset(pose=proposal.box)
        assert placement.place(site, made, real, derive(0)) is not None  # the place stays free for what is made for it
    dims = np.concatenate([proposal.box.dims for proposal in known])
    np.testing.assert_allclose(dims.mean(0), object_class("Car").dims, atol=0.25)


def test_what_is_left_open_is_the_class_s_own() -> None:
    frame, placement = road_frame(half_width=6.0), Placement()
    assert placement.survey(frame, "Pedestrian").cells[:, 3].max() < 41 < placement.survey(frame).cells[:, 3].max()
    assert Placement(depth=(8, 20)).habit("Pedestrian").depth == (8, 20)
    person = SolidAsset(name="Pedestrian", dims=np.array(object_class("Pedestrian").dims))
    rng, site = derive(5), placement.survey(frame, "Pedestrian")
    boxes = [placement.place(site, person, Boxes3D.empty(), rng) for _ in range(60)]
    yaw = np.array([box.yaw[0] for box in boxes if box is not None])
    assert (np.abs(np.abs(yaw) - np.pi / 2) > 0.6).mean() > 0.25  # they look any way


def test_the_table_knows_kitti_and_nuscenes() -> None:
    assert {*DETECTION_NAMES, "Car", "Van", "Truck", "Pedestrian", "Cyclist", "Tram", "Misc"} <= set(CLASSES)
    for name, known in CLASSES.items():
        assert min(known.dims) > 0.3, name
        assert known.still in ("", *ATTRIBUTES_OF.get(name, ())), name
    assert object_class("unicorn") == CLASSES["Misc"]


def test_a_frame_is_segmented_once_for_all_classes() -> None:
    asked: list[np.ndarray] = []

    def segmenter(image: np.ndarray) -> np.ndarray:
        asked.append(image)
        return np.ones(image.shape[1:], np.bool_)

    surveyed = Placement(segmenter=segmenter).surveyor(road_frame(road=False))
    assert surveyed("Van") is surveyed("Car")  # one habit, one site
    assert surveyed("Pedestrian") is not surveyed("Car")
    assert len(asked) == 1
