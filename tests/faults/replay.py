"""Failed inputs kept as files, and tried again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.faults.mutations import Damage
from tests.faults.outcome import BAD
from tests.faults.surface import Surface
from tests.faults.surfaces import SURFACES
from tests.faults.worker import Bench, Case, drawn, in_child, workplace

OTHER_NAMES = {  # of surfaces in folders that came from elsewhere
    "ckpt_load_weights": "load_weights",
    "ckpt_centernet_backbone": "centernet_backbone",
    "ckpt_fcos3d": "fcos3d",
    "eval_depth_folder": "depth_folder",
    "eval_depth_npy": "depth_npy",
    "eval_depth_npz": "depth_npz",
    "eval_depth_zip": "depth_zip",
    "eval_images_npz": "images_npz",
    "imagesets": "kitti_imagesets",
    "kitti_frame_injected": "world_injected",
    "leaderboard_result": "result_json",
    "prepare_kitti_tree": "kitti_tree",
    "prepare_world_index": "world_index",
    "sweep_grid_yaml": "grid_yaml",
}


def keep_case(surface: Surface, case: Case, seed: int, folder: Path, keep: Path) -> None:
    """Store a failed input as ``SURFACE__VERDICT__KIND-NUMBER/{input,original,file}``."""
    bench = Bench(surface, folder, check=False)
    file, change = drawn(bench, seed, case.number)
    kind = re.sub(r"\W+", "_", case.kind)
    place = keep / f"{surface.name}__{case.outcome.verdict}__{kind}-{case.number}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / "original").write_bytes(bench.original(file))
    (place / "file").write_text(case.file)
    (place / "kind").write_text(change.kind)
    if change.content is not None:
        (place / "input").write_bytes(change.content)


def replay(folder: Path) -> int:
    """Try every kept input again: in its surface's folder, in the place of the file it came from.

    An input that came from elsewhere stands in the place of the first file of its surface, and its original with it.

    Returns:
        1 where any still fails.
    """
    failed = 0
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        name = place.name.split("__")[0]
        surface = SURFACES.get(OTHER_NAMES.get(name, name))
        if surface is None or not ((place / "input").is_file() or (place / "kind").is_file()):
            continue
        original = (place / "original").read_bytes() if (place / "original").is_file() else None
        file = (place / "file").read_text() if (place / "file").is_file() else None
        with workplace(surface) as work:
            outcome = in_child(surface, work, original, file, damage_of(place))
        failed += outcome.verdict in BAD
        print(f"{place.name}: {outcome.verdict}{': ' * bool(outcome.detail)}{outcome.detail}", flush=True)
    return int(failed > 0)


def damage_of(place: Path) -> Damage:
    """The damage that a kept input is."""
    kind = (place / "kind").read_text() if (place / "kind").is_file() else place.name.split("__")[-1]
    return Damage(kind, (place / "input").read_bytes() if (place / "input").is_file() else None)
