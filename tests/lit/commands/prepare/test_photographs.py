from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datamodules.objects.photos.depth_images import FolderPhotos, photo_paths
from lit.cli import main
from lit.commands.prepare.filter_images import typical
from tests.datamodules.objects.photos.test_depth_images import write_folder


def test_the_studio_writes_photographs_with_true_depth(tmp_path: Path) -> None:
    words = ["prepare", "depth-images", "--root", str(tmp_path), "--objects", "2", "--size", "32", "--workers", "1"]
    assert main(words) == 0
    paths = photo_paths(tmp_path)
    assert [path.parent.name for path in paths] == ["car", "car"]
    photo = FolderPhotos(tmp_path, paths, 32, masks=True).read(0)
    assert photo.alpha is not None
    inside = photo.alpha > 200
    assert 0.1 < inside.mean() < 0.7
    assert inside[0].sum() + inside[-1].sum() + inside[:, 0].sum() + inside[:, -1].sum() == 0
    place = photo.depth[inside] - 5
    assert -1 < place.min() < -0.1
    assert place.max() < 1


def test_other_classes_of_the_studio_have_folders_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["prepare", "depth-images", "--root", str(tmp_path), "--objects", "1", "--size", "24", "--workers", "1"]
    assert main([*words, "--classes", "van", "pedestrian"]) == 0
    paths = photo_paths(tmp_path)
    assert [path.as_posix() for path in paths] == ["pedestrian/pedestrian000000.png", "van/van000000.png"]
    shares = []
    for index in (0, 1):
        alpha = FolderPhotos(tmp_path, paths, 24, masks=True).read(index).alpha
        assert alpha is not None
        shares.append(float((alpha > 127).mean()))
    assert 0.02 < shares[0] < shares[1] < 0.8
    assert main([*words, "--classes", "vann"]) == 2
    assert "studio class 'vann': expected some of car, van" in capsys.readouterr().err


def test_the_likeliest_of_each_class_are_kept() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((60, 6))
    features[[3, 40]] += 30
    classes = np.repeat(["a", "b"], 30)
    kept = typical(features, classes, 1 / 3)
    assert [kept[:30].sum(), kept[30:].sum()] == [10, 10]
    assert not kept[[3, 40]].any()
    deviations = features[:30] - features[:30].mean(0)
    covariance = deviations.T @ deviations / 29 + 1e-5 * np.eye(6)
    distance = np.einsum("nd,de,ne->n", deviations, np.linalg.inv(covariance), deviations)
    np.testing.assert_array_equal(np.sort(np.argsort(distance)[:10]), np.flatnonzero(kept[:30]))


def test_the_filter_writes_a_list_that_data_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = write_folder(tmp_path / "set", 8), tmp_path / "kept.txt"
    words = ["prepare", "filter-images", "--root", str(root), "--out", str(out), "--extractor", "random:0"]
    assert main([*words, "--share", "0.5", "--size", "32"]) == 0
    assert len(photo_paths(root, out)) == 4
    assert main([*words, "--share", "0"]) == 2
    assert "--share 0.0: expected above 0" in capsys.readouterr().err
