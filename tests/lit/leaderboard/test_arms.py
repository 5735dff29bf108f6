"""Arms that inject alike are called alike, a handicapped one is told, and the shipped arms are alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from datamodules.assets.bank_writer import AssetBankWriter
from datamodules.assets.mesh_assets import MeshSource
from datamodules.assets.voxels.voxel_assets import VoxelAsset
from datamodules.errors import InputError
from datamodules.injection.injection import Injection
from datamodules.randomness import derive
from datamodules.scene import Frame, collate
from datamodules.world.road_world import write_world
from lit.callbacks.injected import BIN_EDGES, InjectedObjects
from lit.commands.injected_frames import build_datamodule
from lit.leaderboard.arm_charts import arm_charts, arm_pictures
from lit.leaderboard.arms import arm_rows, arm_warnings, compare_arms, median, two_sample
from lit.results import Result

FRAMES, PASSES, GRID = 40, 4, 6  # labelled frames, passes over them, voxels along an edge
CONF = Path(__file__).parents[3] / "conf"


def counts(**bins: list[int]) -> dict[str, Any]:
    """A record's counts of 100 cars in 100 frames, all in the first bin of what is not given."""
    filled = {name: [0] * (len(edges) - 1) for name, edges in BIN_EDGES.items()}
    for name, found in filled.items():
        found[0] = 100
        if name in bins:
            filled[name] = bins[name] + [0] * (len(found) - len(bins[name]))
    car = {"objects": 100, "frames": [30, 40, 30] + [0] * 14, "bins": filled}
    return {"images": 100, "objects": 100, "distinct": 40, "edges": BIN_EDGES, "classes": {"Car": car}, "pool": 40}


def result(arm: str, seed: int, injected: dict[str, Any] | None, **more: Any) -> Result:
    content = {"injected": injected, "human_labels": True, **more}
    return Result(Path(f"runs/{arm}-s{seed}/result.json"), arm, 50, seed, "world", "val", {"m": 1.0}, None, content)


def test_the_distances_are_those_of_the_unbinned_tests() -> None:
    rng = np.random.default_rng(0)
    one, two, edges = rng.normal(0, 1, 4000), rng.normal(0.3, 1, 3000), np.linspace(-6, 6, 1201)
    a, b = np.histogram(one, edges)[0], np.histogram(two, edges)[0]
    distance, p = two_sample(a, b / b.sum(), b.sum())
    reference = stats.ks_2samp(one, two)
    assert abs(distance - reference.statistic) < 0.005
    assert abs(np.log10(p) - np.log10(reference.pvalue)) < 3
    wide, _ = two_sample(a, b / b.sum(), b.sum(), circular=True)
    turned, _ = two_sample(np.roll(a, 400), np.roll(b, 400) / b.sum(), b.sum(), circular=True)
    assert wide == pytest.approx(turned)
    assert median(a, edges) == pytest.approx(np.median(one), abs=0.01)


@pytest.mark.parametrize("circular", [False, True])
def test_samples_of_one_distribution_rarely_differ(circular: bool) -> None:
    rng, share = np.random.default_rng(1), np.full(12, 1 / 12)
    draws = [rng.multinomial(400, share) for _ in range(400)]
    p = [two_sample(a, b / b.sum(), b.sum(), circular)[1] for a, b in zip(draws[::2], draws[1::2])]
    assert np.mean(np.array(p) < 0.05) < 0.08


def test_an_arm_that_is_off_is_told_and_only_it() -> None:
    near, far = [50, 30, 20], [20, 30, 50]
    arms = {"mesh": far, "lift3d": far, "odd": near}
    results = [result(arm, seed, counts(depth=depth)) for arm, depth in arms.items() for seed in range(3)]
    results += [result("none", 0, counts() | {"classes": {}}), result("old", 0, None)]
    found = compare_arms(results)
    lines = arm_warnings(found)
    assert len(lines) == 1
    assert lines[0].startswith("odd at 50 frames injected Cars unlike the other arms: depth (median 5 against 10 m, D")
    rows = {row["arm"]: row for row in arm_rows(found)}
    assert set(rows) == set(arms)
    assert rows["odd"]["objects"] == 300
    assert (rows["odd"]["pool"], rows["odd"]["distinct"], rows["odd"]["passes"]) == ((40, 40), 40, 2.5)
    assert rows["odd"]["distances"]["depth"] == pytest.approx(0.3)
    assert rows["mesh"]["differs"] == []


def test_what_a_method_cannot_help_is_a_note() -> None:
    pasted = counts(alpha=[50, 50], depth=[50, 50]) | {"source": "CopyPasteSource"}
    arms = {"mesh": counts(), "lift3d": counts(), "copy_paste": pasted}
    found = {arm.arm: arm for arm in compare_arms(result(a, s, c) for a, c in arms.items() for s in range(3))}
    assert [comparison.quantity for comparison in found["copy_paste"].differing] == ["depth"]
    assert len(found["copy_paste"].notes) == 1
    assert "keeps the ray" in found["copy_paste"].notes[0]
    assert arm_warnings([found["mesh"], found["lift3d"]]) == []


def test_few_objects_are_no_evidence_and_a_single_arm_has_nothing_to_differ_from() -> None:
    few = counts(depth=[5, 5])
    few["classes"]["Car"]["bins"]["depth"] = [2, 2] + [0] * 11
    assert arm_warnings(compare_arms([result("a", 0, few), result("b", 0, counts())])) == []
    assert compare_arms([result("a", 0, counts())])[0].comparisons == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": {"Car": 3}}, "injected.classes"),
        ({"images": -1}, "injected.images is -1"),
        ({"edges": {"depth": [0, 1]}}, "one fewer than edges"),
        ({"edges": {**BIN_EDGES, "depth": [0, float("nan")]}}, "injected.edges"),
    ],
)
def test_damaged_counts_are_refused_by_file_and_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match="runs/a-s0/result") as caught:
        compare_arms([result("a", 0, counts() | change)])
    assert message in str(caught.value)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("arms")
    return write_world(root, seed=0, train=FRAMES, val=1, workers=1, progress=False)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Boxes of one colour in the sizes of the studio's cars."""
    folder, grid = tmp_path_factory.mktemp("bank") / "bank", np.full((GRID, GRID, GRID, 4), 200, np.uint8)
    with AssetBankWriter(
        folder, generator="boxes", config_hash="0", checkpoint_hash="0", licence="CC0-1.0", seed=0
    ) as writer:
        source = MeshSource()
        for index in range(40):
            writer.write(VoxelAsset(f"car{index:02d}", "Car", source[index].dims, grid))
    return folder


def injected(world: Path, arm: str, *options: str) -> Result:
    """The record of an arm that saw all frames in every pass, as the shipped files configure it."""
    experiment = ["fit", "-c", str(CONF / "experiment" / "world_centernet.yaml"), "--data.root", str(world)]
    module = build_datamodule([*experiment, "--data.injection", str(CONF / "injection" / f"{arm}.yaml"), *options])
    module.setup("fit")
    injection, reader, found = module.injection, module.train_reader, InjectedObjects()
    for turn in range(PASSES):
        frames = [seen(injection, reader.read(index), turn) for index in range(len(reader))]
        found.count(collate(frames))
    source = injection.source
    return result(arm, 0, found.summary(source.pool, type(source).__name__), labelled=found.labelled())


def seen(injection: Injection, frame: Frame, turn: int) -> Frame:
    drawn = injection(frame, derive(0, turn, frame.sample_id, "injection"))
    return drawn.with_(road=None, depth=None, instances=None)


SHIPPED = ("copy_paste", "recomposition", "mesh", "world_renderer", "lift3d", "lift3d_gan", "dst", "dst_in_place")


def test_the_shipped_arms_differ_in_their_source_alone() -> None:
    arms = {arm: yaml.safe_load((CONF / "injection" / f"{arm}.yaml").read_text())["init_args"] for arm in SHIPPED}
    assert len({json.dumps(arm.pop("source")) for arm in arms.values()}) == len(SHIPPED)
    for arm in SHIPPED[:2]:
        assert arms[arm]["compositor"]["init_args"].pop("noise") is False  # crops carry their own
    assert {arms[arm]["compositor"]["init_args"].pop("noise") for arm in SHIPPED[2:]} == {True}
    assert len(arms["recomposition"].pop("max_hidden")) > 1  # each frame draws a limit
    assert all(arm == arms["mesh"] for arm in arms.values())


def test_the_shipped_sources_agree_and_a_handicapped_one_is_told(world: Path, bank: Path) -> None:
    shipped = [injected(world, "mesh"), injected(world, "lift3d", "--data.injection.source.folder", str(bank))]
    pasted = injected(world, "copy_paste")
    found = compare_arms([pasted, *shipped])
    assert len(found) == 3
    assert arm_warnings(found) == []
    assert {arm.arm for arm in found if arm.notes} <= {"copy_paste"}
    assert [arm.pool == (40, 40) for arm in found] == [False, True, True]
    handicapped = injected(world, "copy_paste", "--data.injection.source.min_height", "10")
    lines = arm_warnings(compare_arms([handicapped, *shipped]))
    assert len(lines) == 1
    assert lines[0].startswith("copy_paste at 50 frames injected Cars unlike the other arms: depth (median")
    charts, pictures = arm_charts([pasted, *shipped], {}), arm_pictures([pasted, *shipped], {"mesh": "#2f6fde"})
    assert list(charts) == list(pictures) == ["Cars injected into 50 frames of world"]
    assert str(charts["Cars injected into 50 frames of world"]).startswith("<svg")
    assert pictures["Cars injected into 50 frames of world"].startswith(b"\x89PNG")
