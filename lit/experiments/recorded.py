"""What a run recorded of single frames, whichever benchmark it was evaluated by."""

from __future__ import annotations

import hashlib
from pathlib import Path

from datamodules.errors import InputError
from datamodules.files.atomic_files import read_bytes
from lit.metrics.kitti.curve_files import RecordedFrames, read_curves
from lit.metrics.nuscenes.sample_matches import RecordedSamples, read_matches
from lit.metrics.omni3d.recorded_pictures import RecordedPictures, read_pictures


def read_recorded(path: Path, sha256: str | None = None) -> RecordedFrames | RecordedSamples | RecordedPictures:
    """Read a file that an evaluation left beside its run's record.

    Args:
        path: ``frame_curves_SPLIT.npz`` of KITTI, ``sample_matches_SPLIT.npz`` of nuScenes, or
            ``picture_matches_SPLIT.npz`` of Omni3D.
        sha256: what the record says of its content; None does not compare.

    Raises:
        DatasetNotFound: it does not exist.
        InputError: it is damaged, something else, or not what the record was written with.
    """
    if sha256 is not None:
        found = hashlib.sha256(read_bytes(path, "what the run's evaluation recorded")).hexdigest()
        if found != sha256:
            raise InputError(f"{path}: SHA-256 {found[:12]}.., expected {sha256[:12]}.. of the record; evaluate again")
    if path.name.startswith("sample_matches"):
        return read_matches(path)
    if path.name.startswith("picture_matches"):
        return read_pictures(path)
    return read_curves(path)
