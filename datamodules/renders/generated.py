"""Images that were generated from renders: ``<synset>/<model>/<name>/NNN_VV.png``, VV counting the images of a render.

Each has a log beside it, ``NNN_VV.json``, written after the image: what it was made with, and the image's digest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np

from datamodules.errors import InputError
from datamodules.files.atomic_files import read_bytes, write_atomically
from datamodules.files.checksums import digest_of
from datamodules.files.typed_json import Finite, Identifier, Text, read_json
from datamodules.images import read_image
from datamodules.renders.render_set import Render, RenderSet

LOG_KIND = "the log of a generated image (`python -m lit prepare dst-images` writes it)"


class ImageLog(msgspec.Struct):
    """What one image was made with.

    Attributes:
        settings: digest of the pipeline, its weights and options.
        seed: of its noise.
        prompt, negative: what the model was told.
        strength: of the control.
        digest: of the image.
        render: digest of the picture that it was drawn from; "unknown" where a log was written before it was logged,
            whose image is drawn anew.
    """

    settings: Identifier
    seed: int
    prompt: Text
    negative: Text
    strength: Finite
    digest: Identifier
    render: Identifier = "unknown"


@dataclass(frozen=True)
class Generated:
    """One generated image.

    Attributes:
        render: what it was made from; its annotation is the image's.
        name: of the generation, the folder's.
        variant: number among the images of this render.
    """

    render: Render
    name: str
    variant: int

    @property
    def key(self) -> str:
        """synset/model/NNN_VV."""
        return f"{self.render.key}_{self.variant:02d}"

    @property
    def path(self) -> Path:
        """The image."""
        return self.render.folder / self.name / f"{self.render.view:03d}_{self.variant:02d}.png"

    @property
    def log(self) -> ImageLog:
        """What it was made with.

        Raises:
            InputError: no log, or a damaged one.
        """
        return read_json(self.path.with_suffix(".json"), ImageLog, LOG_KIND)

    def is_whole(self, settings: str, wanted: ImageLog | None = None) -> bool:
        """Whether it was made with these settings, and with all else that a log says, and is as it was written."""
        try:
            log = self.log
            if wanted is not None and msgspec.structs.replace(wanted, digest=log.digest) != log:
                return False
            return log.settings == settings and digest_of(read_bytes(self.path, "a generated image")) == log.digest
        except InputError:
            return False

    def read(self) -> np.ndarray:
        """(S, S, 3) uint8 RGB.

        Raises:
            InputError: missing, or other than it was written: half of it, say.
        """
        if digest_of(read_bytes(self.path, "a generated image")) != self.log.digest:
            raise InputError(
                f"{self.path}: differs from its log, half-written or changed; run prepare dst-images again"
            )
        return read_image(self.path).transpose(1, 2, 0)

    def write(self, image: np.ndarray, log: ImageLog) -> None:
        """Write the image (S, S, 3) uint8 RGB, then its log."""
        data = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
        log.digest = write_atomically(self.path, data)
        write_atomically(self.path.with_suffix(".json"), json.dumps(msgspec.to_builtins(log), indent=1) + "\n")


def generated_images(renders: RenderSet, name: str) -> list[Generated]:
    """All finished images of one generation, in the renders' order.

    Raises:
        InputError: there is none, or they were made by different pipelines.
    """
    found: list[Generated] = []
    for render in renders:
        logs = sorted((render.folder / name).glob(f"{render.view:03d}_*.json"))
        found += [Generated(render, name, int(path.stem.rpartition("_")[2])) for path in logs]
    if not found:
        kinds = {
            path.name
            for model in renders.index.models
            for path in (renders.root / model.synset / model.model).glob("*")
        }
        known = sorted(
            kinds - {"image_render", "depth", "normal", "annotation", "canny", "depth_prompt", "normal_prompt"}
        )
        expected = ", ".join(known) or "some"
        raise InputError(f"{renders.root}: holds no images {name!r}, expected {expected}; run prepare dst-images first")
    made: dict[str, Generated] = {}
    for image in found:
        made.setdefault(image.log.settings, image)
    if len(made) > 1:
        first, second, *_ = (image.key for image in made.values())
        raise InputError(
            f"{renders.root}: images {name!r} of {len(made)} pipelines or options (as {first} and {second}), expected "
            "one; let prepare dst-images finish, and remove images that it draws no more"
        )
    return found


def digest_of_images(images: Sequence[Generated]) -> str:
    """Of which images these are, and of what they show."""
    return digest_of(json.dumps([[image.key, image.log.digest] for image in images]).encode())


def angles_of(images: Sequence[Generated]) -> np.ndarray:
    """(N, 3) float32 azimuth, elevation and roll, degrees, of the renders that images were made from."""
    rows = [(a.azimuth, a.elevation, a.roll) for a in (image.render.annotation for image in images)]
    return np.array(rows, np.float32).reshape(-1, 3)
