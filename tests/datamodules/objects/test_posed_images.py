"""Reading and checking posed image sets from any source."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.objects.posed_images import PosedImageSet, write_object, write_posed_index
from tests.datamodules.objects.foreign_set import foreign_set


def arrays(views: int = 3, size: int = 8) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "rgba": rng.integers(0, 255, (views, size, size, 4), np.uint8),
        "projection": rng.normal(size=(views, 3, 4)),
        "depth": np.ones((views, size, size), np.float16),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(2):
        write_object(tmp_path, f"object-{i}", arrays())
    write_posed_index(
        tmp_path, "Car", 8, 3, ["object-0", "object-1"], np.array([[4, 1.5, 1.6], [3.5, 1.4, 1.6]]), "test"
    )
    return tmp_path


def test_round_trip_and_subset(folder: Path) -> None:
    posed = PosedImageSet.load(folder)
    assert (len(posed), posed.views, posed.image_size, posed.name) == (2, 3, 8, "Car")
    np.testing.assert_array_equal(posed.rgba[1], arrays()["rgba"])
    assert posed.normals is None
    part = posed.subset([1], [0, 2])
    assert part.ids == ("object-1",)
    assert part.rgba.shape == (1, 2, 8, 8, 4)
    assert part.depth is not None
    assert part.depth.shape == (1, 2, 8, 8)
    np.testing.assert_array_equal(part.projection[0, 1], posed.projection[1, 2])


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / "posed.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_every_defect_is_one_line_that_names_the_file(folder: Path, tmp_path: Path) -> None:
    foreign_set(folder)
    good = {p.name: p.read_bytes() for p in folder.iterdir()}

    def damaged(message: str) -> None:
        with pytest.raises(InputError, match=message) as caught:
            PosedImageSet.load(folder)
        assert "\n" not in str(caught.value)
        for name, data in good.items():
            (folder / name).write_bytes(data)

    rewrite(folder, schema=2)
    damaged(r"checksums\.json: missing or without posed\.json")
    rewrite(folder, schema=3)
    damaged(r"posed\.json, \$\.schema: .*schema 1 .*write the set again")
    rewrite(folder, objects=[])
    damaged(r"\$\.objects: .*length >= 1")
    rewrite(folder, objects=[{"id": "object-0", "dims": [4, 0, 1]}])
    damaged(r"\$\.objects\[0\]\.dims\[1\]: .*> 0")
    rewrite(folder, objects=[{"id": "object-0", "dims": [4, 1e308, 1]}])
    damaged(r"\$\.objects\[0\]\.dims\[1\]")
    rewrite(folder, objects=[{"dims": [4, 1, 1]}])
    damaged(r"\$\.objects\[0\]: .*missing required field `id`")
    for identity in ("../object-0", "\x1b[31m", 64, ""):
        rewrite(folder, objects=[{"id": identity, "dims": [4, 1, 1]}])
        damaged(r"\$\.objects\[0\]\.id")
    rewrite(folder, objects=[{"id": "object-0", "dims": [4, 1, 1]}] * 2)
    damaged(r"\$\.objects: two objects have one id")
    rewrite(folder, **{"class": float("nan")})
    damaged(r"\$\.class")
    rewrite(folder, image_size="8")
    damaged(r"\$\.image_size")
    (folder / "posed.json").write_text("{")
    damaged("no valid JSON")
    (folder / "object-1.npz").unlink()
    damaged("object-1.npz: not found")
    (folder / "object-1.npz").write_bytes(good["object-1.npz"][:200])
    damaged("object-1.npz: cut short")
    write_object(folder, "object-0", arrays(views=2))
    damaged(r"object-0.npz: .* expected")
    write_object(folder, "object-0", {**arrays(), "projection": np.full((3, 3, 4), np.nan)})
    damaged("not finite")
    (folder / "posed.json").unlink()
    damaged("posed.json: not found; expected a posed image set")


def test_unknown_arrays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected"):
        write_object(tmp_path, "x", {**arrays(), "colour": np.zeros(3)})
    with pytest.raises(InputError, match="expected"):
        write_object(tmp_path, "x", {"rgba": arrays()["rgba"]})


def test_a_set_of_our_own_is_compared_with_its_checksums(folder: Path) -> None:
    good = {p.name: p.read_bytes() for p in folder.iterdir()}
    rewrite(folder, objects=[{"id": "object-0", "dims": [4, 1.5, 1.6]}])
    with pytest.raises(InputError, match=r"posed\.json: differs from its checksum"):
        PosedImageSet.load(folder)
    (folder / "posed.json").write_bytes(good["posed.json"])
    write_object(folder, "object-0", arrays(views=2))
    with pytest.raises(InputError, match=r"object-0\.npz: differs from its checksum"):
        PosedImageSet.load(folder)
    (folder / "object-0.npz").write_bytes(good["object-0.npz"])
    (folder / "checksums.json").write_bytes(good["checksums.json"].replace(b"object-1", b"object-2"))
    with pytest.raises(InputError, match=r"checksums\.json: damaged"):
        PosedImageSet.load(folder)
    (folder / "checksums.json").unlink()
    with pytest.raises(InputError, match=r"checksums\.json: missing or without posed\.json"):
        PosedImageSet.load(folder)


def test_objects_that_a_foreign_index_leaves_out_are_said(folder: Path) -> None:
    foreign_set(folder)
    rewrite(folder, objects=[{"id": "object-0", "dims": [4, 1.5, 1.6]}])
    with pytest.warns(UserWarning, match=r"1 objects that posed\.json does not list are left out: object-1\.npz"):
        assert len(PosedImageSet.load(folder)) == 1
