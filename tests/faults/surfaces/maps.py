"""Maps that are scored: depth, labels and edges, as folders, archives and stacks."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datamodules.randomness import derive
from tests.faults import plausible
from tests.faults.mutations.arrays import saved
from tests.faults.surface import Surface
from tests.faults.surfaces.kitti import main_or_refused

COUNT, NEAR, FAR = 3, 1.0, 10.0


def depth_map(number: int) -> np.ndarray:
    """(8, 12) float32 between near and far."""
    return derive(number, "depth").uniform(NEAR, FAR, (8, 12)).astype(np.float32)


def label_map(number: int) -> np.ndarray:
    """(8, 12) uint8 of four classes."""
    return derive(number, "label").integers(0, 4, (8, 12), dtype=np.uint8)


def png(values: np.ndarray) -> bytes:
    """A map as PNG."""
    return cv2.imencode(".png", values)[1].tobytes()


def make_depth(kind: str) -> Callable[[Path], None]:
    """A writer of predictions of a kind, and of their targets in a folder."""

    def make(folder: Path) -> None:
        maps: dict[str, Any] = {f"{number:03d}": depth_map(number) for number in range(COUNT)}
        (folder / "target").mkdir()
        for name, values in maps.items():
            np.save(folder / "target" / f"{name if kind != 'npy' else '000' + name}.npy", values * 1.1)
        if kind == "folder":
            (folder / "pred").mkdir()
            for number, (name, values) in enumerate(maps.items()):
                save = np.savez_compressed if number == 1 else np.save
                save(folder / "pred" / f"{name}{'.npz' if number == 1 else '.npy'}", values)
        elif kind == "npz":
            np.savez(folder / "pred.npz", **maps)
        elif kind == "zip":
            with zipfile.ZipFile(folder / "pred.zip", "w") as archive:
                for name, values in maps.items():
                    archive.writestr(zipfile.ZipInfo(f"{name}.npy"), saved(values))
        else:
            np.save(folder / "pred.npy", np.stack(list(maps.values())))

    return make


def evaluate_depth(kind: str) -> Callable[[Path], Any]:
    """A reader: the figures of ``evaluate depth``."""
    suffix = "" if kind == "folder" else f".{kind}"

    def load(folder: Path) -> Any:
        words = ["depth", "--pred", str(folder / f"pred{suffix}"), "--target", str(folder / "target")]
        return figures(folder, [*words, "--near", str(NEAR), "--far", str(FAR)])

    return load


def figures(folder: Path, words: list[str]) -> Any:
    """What an ``evaluate`` command writes."""
    out = folder.parent / "figures.json"
    main_or_refused(["evaluate", *words, "--out", str(out)])
    return json.loads(out.read_text())


def make_labels(folder: Path) -> None:
    """Label maps and predictions as PNGs."""
    for number in range(COUNT):
        for side, shift in (("gt", 0), ("pred", 100)):
            (folder / side).mkdir(exist_ok=True)
            (folder / side / f"{number:03d}.png").write_bytes(png(label_map(number + shift)))


def evaluate_labels(folder: Path) -> Any:
    """The figures of ``evaluate segmentation``."""
    return figures(
        folder, ["segmentation", "--gt", str(folder / "gt"), "--pred", str(folder / "pred"), "--num-classes", "4"]
    )


def make_edges(folder: Path) -> None:
    """Edge maps as PNGs and scores as arrays."""
    for number in range(COUNT):
        for side in ("gt", "pred"):
            (folder / side).mkdir(exist_ok=True)
        (folder / "gt" / f"{number:03d}.png").write_bytes(png((label_map(number) == 0).astype(np.uint8) * 255))
        np.save(folder / "pred" / f"{number:03d}.npy", depth_map(number) / FAR)


def evaluate_edges(folder: Path) -> Any:
    """The figures of ``evaluate edges``."""
    return figures(folder, ["edges", "--gt", str(folder / "gt"), "--pred", str(folder / "pred")])


DEPTH, SCORES = plausible.array(0.0, FAR), plausible.array(-1e30, 1e30)


def depth_file(original: bytes, damaged: bytes) -> bool:
    """A .npy, or a .npz of one."""
    return (plausible.archive(DEPTH) if original.startswith(b"PK") else DEPTH)(original, damaged)


SURFACES = [
    Surface(
        "depth_folder",
        make_depth("folder"),
        evaluate_depth("folder"),
        ("pred/*",),
        ("npy", "zip", "bytes"),
        depth_file,
        25,
    ),
    Surface(
        "depth_npz",
        make_depth("npz"),
        evaluate_depth("npz"),
        ("pred.npz",),
        ("zip", "npz", "bytes"),
        plausible.archive(DEPTH),
        25,
    ),
    Surface(
        "depth_zip",
        make_depth("zip"),
        evaluate_depth("zip"),
        ("pred.zip",),
        ("zip", "npz", "bytes"),
        plausible.archive(DEPTH),
        25,
    ),
    Surface("depth_npy", make_depth("npy"), evaluate_depth("npy"), ("pred.npy",), ("npy", "bytes"), DEPTH, 15),
    Surface("segmentation", make_labels, evaluate_labels, ("pred/*", "gt/*"), ("png", "bytes"), share=20),
    Surface("edge_labels", make_edges, evaluate_edges, ("gt/*",), ("png", "bytes"), share=10),
    Surface("edge_scores", make_edges, evaluate_edges, ("pred/*",), ("npy", "bytes"), SCORES, 10),
]
