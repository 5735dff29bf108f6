"""Class image sets: what splits hold, the same bytes by seed, reading ImageNet's layout, draws by sample."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from datamodules.errors import InputError
from datamodules.images import read_image, write_image
from datamodules.objects.object_images import view_angles
from datamodules.objects.studio import view_projection
from datamodules.recognition.augmix import AugMix
from datamodules.recognition.class_folder import ClassFolder
from datamodules.recognition.class_images import ClassBatches, ClassImages
from datamodules.recognition.class_writer import (
    CLASS_INDEX,
    ClassSetSettings,
    folder_name,
    rolled,
    write_class_images,
    write_class_renders,
)
from datamodules.recognition.conditions import CLASS_SPLITS, COVERED, occluded, reshaped, weathered
from datamodules.recognition.poses import POSES
from datamodules.renders.generated import Generated, ImageLog, generated_images
from datamodules.renders.model_meshes import studio_models
from datamodules.renders.render_set import RenderSet
from datamodules.renders.render_writer import RenderSettings, write_renders
from datamodules.samplers import Position
from datamodules.shapes.meshes import car
from lit.cli import main
from lit.proxies.pose_estimator import rotations_of

TINY = ClassSetSettings(("car", "bicycle"), 2, 1, 2, size=32, supersample=1)


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("classes") / "set"
    write_class_images(root, TINY)
    return root


@pytest.fixture(scope="module")
def tiny_renders(tmp_path_factory: pytest.TempPathFactory) -> RenderSet:
    settings = RenderSettings(32, 2, supersample=1, distance=1.5)
    return write_renders(tmp_path_factory.mktemp("renders") / "r", studio_models(["car", "bicycle"], 1), settings)


def pictures(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_set_follows_from_its_seed(tiny_set: Path, tmp_path: Path) -> None:
    written = pictures(tiny_set)
    write_class_images(tmp_path / "again", TINY)
    assert pictures(tmp_path / "again") == written
    counts = json.loads(written[CLASS_INDEX])["splits"]
    assert counts == dict.fromkeys(CLASS_SPLITS, 4) | {"train": 8}
    assert len({data for name, data in written.items() if name.endswith(".png")}) == 28  # no picture twice
    (tmp_path / "again" / "id/car/000000_00.png").write_bytes(b"")
    with pytest.raises(InputError, match="differs from its checksum"):
        read_image(tmp_path / "again" / "id/car/000000_00.png")
    with pytest.raises(InputError, match="holds a class image set of other settings"):
        write_class_images(tiny_set, ClassSetSettings(("car", "bicycle"), 2, 1, 2, size=32, supersample=1, seed=1))


def test_a_folder_of_pictures_is_read_with_its_poses(tiny_set: Path) -> None:
    found = ClassFolder.load(tiny_set / "id", posed=True)
    assert found.classes == ("bicycle", "car")
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert found.pose.shape == (4, 4)
    assert found.camera is not None
    assert found.camera.dims["car"][0] == pytest.approx(4, abs=1)
    assert found.camera.field_of_view == pytest.approx(49.13, abs=0.01)
    assert found.read(0, None).shape == (3, 32, 32)
    assert found.read(0, 16).shape == (3, 16, 16)
    few = ClassFolder.load(tiny_set / "id", per_class=1)
    assert few.labels.tolist() == [0, 1]
    assert np.isnan(few.pose).all()


def test_a_split_may_show_some_classes_only(tiny_set: Path) -> None:
    found = ClassFolder.load(tiny_set / "id", ("bicycle", "bus", "car"))
    assert found.labels.tolist() == [0, 0, 2, 2]


def test_photographs_of_any_shape_are_cut_to_squares(tmp_path: Path) -> None:
    write_image(tmp_path / "val/dog/a.png", np.arange(3 * 20 * 40, dtype=np.uint8).reshape(3, 20, 40))
    assert ClassFolder.load(tmp_path / "val").read(0, 16).shape == (3, 16, 16)
    poses = {"schema": 1, "field_of_view": 30.0, "dims": {"dog": [1, 1, 1]}, "poses": {"dog/a.png": [0, 0, 0, 2]}}
    (tmp_path / "val" / POSES).write_text(json.dumps(poses))
    with pytest.raises(InputError, match="40 x 20 pixels, expected a square picture where poses are known"):
        ClassFolder.load(tmp_path / "val", posed=True).read(0, 16)


def test_bad_folders_are_named(tiny_set: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder; expected a folder of pictures by class"):
        ClassFolder.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no folder of a class in it"):
        ClassFolder.load(tmp_path)
    with pytest.raises(InputError, match=r"class 'car', expected some of bicycle, cat; did you mean 'cat'\?"):
        ClassFolder.load(tiny_set / "id", ("bicycle", "cat"))
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match="cat: no picture in it"):
        ClassFolder.load(tmp_path)
    write_image(tmp_path / "cat/a.png", np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(InputError, match=r"poses.json: not found"):
        ClassFolder.load(tmp_path, posed=True)
    for poses, said in (
        ({}, "missing required field `poses`"),
        ({"b": [0, 0, 0, 1]}, "no pose of cat/a.png"),
        ({"b": [0, 99, 0, 1]}, "<= 90"),
    ):
        content = {"schema": 1, "field_of_view": 30.0, "dims": {}} | ({"poses": poses} if poses else {})
        (tmp_path / POSES).write_text(json.dumps(content))
        with pytest.raises(InputError, match=said):
            ClassFolder.load(tmp_path, posed=True)


def test_a_rolled_view_is_the_pose_it_says() -> None:
    dims, angles = np.array([4.0, 1.5, 1.7]), (70.0, 20.0, 25.0)
    projection = rolled(view_projection(dims, *angles[:2], 64, 6.0), angles[2], 64)
    focal, middle = 32 / np.tan(np.deg2rad(15)), 31.5
    pose = np.linalg.solve(np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]]), projection)
    expected = rotations_of(torch.tensor([angles], dtype=torch.float64))[0].numpy()
    np.testing.assert_allclose(pose[:, :3] / (dims / 2), expected, atol=1e-12)
    np.testing.assert_allclose(pose[:, 3], [0, 0, 6], atol=1e-12)
    assert view_angles(projection, dims) == pytest.approx(angles[:2])


def test_conditions_change_what_they_say() -> None:
    rng = np.random.default_rng(0)
    mesh = car("studio", 0)
    ratio = np.sort(reshaped(mesh, rng).dims / mesh.dims)
    assert np.isclose(ratio, 1).sum() == 2
    assert ratio[0] < 0.76 or ratio[2] > 1.34
    solid = np.zeros((40, 40), bool)
    solid[10:30, 5:35] = True
    picture = np.full((40, 40, 3), 700.0, np.float32)  # no occluder is as bright
    for _ in range(20):
        hidden = (occluded(picture, solid, rng) < 699).all(-1) & solid
        assert COVERED[0] <= hidden.sum() / solid.sum() <= COVERED[1] + 0.06
    assert all(np.abs(weathered(np.zeros((40, 40, 3), np.float32), rng)).mean() > 15 for _ in range(6))


def test_augmix_follows_from_seed_epoch_and_sample(tiny_set: Path) -> None:
    image = ClassFolder.load(tiny_set / "train").read(0, None)
    mix, state = AugMix(), torch.get_rng_state()
    assert torch.equal(mix(image, 5), mix(image, 5))
    assert not torch.equal(mix(image, 5), mix(image, 6))
    assert torch.equal(state, torch.get_rng_state())  # nobody else's draws move
    folder = ClassFolder.load(tiny_set / "train", posed=True)

    def drawn(rank: int, world: int, batch: int, epoch: int = 0) -> dict[str, torch.Tensor]:
        data = ClassBatches(folder, 32, batch, Position(rank, world, 3), True, True, None, AugMix())
        found = [data[(epoch, step)] for step in range(8 // (world * batch))]
        return {name: image for part in found for name, image in zip(part.ids, part.images)}

    alone, two = drawn(0, 1, 4), drawn(0, 2, 2) | drawn(1, 2, 2)
    assert alone.keys() == two.keys()
    assert len(alone) == 8
    assert all(torch.equal(image, two[name]) for name, image in alone.items())
    later = drawn(0, 1, 4, epoch=1)
    assert any(not torch.equal(image, later[name]) for name, image in alone.items())
    with pytest.raises(InputError, match="AugMix: severity 11"):
        AugMix(11)


def test_flipped_pictures_have_flipped_poses(tiny_set: Path) -> None:
    folder = ClassFolder.load(tiny_set / "train", posed=True)
    data = ClassBatches(folder, 32, 8, Position(), True, True)
    flips = 0
    for index in range(8):
        image, pose = data.picture(index, 0)
        plain = folder.read(index, None)
        if torch.equal(image, plain):
            assert pose.tolist() == folder.pose[index].tolist()
        else:
            flips += 1
            assert torch.equal(image, plain.flip(-1))
            azimuth, elevation, roll, distance = folder.pose[index].tolist()
            assert pose.tolist() == pytest.approx([-azimuth % 360, elevation, -roll, distance])
    assert 0 < flips < 8


def test_renders_become_a_training_split(tiny_renders: RenderSet, tmp_path: Path) -> None:
    index = write_class_renders(tmp_path / "set", tiny_renders)
    assert index.splits == {"train": 4}
    found = ClassFolder.load(tmp_path / "set/train", posed=True)
    first = next(iter(tiny_renders)).annotation
    row = found.names.index("car/car_000000_000.png")
    assert found.pose[row] == pytest.approx([first.azimuth, first.elevation, 0, 1.5], abs=1e-4)
    assert found.camera is not None
    assert found.camera.dims["car"] == pytest.approx(first.dims)


def test_a_stopped_write_is_gone_on_with_and_mixes_with_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datamodules.recognition import class_writer

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    more = ClassSetSettings(("car", "bicycle"), 2, 1, 3, size=32, supersample=1)
    with monkeypatch.context() as patched:
        patched.setattr(class_writer, "_finish", stop)
        for name, options in (("set", TINY), ("mixed", more)):
            with pytest.raises(KeyboardInterrupt):
                write_class_images(tmp_path / name, options)
    with pytest.raises(InputError, match=r"000000_02.png: is no picture of this set, a stopped run .*delete .*mixed"):
        write_class_images(tmp_path / "mixed", TINY)
    with monkeypatch.context() as patched:
        patched.setattr(class_writer, "ClassSetSettings", lambda *_, **__: TINY)
        ClassImages(str(tmp_path / "set")).prepare_data()
    assert (tmp_path / "set" / CLASS_INDEX).is_file()
    (tmp_path / "own" / "train" / "car").mkdir(parents=True)
    with pytest.raises(InputError, match=r"own: holds train and no class_images\.json"):
        write_class_images(tmp_path / "own", TINY)


def test_images_that_were_drawn_again_are_another_set(tiny_renders: RenderSet, tmp_path: Path) -> None:
    for shade in (0, 90):
        for render in tiny_renders:
            pixels = np.full((32, 32, 3), shade, np.uint8)
            Generated(render, "shades", 0).write(pixels, ImageLog(f"shade{shade}", 0, "", "", 1.0, ""))
        images = generated_images(tiny_renders, "shades")
        if not shade:
            write_class_renders(tmp_path / "set", tiny_renders, images)
            write_class_renders(tmp_path / "set", tiny_renders, images)
    with pytest.raises(InputError, match="holds a class image set of other settings"):
        write_class_renders(tmp_path / "set", tiny_renders, images)
    with pytest.raises(InputError, match="size 100000: expected 8 to 4096"):
        write_class_renders(tmp_path / "large", tiny_renders, images, 100_000)


def test_the_datamodule_has_a_loader_a_split(tiny_set: Path, tmp_path: Path) -> None:
    data = ClassImages(str(tiny_set), posed=True, size=32, batch_size=3)
    data.setup()
    assert data.classes == ("bicycle", "car")
    assert len(data.val_dataloader()) == 5
    ids = [name for loader in data.val_dataloader() for batch in loader for name in batch.ids]
    assert len(set(ids)) == 20
    batches = list(data.train_dataloader())
    assert len(batches) == 2
    assert batches[0].images.shape == (3, 3, 32, 32)
    other = ClassImages(str(tiny_set), str(tiny_set / "id"), {"id": "train"}, size=32, crop=(0.5, 1.0), batch_size=2)
    other.setup()
    assert next(iter(other.train_dataloader())).images.shape == (2, 3, 32, 32)
    with pytest.warns(UserWarning, match="data.splits id: .* holds the training pictures"):
        ClassImages(str(tiny_set), splits={"id": "train", "ood": "light"}).setup()
    with pytest.raises(InputError, match="per_class 0: expected at least 1"):
        ClassImages(per_class=0)
    with pytest.raises(InputError, match=r"crop \[0.0, 1\]"):
        ClassImages(crop=(0.0, 1))
    with pytest.raises(InputError, match="crop with posed true"):
        ClassImages(crop=(0.5, 1), posed=True)
    with pytest.raises(InputError, match="trian: no such folder, nor trian"):
        ClassImages(str(tiny_set), "trian").setup()


def test_a_misspelt_folder_of_a_users_own_is_no_studio(tmp_path: Path) -> None:
    for options in ({"splits": {"id": "val"}}, {"train": "images"}, {}):
        data = ClassImages(str(tmp_path / "imagent"), **options)
        if not options:  # a network that knows other classes than the studio has
            data.trainer = SimpleNamespace(lightning_module=SimpleNamespace(classes=["cat", "dog"]))  # type: ignore[assignment]
        data.prepare_data()
        with pytest.raises(InputError, match=r"imagent.*: no such folder"):
            data.setup()
    assert not (tmp_path / "imagent").exists()


def test_classes_of_renders_are_folders_of_the_set() -> None:
    names = ["car", "traffic cone", "tv/monitor", "../../outside", ".."]
    assert [folder_name(name) for name in names] == ["car", "traffic_cone", "tv_monitor", "_.._outside", "unnamed"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--studio", "car"], "classes car: expected two or more"),
        (["--studio", "car", "vna"], "studio class 'vna'"),
        (["--size", "4"], "size 4: expected 16 to 2048"),
        (["--roll", "90"], "roll 90: expected a spread of 0 to 45 degrees"),
        (["--mode", "9"], "viewpoint mode 9"),
        (["--distance", "0.5"], "distance 0.5: expected 0.9 to 100"),
        (["--renders", "x", "--views", "2"], "--views with --renders: expected one of both"),
        (["--filtered"], "--name and --filtered are of --renders DIR"),
        (["--renders", "nowhere"], "nowhere/renders.json: not found"),
        (["--seed", "-1"], "--seed -1: expected 0 or more"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "class-images", "--root", "out", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


def test_the_command_writes_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = "--studio van pedestrian --train-objects 1 --test-objects 1 --views 1 --size 16 --supersample 1 --workers 1"
    assert main(["prepare", "class-images", "--root", str(tmp_path / "out"), *small.split()]) == 0
    assert "2 train, 2 id, 2 light, 2 occlusion, 2 shape, 2 weather" in capsys.readouterr().out
    assert main(["prepare", "class-images", "--root", str(tmp_path / "out"), *small.split()]) == 0
