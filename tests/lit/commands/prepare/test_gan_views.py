"""``prepare gan-views`` with inverted templates: what it writes, how it goes on, what it refuses."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from datamodules.objects.object_images import backdrop
from datamodules.objects.posed_images import PosedImageSet
from lit.cli import main
from lit.posing.codes import PoseCodes
from lit.posing.inversion import InversionSettings, invert
from lit.posing.views import GanViews, composited, object_probability
from lit.proxies.segmentation import Segmenter
from lit.weights import write_stylegan2
from tests.lit.posed_boxes import write_posed_boxes
from tests.lit.posing.test_views import SIZE, Blob, small


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    write_stylegan2(tmp_path / "gan.safetensors", small())
    (tmp_path / "seg.ckpt").write_text("weights")
    write_posed_boxes(tmp_path / "templates", objects=2, views=6, size=SIZE)
    monkeypatch.setattr(Segmenter, "load", staticmethod(lambda path: Blob()))
    files = ["--generator", str(tmp_path / "gan.safetensors"), "--segmenter", str(tmp_path / "seg.ckpt")]
    paths = ["--templates", str(tmp_path / "templates"), "--root", str(tmp_path / "out")]
    return ["prepare", "gan-views", *files, *paths, "--pose-layers", "2", "--steps", "4", "--views", "4"]


def test_the_command_writes_a_posed_image_set(command: list[str], tmp_path: Path) -> None:
    assert main([*command, "--objects", "2"]) == 0
    posed, template = PosedImageSet.load(tmp_path / "out"), PosedImageSet.load(tmp_path / "templates")
    assert posed.ids == ("gan-000000", "gan-000001")
    assert (posed.views, posed.image_size, posed.name) == (4, SIZE, "Car")
    assert np.array_equal(posed.dims, template.dims[[0, 0]])
    chosen = [0, 2, 3, 5]
    assert np.array_equal(posed.projection[1], template.projection[0][chosen])
    assert not np.array_equal(posed.rgba[0], posed.rgba[1])
    assert {"templates.png", "cars.png", "draws.json"} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_the_command_goes_on_where_it_stopped(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--objects", "3"]) == 0
    out = tmp_path / "out"
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    progress = json.loads((out / "draws.json").read_text())
    progress["draws"] = progress["draws"][:1]  # as if killed after the first car
    (out / "draws.json").write_text(json.dumps(progress))
    for name in ("gan-000001.npz", "gan-000002.npz", "posed.json"):
        os.remove(out / name)
    kept = (out / "gan-000000.npz").stat().st_mtime_ns
    assert main([*command, "--objects", "3"]) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    assert (out / "gan-000000.npz").stat().st_mtime_ns == kept
    assert main([*command, "--objects", "4"]) == 0  # more of the same
    assert len(PosedImageSet.load(out)) == 4
    assert main([*command, "--objects", "3", "--seed", "5"]) == 2
    assert "another seed" in capsys.readouterr().err


def test_several_templates_take_turns(command: list[str], tmp_path: Path) -> None:
    def codes(root: str, name: str) -> np.ndarray:
        with np.load(tmp_path / root / f"{name}.npz") as stored:
            return np.array(stored["latents"])

    assert main([*command, "--objects", "3", "--template-object", "1", "0"]) == 0
    both, template = PosedImageSet.load(tmp_path / "out"), PosedImageSet.load(tmp_path / "templates")
    assert np.array_equal(both.dims, template.dims[[1, 0, 1]])
    chosen = [0, 2, 3, 5]
    assert np.array_equal(both.projection, template.projection[[1, 0, 1]][:, chosen])
    assert not np.array_equal(template.projection[0], template.projection[1])
    first, second = codes("out", "templates"), codes("out", "templates-1")
    assert first.shape == second.shape
    assert not np.array_equal(first, second)
    for number, own, cars in (("1", first, (0, 2)), ("0", second, (1,))):
        alone = tmp_path / number  # a template's cars are the same whichever others stand beside it
        assert main([*command, "--root", str(alone), "--objects", "3", "--template-object", number]) == 0
        assert np.array_equal(codes(number, "templates"), own)
        for car in cars:
            assert np.array_equal(both.rgba[car], PosedImageSet.load(alone).rgba[car])


def test_one_template_is_inverted_and_drawn_as_by_hand(command: list[str], tmp_path: Path) -> None:
    """The command adds nothing of its own to what its parts give."""
    assert main([*command, "--objects", "1"]) == 0
    template, behind = PosedImageSet.load(tmp_path / "templates"), backdrop(SIZE, "grey", np.random.default_rng())
    found = invert(small(), composited(template.rgba[0], behind), InversionSettings(steps=4)).latents
    with np.load(tmp_path / "out" / "templates.npz") as stored:
        assert np.array_equal(stored["latents"], found.numpy())
    poses = PoseCodes("box", found, template.projection[0], template.dims[0], template.rgba[0, ..., 3] > 127)
    car = GanViews(small(), partial(object_probability, Blob(), [1]), poses, 2, 4, backdrop=behind).draw(0)  # type: ignore[arg-type]
    assert car.rgba is not None
    assert np.array_equal(PosedImageSet.load(tmp_path / "out").rgba[0], car.rgba)


def test_several_templates_go_on_where_they_stopped(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*command, "--template-object", "0", "1", "--objects", "3"]
    assert main(command) == 0
    out = tmp_path / "out"
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    for name in ("templates-1.npz", "templates-1.png", "gan-000001.npz", "gan-000002.npz", "posed.json"):
        os.remove(out / name)
    progress = json.loads((out / "draws.json").read_text())
    (out / "draws.json").write_text(json.dumps({**progress, "draws": progress["draws"][:1]}))
    assert main(command) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    capsys.readouterr()
    assert main([*command, "--template-object", "1", "0"]) == 2
    assert "another template" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pose-layers", "6"], "expected 1 to 5"),
        (["--views", "7"], "box000 has 6 poses"),
        (["--template-object", "2"], "has 2 objects"),
        (["--template-object", "0", "0"], "expected every number once"),
        (["--backdrop", "blue"], "expected grey or R,G,B"),
        (["--min-area", "0.9", "--objects", "2"], "0 cars have 4 good views, expected 2"),
        (["--min-confidence", "2"], "min-confidence"),
    ],
)
def test_bad_requests_are_one_line(
    options: list[str], message: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *options]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert len(error.splitlines()) == 1


def test_bad_inputs_are_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(message: str, *options: str) -> None:
        assert main([*command, *options]) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert len(error.splitlines()) == 1

    write_posed_boxes(tmp_path / "large", objects=1, views=4, size=24)
    refused("images of 24 pixels, the generator makes 16", "--templates", str(tmp_path / "large"))
    index = tmp_path / "large" / "posed.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "objects": []}))
    refused("$.objects: Expected `array` of length >= 1", "--templates", str(tmp_path / "large"))
    refused("not found", "--templates", str(tmp_path / "nothing"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    refused("holds other files", "--root", str(tmp_path / "full"))
    for text, message in (
        ("[1]", "got `array`"),
        ("", "no valid JSON"),
        ('{"settings": {}, "draws": [1]}', "$.draws[0]"),
    ):
        (tmp_path / "full" / "draws.json").write_text(text)
        refused(message, "--root", str(tmp_path / "full"))
    monkeypatch.setattr(Segmenter, "load", staticmethod(lambda path: Blob(likely=0.0)))
    refused("masks nothing in any of 6 template views")
    model = Blob()
    model.classes = ["background", "road"]
    monkeypatch.setattr(Segmenter, "load", staticmethod(lambda path: model))
    refused("expected one of object")
