"""The trainings that ``bench training`` times: command lines at the published sizes, and the same at tiny ones."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

import torch

from datamodules.assets.bank_writer import AssetBankWriter
from datamodules.world.road_world import write_world
from datamodules.world.surround.world import write_surround_world
from lit import ROOT
from lit.commands.bench.inject import baked_cars

CONF = ROOT / "conf"
CAR = "--data.injection.source.folder {bank} --data.injection.probability 1.0"
TINY_LIFT3D = (
    "--data.rays 64 --data.patch 8 --model.objective.samples 4 --model.network.plane_resolution 16 "
    "--model.network.channel_base 128 --model.network.channel_max 16 --model.network.w_dim 16 "
    "--model.network.plane_channels 4 --model.network.hidden 16 --model.eval_samples 4"
)
TINY_GAN = "--model.channel_base 256 --model.channel_max 8 --model.z_dim 8 --model.w_dim 8"
TINY_FCOS3D = (
    "--model.detector.size.depth 18 --model.detector.size.base_channels 8 --model.detector.size.channels 16 "
    "--model.detector.size.strides [8,16,32]"
)
STUDIO = "--data.folder {{posed}} --data.create_objects 4 --data.create_views 8 --data.create_size {size}"
SETS = "posed256", "posed128", "posed64", "labelled128", "dst64"
UNTRAINED = "--trainer.callbacks null --data.val_every 4"  # nothing is scored
LPIPS = "lit.features.lpips_distance.LpipsDistance"
RANDOM_LPIPS = f'--model.perceptual {{{{"class_path":"{LPIPS}","init_args":{{{{"weights":null}}}}}}}}'
TRUNKS = "--model.objective.init_args.{part}.init_args.weights random"


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        experiment: file of conf/experiment.
        words: its options; places stand in braces.
        full, tiny: options at the published size, and at that of a trial.
        module: Python package that it needs.
        batch: option that says how many pictures a step has.
    """

    experiment: str
    words: str
    full: str
    tiny: str
    module: str = "torch"
    batch: str = "data.batch_size"


_CENTERNET = Case(
    "kitti_centernet",
    "--data.root {world} --model.detector.backbone_weights none --trainer.sync_batchnorm false",
    "--data.size [384,1280] --data.batch_size 8",
    "--data.size [96,320] --data.batch_size 2 --model.detector.deformable false --model.detector.neck_channels 16 "
    "--model.detector.head_channels 16",
)
_FCOS3D = Case(
    "nuscenes_fcos3d",
    "--data.root {surround} --data.version v1.0-world --data.train_split {surround}/ImageSets/train.txt "
    "--data.val_split {surround}/ImageSets/val.txt --data.batch_size 2",
    "--model.detector.backbone_weights {backbone} --trainer.precision bf16-mixed",
    TINY_FCOS3D,
    "mmdet3d",
)


def _injected(case: Case, file: str) -> Case:
    return Case(case.experiment, f"{case.words} --data.injection {CONF}/injection/{file} {CAR}", *_sizes(case))


def _sizes(case: Case) -> tuple[str, str, str]:
    return case.full, case.tiny, case.module


def _generator(experiment: str, model: str, size: int, words: str = "") -> Case:
    """A generator of pictures at its authors' size."""
    studio = STUDIO.format(size=size).replace("posed", f"posed{size}")
    return Case(experiment, f"--model {CONF}/model/{model}.yaml {words} {UNTRAINED} {studio}", "", "")


CASES = {
    "centernet3d": _CENTERNET,
    "centernet3d_injected": _injected(_CENTERNET, "lift3d.yaml"),
    "fcos3d": _FCOS3D,
    "fcos3d_injected": _injected(_FCOS3D, "surround_lift3d.yaml"),
    "stylegan2": Case(
        "stylegan2_paper",
        "--trainer.callbacks null --data.val_every 4",
        f"--model.resolution 256 --data.batch_size 16 {STUDIO.format(size=256).replace('posed', 'posed256')}",
        f"--model.resolution 64 --data.batch_size 2 {STUDIO.format(size=64).replace('posed', 'posed64')} {TINY_GAN}",
    ),
    "lift3d": Case(
        "lift3d_paper",
        "--trainer.callbacks null --data.held_out_every 4",
        STUDIO.format(size=256).replace("posed", "posed256"),
        f"--data.batch_objects 2 {STUDIO.format(size=64).replace('posed', 'posed64')} {TINY_LIFT3D}",
        batch="data.batch_objects",
    ),
}
_SMALL = Case("world_centernet", "--data.root {small} --trainer.max_steps -1", "", "--data.batch_size 2")
# Only by their names: the other generators with their authors' networks and pictures, and the small detector of the
# road world, whose steps are so short that injection shows.
BY_NAME = {
    "giraffe": _generator("giraffe", "giraffe_cars256", 256),
    "giraffe_hd": _generator("giraffe_hd", "giraffe_hd_compcars", 256),
    "g3dr": _generator(
        "g3dr_small", "g3dr_paper", 128, f"{TRUNKS.format(part='perceptual')} {TRUNKS.format(part='clip')}"
    ),
    "pix2pix3d": Case(
        "pix2pix3d_small",
        f"--model {CONF}/model/pix2pix3d_edge_car128.yaml {RANDOM_LPIPS} {UNTRAINED} "
        "--data.test_every 4 --data.images {labelled128}/images.zip --data.labels {labelled128}/edge.zip "
        "--data.create_objects 12 --data.create_views 4 --data.create_size 128",
        "",
        "",
    ),
    "dst": Case(
        "dst",
        "--model.autoencoder none --data.val_every 2 --data.folder {dst64} --data.create_models 2 "
        "--data.create_views 2",
        "",
        "",
    ),
    "small": Case(_SMALL.experiment, f"{_SMALL.words} --data.injection null", "", _SMALL.tiny),
    "small_injected": _injected(_SMALL, "lift3d.yaml"),
}
INJECTED_PAIRS = [(name.removesuffix("_injected"), name) for name in (*CASES, *BY_NAME) if name.endswith("_injected")]
# The whole way of a small detector, scored: a training that a machine ends in a minute or two.
SHORT_TRAINING = Case("world_centernet", "--data.root {small} --data.injection null", "--trainer.max_steps 400", "")


def places_of(cases: Iterable[Case], tiny: bool) -> set[str]:
    """What stands in braces in the command lines of trainings."""
    lines = (f"{case.words} {case.tiny if tiny else case.full}" for case in cases)
    return {name for line in lines for _, name, _, _ in Formatter().parse(line) if name}


def write_inputs(folder: Path, tiny: bool, wanted: set[str]) -> dict[str, Path]:
    """Write the frames and the bank that the trainings read; posed sets they make themselves.

    Args:
        folder: for everything.
        tiny: of a trial's size.
        wanted: names of the places that are read.

    Returns:
        Places by name, as the command lines have them in braces.
    """
    workers = min(os.cpu_count() or 1, 16)
    places = {name: folder / name for name in ("world", "surround", "small", "bank", *SETS)}
    places["backbone"] = folder / "backbone.pth"
    sizes = (320, 96, 160, 90) if tiny else (1242, 375, 1600, 900)
    if tiny:
        places["small"] = places["world"]
    elif "small" in wanted:
        write_world(places["small"], train=60, val=40, workers=workers, progress=False)
    if "world" in wanted or (tiny and "small" in wanted):
        write_world(
            places["world"], train=8 if tiny else 32, val=2, width=sizes[0], height=sizes[1], workers=workers,
            progress=False,
        )  # fmt: skip
    if "surround" in wanted:
        write_surround_world(
            places["surround"], train_scenes=1, val_scenes=1, samples_per_scene=2, width=sizes[2], height=sizes[3],
            workers=workers, progress=False,
        )  # fmt: skip
    if "bank" in wanted:
        with AssetBankWriter(places["bank"], generator="bench") as writer:
            for car in baked_cars():
                writer.write(car)
    return places


def write_backbone(path: Path) -> None:
    """Write weights for FCOS3D's backbone that no branch is dead with: random, for speed and memory alone.

    Args:
        path: the file.
    """
    from detectors.fcos3d import FCOS3D  # needs mmdet3d

    backbone = FCOS3D(backbone_weights="none").model.backbone
    weights = {name: value.clone() for name, value in backbone.state_dict().items()}
    for name, layer in backbone.named_modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            weights[f"{name}.weight"].fill_(0.5)
    torch.save(weights, path)
