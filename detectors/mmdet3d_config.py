"""Changes to an OpenMMLab model configuration, as plain nested dictionaries: size, supervision, classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from datamodules.errors import InputError

OPEN_END = 1e8  # pixels: the open end of the last level's range, as the official configs write it
LEVEL_RANGE = 6  # widest regression of a level over its stride, the official 48 / 8
VELOCITY = slice(7, 9)  # rows of the box code after offset, depth, size and yaw


@dataclass(frozen=True)
class Size:
    """A narrower FCOS3D or PGD, trained from random weights.

    Attributes:
        depth: of the ResNet: 18, 34, 50, 101 or 152.
        base_channels: of its first stage; 64 officially.
        channels: of the feature pyramid and of every layer of the head; 256 officially.
        stacked_convs: layers of each of the head's two towers; 2 officially.
        strides: input pixels a cell of each level, each twice the one before, from 4, 8 or 16 on; a level regresses
            objects whose image box reaches up to six strides from the cell, as officially.
        deformable: deformable convolutions in stages 3 and 4 (from depth 50 on) and in the last layer of each tower.
        norm: of the backbone, which trains; the official one is frozen.
        rays: the backbone also sees the slopes x / z and y / z of each pixel's ray, so that it knows where the horizon
            is, which zoomed and moved windows do not tell.
    """

    depth: int = 18
    base_channels: int = 16
    channels: int = 32
    stacked_convs: int = 1
    strides: tuple[int, ...] = (8, 16, 32)
    deformable: bool = False
    norm: Literal["BN", "GN"] = "BN"
    rays: bool = False


def apply_size(model: dict[str, Any], size: Size) -> None:
    """Give a model of the FCOS3D family another size, in place.

    Raises:
        InputError: another kind of model, or strides that are not a feature pyramid's.
    """
    if "regress_ranges" not in HEAD_KEYS.get(model["bbox_head"]["type"], ()):
        raise InputError(f"size: {model['type']} has no such choice; drop size and change the model with overrides")
    strides = size.strides
    if not strides or strides[0] not in (4, 8, 16) or any(b != 2 * a for a, b in pairwise(strides)):
        raise InputError(f"size.strides {strides}: expected 4, 8 or 16, then twice as much each, as (8, 16, 32)")
    stages = min(strides[-1], 32).bit_length() - 2
    norm = {"type": "BN"} if size.norm == "BN" else groups(size.base_channels)
    deformable = size.deformable and size.depth >= 50  # mmdet's blocks of ResNet-18 and 34 have no deformable kind
    model["backbone"] = {
        "type": "mmdet.ResNet",
        "depth": size.depth,
        "in_channels": 5 if size.rays else 3,
        "base_channels": size.base_channels,
        "stem_channels": size.base_channels,
        "num_stages": stages,
        "strides": (1, 2, 2, 2)[:stages],
        "dilations": (1,) * stages,
        "out_indices": tuple(range(stages)),
        "norm_cfg": {**norm, "requires_grad": True},
        "norm_eval": False,
        "dcn": {"type": "DCNv2", "deform_groups": 1, "fallback_on_stride": False} if deformable else None,
        "stage_with_dcn": (False, False, deformable, deformable)[:stages],
    }
    width = size.base_channels * (4 if size.depth >= 50 else 1)
    first = strides[0].bit_length() - 3
    model["neck"] |= {
        "in_channels": [width << stage for stage in range(stages)],
        "out_channels": size.channels,
        "start_level": first,
        "num_outs": len(strides),
    }
    head, one = model["bbox_head"], (size.channels,)
    head |= {
        "in_channels": size.channels,
        "feat_channels": size.channels,
        "stacked_convs": size.stacked_convs,
        "strides": list(strides),
        "regress_ranges": ranges(strides),
        "dcn_on_last_conv": size.deformable,
        "norm_cfg": groups(size.channels),
        "reg_branch": [one if branch else () for branch in head["reg_branch"]],
    }
    for name in HEAD_KEYS[head["type"]]:
        if name.endswith("_branch") and (name in head or name == "centerness_branch"):
            head[name] = one


HEAD_KEYS = {
    "FCOSMono3DHead": ("regress_ranges", "cls_branch", "dir_branch", "attr_branch", "centerness_branch"),
    "PGDHead": ("regress_ranges", "cls_branch", "dir_branch", "attr_branch", "centerness_branch", "depth_branch"),
}


def groups(channels: int) -> dict[str, Any]:
    """Group normalisation with eight channels a group, the official 32 groups of 256."""
    return {"type": "GN", "num_groups": max(1, channels // 8)}


def ranges(strides: Sequence[int]) -> tuple[tuple[float, float], ...]:
    """Least and greatest regression (pixels) of each level; official strides give the official ranges."""
    edges = [-1, *(LEVEL_RANGE * stride for stride in strides[:-1]), OPEN_END]
    return tuple(pairwise(edges))


def supervise(model: dict[str, Any], attributes: bool, velocity: bool, depth_weight: float | None) -> None:
    """Drop the heads of what is not supervised and set the weight of the depth's loss, in place.

    A head whose loss had the weight 0 would still hold parameters that get no gradient, which distributed training
    refuses; so the heads go, as mmdetection3d's own KITTI configurations have it.

    Raises:
        InputError: the model has no such supervision or weight.
    """
    head, train = model["bbox_head"], model.get("train_cfg") or {}
    weights = list(train.get("code_weight") or ())
    if depth_weight is not None:
        if not weights:
            raise InputError(f"depth_weight {depth_weight}: {model['type']} has no code_weight; leave it out")
        weights[2] = depth_weight
    if not attributes:
        head["pred_attrs"] = False
    if not velocity and head.get("pred_velo"):
        head |= {
            "pred_velo": False,
            "bbox_code_size": 7,
            "group_reg_dims": _without(head["group_reg_dims"], 4),
            "reg_branch": _without(head["reg_branch"], 4),
        }
        head["bbox_coder"]["code_size"] = 7
        del weights[VELOCITY]
    if weights:
        model["train_cfg"]["code_weight"] = weights


def _without(values: Sequence[Any], index: int) -> list[Any]:
    return [value for i, value in enumerate(values) if i != index]


def use_classes(model: dict[str, Any], count: int) -> None:
    """Set the number of classes, in place.

    Raises:
        InputError: the configuration holds mean sizes of another number of classes.
    """
    head = model["bbox_head"]
    dims = head.get("bbox_coder", {}).get("base_dims")
    if dims is not None and len(dims) != count:
        raise InputError(
            f"classes: {count} names, but {head['type']} has mean sizes of {len(dims)} classes; "
            "give overrides.bbox_head.bbox_coder base_dims and base_depths for yours"
        )
    head["num_classes"] = count


def merge(model: dict[str, Any], changes: dict[str, Any]) -> None:
    """Put ``changes`` into nested dictionaries, in place; values that are not dictionaries are replaced whole."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(model.get(key), dict):
            merge(model[key], value)
        else:
            model[key] = value


def forget_downloads(model: dict[str, Any]) -> None:
    """Remove every ``init_cfg`` that names a checkpoint to download, in place; files are given by path instead."""
    for key, value in list(model.items()):
        if isinstance(value, dict):
            if key == "init_cfg" and "checkpoint" in value:
                model[key] = None
            else:
                forget_downloads(value)
