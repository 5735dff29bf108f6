"""KITTI AP: cases by hand, a second evaluator, the reference answers, files, and several processes."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing

from datamodules.errors import DatasetNotFound, InputError
from lit.commands.evaluate.command import main
from lit.metrics.kitti.evaluation import KittiAP, evaluate_folders, evaluate_objects, flatten
from lit.metrics.kitti.matching import sample_thresholds
from lit.metrics.kitti.rows import read_table
from tests.lit.metrics.kitti.kitti_frames import objects, random_frames
from tests.lit.metrics.kitti.kitti_reference import LIMITS, ap40

ORACLES = Path(os.environ.get("LIFTBENCH_ORACLES", "/nonexistent"))  # more reference answers, where somebody has them
CAR_ROW = "Car 0.00 0 -1.58 588.00 170.00 688.00 250.00 1.50 1.60 3.90 1.00 1.60 20.00 -1.53"


@pytest.mark.parametrize("ties", [False, True])
def test_agrees_with_a_second_evaluator(ties: bool) -> None:
    gt, pred = random_frames(3 + ties, 25, ties)
    result = evaluate_objects(gt, pred, {"car": [0.5]})
    for name, limit in LIMITS.items():
        for metric in ("bbox", "bev", "3d", "aos"):
            expected = [ap40(gt, pred, name, metric, level, limit) for level in range(3)]
            assert result["ap40"][name][metric] == pytest.approx(expected, abs=1e-9), (name, metric)
    assert result["extra"]["car/bev/moderate/0.5"] == pytest.approx(ap40(gt, pred, "car", "bev", 1, 0.5), abs=1e-9)
    assert result["ap40"]["car"]["bev"][2] > 1  # the comparison is about something


@pytest.mark.parametrize("count", [1, 5, 40, 41, 90])
def test_ground_truth_scores_itself(count: int) -> None:
    """Perfect detections of n < 41 objects score (n - 1)/40: the reference fills fewer than 41 recall points."""
    gt = [objects([("Car", 100, 100, 200, 150, k % 7, 10 + k, 0.1 * k)]) for k in range(count)]
    pred = [objects([("Car", 100, 100, 200, 150, k % 7, 10 + k, 0.1 * k)], [0.01 * k]) for k in range(count)]
    expected = pytest.approx([min(count - 1, 40) / 40 * 100] * 3, abs=1e-9)
    result = evaluate_objects(gt, pred)
    assert all(result["ap40"]["car"][metric] == expected for metric in ("bbox", "bev", "3d", "aos"))
    if count >= 41:
        assert result["ap11"]["car"]["3d"] == pytest.approx([100] * 3, abs=1e-9)
    assert result["ap40"]["pedestrian"]["bbox"] is None


def many(rows: list[tuple], found: list[tuple], scores: list[float], frames: int = 41) -> float:
    """Car bbox AP40 at easy of the same frame many times."""
    gt, pred = [objects(rows)] * frames, [objects(found, scores)] * frames
    return evaluate_objects(gt, pred)["ap40"]["car"]["bbox"][0]


CAR = ("Car", 100, 100, 200, 150)
APART = ("Car", 300, 100, 400, 150)


@pytest.mark.parametrize(
    ("rows", "found", "scores", "expected"),
    [
        ([CAR], [CAR, APART], [0.9, 0.5], 100),  # false alarms below every threshold cost nothing
        ([CAR], [CAR, APART], [0.5, 0.9], 50),
        ([CAR], [CAR, CAR], [0.9, 0.9], 50),  # a double is a false alarm
        ([CAR], [("Car", 100, 100, 170, 150)], [0.9], 0),  # IoU .7 is not above .7
        ([CAR], [("CAR", 100, 100, 171, 150)], [-9.0], 100),  # case and sign do not matter
        ([CAR, ("Van", 300, 100, 400, 150)], [CAR, APART], [0.9, 0.9], 100),  # a van absorbs
        ([CAR, ("Truck", 300, 100, 400, 150)], [CAR, APART], [0.9, 0.9], 50),
        ([CAR, ("DontCare", 290, 90, 500, 200)], [CAR, APART], [0.9, 0.9], 100),
        ([CAR, ("DontCare", 370, 90, 500, 200)], [CAR, APART], [0.9, 0.9], 50),  # 30 % inside is not enough
        ([CAR, (*APART, 0, 20, 0, 1)], [CAR, APART], [0.9, 0.9], 100),  # an occluded car absorbs
        ([CAR, (*APART, 0, 20, 0, 0, 0.16)], [CAR, APART], [0.9, 0.9], 100),  # so does a truncated one
        ([CAR, ("Car", 300, 100, 400, 140)], [CAR], [0.9], 100),  # 40 px high is ignored, not missed
        ([CAR], [CAR, ("Car", 300, 100, 400, 139.9)], [0.9, 0.9], 100),  # a low detection is no false alarm
        ([("Car", 100, 100, 200, 141)], [("Truck", 100, 100, 200, 139)], [0.9], None),  # no detected car
        ([("Car", 100, 100, 200, 141), APART], [("Truck", 100, 100, 200, 139), APART], [0.9, 0.8], 50),
    ],
)
def test_rules_by_hand(rows: list[tuple], found: list[tuple], scores: list[float], expected: float | None) -> None:
    if expected is None:
        assert evaluate_objects([objects(rows)], [objects(found, scores)])["ap40"]["car"]["bbox"] is None
    else:
        assert many(rows, found, scores) == pytest.approx(expected, abs=1e-9)


def test_dontcare_works_in_the_image_only() -> None:
    gt = [objects([CAR, ("DontCare", 290, 90, 500, 200, 30, 30)])] * 41
    pred = [objects([CAR, (*APART, 30, 30)], [0.9, 0.9])] * 41
    result = evaluate_objects(gt, pred)["ap40"]["car"]
    assert result["bbox"][0] == pytest.approx(100)
    assert result["bev"][0] == pytest.approx(50)


def test_recall_steps_accumulate() -> None:
    """0.1 added up misses k/10 by a rounding; the reference's thresholds depend on it."""
    hits = np.linspace(1, 0, 120)
    thresholds = sample_thresholds(hits, 120)
    current, expected = 0.0, []
    for k in range(120):
        left = (k + 1) / 120
        right = left if k == 119 else (k + 2) / 120
        if not (right - current < current - left and k < 119):
            expected.append(hits[k])
            current += 1 / 40
    assert thresholds.tolist() == expected[:41]
    assert len(thresholds) == 41


def test_one_missing_alpha_switches_orientation_off() -> None:
    gt = [objects([CAR])] * 2
    pred = [objects([CAR], [0.9]), objects([(*CAR, 0, 20, -10.0)], [0.9])]
    result = evaluate_objects(gt, pred)
    assert result["ap40"]["car"]["aos"] is None
    assert result["ap40"]["car"]["bbox"] is not None
    assert not any("aos" in key for key in flatten(result))


def test_flat_names() -> None:
    gt = [objects([CAR])] * 3
    flat = flatten(evaluate_objects(gt, [objects([CAR], [0.5])] * 3, {"car": [0.5, 0.3], "pedestrian": [0.25]}))
    assert flat["car/3d/moderate/0.7"] == flat["car/3d/moderate/0.3"] == pytest.approx(5)
    assert flat["pedestrian/bev/easy/0.25"] == flat["cyclist/bbox/hard/0.5"] == 0
    assert all(isinstance(value, float) for value in flat.values())


@pytest.mark.parametrize("extra", [{"bus": [0.5]}, {"car": [0.0]}, {"car": [1.5]}])
def test_impossible_extra_limits_are_refused(extra: dict[str, list[float]]) -> None:
    with pytest.raises(InputError, match="extra_ious"):
        KittiAP(extra_ious=extra)


# reference answers


def test_recorded_answers() -> None:
    """Answers of this evaluator at a version whose figures agreed with the C++ kit on ten folders of cases."""
    recorded = json.loads((Path(__file__).parent / "recorded_answers.json").read_text())
    for case in recorded:
        gt, pred = random_frames(case["seed"], case["frames"], case["ties"])
        found = flatten(evaluate_objects(gt, pred, {"car": [0.5, 0.3]}))
        assert found == pytest.approx(case["figures"], abs=1e-9), case["seed"]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], dict]:
    if not ORACLES.is_dir():
        pytest.skip("LIFTBENCH_ORACLES names no folder of reference answers")
    folder = tmp_path_factory.mktemp("oracles")
    with tarfile.open(ORACLES / "kitti_cases.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    roots = {path.parent.name: path.parent for path in folder.rglob("gt")}
    return roots, json.loads((ORACLES / "kitti_expected.json").read_text())["cases"]


def test_reference_answers(cases: tuple[dict[str, Path], dict]) -> None:
    roots, expected = cases
    for case, answers in expected.items():
        result = evaluate_folders(roots[case] / "gt", roots[case] / "dt")
        for kind in ("ap40", "ap11"):
            for name, by_metric in answers[kind].items():
                for metric, values in by_metric.items():
                    got = result[kind][name][metric]
                    same = got is None if values is None else got == pytest.approx(values, abs=1e-6)
                    assert same, f"{case} ({answers['kind']}): {kind} {name} {metric} {got}, expected {values}"


# files


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_parser_reads_what_float_reads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    spellings = ["{:.2f}", "{:.6f}", "{!r}", "{:e}", "{:+.3f}", "{:.17g}", "{:.0f}", "{:.20f}"]
    rows, texts = [], []
    for k in range(400):
        values = rng.normal(0, 10.0 ** rng.integers(-6, 6), 15)
        words = [spellings[rng.integers(len(spellings))].format(float(value)) for value in values]
        texts.append(("\t" if k % 3 else "  ").join(["cAr", *words]) + (" \r\n" if k % 5 else "\n\n"))
        rows.append([float(word) for word in words])
    folder = write(tmp_path, {"000000.txt": "".join(texts[:150]), "000001.txt": "", "000002.txt": "".join(texts[150:])})
    table, missing = read_table(folder, ["000000", "000001", "000002", "000003"], scored=True)
    np.testing.assert_array_equal(table.rows[:, 1:], rows)
    assert (table.rows[:, 0] == 0).all()
    assert table.offsets.tolist() == [0, 150, 150, 400, 400]
    assert missing == ["000003"]


def test_large_files_and_a_missing_last_newline(tmp_path: Path) -> None:
    text = "\n".join(f"{CAR_ROW} {k}" for k in range(2000))
    table, _ = read_table(write(tmp_path, {"a.txt": text}), ["a"], scored=True)
    np.testing.assert_array_equal(table.rows[:, 15], np.arange(2000))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (" ".join(CAR_ROW.split()[:14]), "14 columns"),
        (CAR_ROW + " 0.5 7", "17 columns"),
        (CAR_ROW.replace("20.00", "nan"), "column 14 is 'nan'"),
        (CAR_ROW.replace("588.00", "inf"), "column 5 is 'inf'"),
        (CAR_ROW.replace("588.00", "58,8"), "column 5 is '58,8'"),
        (CAR_ROW.replace("-1.58", "-"), "column 4 is '-'"),
    ],
)
def test_broken_rows_are_named(tmp_path: Path, row: str, message: str) -> None:
    gt = write(tmp_path / "gt", {"000000.txt": CAR_ROW + "\n", "000001.txt": f"{CAR_ROW}\n\n{row}\n{CAR_ROW}\n"})
    pred = write(tmp_path / "pred", {"000000.txt": CAR_ROW + " 0.5\n", "000001.txt": ""})
    with pytest.raises(InputError, match=r"gt/000001\.txt:3: ") as error:
        evaluate_folders(gt, pred)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_result_rows_need_a_score(tmp_path: Path) -> None:
    gt = write(tmp_path / "gt", {"000000.txt": CAR_ROW})
    with pytest.raises(InputError, match=r"pred/000000\.txt:1: 15 columns, expected 16"):
        evaluate_folders(gt, write(tmp_path / "pred", {"000000.txt": CAR_ROW}))


def test_folders_that_cannot_be_evaluated(tmp_path: Path) -> None:
    gt = write(tmp_path / "gt", {"000000.txt": CAR_ROW})
    with pytest.raises(DatasetNotFound, match="absent"):
        evaluate_folders(gt, tmp_path / "absent")
    with pytest.raises(DatasetNotFound, match="absent"):
        evaluate_folders(tmp_path / "absent", gt)
    with pytest.raises(InputError, match="no result file is named like"):
        evaluate_folders(gt, write(tmp_path / "other", {"000007.txt": CAR_ROW + " 1"}))
    with pytest.raises(InputError, match=r"no \.txt label files"):
        evaluate_folders(write(tmp_path / "empty", {}), gt)


def test_frames_without_a_result_file_count_and_are_reported(tmp_path: Path) -> None:
    gt = write(tmp_path / "gt", {f"{k:06d}.txt": CAR_ROW for k in range(82)})
    pred = write(tmp_path / "pred", {f"{k:06d}.txt": CAR_ROW + " 0.5" for k in range(41)})
    with pytest.warns(UserWarning, match="41 of 82 frames have no result file"):
        half = evaluate_folders(gt, pred)
    assert half["ap40"]["car"]["3d"][0] == pytest.approx(50)
    split = tmp_path / "val.txt"
    split.write_text("".join(f"{k:06d}\n" for k in range(41)))
    assert evaluate_folders(gt, pred, split=split)["ap40"]["car"]["3d"][0] == pytest.approx(100)
    split.write_text("000099\n")
    with pytest.raises(InputError, match="000099"):
        evaluate_folders(gt, pred, split=split)


def test_command_writes_json_and_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gt = write(tmp_path / "gt", {f"{k}.txt": CAR_ROW for k in range(41)})
    pred = write(tmp_path / "pred", {f"{k}.txt": CAR_ROW + " 0.5" for k in range(41)})
    out = tmp_path / "new" / "figures.json"
    arguments = ["--gt", str(gt), "--pred", str(pred), "--out", str(out), "--extra-ious", "car=0.5,0.3"]
    assert main(["kitti", *arguments]) == 0
    written = json.loads(out.read_text())
    assert written["ap40"]["car"]["3d"] == pytest.approx([100] * 3)
    assert written["extra"]["car/3d/hard/0.3"] == pytest.approx(100)
    assert set(written["ap11"]) == {"car", "pedestrian", "cyclist"}
    assert "100.00" in capsys.readouterr().out
    for wrong in (["kity"], ["kitti", *arguments[:-1], "car"], ["kitti", "--gt", "x"], ["kitti", *arguments, "--oot"]):
        with pytest.raises(InputError):
            main(wrong)


# the torchmetrics class


def test_metric_equals_the_function_and_drops_repeats() -> None:
    gt, pred = random_frames(8, 30)
    metric = KittiAP(extra_ious={"car": [0.5]})
    ids = [f"{k:06d}" for k in range(30)]
    metric.update(ids[:13], gt[:13], pred[:13])
    metric.update(ids[13:], gt[13:], pred[13:])
    metric.update(ids[5:8], gt[5:8], pred[5:8])
    got, expected = flatten(metric.compute()), flatten(evaluate_objects(gt, pred, {"car": [0.5]}))
    assert got.keys() == expected.keys()
    assert list(got.values()) == pytest.approx(list(expected.values()), abs=1e-9)
    metric.reset()
    assert not metric.frames
    with pytest.raises(ValueError, match="as many of each"):
        metric.update(ids, gt[:2], pred)
    with pytest.raises(InputError, match="no scores"):
        metric.update(ids[:1], gt[:1], gt[:1])
    broken = objects([CAR], [np.nan])
    with pytest.raises(InputError, match="not finite"):
        metric.update(ids[:1], gt[:1], [broken])


def _worker(rank: int, folder: str, cases: dict[str, list[list[int]]]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    gt, pred = random_frames(8, 31)
    for case, shards in cases.items():
        metric = KittiAP()
        if chosen := shards[rank]:  # a rank without data never calls update
            metric.update([f"{k:06d}" for k in chosen], [gt[k] for k in chosen], [pred[k] for k in chosen])
        (Path(folder) / f"{case}{rank}.json").write_text(json.dumps(metric.compute()))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    """An odd-sized set, padded with its first frame as DistributedSampler does; a rank, and both, that saw nothing."""
    everything = [*range(31)]
    padded = [everything[::2], [*everything[1::2], 0]]
    cases = {"padded": padded, "one": [everything, []], "none": [[], []]}
    multiprocessing.spawn(_worker, (str(tmp_path), cases), nprocs=2)
    gt, pred = random_frames(8, 31)
    expected = flatten(evaluate_objects(gt, pred))
    for rank in range(2):
        for case in ("padded", "one"):
            got = flatten(json.loads((tmp_path / f"{case}{rank}.json").read_text()))
            assert got.keys() == expected.keys()
            assert list(got.values()) == pytest.approx(list(expected.values()), abs=1e-9)
        assert json.loads((tmp_path / f"none{rank}.json").read_text())["ap40"]["car"]["bbox"] is None
