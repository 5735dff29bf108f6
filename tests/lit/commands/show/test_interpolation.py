"""Films of mixed latents: their ends are the bank's own objects, every format opens, wrong input is one line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.errors import InputError
from lit.commands.show.interpolation import between, check_objects, load_lift3d, mixes, write_film
from lit.generators.lift3d import Lift3D
from lit.networks.fields.triplane_field import TriplaneField


@pytest.fixture(scope="module")
def model() -> Lift3D:
    torch.manual_seed(0)
    network = TriplaneField(
        plane_resolution=8, plane_channels=4, channel_base=64, channel_max=8, w_dim=8, hidden=8
    )  # fmt: skip
    made = Lift3D(network, objects=3, latent_init=1.0, joint_images=8, refine_images=8, bake_shape=(8, 6, 6)).eval()
    assert made.residuals is not None
    torch.nn.init.normal_(made.residuals.values)
    made.dims[1] *= 4.0
    return made


def test_the_ends_are_the_objects_and_sizes_mix_in_their_logarithm(model: Lift3D) -> None:
    with torch.no_grad():
        own = [model.asset(*model.object_planes(i), "own", "Car", model.dims[i]) for i in (0, 1)]
    for index, share in ((0, 0.0), (1, 1.0)):
        np.testing.assert_array_equal(between(model, 0, 1, share).grid, own[index].grid)  # type: ignore[attr-defined]
    half = between(model, 0, 1, 0.5)
    np.testing.assert_allclose(half.dims, own[0].dims * 2.0, rtol=1e-5)
    grids = [asset.grid.astype(int) for asset in (half, *own)]  # type: ignore[attr-defined]
    assert np.abs(grids[0] - grids[1]).max() > 2
    assert np.abs(grids[0] - grids[2]).max() > 2


def test_the_path_visits_every_object_once() -> None:
    path = list(mixes([2, 0, 1], 4))
    assert len(path) == 9
    assert (path[0], path[4], path[-1]) == ((2, 0, 0.0), (0, 1, 0.0), (0, 1, 1.0))


@pytest.mark.parametrize("suffix", [".mp4", ".webp", ".gif"])
def test_films_open_and_keep_their_pictures(tmp_path: Path, suffix: str) -> None:
    film = [np.full((32, 48, 3), (200, 60 * i, 30), np.uint8) for i in range(4)]
    path = tmp_path / f"film{suffix}"
    write_film(path, film, 12)
    if suffix == ".mp4":
        capture = cv2.VideoCapture(str(path))
        found = []
        while (answer := capture.read())[0]:
            found.append(answer[1][..., ::-1])
    else:
        with Image.open(path) as image:
            found = []
            for index in range(4):
                image.seek(index)
                found.append(np.asarray(image.convert("RGB")))
    assert len(found) == 4
    for one, other in zip(found, film, strict=True):
        assert np.abs(one.astype(int) - other).mean() < 6
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_wrong_input_is_one_line(model: Lift3D, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rows from 0 to 2"):
        check_objects(model, [0, 3])
    with pytest.raises(InputError, match="expected two or more"):
        check_objects(model, [0])
    config = Path(__file__).resolve().parents[4] / "conf" / "experiment" / "lift3d.yaml"
    with pytest.raises(InputError, match="no such file"):
        load_lift3d(config, tmp_path / "none.ckpt")
    (tmp_path / "bad.ckpt").write_bytes(b"nothing")
    refused(config, tmp_path / "bad.ckpt", "no readable weights .*expected the checkpoint of a training with")
    torch.save({"state_dict": {"latents": torch.zeros(1)}}, tmp_path / "other.ckpt")
    refused(config, tmp_path / "other.ckpt", "weights of another shape .*expected the checkpoint of a training with")
    torch.save([1], tmp_path / "list.ckpt")
    refused(config, tmp_path / "list.ckpt", "list.ckpt: holds no tensor")


def refused(config: Path, checkpoint: Path, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        load_lift3d(config, checkpoint)
    assert "\n" not in str(caught.value)
