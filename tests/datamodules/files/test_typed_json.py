"""Typed JSON and YAML: good files parse, bad ones are refused in one line that names file and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from datamodules.errors import InputError
from datamodules.files.typed_json import Finite, Identifier, Metres, Text, read_json, read_yaml, structure


class Car(msgspec.Struct):
    id: Identifier
    dims: tuple[Metres, Metres, Metres]
    kind: str = msgspec.field(name="class", default="Car")
    note: Text = ""


class Fleet(msgspec.Struct):
    views: Annotated[int, msgspec.Meta(ge=1)]
    cars: Annotated[list[Car], msgspec.Meta(min_length=1)]
    bias: Finite = 0.0

    def __post_init__(self) -> None:
        if len({car.id for car in self.cars}) < len(self.cars):
            raise ValueError("two cars of one id")


CAR: dict[str, Any] = {"id": "a", "dims": [4, 1.5, 1.6], "class": "Van"}
GOOD: dict[str, Any] = {"views": 3, "cars": [CAR, {**CAR, "id": "b", "note": "two\nlines"}]}


def refused(path: Path, text: str | bytes) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError) as caught:
        (read_json if path.suffix == ".json" else read_yaml)(path, Fleet, "a fleet")
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    assert "a fleet" in message
    return message


@pytest.mark.parametrize("name", ["fleet.json", "fleet.yaml"])
def test_good_files_and_wrong_shapes(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(GOOD))
    fleet = (read_json if path.suffix == ".json" else read_yaml)(path, Fleet, "a fleet")
    assert fleet.cars[0].kind == "Van"
    assert fleet.cars[0].dims == (4.0, 1.5, 1.6)

    def car(**changes: Any) -> str:
        return json.dumps({**GOOD, "cars": [CAR, {**CAR, "id": "b", **changes}]})

    assert "$.views: Expected `int`, got `str`" in refused(path, json.dumps({**GOOD, "views": "3"}))
    assert "$.views: Expected `int`, got `bool`" in refused(path, json.dumps({**GOOD, "views": True}))
    assert "$.views: Expected `int` >= 1" in refused(path, json.dumps({**GOOD, "views": 0}))
    assert "$.cars[1].dims[0]" in refused(path, car(dims=[-1, 1, 1]))
    assert "$.cars[1].dims" in refused(path, car(dims=[1, 1, 1, 1]))
    assert "$.cars[1].id" in refused(path, car(id="../b"))
    assert "$.cars[1].note" in refused(path, car(note="\x1b[31m"))
    assert "two cars of one id" in refused(path, car(id="a"))
    assert "missing required field `cars`" in refused(path, '{"views": 3}')
    assert "Expected `object`, got `array`" in refused(path, "[1]")
    assert "'views' stands twice" in refused(path, '{"views": 3, "cars": [], "views": 4}')
    assert "no valid" in refused(path, "[" * 90_000)
    assert "no UTF-8" in refused(path, b'{"a": "\xff"}')
    path.unlink()
    with pytest.raises(InputError, match="not found; expected a fleet"):
        read_json(path, Fleet, "a fleet")


def test_json_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    assert "line 2" in refused(path, '{\n"views": }')
    assert "no valid JSON" in refused(path, '{"views": ' + "1" * 5000 + "}")
    for number in ("NaN", "Infinity", "1e999"):
        assert "$.bias" in refused(path, json.dumps(GOOD)[:-1] + f', "bias": {number}}}')
    assert "$.cars[0].id" in refused(path, json.dumps({**GOOD, "cars": [{**CAR, "id": "\ud800"}]}))
    assert "surrogates" in refused(path, json.dumps({**GOOD, "cars": [{**CAR, "dims": ["\ud800", 1, 1]}]}))


def test_yaml_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    assert "aliases" in refused(path, "views: &a 3\ncars: [*a, *a]\n")
    assert "line 2" in refused(path, "views: [\n")
    assert "no valid YAML" in refused(path, "views: !!python/object:os.system 1\n")


@pytest.mark.parametrize(
    ("place", "content", "kind", "line"),
    [
        ("arms", {3: 1}, dict[str, int], "grid.yaml: a key of arms: expected `str`, got `int`"),
        ("arms", {"../x": 1}, dict[Identifier, int], "grid.yaml: a key of arms: .*that names a file, without slashes"),
        ("name", "../x", Identifier, "grid.yaml: name is '../x', .*that names a file, without slashes"),
        ("seeds", [1, "a"], list[int], r"grid.yaml: seeds\[1\] is 'a', expected `int`"),
    ],
)
def test_parts_of_a_file_are_named_in_words(place: str, content: object, kind: object, line: str) -> None:
    with pytest.raises(InputError, match=line):
        structure(Path("grid.yaml"), place, content, kind)
