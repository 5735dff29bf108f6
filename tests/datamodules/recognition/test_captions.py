"""Captions are true: sides, paints and parts of known objects; pictures with captions by seed, epoch and name."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.files.checksums import CHECKSUMS
from datamodules.objects.studio import render_views
from datamodules.randomness import derive
from datamodules.recognition.captioned_images import CaptionBatches, CaptionedImages, read_captioned
from datamodules.recognition.captioned_writer import CAPTIONED_INDEX, CaptionedSettings, write_captioned
from datamodules.recognition.captions import (
    SHADES,
    VIEW_SIDES,
    Facts,
    caption,
    colour_name,
    paint_of,
    parts_in_view,
    phrases,
    side_word,
)
from datamodules.samplers import Position
from datamodules.shapes.cars import draw_shape
from datamodules.shapes.meshes import car
from datamodules.shapes.primitives import HEADLIGHT, TAILLIGHT

TINY = CaptionedSettings(("car", "bicycle"), objects=3, views=2, size=16)


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("captions") / "set"
    write_captioned(root, TINY)
    return root


def test_words_of_the_side_follow_the_azimuth_as_the_studio_draws_it() -> None:
    assert [side_word(azimuth) for azimuth in (0, 44, 91, 136, 181, 224, 270, 316, 340)] == [*VIEW_SIDES, "front"]
    mesh = car("studio", 900_000, body="estate")
    views = render_views(mesh, [0, 90, 180, 270], [10] * 4, 64, supersample=2)
    front, left, rear, right = (parts_in_view(labels) for labels in views["parts"])
    assert "headlights" in front
    assert "tail lights" in rear
    assert not any("tail" in part for part in front)
    assert not any("headlight" in part for part in rear)
    assert "wheels" in left
    assert "wheels" in right
    columns = [
        [np.nonzero(views["parts"][view] == lamp)[1].mean() for lamp in (HEADLIGHT, TAILLIGHT)] for view in (1, 3)
    ]
    assert columns[0][0] < columns[0][1]  # who stands at a car's left side has its front on the left
    assert columns[1][0] > columns[1][1]


def test_paints_are_the_cars_own_and_named_by_the_nearest_colour() -> None:
    for number in range(900_000, 900_012):
        shape = draw_shape(derive(0, "car", "studio", number))
        assert paint_of(car("studio", number).mesh) == pytest.approx(shape.paint, abs=1e-6)
    for name, shades in SHADES.items():
        for shade in shades:
            assert colour_name([(value / 255) ** 2.2 for value in shade]) == name
    assert colour_name((0.4, 0.01, 0.01)) == "red"
    assert colour_name((0.006, 0.006, 0.007)) == "black"


def test_a_caption_says_nothing_that_is_not_true() -> None:
    facts = Facts("car", "estate", "red", "front left", ("a headlight", "wheels"))
    assert caption(facts) == "a photo of a red estate car seen from the front left with a headlight and wheels in view"
    said = Counter(caption(facts, derive(0, epoch, "x", "caption")) for epoch in range(200))
    assert len(said) > 60
    others = {"rear", "right", "van", *SHADES} - {"red"}
    for text in said:
        assert not others & set(text.replace(",", "").split()), text
    assert sum("red" in text for text in said.elements()) == pytest.approx(170, abs=20)
    assert caption(Facts("bicycle", None, None, "rear")) == "a photo of a bicycle seen from the rear"
    assert phrases("paint", "van", ["orange"]) == ["an orange van"]


def test_pictures_follow_from_seed_epoch_and_name_and_mirrors_change_sides(tiny_set: Path) -> None:
    classes, objects = read_captioned(tiny_set)
    assert classes == ("car", "bicycle")
    pictures = [picture for one in objects for picture in one]
    assert [picture.facts.side for picture in pictures] == [side_word(picture.azimuth) for picture in pictures]
    assert all((picture.facts.paint is None) == (picture.facts.name == "bicycle") for picture in pictures)
    turned, plain = (CaptionBatches(pictures, classes, 4, Position(), True, flip) for flip in (True, False))
    batch, again, other = turned[2, 0], turned[2, 0], turned[3, 0]
    assert batch.captions == again.captions
    assert bool((batch.images == again.images).all())
    assert set(batch.captions) != set(other.captions)
    mirrored = 0
    for index, picture in enumerate(pictures):
        image, facts, _ = turned.picture(index, 0)
        if bool((image != plain.picture(index, 0)[0]).any()):
            mirrored += 1
            assert facts.side == VIEW_SIDES[-VIEW_SIDES.index(picture.facts.side) % 8]
            assert (image[:, ::-1] == plain.picture(index, 0)[0]).all()
    assert 0 < mirrored < len(pictures)


def test_objects_are_held_out_and_sets_are_not_mixed_up(tiny_set: Path, tmp_path: Path) -> None:
    data = CaptionedImages(str(tiny_set), batch_size=2, val_every=3)
    data.prepare_data()
    data.setup()
    train, held = (
        {picture.id.partition("/")[0] for picture in part} for part in (data.train_pictures, data.val_pictures)
    )
    assert (len(train), len(held), len(train & held)) == (4, 2, 0)
    (tmp_path / "set").mkdir()
    write_captioned(tmp_path / "set", TINY)
    first, second = ((root / "car/car-00000.npz").read_bytes() for root in (tiny_set, tmp_path / "set"))
    assert first == second
    with pytest.raises(InputError, match="holds pictures of other settings"):
        write_captioned(tmp_path / "set", CaptionedSettings(("car", "bicycle"), objects=4))
    index = tmp_path / "set" / CAPTIONED_INDEX
    content = json.loads(index.read_text())
    content["objects"][0]["id"] = "car-00009"
    index.write_text(json.dumps(content))
    with pytest.raises(InputError, match="differs from its checksum"):
        read_captioned(tmp_path / "set")
    (tmp_path / "set" / CHECKSUMS).unlink()
    with pytest.raises(InputError, match="no object car-00009, which captions speak of"):
        read_captioned(tmp_path / "set")
    for bad, says in ((("car",), "two or more"), (("car", "plane"), "studio class 'plane'")):
        with pytest.raises(InputError, match=says):
            CaptionedSettings(bad)
    with pytest.raises(InputError, match="batch_size 1: expected at least 2"):
        CaptionedImages(batch_size=1)
