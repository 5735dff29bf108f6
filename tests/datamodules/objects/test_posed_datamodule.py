from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.errors import InputError
from datamodules.objects.posed_datamodule import PosedDataModule, RayDataset
from datamodules.objects.posed_rays import draw_patch, draw_pixels
from datamodules.samplers import Position
from tests.lit.posed_boxes import orbit_projection, write_posed_boxes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_posed_boxes(tmp_path_factory.mktemp("posed") / "boxes", objects=3, views=10, size=24)


def module(folder: Path, **changes: Any) -> PosedDataModule:
    settings = {"batch_objects": 2, "views_per_object": 2, "rays": 64, "held_out_every": 5, "create": False}
    data = PosedDataModule(str(folder), **{**settings, **changes})
    data.setup()
    return data


def test_views_are_split_without_overlap(folder: Path) -> None:
    data = module(folder)
    assert data.train_set is not None
    assert data.held_out is not None
    assert data.train_set.views == 8
    assert data.held_out.views == 2
    seen = {p.tobytes() for p in data.train_set.projection.reshape(-1, 12)}
    assert not seen & {p.tobytes() for p in data.held_out.projection.reshape(-1, 12)}


def test_rays_carry_the_colour_of_their_pixel(folder: Path) -> None:
    """Every ray, projected back into each view of its object, finds its colour in one of them."""
    data = module(folder, ray_shares=[0.5, 0.25, 0.25])
    batch = data.train_dataloader().dataset[(0, 0)]
    posed = data.train_set
    assert posed is not None
    for item, row in enumerate(batch.objects):
        points = (batch.origins[item] + 7.0 * batch.directions[item]).double().numpy()
        found = np.zeros(len(points), bool)
        for view in range(posed.views):
            projection = posed.projection[row, view]
            x, y, z = projection[:, :3] @ points.T + projection[:, 3:]
            u, v = x / z, y / z
            ours = (np.abs(z - 7) < 1e-3) & (np.abs(u - u.round()) < 1e-3) & (np.abs(v - v.round()) < 1e-3)
            ours &= (u > -0.5) & (u < 23.5) & (v > -0.5) & (v < 23.5)
            pixel = posed.rgba[row, view][v.round().astype(int).clip(0, 23), u.round().astype(int).clip(0, 23)]
            found |= ours & (np.abs(pixel / 255.0 - batch.rgba[item].numpy()).max(1) < 1e-5)
        assert found.all()


def test_batches_depend_on_seed_epoch_and_step_only(folder: Path) -> None:
    first, again = (module(folder).train_dataloader().dataset for _ in range(2))
    assert torch.equal(first[(2, 5)].origins, again[(2, 5)].origins)
    for other in (first[(2, 6)], first[(3, 5)], module(folder, seed=1).train_dataloader().dataset[(2, 5)]):
        assert not torch.equal(first[(2, 5)].origins, other.origins)


def test_objects_come_up_equally_often(folder: Path) -> None:
    dataset = module(folder).train_dataloader().dataset
    drawn = torch.cat([dataset[(0, step)].objects for step in range(6)])
    assert torch.bincount(drawn).tolist() == [4, 4, 4]


def test_processes_take_their_parts_of_one_batch(folder: Path) -> None:
    """Two of one object each draw what one process with two objects draws, also where the set has fewer."""
    whole = module(folder).train_dataloader().dataset[(1, 4)]
    posed = module(folder).train_set
    assert posed is not None
    asked = (2, 64, 0, None, False)
    for wanted in (1, 9):  # three objects are no more than one for each of two
        parts = [RayDataset(posed, wanted, *asked, Position(rank, 2))[(1, 4)] for rank in range(2)]
        for name in ("objects", "origins", "directions", "rgba", "background"):
            both = torch.cat([getattr(part, name) for part in parts])
            assert torch.equal(both, getattr(whole, name)), name
        assert [part.images for part in parts] == [2, 2]
        assert parts[0].seed == parts[1].seed == whole.seed


def test_shares_of_rays() -> None:
    size, projection = 24, orbit_projection(0.3, 0.2, np.array([4.0, 1.5, 1.7]), 24)
    alpha = np.zeros((size, size), np.uint8)
    alpha[10:14, 8:16] = 255
    picked = draw_pixels(alpha, projection, 1000, [0.6, 0.3, 0.1], np.random.default_rng(0))
    inside = alpha.ravel()[picked] > 0
    assert 600 <= inside.sum() <= 700
    rows, columns = picked[600:900] // size, picked[600:900] % size
    assert not inside[600:900].any()
    assert rows.min() >= 6
    assert rows.max() <= 17
    assert columns.min() >= 4
    assert columns.max() <= 19


def test_patch_stays_in_the_image() -> None:
    alpha = np.zeros((24, 24), np.uint8)
    alpha[0, 23] = 255
    pixels = draw_patch(alpha, 8, np.random.default_rng(0))
    assert (pixels // 24).tolist() == np.repeat(np.arange(8), 8).tolist()
    assert sorted(set((pixels % 24).tolist())) == list(range(16, 24))


def test_bad_settings_say_what_to_do(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="three shares"):
        PosedDataModule(str(folder), ray_shares=[0.5, 0.5])
    with pytest.raises(InputError, match="multiple of views_per_object"):
        PosedDataModule(str(folder), rays=10, views_per_object=4)
    with pytest.raises(InputError, match="asks for 9"):
        module(folder, objects=9)
    with pytest.raises(InputError, match="not found"):
        module(tmp_path / "nothing")
