"""Weights: plain state dicts, official checkpoints, backbones, detectors, metric networks."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import timm
import torch

from detectors.centernet3d import CenterNet3D
from lit.features.build import build_extractor
from lit.results import read_result
from lit.weights.files import read_state
from lit.weights.fitting import fit_state
from lit.weights.official.lift3d import read_lift3d
from lit.weights.official.stylegan2_files import read_stylegan2
from tests.faults import plausible
from tests.faults.surface import Surface
from tests.faults.surfaces.kitti import main_or_refused
from tests.lit.toy_training import EXPERIMENT
from tests.lit.weights.official.network_pickles import stylegan2_pickle
from tests.lit.weights.official.official_states import SMALL, nvidia_state, rosinality_state
from tests.lit.weights.official.test_lift3d import checkpoint

NARROW: dict[str, Any] = {"layers": [1, 1, 1, 1], "channels": [4, 4, 4, 4]}
FILE = "weights.pt"


def seeded(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A module's state with drawn values."""
    generator = torch.Generator().manual_seed(0)
    state = module.state_dict()
    return {k: torch.rand(v.shape, generator=generator) if v.is_floating_point() else v for k, v in state.items()}


def small() -> torch.nn.Module:
    """A network of two layers."""
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


def make_small(folder: Path) -> None:
    """Its state dict, as a training keeps it."""
    torch.save({"state_dict": seeded(small())}, folder / FILE)


def read_small(folder: Path) -> Any:
    """A network filled with it."""
    network = small()
    fit_state(network, read_state(folder / FILE, "a small network"), folder / FILE, "a small network")
    return network.state_dict()


def make_lift3d(folder: Path) -> None:
    """Lift3D's released network in small."""
    torch.save(checkpoint(), folder / FILE)


def read_lift3d_state(folder: Path) -> Any:
    """The field it becomes."""
    return read_lift3d(folder / FILE).state_dict()


def make_backbone(folder: Path) -> None:
    """ImageNet weights of a narrow backbone."""
    torch.save(seeded(timm.create_model("resnet18", num_classes=5, **NARROW)), folder / FILE)


def read_backbone(folder: Path) -> Any:
    """CenterNet3D's backbone filled with them."""
    torch.manual_seed(0)
    net = CenterNet3D("resnet18", NARROW, backbone_weights=str(folder / FILE), neck_channels=4, head_channels=4)
    return net.state_dict()


def make_fcos3d(folder: Path) -> None:
    """A checkpoint of a narrow FCOS3D."""
    torch.save({"state_dict": seeded(_fcos3d(None).model), "meta": {"epoch": 1}}, folder / FILE)


def read_fcos3d(folder: Path) -> Any:
    """The detector filled with it."""
    return _fcos3d(str(folder / FILE)).model.state_dict()


def _fcos3d(path: str | None) -> Any:
    from detectors.fcos3d import FCOS3D
    from detectors.mmdet3d_config import Size

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FCOS3D(size=Size(18, 8, 16, 1, (8, 16, 32)), checkpoint=path)


def make_metric(folder: Path) -> None:
    """A network that scores pictures."""
    torch.save(seeded(timm.create_model("test_resnet")), folder / FILE)


def read_metric(folder: Path) -> Any:
    """The features of one picture."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    extractor = build_extractor("timm:test_resnet", str(folder / FILE))
    return [value for key, value in sorted(extractor.state_dict().items())]


def make_pickle(folder: Path) -> None:
    """A network pickle as NVIDIA writes them."""
    stylegan2_pickle(folder / "network.pkl", nvidia_state(), SMALL, folder / "run")


def read_pickle(folder: Path) -> Any:
    """The generator it becomes."""
    found = read_stylegan2(folder / "network.pkl").state_dict()
    return [found, {key: bool(value.isfinite().all()) for key, value in found.items()}]


def make_rosinality(folder: Path) -> None:
    """A generator as rosinality's repository writes it."""
    torch.save({"g_ema": rosinality_state(), "latent_avg": torch.zeros(SMALL["w_dim"])}, folder / FILE)


def read_rosinality(folder: Path) -> Any:
    """The generator it becomes."""
    return read_stylegan2(folder / FILE).state_dict()


def make_checkpoint(folder: Path) -> None:
    """A toy's training, up to its checkpoint."""
    (folder / "toy.yaml").write_text(EXPERIMENT)
    main_or_refused(["fit", *_toy(folder)])


def validate(folder: Path) -> Any:
    """The metrics of its weights, as ``validate --ckpt_path`` records them."""
    main_or_refused(["validate", *_toy(folder), "--ckpt_path", str(folder / "run" / "last.ckpt")])
    return read_result(folder / "run" / "result_validate.json").metrics


def _toy(folder: Path) -> list[str]:
    options = ["--trainer.enable_model_summary", "false", "--trainer.logger", "false"]
    return ["-c", str(folder / "toy.yaml"), "--trainer.default_root_dir", str(folder / "run"), *options]


STATE = ("state", "state", "pickle", "zip", "bytes", "bytes")
SURFACES = [
    Surface("ckpt_path", make_checkpoint, validate, ("run/last.ckpt",), STATE, plausible.state, 6),
    Surface("load_weights", make_small, read_small, (FILE,), STATE, plausible.state, 40),
    Surface("lift3d_released", make_lift3d, read_lift3d_state, (FILE,), STATE, plausible.state, 25),
    Surface("rosinality", make_rosinality, read_rosinality, (FILE,), STATE, plausible.state, 15),
    Surface("centernet_backbone", make_backbone, read_backbone, (FILE,), STATE, plausible.state, 25),
    Surface("fcos3d", make_fcos3d, read_fcos3d, (FILE,), STATE, plausible.state, 20),
    Surface("metric_weights", make_metric, read_metric, (FILE,), STATE, plausible.state, 15),
    Surface(
        "network_pickle",
        make_pickle,
        read_pickle,
        ("network.pkl",),
        ("pickle", "bytes", "bytes"),
        plausible.any_change,
        40,
    ),
]
