from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.errors import InputError
from datamodules.objects.photos.photo import PhotoBatch
from datamodules.objects.photos.posed_photo import place_in_cube, split_projection
from datamodules.objects.photos.studio_photos import PosedPhotos, StudioPhotos
from datamodules.objects.posed_images import PosedImageSet
from datamodules.objects.studio import view_projection
from tests.lit.posed_boxes import write_posed_boxes


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_posed_boxes(tmp_path_factory.mktemp("posed") / "boxes", objects=4, views=6, size=24)


def test_a_projection_is_taken_apart_and_put_together() -> None:
    dims = np.array([4.0, 1.5, 1.7])
    projection = view_projection(dims, 30, 12, 64) * 2.5  # any scale shows the same pixels
    intrinsics, rotation, middle = split_projection(projection, dims)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert (np.diag(intrinsics) > 0).all()
    np.testing.assert_allclose(
        2.5 * intrinsics @ np.column_stack([rotation * dims / 2, middle]), projection, rtol=1e-6, atol=1e-6
    )
    with pytest.raises(InputError, match="not that of a camera"):
        split_projection(projection * np.array([[-1.0], [1], [1]]), dims)


def test_the_cube_holds_the_box_and_depth_is_in_its_units(boxes: Path) -> None:
    posed = PosedImageSet.load(boxes)
    photos = PosedPhotos(posed, 0)
    for index in range(len(photos)):
        photo, view = photos.read(index), photos.view[index]
        assert photo.frame is not None
        corners = photo.frame[:3, :3] @ np.array([[1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1.0]]).T
        np.testing.assert_allclose(np.linalg.norm(corners, axis=0), 1, atol=1e-9)
        _, _, half = place_in_cube(posed.projection[index, view], posed.dims[index])
        assert posed.depth is not None
        seen = ~np.isnan(photo.depth)
        np.testing.assert_array_equal(seen, posed.rgba[index, view][..., 3] > 127)
        np.testing.assert_allclose(photo.depth[seen] * half, posed.depth[index, view][seen], rtol=1e-5)
        assert np.linalg.norm(photo.projection[2, :3]) == pytest.approx(1)


def test_truth_is_of_the_same_object_and_never_the_photograph(boxes: Path) -> None:
    data = StudioPhotos(str(boxes), batch_size=2, val_every=4, val_views=3, steps_per_epoch=2, create=False)
    data.setup()
    (views,) = list(data.val_dataloader())
    assert views.rgba.shape == (3, 24, 24, 4)
    assert views.photo.ids == (views.id,)
    assert (views.turn > 1).all()
    assert not any(torch.equal(views.rgba[view, ..., :3].permute(2, 0, 1), views.photo.images[0]) for view in range(3))
    train = {id.rsplit("-", 1)[0] for step in range(2) for id in data.train_dataloader().dataset[(0, step)].ids}
    assert views.id.rsplit("-", 1)[0] not in train
    assert len(data.predict_dataloader()) == 4


def test_sets_without_depth_are_one_line(boxes: Path) -> None:
    posed = replace(PosedImageSet.load(boxes), depth=None)
    with pytest.raises(InputError, match="has no depth"):
        PosedPhotos(posed, 0)


def test_sets_of_single_views_hold_out_photographs_alone(tmp_path: Path) -> None:
    folder = write_posed_boxes(tmp_path / "boxes", objects=4, views=1, size=16)
    data = StudioPhotos(str(folder), batch_size=2, val_every=4, steps_per_epoch=2, create=False)
    data.setup()
    (held,) = list(data.val_dataloader())
    assert isinstance(held, PhotoBatch)
    one = StudioPhotos(str(folder), val_every=20, create=False)
    one.setup("predict")
    assert len(one.predict_dataloader()) == 4
