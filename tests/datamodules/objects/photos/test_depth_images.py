from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from datamodules.errors import InputError
from datamodules.objects.photos.depth_files import depth_path, read_depth, write_depth
from datamodules.objects.photos.depth_images import DepthImages, FolderPhotos, photo_paths
from datamodules.objects.photos.photo import PhotoBatch, cube_projection


def write_folder(root: Path, count: int = 4, channels: int = 3) -> Path:
    rng = np.random.default_rng(0)
    for index in range(count):
        path = root / f"class{index % 2}" / f"photo{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (20, 28, channels), dtype=np.uint8)
        if channels == 4:
            image[..., 3] = 0
            image[6:14, 8:20, 3] = 255
        cv2.imwrite(str(path), image)
        write_depth(path, np.full((20, 28), 4.5 + 0.2 * index))
    return root


def test_depth_follows_the_stores_rule(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    depth = np.array([[4.0, 5.0, 5.99, 7.0], [3.0, 4.25, 4.5, 5.5]])
    write_depth(image, depth)
    stored: Any = cv2.imread(str(depth_path(image)), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    assert stored[0].tolist() == [0, 32768, 65208, 65535]
    np.testing.assert_allclose(read_depth(image), np.clip(depth, 4, 6), atol=4e-5)


def test_photographs_are_cropped_to_their_middle_square(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set")
    paths = photo_paths(root)
    assert [path.as_posix() for path in paths] == [
        "class0/photo0.png", "class0/photo2.png", "class1/photo1.png", "class1/photo3.png",
    ]  # fmt: skip
    photo = FolderPhotos(root, paths, 20, masks=False).read(1)
    stored: Any = cv2.imread(str(root / paths[1]))
    stored = stored[:, 4:24, ::-1]
    np.testing.assert_array_equal(photo.rgb, stored)
    np.testing.assert_allclose(photo.depth, 4.9, atol=4e-5)
    assert (photo.id, photo.name, photo.alpha) == ("class0/photo2", "class0", None)
    np.testing.assert_array_equal(photo.projection, cube_projection(20))


def test_masks_leave_depth_unknown_outside(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", channels=4)
    photo = FolderPhotos(root, photo_paths(root), 20, masks=True).read(0)
    assert photo.alpha is not None
    np.testing.assert_array_equal(np.isnan(photo.depth), photo.alpha <= 127)
    assert 0 < np.isnan(photo.depth).mean() < 1


def test_a_mirrored_photograph_is_what_a_mirrored_scene_shows(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set")
    photo = FolderPhotos(root, photo_paths(root), 20, masks=False).read(0)
    mirrored = photo.mirrored()
    np.testing.assert_array_equal(mirrored.rgb, photo.rgb[:, ::-1])
    point = np.array([0.3, -0.2, 0.5, 1.0])
    first, second = photo.projection @ point, mirrored.projection @ (point * [-1, 1, 1, 1])
    np.testing.assert_allclose(second[0] / second[2], 19 - first[0] / first[2])
    np.testing.assert_allclose(second[1:], first[1:])


def test_batches_depend_on_seed_epoch_and_step_alone(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", 8)

    def batch(step: int, seed: int = 0) -> PhotoBatch:
        data = DepthImages(str(root), size=16, batch_size=3, val_every=4, steps_per_epoch=4, seed=seed)
        data.setup()
        return data.train_dataloader().dataset[(1, step)]

    first, again, other = batch(0), batch(0), batch(0, 1)
    assert first.ids == again.ids
    assert first.seed == again.seed != other.seed
    assert torch.equal(first.images, again.images)
    assert first.images.shape == (3, 3, 16, 16)
    assert not first.masked
    assert len({id for step in range(2) for id in batch(step).ids}) == 6  # each of six before any comes again


def test_a_list_chooses_photographs(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set")
    (tmp_path / "kept.txt").write_text("class1/photo3\nclass0/photo0\n")
    assert [path.stem for path in photo_paths(root, tmp_path / "kept.txt")] == ["photo3", "photo0"]
    (tmp_path / "kept.txt").write_text("class1/photo9\n")
    with pytest.raises(InputError, match="'class1/photo9' is no photograph"):
        photo_paths(root, tmp_path / "kept.txt")


def eight_bits(path: Path) -> None:
    cv2.imwrite(str(depth_path(path)), np.full((20, 28), 90, np.uint8))


def eight_bits_in_sixteen(path: Path) -> None:
    cv2.imwrite(str(depth_path(path)), np.full((20, 28), 90, np.uint16))


def three_channels(path: Path) -> None:
    cv2.imwrite(str(depth_path(path)), np.full((20, 28, 3), 30000, np.uint16))


def other_size(path: Path) -> None:
    cv2.imwrite(str(depth_path(path)), np.full((10, 14), 30000, np.uint16))


@pytest.mark.parametrize(
    ("damage", "masks", "says"),
    [
        (eight_bits, False, "8 bits and 1 channel.*expected 16 bits"),
        (eight_bits_in_sixteen, False, "values up to 90 of 65535.*multiplied by 256"),
        (three_channels, False, "16 bits and 3 channel"),
        (other_size, False, "10 x 14 pixels, expected those of its image, 20 x 28"),
        (lambda path: depth_path(path).unlink(), False, "photo0_depth.png does not exist.*16-bit depth map"),
        (lambda path: None, True, "no alpha channel, expected a mask"),
    ],
)
def test_bad_folders_are_one_line(damage: Callable[[Path], None], masks: bool, says: str, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set")
    damage(root / "class0" / "photo0.png")
    with pytest.raises(InputError, match=says) as caught:
        FolderPhotos(root, photo_paths(root), 16, masks).read(0)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=says):  # and before a training begins
        DepthImages(str(root), size=16, masks=masks, val_every=2).setup()


def test_every_missing_depth_is_found_at_once_and_classes_are_told(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", 40)
    data = DepthImages(str(root), size=16, val_every=4)
    data.setup()
    assert data.classes == ("class0", "class1")
    for number in (5, 7):
        depth_path(root / "class1" / f"photo{number}.png").unlink()
    with pytest.raises(
        InputError, match=r"photo5_depth.png does not exist \(and that of 1 more photographs\); expected"
    ):
        data.setup()


def test_empty_and_small_folders_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        photo_paths(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no CLASS/NAME"):
        photo_paths(tmp_path)
    data = DepthImages(str(write_folder(tmp_path / "set")), val_every=20)
    with pytest.raises(InputError, match="4 photographs: val_every 20 holds none out"):
        data.setup()
    with pytest.raises(InputError, match="batch_size 0"):
        DepthImages("x", batch_size=0)


def test_one_photograph_is_enough_to_predict(tmp_path: Path) -> None:
    data = DepthImages(str(write_folder(tmp_path / "set", 1)), size=16)
    data.setup("predict")
    assert [batch.ids for batch in data.predict_dataloader()] == [("class0/photo0",)]
    with pytest.raises(InputError, match="1 photographs: val_every 20 holds none out"):
        data.setup("fit")


def test_photographs_of_one_name_are_one_line(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set")
    cv2.imwrite(str(root / "class1" / "photo3.jpg"), np.zeros((20, 28, 3), np.uint8))
    with pytest.raises(InputError, match=r"class1/photo3\.jpg and class1/photo3\.png would share a depth map"):
        photo_paths(root)


def test_epochs_without_steps_and_counts_below_none_are_one_line(tmp_path: Path) -> None:
    data = DepthImages(str(write_folder(tmp_path / "set")), size=16, val_every=2, steps_per_epoch=0)
    data.setup()
    with pytest.raises(InputError, match="steps_per_epoch 0: expected at least 1"):
        data.train_dataloader()
    with pytest.raises(InputError, match="val_photos -1"):
        DepthImages("x", val_photos=-1)
