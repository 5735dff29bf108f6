from __future__ import annotations

from datamodules.errors import closest, listed


def test_names_for_a_message() -> None:
    assert listed(f"n{number}" for number in range(3)) == "n0, n1, n2"
    assert listed(["a", "b", "c"], 2) == "a, b, ..."
    assert listed(["a", "b"], 2) == "a, b"
    assert listed([]) == ""


def test_a_hint_when_something_comes_near() -> None:
    assert closest("swep", ["sweep", "fit"]) == "; did you mean 'sweep'?"
    assert closest("x", ["sweep"]) == ""
