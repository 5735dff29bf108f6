"""Grids that extend others, arms like others, and arms left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datamodules.errors import InputError
from lit.experiments.grid_layers import grid_content, with_arms_resolved

HERE = Path("grid.yaml")


def content() -> dict[str, Any]:
    return {
        "arms": {
            "none": {"frames": [50, 100]},
            "bank": {"options": {"data.injection": "bank.yaml", "data.injection.count": 1}},
            "many": {"like": "bank", "options": {"data.injection.count": 3}},
        },
        "prepare": [{"name": "world"}, {"name": "bank", "arms": ["bank"]}, {"name": "plain", "arms": ["none"]}],
    }


def test_an_arm_like_another_has_its_options_and_its_steps_but_not_its_frames() -> None:
    found = with_arms_resolved(HERE, content())
    assert found["arms"]["many"] == {"options": {"data.injection": "bank.yaml", "data.injection.count": 3}}
    assert found["arms"]["bank"] == content()["arms"]["bank"]
    assert [step.get("arms") for step in found["prepare"]] == [None, ["bank", "many"], ["none"]]


def test_steps_of_arms_left_out_go_unless_an_arm_like_them_stays() -> None:
    said = content()
    said["arms"]["none"] = None
    found = with_arms_resolved(HERE, said)
    assert list(found["arms"]) == ["bank", "many"]
    assert [step["name"] for step in found["prepare"]] == ["world", "bank"]


def test_content_without_either_is_left_alone() -> None:
    said = content()
    del said["arms"]["many"]
    assert with_arms_resolved(HERE, said) is said


@pytest.mark.parametrize("like", ["bnak", "many", "gone", 3])
def test_an_arm_like_nothing_is_refused(like: object) -> None:
    said = content()
    said["arms"] |= {"gone": None, "many": {"like": like}}
    with pytest.raises(
        InputError, match=r"grid.yaml: arms.many.like is .*expected an arm that says its own options: none, bank"
    ):
        with_arms_resolved(HERE, said)


def test_a_chain_of_files_is_one_and_the_uppermost_says_who_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("low.yaml").write_text(
        "name: low\nseeds: [0, 1]\narms: {none: {}, bank: {options: {a: 1, b: 2}}, mesh: {options: {c: 3}}}\n"
        "prepare: [{name: world, command: x}, {name: bank, command: y, arms: [bank]}]\n"
    )
    Path("middle.yaml").write_text(
        "extends: low.yaml\nname: middle\nfolder: elsewhere\n"
        "arms: {bank: null, mesh: {options: {c: 4}}, new: {like: mesh}}\n"
    )
    Path("high.yaml").write_text(
        "extends: middle.yaml\nseeds: [5]\narms: {bank: {options: {b: 5}}, mesh: null, new: null}\n"
    )
    found = grid_content(Path("high.yaml"))
    assert found["arms"] == {"none": {}, "bank": {"options": {"a": 1, "b": 5}}}
    assert found["seeds"] == [5]
    assert not {"name", "folder", "extends"} & set(found)
    assert [step["name"] for step in found["prepare"]] == ["world", "bank"]
    between = grid_content(Path("middle.yaml"))
    assert between["name"] == "middle"
    assert between["arms"]["new"]["options"] == {"c": 4}
    assert "bank" not in between["arms"]
    Path("low.yaml").write_text("extends: high.yaml\n")
    with pytest.raises(InputError, match=r"low.yaml: extends high.yaml, which leads back to itself"):
        grid_content(Path("high.yaml"))
