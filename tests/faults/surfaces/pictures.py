"""Pictures: what detectors read, and sets of generated images that are scored."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datamodules.images import read_image, write_image
from datamodules.randomness import derive
from tests.faults import plausible
from tests.faults.surface import Surface
from tests.faults.surfaces.kitti import main_or_refused

COUNT, SIDE = 4, 16


def picture(number: int, side: int = SIDE) -> np.ndarray:
    """A smooth picture (3, S, S) uint8, as pictures are."""
    coarse = derive(number, "picture").integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).transpose(2, 0, 1)


def make_png(folder: Path) -> None:
    """One PNG."""
    write_image(folder / "a.png", picture(0, 32))
    (folder / "name.txt").write_text("a.png")


def make_jpeg(folder: Path) -> None:
    """One JPEG."""
    (folder / "a.jpg").write_bytes(jpeg(0, 64))
    (folder / "name.txt").write_text("a.jpg")


def jpeg(number: int, side: int = SIDE) -> bytes:
    """The bytes of a JPEG."""
    return cv2.imencode(".jpg", picture(number, side).transpose(1, 2, 0)[..., ::-1])[1].tobytes()


def read(folder: Path) -> Any:
    """The one picture, which another file beside it names."""
    return read_image(folder / (folder / "name.txt").read_text())


def make_sets(kind: str) -> Any:
    """A writer of two sets of pictures of a kind."""

    def make(folder: Path) -> None:
        for side, first in (("real", 0), ("fake", 100)):
            stack = np.stack([picture(first + number) for number in range(COUNT)])
            if kind == "npz":
                np.savez(folder / f"{side}.npz", stack.transpose(0, 2, 3, 1))
            elif kind == "zip":
                with zipfile.ZipFile(folder / f"{side}.zip", "w") as archive:
                    for number, image in enumerate(stack):
                        data = cv2.imencode(".png", image.transpose(1, 2, 0))[1].tobytes()
                        archive.writestr(zipfile.ZipInfo(f"{number:03d}.png"), data)
            else:
                for number, image in enumerate(stack):
                    write_image(folder / side / f"{number:03d}.png", image)

        return None

    return make


def evaluate(kind: str) -> Any:
    """A reader: FID and KID of both sets with random features."""
    suffix = "" if kind == "folder" else f".{kind}"

    def load(folder: Path) -> Any:
        out = folder.parent / "figures.json"
        words = ["evaluate", "images", "--real", str(folder / f"real{suffix}"), "--fake", str(folder / f"fake{suffix}")]
        main_or_refused([*words, "--metrics", "fid", "--extractor", "random:0", "--out", str(out)])
        return json.loads(out.read_text())

    return load


def whole_numbers(original: bytes, damaged: bytes) -> bool:
    """Pictures in an array: bytes of the original's shape."""
    try:
        before, found = (np.load(io.BytesIO(content)) for content in (original, damaged))
    except Exception:
        return False
    return found.dtype == before.dtype and found.shape[1:] == before.shape[1:]


def pictures(original: bytes, damaged: bytes) -> bool:
    """A zip of whole pictures of the original's, under any names: nothing lists which and how many belong to a set."""
    try:
        with zipfile.ZipFile(io.BytesIO(original)) as before, zipfile.ZipFile(io.BytesIO(damaged)) as found:
            names = found.namelist()
            if len(set(names)) < len(names) or found.testzip() is not None:
                return False
            known = {before.read(name) for name in before.namelist()}
            return {found.read(name) for name in names if name.lower().endswith(".png")} <= known
    except Exception:
        return False


SURFACES = [
    Surface("image_png", make_png, read, ("a.png",), ("png", "bytes"), plausible.jpeg, 30),
    Surface("image_jpeg", make_jpeg, read, ("a.jpg",), ("jpeg", "bytes"), plausible.jpeg, 30),
    Surface(
        "images_npz",
        make_sets("npz"),
        evaluate("npz"),
        ("fake.npz",),
        ("zip", "npz", "bytes"),
        plausible.archive(whole_numbers),
        15,
    ),
    Surface("images_zip", make_sets("zip"), evaluate("zip"), ("fake.zip",), ("zip", "bytes"), pictures, 15),
    Surface(
        "images_folder",
        make_sets("folder"),
        evaluate("folder"),
        ("fake/*.png",),
        ("png", "bytes"),
        plausible.jpeg,
        10,
        True,
    ),
]
