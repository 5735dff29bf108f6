"""Light on a scene: what a synthetic world knows of its frames' sun and sky."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from datamodules.files.checksums import require_checksums
from datamodules.files.typed_json import Finite, read_json


@dataclass(frozen=True)
class Light:
    """Illumination.

    Attributes:
        sun: (3,) unit vector towards the sun, in the frame of the surfaces that are shaded (y down).
        ambient: share of the light that comes from the sky, in [0, 1]; 1 is an overcast day without shadows.
        exposure: factor on linear radiance before the display curve.
        specular: factor on all reflections; 0 makes every surface view-independent.
        level_eye: elevation (radians) of an eye from which every surface is seen head on when its reflections are
            worked out: they are a street's, and the same from everywhere; None takes the true eye and an open sky.
    """

    sun: np.ndarray = field(default_factory=lambda: np.array([0.35, -0.85, -0.39]))
    ambient: float = 0.75
    exposure: float = 1.0
    specular: float = 1.0
    level_eye: float | None = None


class _Stored(msgspec.Struct):
    sun: tuple[Finite, Finite, Finite]
    ambient: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.75
    exposure: Annotated[float, msgspec.Meta(gt=0, le=100)] = 1.0


class _World(msgspec.Struct):
    schema: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    frames: dict[str, _Stored] = {}
    scenes: dict[str, _Stored] = {}


def read_lights(root: Path) -> dict[str, Light]:
    """Light by frame (of a KITTI-like world, the sun in its camera frame) or by scene (nuScenes-like, global frame).

    Raises:
        InputError: ``world.json`` is there, but damaged, or its world's checksums are missing.
    """
    path = root / "world.json"
    try:
        found = path.stat()
    except OSError:
        return {}
    return _read(path, found.st_mtime_ns, found.st_size, found.st_ino)


@lru_cache(maxsize=4)
def _read(path: Path, *_: int) -> dict[str, Light]:
    """The lights of a file, kept until the file changes."""
    world = read_json(path, _World, "a world's index (`python -m lit prepare world` or `surround` writes one)")
    if world.schema > 1:
        require_checksums(path)
    stored = {**world.frames, **world.scenes}
    return {name: Light(np.array(light.sun), light.ambient, light.exposure) for name, light in stored.items()}
