"""Rows as other tools write them: every text encoding reads the same, what cannot be is named, nothing is skipped."""

from __future__ import annotations

import codecs
import warnings
from pathlib import Path

import pytest

from datamodules.errors import InputError
from lit.commands.evaluate.command import main
from lit.metrics.kitti.evaluation import evaluate_folders, flatten

LABEL = "Car 0.00 0 -1.58 588.00 170.00 688.00 250.00 1.50 1.60 3.90 1.00 1.60 20.00 -1.53"
RESULT = f"{LABEL} 0.5"


def folders(root: Path, label: str | bytes = LABEL, result: str | bytes = RESULT, count: int = 42) -> tuple[Path, Path]:
    """Folders of labels and results, the same rows in every frame."""
    for name, content in (("gt", label), ("pred", result)):
        (root / name).mkdir(exist_ok=True)
        for frame in range(count):
            data = content.encode() if isinstance(content, str) else content
            (root / name / f"{frame:06d}.txt").write_bytes(data)
    return root / "gt", root / "pred"


def score(gt: Path, pred: Path, **options: dict[str, str]) -> float:
    """Car 3D AP40; warnings are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return flatten(evaluate_folders(gt, pred, **options))["car/3d/moderate/0.7"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-32"),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
    ],
)
def test_marks_encodings_and_line_ends_change_no_figure(tmp_path: Path, encode: object) -> None:
    text = f"{RESULT}\n{RESULT.replace('588.00', '288.00').replace('688.00', '388.00')}\n"
    expected = score(*folders(tmp_path, LABEL, text))
    assert 0 < expected < 100
    assert score(*folders(tmp_path, encode(LABEL + "\n"), encode(text))) == expected  # type: ignore[operator]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("3.90", "-3.90", "height, width, length 1.5 1.6 -3.9"),
        ("1.50", "0", "height, width, length 0"),
        ("688.00", "588.00 ", None),
        ("688.00", "500", "expected left, top, right, bottom"),
        ("688.00", "1e30", "expected pixels within 20000"),
        ("20.00", "1e5", "expected metres within 1000"),
        ("20.00", "1_0", "column 14 is '1_0'"),
        ("20.00", "１２", "column 14 is '１２'"),
        ("20.00", "1e-400", "column 14 is '1e-400'"),
        ("20.00", "20.00\u00a0", "column 14 is '20.00"),
        ("-1.53", "9", "yaw 9"),
        ("0.00 0", "7 0", "truncation 7"),
        ("0.00 0", "0.00 9", "occlusion 9"),
        ("Car", "Caar", "class 'Caar' is near 'car'"),
        ("Car", "1,5", "'1,5' is no class name"),
        ("Car", "Car 0", "columns, expected"),
    ],
)
@pytest.mark.parametrize("side", ["gt", "pred"])
def test_what_cannot_be_is_named_by_row(tmp_path: Path, side: str, old: str, new: str, says: str | None) -> None:
    label, result = f"{LABEL}\n\n{LABEL}\n", f"{RESULT}\n\n{RESULT}\n"
    broken = (LABEL if side == "gt" else RESULT).replace(old, new, 1)
    if side == "gt":
        label = label.replace(f"\n\n{LABEL}", f"\n\n{broken}")
    else:
        result = result.replace(f"\n\n{RESULT}", f"\n\n{broken}")
    gt, pred = folders(tmp_path, label, result, 1)
    if says is None:
        score(gt, pred)
        return
    with pytest.raises(InputError, match=rf"{side}/000000\.txt:3: ") as caught:
        score(gt, pred)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_results_may_leave_out_what_a_detector_does_not_see(tmp_path: Path) -> None:
    flat = "Car -1 -1 -10 588 170 688 250 -1 -1 -1 -1000 -1000 -1000 -10 0.5"
    ground = "Car -1 -1 -1.58 588 170 688 250 -1 1.60 3.90 1.00 -1000 20.00 -1.53 0.5"
    for row in (flat, ground):
        folders(tmp_path, LABEL, row)
        assert flatten(evaluate_folders(tmp_path / "gt", tmp_path / "pred"))["car/bbox/easy/0.7"] == 100
    with pytest.raises(InputError, match="metres above 0"):
        evaluate_folders(*folders(tmp_path, flat.removesuffix(" 0.5"), flat))


def test_unknown_classes_are_said_and_can_be_mapped(tmp_path: Path) -> None:
    gt, pred = folders(tmp_path, LABEL, RESULT.replace("Car", "Sedan"))
    with pytest.warns(UserWarning, match="KITTI") as said:
        assert evaluate_folders(gt, pred)["ap40"]["car"]["3d"] is None
    texts = " ".join(str(one.message) for one in said)
    assert "42 rows of classes that KITTI does not know: sedan (42)" in texts
    assert "no result is of a class that KITTI evaluates" in texts
    assert score(gt, pred, class_map={"Sedan": "Car"}) == 100
    options = ["kitti", "--gt", str(gt), "--pred", str(pred), "--class-map"]
    assert main([*options, "Sedan=Car"]) == 0
    with pytest.raises(InputError, match="did you mean 'Car'"):
        main([*options, "Sedan=Cars"])


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    gt, pred = folders(tmp_path, LABEL.replace("-1.58", "-10"), RESULT)
    (pred / "000900.txt").write_text(RESULT)
    (pred / "000001.csv").write_text("")
    (pred / "000003.txt").unlink()
    (pred / "000004.txt").unlink()
    (pred / "000004.txt").symlink_to(tmp_path / "nowhere.txt")
    with pytest.warns(UserWarning, match=r".") as said:
        evaluate_folders(gt, pred)
    texts = " ".join(str(one.message) for one in said)
    for part in (
        "2 of 42 frames have no result file (first 000003.txt)",
        "1 result files are of no labelled frame and were left out (first 000900.txt)",
        "1 files and folders are no .txt and were left out (first 000001.csv)",
        "42 labels have no alpha (-10)",
    ):
        assert part in texts


def test_split_files_in_any_encoding(tmp_path: Path) -> None:
    gt, pred = folders(tmp_path)
    split = tmp_path / "val.txt"
    for content in (codecs.BOM_UTF8 + b"000001\r000002\n", "000001\r\n000002".encode("utf-16")):
        split.write_bytes(content)
        assert flatten(evaluate_folders(gt, pred, split=split))["car/3d/easy/0.7"] == pytest.approx(2.5)
    split.write_bytes("000001\n".encode("utf-16")[2:])
    with pytest.raises(InputError, match=r"val\.txt: holds a NUL"):
        evaluate_folders(gt, pred, split=split)
