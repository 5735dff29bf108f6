"""Light of synthetic worlds: read by frame or scene, refused when damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datamodules.errors import InputError
from datamodules.light import read_lights


def test_lights_of_frames_and_scenes(tmp_path: Path) -> None:
    assert read_lights(tmp_path / "none") == {}
    stored = {"sun": [0, -1, 0], "ambient": 0.5, "exposure": 1.25, "population": "train"}
    (tmp_path / "world.json").write_text(json.dumps({"frames": {"000001": stored}, "schema": 1}))
    light = read_lights(tmp_path)["000001"]
    assert (light.sun.tolist(), light.ambient, light.exposure) == ([0, -1, 0], 0.5, 1.25)
    other = tmp_path / "other"
    other.mkdir()
    for sun in ("[0, -1]", "[0, NaN, 1]", '"up"', "null"):
        (other / "world.json").write_text(f'{{"scenes": {{"a": {{"sun": {sun}}}}}}}')
        with pytest.raises(InputError, match=r"world\.json, \$\.scenes\[\.\.\.\]\.sun.*prepare world") as caught:
            read_lights(other)
        assert "\n" not in str(caught.value)
