"""Paths of prepare commands as users type them."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from lit.cli import main
from lit.commands.prepare.paths import typed_path


def test_a_home_that_no_shell_has_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert typed_path("~/data") == tmp_path / "data"
    assert typed_path("data") == Path("data")
    for text in ("~nobody-of-this-name/x", "", "a\0b"):
        with pytest.raises(ArgumentTypeError, match="expected a path"):
            typed_path(text)


def test_the_commands_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    sizes = ["--objects", "1", "--views", "1", "--size", "8", "--workers", "1"]
    assert main(["prepare", "posed", "--root=~/posed", *sizes]) == 0
    assert (tmp_path / "posed" / "checksums.json").is_file()
    (tmp_path / "taken").touch()
    assert main(["prepare", "posed", "--root=~/taken/posed", *sizes]) == 2
    error = capsys.readouterr().err.strip()
    assert "cannot be written" in error
    assert len(error.splitlines()) == 1
