from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.assets.crops.label_masks import LabelMasks
from datamodules.assets.recomposition import RecompositionSource
from datamodules.errors import InputError
from datamodules.geometry import canonical_projection
from datamodules.kitti.datamodule import KittiDataset
from datamodules.objects.photos.labelled_crops import CropPhotos, LabelledCrop, LabelledCrops, look_at
from datamodules.objects.photos.photo import Photo
from datamodules.objects.photos.shape_prior import ShapePrior
from datamodules.objects.studio import view_projection
from datamodules.scene import Frame
from tests.datamodules.assets.crops.scenes import CAMERA, DIMS, car_boxes, painted_frame

BOXES = car_boxes((-4.0, 14.0, 0.4), (3.0, 11.0, -1.2))


def photos(frame: Frame, size: int = 48) -> dict[int, Photo]:
    source = RecompositionSource(min_height=10)
    crops = source.cut(frame, LabelMasks())
    rows = {int(crop.id.rsplit("-", 1)[1]): crop for crop in crops}
    return {row: LabelledCrop(crop, frame, row).photo(size, ShapePrior(3)) for row, crop in rows.items()}


def test_the_new_camera_looks_at_the_middle_and_agrees_with_the_homography() -> None:
    for projection in canonical_projection(CAMERA, BOXES):
        turned, warp = look_at(projection, np.array(DIMS), 64)
        np.testing.assert_allclose(turned[:2, 3] / turned[2, 3], 31.5, atol=1e-6)
        for point in ([1.0, -1, 1, 1], [-1.0, 1, 0.3, 1]):
            before, after = projection @ point, turned @ point
            pixel = warp @ [before[0] / before[2], before[1] / before[2], 1]
            np.testing.assert_allclose(pixel[:2] / pixel[2], after[:2] / after[2], atol=1e-6)
            assert (np.abs(after[:2] / after[2] - 31.5) < 31.5).all()


def test_a_crop_shows_its_car_with_depth_inside_the_cube() -> None:
    for photo in photos(painted_frame(BOXES)).values():
        assert photo.alpha is not None
        inside = photo.alpha > 127
        assert 0.05 < inside.mean() < 0.6
        colours = photo.rgb[photo.alpha > 250].astype(int)
        assert np.abs(colours - np.median(colours, 0)).max(1).mean() < 20  # painted in one colour
        assert (~np.isnan(photo.depth)).sum() > 0.8 * inside.sum()
        place = photo.depth[~np.isnan(photo.depth)] - photo.projection[2, 3]
        assert np.abs(place).max() < 1
        assert place.mean() < 0  # the near side is seen


def test_what_hides_a_car_is_unknown() -> None:
    frame = painted_frame(car_boxes((0.0, 16.0, 0.0), (1.2, 9.0, -1.57)))
    source = RecompositionSource(min_height=10, max_occlusion=3)
    crops = [crop for crop in source.cut(frame, LabelMasks()) if crop.id.endswith("-0")]
    photo = LabelledCrop(crops[0], frame, 0).photo(48, ShapePrior(2))
    assert photo.known is not None
    assert photo.alpha is not None
    assert 0.02 < (photo.known == 0).mean() < 0.9
    assert not ((photo.known == 0) & (photo.alpha > 200)).any()


def test_the_world_gives_photographs_and_a_bank(tiny_world: Path) -> None:
    data = LabelledCrops(str(tiny_world), size=32, min_height=8, val_every=3, prior_cars=2, frames=6, batch_size=2)
    data.setup()
    batch = data.train_dataloader().dataset[(0, 0)]
    assert (batch.framed, batch.masked) == (True, True)
    assert batch.images.shape == (2, 3, 32, 32)
    known = ~batch.depth.isnan()
    assert known.any()
    assert torch.isfinite(batch.projection).all()
    assert data.predict_source is not None
    assert len(data.predict_source) >= 3


def test_crops_are_of_the_frames_that_a_detectors_training_has(tiny_world: Path) -> None:
    found = {}
    for subset, seed in (("first", 0), ("seed", 1), ("seed", 2)):
        which: dict[str, Any] = {"subset": subset, "subset_seed": seed}
        data = LabelledCrops(str(tiny_world), "train", 6, **which, size=32, min_height=8, val_every=3, prior_cars=2)
        data.setup()
        frames = KittiDataset(str(tiny_world), "train", 6, subset_seed=None if subset == "first" else seed)
        assert isinstance(data.predict_source, CropPhotos)
        found[seed] = {crop.crop.id.rsplit("-", 2)[1] for crop in data.predict_source.crops}
        assert found[seed] <= {frames.read(index).sample_id for index in range(6)}
    assert len({frozenset(ids) for ids in found.values()}) == 3


def test_no_objects_are_one_line(tiny_world: Path) -> None:
    with pytest.raises(InputError, match="none of 2 frames of train holds a Car of height >= 1000") as caught:
        LabelledCrops(str(tiny_world), frames=2, min_height=1000).setup()
    assert "\n" not in str(caught.value)


def test_a_person_has_the_depth_of_a_person(tiny_world: Path) -> None:
    dims = np.array([0.8, 1.75, 0.6])
    side = view_projection(dims, 90, 5, 48)
    person, _ = ShapePrior(2, name="Pedestrian").depth(side, np.full((48, 48), 255, np.uint8))
    car, _ = ShapePrior(2).depth(side, np.full((48, 48), 255, np.uint8))
    seen, boxy = ~np.isnan(person), ~np.isnan(car)
    assert 0.02 < seen.sum() / boxy.sum() < 0.8
    assert seen[: 48 // 2].sum(1).max() < boxy[: 48 // 2].sum(1).max()  # a head is narrower than a cabin
    assert LabelledCrops(str(tiny_world), name="Pedestrian").prior.name == "Pedestrian"


def test_few_crops_are_enough_to_predict(tiny_world: Path) -> None:
    data = LabelledCrops(str(tiny_world), size=16, min_height=8, val_every=900, prior_cars=1, frames=4)
    data.setup("predict")
    assert data.predict_source is not None
    assert len(data.predict_source) >= 1
    with pytest.raises(InputError, match="val_every 900 holds none out"):
        data.setup("fit")
