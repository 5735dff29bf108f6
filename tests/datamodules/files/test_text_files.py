from pathlib import Path

import pytest

from datamodules.errors import DatasetNotFound, InputError
from datamodules.files.text_files import read_cells, read_text

ROWS = "000001\n000002\nä\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_encoding_and_line_end_reads_the_same(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes(ROWS.replace("\n", end).encode(encoding))

    assert read_text(path, "one id a line") == ROWS


@pytest.mark.parametrize("content", ["000001\nä".encode("latin-1"), "000001\n".encode("utf-16-le"), b"\xff\xfe\x00"])
def test_what_is_no_text_is_refused_with_the_cure(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes(content)

    with pytest.raises(InputError, match=r"train.txt: .*; expected one id a line, saved as UTF-8"):
        read_text(path, "one id a line")


def test_missing_files_and_folders_are_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFound, match="does not exist; expected one id a line"):
        read_text(tmp_path / "missing.txt", "one id a line")
    with pytest.raises(InputError, match="cannot be read"):
        read_text(tmp_path, "one id a line")


def test_cells_go_by_their_columns_and_none_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('name, words\ncar, "red, and new"\n\nvan\nbus,blue,,\n')
    assert read_cells(path, "names", ("name", "words")) == [
        (2, {"name": "car", "words": "red, and new"}),
        (4, {"name": "van", "words": ""}),
        (5, {"name": "bus", "words": "blue"}),
    ]
    with pytest.raises(InputError, match=r"rows.csv: no column colour; expected name, colour"):
        read_cells(path, "names", ("name", "colour"))
    path.write_text("name,words\ncar,red, and new\n")
    with pytest.raises(InputError, match=r"line 2: 3 cells, expected 2 \(name, words\); put quotes about cells"):
        read_cells(path, "names", ("name",))
    path.write_text('name,words\ncar,"red\n' + "van,blue\n" * 20_000)
    with pytest.raises(InputError, match=r"field larger than .*; expected names; is a quote left open there\?"):
        read_cells(path, "names", ("name",))
