"""Road masks from maps, beside the true ones of the surround world, whose maps hold its streets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from datamodules.errors import DatasetNotFound
from datamodules.images import read_image
from datamodules.nuscenes.datamodule import visible_objects
from datamodules.nuscenes.maps.map_masks import MapMasks
from datamodules.nuscenes.samples import read_samples
from datamodules.nuscenes.tables import Tables


def masks_and_truth(root: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Channel, mask and true mask (H, W) bool of all training pictures."""
    maps = MapMasks(root / "maps" / "expansion", root / "v1.0-world")
    for sample in read_samples(Tables(root / "v1.0-world"), str(root / "ImageSets" / "train.txt")):
        objects = [visible_objects(sample.truth.boxes, shot)[0] for shot in sample.shots]
        for shot, mask in zip(sample.shots, maps.masks(sample, objects), strict=True):
            true = read_image(root / "road" / shot.channel / f"{shot.file.stem}.png", -1) > 127
            yield shot.channel, mask, true


def test_masks_are_the_worlds_road_less_what_boxes_hide(tiny_surround: Path) -> None:
    every = list(masks_and_truth(tiny_surround))
    assert len(every) == 24
    masks, true = (np.stack(kind) for kind in list(zip(*every))[1:])
    assert (masks & true).sum() / masks.sum() > 0.97  # next to nothing that is no road
    assert (masks & true).sum() / true.sum() > 0.7  # boxes hide more than what is in them
    for channel in ("CAM_FRONT", "CAM_BACK"):
        mine = np.array([name == channel for name, _, _ in every])
        assert (masks[mine] & true[mine]).sum() / true[mine].sum() > 0.7
    assert not masks[:, :30].any()  # of 90 rows: nothing above the horizon


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFound, match=r"correct --maps"):
        MapMasks(tmp_path / "maps", tmp_path)
