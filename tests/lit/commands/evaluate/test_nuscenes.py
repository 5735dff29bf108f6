"""``evaluate nuscenes``: both kinds of ground truth, the table, the JSON file, and one line for wrong options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datamodules.errors import InputError
from datamodules.nuscenes.format import write_submission
from datamodules.nuscenes.tables import read_dataset
from lit.commands.bench.nuscenes import write_files
from lit.commands.evaluate.command import main
from lit.metrics.nuscenes.evaluation import evaluate_boxes, evaluate_files
from tests.datamodules.nuscenes_folder import write_folder


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    gt, pred = write_files(tmp_path, samples=15, seed=2)
    out = tmp_path / "new" / "figures.json"
    assert main(["nuscenes", "--gt", str(gt), "--pred", str(pred), "--out", str(out)]) == 0
    written = json.loads(out.read_text(), parse_constant=pytest.fail)  # NaN is no JSON
    assert written == evaluate_files(gt, pred)
    assert written["label_tp_errors"]["traffic_cone"]["attr_err"] is None
    text = capsys.readouterr().out
    assert f"mAP {written['mean_ap']:.4f}  NDS {written['nd_score']:.4f}  mATE" in text
    (row,) = (line for line in text.splitlines() if "traffic_cone" in line)
    cells = row.split()
    assert "…" not in text
    assert cells[1] == f"{written['mean_dist_aps']['traffic_cone']:.3f}"
    assert cells[-3:] == ["-", "-", "-"]


def test_dataset_folder(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data")
    truths = read_dataset(root, "v1.0-mini", "mini_val").split()
    found = {token: truth.boxes.rows for token, truth in truths.items()}
    for rows in found.values():
        rows[:, 14], rows[:, 15] = 0.5, -1
    perfect = {token: type(truth.boxes).from_rows(found[token]) for token, truth in truths.items()}
    pred, out = tmp_path / "sub.json", tmp_path / "figures.json"
    write_submission(pred, perfect)
    folder = ["--dataroot", str(root), "--version", "v1.0-mini", "--split"]
    assert main(["nuscenes", *folder, "mini_val", "--pred", str(pred), "--out", str(out)]) == 0
    assert json.loads(out.read_text()) == evaluate_boxes(truths, perfect)
    with pytest.raises(InputError, match=r"sub\.json: sample .* of split mini_train of .* has no entry"):
        main(["nuscenes", *folder, "mini_train", "--pred", str(pred)])


def test_detections_of_classes_without_annotations_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gt, pred = write_files(tmp_path, samples=3, objects=2, detections=4, seed=2)
    text = pred.read_text()
    known = {box["detection_name"] for sample in json.loads(gt.read_text()).values() for box in sample["boxes"]}
    name = sorted(known)[0]
    assert "bus" not in known
    found = text.count(f'"detection_name": "{name}"')
    assert found
    options = ["nuscenes", "--gt", str(gt), "--pred", str(pred)]
    main(options)
    assert "warning" not in capsys.readouterr().out
    pred.write_text(text.replace(f'"detection_name": "{name}"', '"detection_name": "bus"'))
    main(options)
    said = f"warning: {pred}: {found} of 12 detections name classes that {gt} never holds: bus ({found}); all are false"
    assert said in capsys.readouterr().out
    token = next(iter(json.loads(text)["results"]))
    pred.write_text(json.dumps({"meta": {}, "results": {token: []}}))
    with pytest.raises(InputError, match="has no entry, one of 2 missing out of 3; give every sample a list"):
        main(options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "the following arguments are required: --pred"),
        (["--pred", "x"], "expected either --gt FILE.json, or --dataroot DIR --version V --split S"),
        (["--pred", "x", "--gt", "y", "--split", "val"], "expected either --gt"),
        (["--pred", "x", "--dataroot", "y", "--version", "v1.0-mini"], "expected either --gt"),
        (["--pred", "x", "--gt", "y", "--oot", "z"], "did you mean '--out'?"),
        (["--pred", "x", "--gt", "absent.json"], "absent.json: not found; expected ground truth"),
    ],
)
def test_wrong_options(options: list[str], message: str) -> None:
    with pytest.raises(InputError) as error:
        main(["nuscenes", *options])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_impossible_output_is_refused(tmp_path: Path) -> None:
    gt, pred = write_files(tmp_path, samples=2)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"figures.json: cannot be written"):
        main(["nuscenes", "--gt", str(gt), "--pred", str(pred), "--out", str(tmp_path / "file" / "figures.json")])


def test_the_task_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert "nuScenes mAP, NDS and true positive errors" in capsys.readouterr().out
