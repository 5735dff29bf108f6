from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.errors import InputError
from datamodules.objects.object_images import ObjectImages, PictureBatches, view_angles
from datamodules.objects.posed_images import PosedImageSet
from datamodules.objects.studio import view_projection
from datamodules.samplers import Position
from tests.lit.posed_boxes import write_posed_boxes


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_posed_boxes(tmp_path_factory.mktemp("posed") / "boxes", objects=5, views=6, size=16)


def data(folder: Path, **changes: Any) -> ObjectImages:
    module = ObjectImages(str(folder), **{"batch_size": 4, "steps_per_epoch": 6, "create": False} | changes)
    module.setup()
    return module


def test_angles_are_those_the_studio_rendered_from() -> None:
    dims, azimuth, elevation = np.array([4.1, 1.5, 1.8]), [0.0, 90, 200, 359], [0.0, 5, 12, 20]
    projection = np.stack([view_projection(dims, a, e, 64) for a, e in zip(azimuth, elevation)])
    assert np.allclose(view_angles(projection, dims), np.stack([azimuth, elevation], 1), atol=1e-6)


def test_objects_are_split_and_each_held_out_picture_comes_once(boxes: Path) -> None:
    module = data(boxes)
    assert module.train_set is not None
    batches = list(module.val_dataloader())
    ids = [name for batch in batches for name in batch.ids]
    assert sorted(ids) == [f"box004/{view}" for view in range(6)]
    assert [len(batch.images) for batch in batches] == [4, 2]
    assert "box004" not in module.train_set.ids


def test_an_epoch_shows_every_picture_and_two_processes_share_it(boxes: Path) -> None:
    posed = PosedImageSet.load(boxes)

    def shown(batch: int, rank: int, ranks: int) -> list[str]:
        parts = PictureBatches(posed, batch, "grey", False, True, Position(rank, ranks))
        return [name for step in range(5) for name in parts[(3, step)].ids]

    alone = shown(6, 0, 1)
    assert sorted(alone) == sorted(f"{i}/{v}" for i in posed.ids for v in range(6))
    both = [shown(3, rank, 2) for rank in range(2)]
    assert sorted(both[0] + both[1]) == sorted(alone)
    assert both[0][:3] + both[1][:3] == alone[:6]


@pytest.mark.parametrize(("batch", "ranks"), [(4, 2), (2, 4), (1, 4), (16, 3), (1, 6)])
def test_processes_hold_out_every_picture_once_in_equally_many_batches(boxes: Path, batch: int, ranks: int) -> None:
    posed = PosedImageSet.load(boxes).subset([4])
    shares = [PictureBatches(posed, batch, "grey", False, False, Position(r, ranks)).held_out() for r in range(ranks)]
    assert len({len(share) for share in shares}) == 1
    assert all(len(rows) for share in shares for rows in share)
    assert np.concatenate([rows for share in shares for rows in share]).tolist() == list(range(6))


def test_more_processes_than_held_out_pictures_are_refused(boxes: Path) -> None:
    posed = PosedImageSet.load(boxes).subset([4])
    with pytest.raises(InputError, match="6 held-out pictures for 7 processes"):
        PictureBatches(posed, 4, "grey", False, False, Position(0, 7)).held_out()


def test_objects_stand_on_the_backdrop(boxes: Path) -> None:
    posed = PosedImageSet.load(boxes)
    grey = PictureBatches(posed, 4, "grey", False, False, Position())[(0, 0)]
    alpha = torch.from_numpy(posed.rgba[0, :4, :, :, 3])
    columns = grey.images[0].permute(1, 2, 0)[alpha[0] == 0]
    assert (columns.amax(1) == columns.amin(1)).all()
    assert grey.images[0, 0, 0, 0] == 200
    solid = alpha == 255
    wanted = torch.from_numpy(posed.rgba[0, :4, :, :, :3])[solid]
    assert torch.equal(grey.images.permute(0, 2, 3, 1)[solid], wanted)
    painted = PictureBatches(posed, 4, "colour", False, False, Position())
    assert torch.equal(painted[(0, 0)].images, painted[(0, 0)].images)
    assert not torch.equal(painted[(0, 0)].images[:, :, 0, 0], painted[(1, 0)].images[:, :, 0, 0])
    assert torch.equal(painted[(0, 0)].images.permute(0, 2, 3, 1)[solid], wanted)


def test_a_mirrored_picture_has_the_mirrored_azimuth(boxes: Path) -> None:
    posed = PosedImageSet.load(boxes)
    plain, mirrored = (PictureBatches(posed, 24, "grey", flip, False, Position())[(0, 0)] for flip in (False, True))
    flipped = (mirrored.images != plain.images).flatten(1).any(1)
    assert 4 < int(flipped.sum()) < 20
    assert torch.equal(mirrored.images[flipped], plain.images[flipped].flip(3))
    assert torch.allclose(mirrored.pose[flipped, 0], -plain.pose[flipped, 0] % 360)
    assert torch.equal(mirrored.pose[:, 1], plain.pose[:, 1])


def test_bad_options_are_named(boxes: Path) -> None:
    with pytest.raises(InputError, match="backdrop 'sky'"):
        ObjectImages(str(boxes), backdrop="sky")
    with pytest.raises(InputError, match="holds 5 objects"):
        data(boxes, val_every=6)
