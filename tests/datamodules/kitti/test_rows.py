"""Rows of label and result files: what the format can tell is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.errors import InputError
from datamodules.kitti.format import read_calibration, read_label, read_plane
from datamodules.kitti.rows import near_class, read_row

ROW = "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59"
DONT_CARE = "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10"
FLAT = "Car -1 -1 -10 587 173 614 200 -1 -1 -1 -1000 -1000 -1000 -10 0.7"  # of a detector that sees in 2D alone


def read(row: str, scored: bool | None = None, **class_map: str) -> tuple[str, list[float]]:
    return read_row("a.txt:1", row, scored, class_map)


def test_what_the_cpp_kit_reads_is_read() -> None:
    assert read(ROW)[0] == "Car"
    assert read(DONT_CARE)[1][2] == -10
    assert read(FLAT, True)[1][14] == 0.7
    assert read(ROW.replace(" ", "\t \v"))[1] == read(ROW)[1]
    assert read(ROW.replace("-1.58", "-10"))[1][2] == -10  # an angle that nobody measured, also of ground truth
    for form in ("46.7", "+46.70", "4.67e1", "46.70E+0", "046.70"):
        assert read(ROW.replace("46.70", form))[1][12] == 46.7
    assert read(ROW.replace("0.00", ".5"))[1][0] == 0.5


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("46.70", "1d5", "'1d5' is not a finite number"),
        ("46.70", "4_6", "'4_6' is not"),
        ("46.70", "\uff14\uff16", "is not a finite number"),
        ("46.70", "0x2e", "is not a finite number"),
        ("46.70", "1e999", "is not a finite number"),
        ("46.70", "1e30", "place -0.65 1.71 1e+30, expected metres"),
        (" 0 ", "\u00a0 0 ", "is not a finite number"),
        (" 0 ", " 0.9 ", "occlusion 0.9, expected 0, 1, 2 or 3, or -1"),
        ("0.00", "1.2", "truncation 1.2, expected 0 to 1"),
        ("-1.58", "7.1", "alpha 7.1, expected radians"),
        ("-1.59", "-7.1", "yaw -7.1, expected radians"),
        ("614.12", "586", "rectangle 587.01 173.33 586 200.12, expected left, top, right, bottom"),
        ("200.12", "2e9", "expected pixels within"),
        ("1.65", "0", "height, width, length 0 1.67 3.64, expected metres above 0"),
        ("1.65", "-1", "expected metres above 0"),
        ("1.65", "165", "expected metres above 0 and within 100"),
        ("Car", "1d5", "'1d5' is no class name"),
        ("Car", "nan", "'nan' is no class name"),
        ("Car", "C\u00e4r", "is no class name"),
        ("Car", "\x1b[31mCar", "is no class name"),
        ("Car", "car", "class 'car' is near 'Car'"),
        ("Car", "Pedestrain", "class 'Pedestrain' is near 'Pedestrian'"),
    ],
)
def test_a_value_that_cannot_be_is_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read(ROW.replace(old, new, 1))
    message = str(caught.value)
    assert message.startswith("a.txt:1: ")
    assert said in message
    assert message.isprintable()


def test_labels_have_no_score_and_results_have_one() -> None:
    with pytest.raises(InputError, match=r"16 columns, expected 15 \(label\)"):
        read(f"Car 0.00 {ROW[4:]}", False)  # a doubled column
    with pytest.raises(InputError, match=r"15 columns, expected 16 \(result\)"):
        read(ROW, True)
    with pytest.raises(InputError, match="score 1e\\+308"):
        read(f"{ROW} 1e308", True)


def test_a_map_gives_names_their_classes() -> None:
    assert read(ROW.replace("Car", "car"), car="Car")[0] == "Car"
    assert read(ROW.replace("Car", "car"), car="car")[0] == "car"  # stated to be meant
    assert read(ROW.replace("Car", "Bus"))[0] == "Bus"
    assert (near_class("cyclists"), near_class("Trolley")) == ("Cyclist", None)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_marks_and_line_ends_change_nothing(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(f"{ROW}{end}{DONT_CARE}{end}".encode(encoding))
    objects = read_label(path)
    assert objects.names.tolist() == ["Car", "DontCare"]
    assert objects.boxes.center[0].tolist() == [-0.65, 1.71, 46.7]


@pytest.mark.parametrize(
    "row", ["700 0 600 0 0 700 180 0 .5 0 1 0", "700 0 1e5 0 0 700 180 0 0 0 1 0", "-7 0 6 0 0 7 1 0 0 0 1 0"]
)
def test_a_projection_of_no_camera_is_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / "a.txt").write_text(f"P2: {row}\n")
    with pytest.raises(InputError, match=r"a\.txt:1: P2 is no rectified camera's"):
        read_calibration(tmp_path / "a.txt")


@pytest.mark.parametrize("row", ["0 0 1 1.65", "0 -1 0 900"])
def test_a_plane_that_is_no_ground_is_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / "a.txt").write_text(f"# Plane\nWidth 4\nHeight 1\n{row}\n")
    with pytest.raises(InputError, match=r"a\.txt:4: no ground below a camera"):
        read_plane(tmp_path / "a.txt")
