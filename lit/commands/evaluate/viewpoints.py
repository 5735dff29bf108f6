"""``evaluate viewpoints`` and ``evaluate dst-pose``: where objects are seen from, and whether images keep the pose."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.errors import InputError
from lit.arguments import Arguments
from lit.commands.prepare.paths import named_path, typed_path

SET_FORM = "NAME=FOLDER of renders (dst-renders), posed images, or KITTI"


def viewpoints(argv: list[str]) -> int:
    """Plot distributions of viewpoints of several sets, and say how even and how alike they are."""
    parser = Arguments("evaluate viewpoints", "Distributions of viewpoints of generated and real sets.")
    parser.add_argument(
        "--set", type=named_path(SET_FORM), nargs="+", required=True, metavar="NAME=FOLDER", help=SET_FORM
    )
    parser.add_argument("--class", dest="name", help="only this class, as the set spells it (Car)")
    parser.add_argument("--split", default="train", help="of KITTI folders (default train)")
    parser.add_argument("--plot", type=typed_path, help="PNG to write")
    parser.add_argument("--out", type=typed_path, help="JSON file")
    options = parser.parse_args(argv)
    from datamodules.files.atomic_files import write_atomically
    from lit.commands.report import report
    from lit.metrics.viewpoints import VERSION, divergence, viewpoint_counts, viewpoint_figures
    from lit.pictures.viewpoints import viewpoint_plot

    names = [name for name, _ in options.set]
    if len(set(names)) < len(names):
        raise InputError(f"--set {' '.join(names)}: expected different names")
    found = {name: read_viewpoints(folder, options.name, options.split) for name, folder in options.set}
    counts = {name: viewpoint_counts(*angles) for name, angles in found.items()}
    figures: dict[str, Any] = {"evaluator": {"name": "viewpoints", "version": VERSION}}
    for name, angles in found.items():
        figures |= {f"{name}/{key}": value for key, value in viewpoint_figures(*angles).items()}
    for one, other in combinations(counts, 2):
        figures[f"{one}, {other}/azimuth_divergence"] = divergence(counts[one][0], counts[other][0])
        figures[f"{one}, {other}/elevation_divergence"] = divergence(counts[one][1], counts[other][1])
    if options.plot:
        write_atomically(options.plot, viewpoint_plot(counts))
    report("viewpoints", figures, options.out)
    return 0


def read_viewpoints(folder: Path, name: str | None = None, split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Azimuth and elevation (N,) of the objects in a set, degrees.

    Args:
        folder: of annotated renders, of posed images, or KITTI's.
        name: class; None for all.
        split: of KITTI.

    Raises:
        InputError: none of these is there, or it has no object of the class.
    """
    if (folder / "renders.json").is_file():
        azimuth, elevation = _of_renders(folder, name)
    elif (folder / "posed.json").is_file():
        azimuth, elevation = _of_posed(folder, name)
    elif (folder / "training" / "label_2").is_dir():
        azimuth, elevation = _of_kitti(folder, name, split)
    else:
        raise InputError(f"{folder}: holds no renders.json, posed.json or training/label_2, expected {SET_FORM}")
    if not len(azimuth):
        raise InputError(f"{folder}: holds no object{f' of class {name}' * bool(name)}; name another class")
    return azimuth, elevation


def _of_renders(folder: Path, name: str | None) -> tuple[np.ndarray, np.ndarray]:
    from datamodules.renders.render_set import RenderSet

    renders = RenderSet.load(folder)
    models = [model for model in renders.index.models if name in (None, model.name, model.words)]
    stated = [render.annotation for model in models for render in renders.of(model)]
    angles = np.array([(a.azimuth, a.elevation) for a in stated]).reshape(-1, 2)
    return angles[:, 0], angles[:, 1]


def _of_posed(folder: Path, name: str | None) -> tuple[np.ndarray, np.ndarray]:
    from datamodules.assets.visibility import observation_angles
    from datamodules.objects.posed_images import PosedImageSet

    posed = PosedImageSet.load(folder)
    if name not in (None, posed.name):
        return np.zeros(0), np.zeros(0)
    alpha, rise = observation_angles(np.asarray(posed.projection), posed.dims[:, None])
    return (np.rad2deg(alpha).ravel() - 90) % 360, np.rad2deg(rise).ravel()


def _of_kitti(folder: Path, name: str | None, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Of labelled boxes; the camera is taken to be where their frame begins."""
    from datamodules.kitti.datamodule import KittiDataset

    azimuth, elevation = [], []
    for boxes, names in KittiDataset(folder, split).read_labels():
        chosen = boxes[(names == name) if name else (names != "DontCare")]
        middle = chosen.center - np.array([0, 0.5, 0]) * chosen.dims[:, 1:2]
        azimuth.append((np.rad2deg(chosen.alpha) - 90) % 360)
        elevation.append(np.rad2deg(np.arctan2(middle[:, 1], np.hypot(middle[:, 0], middle[:, 2]))))
    return np.concatenate([*azimuth, np.zeros(0)]), np.concatenate([*elevation, np.zeros(0)])


def dst_pose(argv: list[str]) -> int:
    """How near an estimator finds generated images to their renders' poses: Acc at pi / 6 and pi / 18."""
    parser = Arguments("evaluate dst-pose", "Whether generated images keep the pose, as a pose estimator sees it.")
    parser.add_argument("--root", type=typed_path, required=True, help="folder of prepare dst-renders")
    parser.add_argument("--name", help="of the generated images (default: the renders, on white)")
    parser.add_argument("--estimator", type=typed_path, required=True, help="checkpoint of prepare dst-filter --save")
    parser.add_argument("--filtered", action="store_true", help="only images that prepare dst-filter keeps")
    parser.add_argument("--out", type=typed_path, help="JSON file")
    options = parser.parse_args(argv)
    if options.filtered and options.name is None:
        raise InputError("--filtered: renders need no filter; give --name, or leave it out")
    import torch

    from datamodules.renders.filtered import kept_images
    from datamodules.renders.generated import Generated, angles_of, generated_images
    from datamodules.renders.render_set import RenderSet
    from datamodules.renders.visual_prompts import on_white
    from lit.commands.report import report
    from lit.metrics.pose_accuracy import scores_of_poses
    from lit.posing.consistency import found_errors
    from lit.proxies.pose_estimator import PoseEstimator

    renders, estimator = RenderSet.load(options.root), PoseEstimator.load(options.estimator)
    if options.name is None:
        images = [Generated(render, "", 0) for render in renders]
    else:
        images = generated_images(renders, options.name)
        images = kept_images(images, options.root, options.name) if options.filtered else images
    angles, errors = torch.from_numpy(angles_of(images)), []
    for image, row in zip(images, angles):
        pixels = on_white(image.render.rgba) if options.name is None else image.read()
        errors.append(found_errors(estimator, torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None], row[None]))
    figures: dict[str, Any] = dict(scores_of_poses(torch.cat(errors)))
    figures |= {"images": len(images), "evaluator": {"name": "dst-pose", "version": "1"}}
    report("pose kept", figures, options.out)
    return 0
