"""Pictures, films and meshes of a tiny pix2pix3D: files that open, and wrong input in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from datamodules.errors import InputError
from lit.commands.show.command import main
from lit.commands.show.field import interpolation_grid, label_colours, seen
from lit.commands.start_maps import Start, brought_near, map_file
from lit.editing.page_requests import StartMap
from lit.pictures.label_maps import class_colours
from lit.rendering.orbit import ORBITS, Orbit
from tests.lit.commands.small_checkpoint import write_checkpoint
from tests.lit.networks.pix2pix3d.small import label_maps, small


def start() -> Start:
    car = ORBITS["car"]
    maps = [StartMap(str(i), labels, car.camera(i, 0.2)) for i, labels in enumerate(label_maps("segmentation").numpy())]
    return Start(small().eval(), maps, car, None, 0)


@pytest.mark.parametrize("kind", ["segmentation", "edges"])
def test_every_picture_is_written(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, maps = write_checkpoint(tmp_path, kind)
    given = ["--checkpoint", str(checkpoint), "--map", *map(str, maps), "--device", "cpu"]
    gap = 2
    wanted = {"sheet": (2 * 16 + gap, 5 * 16 + 4 * gap, 3), "grid": (2 * 16 + gap, 2 * 16 + gap, 3)}
    wanted["bank"] = (4 * 16 + 3 * gap, 2 * 16 + gap, 3)
    for what, shape in wanted.items():
        out = tmp_path / f"{what}.png"
        assert main(["field", what, "--out", str(out), *given, "--views", "2", "--steps", "2"]) == 0
        picture = cv2.imread(str(out))
        assert picture is not None
        assert picture.shape == shape
    film = tmp_path / "film.gif"
    assert main(["field", "film", "--out", str(film), *given, "--frames", "3", "--way", "swing"]) == 0
    with Image.open(film) as image:
        assert (image.size, getattr(image, "n_frames", 1)) == ((32, 16), 3)
    assert "wrote" in capsys.readouterr().out


def test_meshes_have_the_colours_of_classes_or_their_own(tmp_path: Path) -> None:
    checkpoint, maps = write_checkpoint(tmp_path)
    begun = start()
    with torch.no_grad():
        field = begun.network.field(begun.network.planes(begun.latent(0), "const"))
        level = float(field(torch.rand(1, 500, 3) - 0.5).density.median())
    given = ["--checkpoint", str(checkpoint), "--map", str(maps[0]), "--yaw", "0", "--cells", "16"]
    given += ["--density", str(level), "--device", "cpu"]
    found: list[Any] = []
    for colour in ("class", "rgb"):
        out = tmp_path / f"{colour}.ply"
        assert main(["field", "mesh", "--out", str(out), *given, "--colour", colour]) == 0
        found.append(trimesh.load(out, process=False))
    assert len(found[0].faces) == len(found[1].faces) > 0
    seen_colours = {tuple(c) for c in np.asarray(found[0].visual.vertex_colors)[:, :3]}
    assert seen_colours <= {tuple(c) for c in class_colours(4)}
    assert not np.array_equal(found[0].visual.vertex_colors, found[1].visual.vertex_colors)


def test_a_grid_begins_and_ends_with_the_two_objects_and_mixes_geometry_downwards() -> None:
    begun = start()
    sheet = interpolation_grid(begun, 2)
    tiles = [sheet[y : y + 16, x : x + 16] for y in (0, 18) for x in (0, 18)]
    camera = begun.maps[0].camera[None]
    for tile, latent in ((tiles[0], begun.latent(0, 0)), (tiles[3], begun.latent(1, 1))):
        np.testing.assert_array_equal(tile, seen(begun, latent, camera)[0][0])
    rows = begun.network.mapping.encoder.rows
    crossed = torch.cat([begun.latent(1)[:, :rows], begun.latent(0, 0)[:, rows:]], 1)
    np.testing.assert_array_equal(tiles[2], seen(begun, crossed, camera)[0][0])


def test_classes_and_edges_have_colours() -> None:
    np.testing.assert_array_equal(label_colours(np.eye(7)), class_colours(7))
    np.testing.assert_array_equal(label_colours(np.array([[0.0], [1.2]])), [[0] * 3, [255] * 3])


def test_wrong_input_is_one_line(tmp_path: Path) -> None:
    checkpoint, maps = write_checkpoint(tmp_path)
    edges, drawings = write_checkpoint(tmp_path, "edges")
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((16, 16), np.uint8))
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((16, 20), np.uint8))
    cv2.imwrite(str(tmp_path / "nine.png"), np.full((16, 16), 9, np.uint8))
    out = ["--out", str(tmp_path / "out.png"), "--device", "cpu"]
    for words, says in (
        (["sheet", "--checkpoint", str(checkpoint), *out], "no label map to begin with"),
        (["grid", "--checkpoint", str(checkpoint), "--map", str(maps[0]), *out], "between two label maps"),
        (["film", "--checkpoint", str(checkpoint), "--map", str(maps[0]), *out], "ends in .mp4, .webp, .gif"),
        (
            ["sheet", "--checkpoint", str(edges), "--map", str(tmp_path / "black.png"), *out],
            "expected dark lines on white",
        ),
        (
            ["sheet", "--checkpoint", str(checkpoint), "--map", str(tmp_path / "wide.png"), *out],
            "expected a square map",
        ),
        (["sheet", "--checkpoint", str(checkpoint), "--map", str(tmp_path / "nine.png"), *out], "class 9, the network"),
        (["sheet", "--checkpoint", str(checkpoint), "--data", str(tmp_path / "none"), *out], "none"),
        (["sheet", "--checkpoint", str(drawings[0]), *out], "neither a pickle nor .* expected pix2pix3D's generator"),
        (["sheet", "--checkpoint", str(checkpoint), "--map", str(maps[0]), "--yaw", "nan", *out], "expected degrees"),
        (
            ["sheet", "--checkpoint", str(checkpoint), "--map", str(maps[0]), "--seed", "-1", *out],
            "seed -1: expected 0",
        ),
    ):
        with pytest.raises(InputError, match=says) as caught:
            main(["field", *words])
        assert "\n" not in str(caught.value)


def test_files_are_read_as_training_data_is(tmp_path: Path) -> None:
    _, drawings = write_checkpoint(tmp_path, "edges")
    read = map_file(drawings[0], small("edges"), ORBITS["car"], 90.0, 0.0)
    assert read.labels.shape == (16, 16)
    assert -1 <= read.labels.min() < read.labels.max() == 1
    torch.testing.assert_close(read.camera[[3, 7, 11]], torch.tensor([1.7, 0.0, 0.0]), atol=1e-6, rtol=0)


def test_cameras_of_real_cars_come_into_the_range_that_is_seen() -> None:
    camera = Orbit(4.3, 3.0).camera(0.4, 0.2)
    near = brought_near(camera, 1.15, 2.25)
    assert float(near[[3, 7, 11]].norm()) == pytest.approx(1.7)
    origin = torch.zeros(1, 3)
    for part in (camera, near):  # the origin stays in the middle, what is about it keeps its size
        pose, intrinsics = part[:16].view(4, 4), part[16:].view(3, 3)
        middle = (origin - pose[:3, 3]) @ pose[:3, :3]
        torch.testing.assert_close(middle[0, :2], torch.zeros(2), atol=1e-5, rtol=0)
        assert float(intrinsics[0, 0] / middle[0, 2]) == pytest.approx(3.0 / 4.3, rel=1e-5)
    assert torch.equal(brought_near(near, 1.15, 2.25), near)
