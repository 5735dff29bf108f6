"""FCOS3D, and PGD and SMOKE through the same door, from mmdetection3d's packaged configurations and weights.

After FCOS3D (Wang et al. 2021), PGD (Wang et al. 2022) and SMOKE (Liu et al. 2020) in mmdetection3d 1.4. This is the
one file that imports OpenMMLab's packages, and it does so when a detector is built: everything else runs without them.

Seconds and memory of the official network at nuScenes' size, one image, on one CPU core::

    OMP_NUM_THREADS=1 python -m detectors.fcos3d
"""

from __future__ import annotations

import difflib
import importlib
import logging
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.base import MEAN, STD
from datamodules.errors import InputError
from datamodules.files.weight_files import mismatch_in, read_content, state_of
from datamodules.geometry import Camera
from datamodules.scene import Batch, Objects
from detectors import mmcv_ops, mmdet3d_config, mmdet3d_counts
from detectors.mmdet3d_config import Size
from detectors.mmdet3d_samples import predictions, tilt_correction, training_labels
from detectors.precision import full_precision
from detectors.rank_counts import ranks
from detectors.rays import slopes

OFFICIAL = "fcos3d/fcos3d_r101-caffe-dcn_fpn_head-gn_8xb2-1x_nus-mono3d.py"
TRAINER_PREFIX = "detector.model."  # of this network's weights in the trainer's own checkpoints


class FCOS3D(nn.Module):
    """One of mmdetection3d's one-stage camera detectors as a :class:`detectors.base.Detector`.

    Its outputs must be decoded in the mode they were made in: evaluation. In training mode the heads leave offsets in
    units of cells, which is what their losses take.

    Args:
        config: a packaged configuration ("pgd/...py", "smoke/...py"), a path to a file, or the ``model`` dictionary.
        size: a narrower network than the configuration's, trained from random weights; None keeps it.
        overrides: nested changes of the ``model`` dictionary, applied last.
        classes: names by channel, in the data set's spelling; None takes the configuration's.
        attributes: learn and predict attributes, where the configuration does.
        velocity: learn and predict velocities, where the configuration does.
        depth_weight: of the depth's loss: 0.2 officially, 1.0 in the fine-tuning stage; None keeps the configuration's.
        focal: pixels; depths are predicted as seen through this focal length, so that what looks alike gets the same
            target in a wide camera, a narrow one and an enlarged window (Omni3D's virtual depth). None predicts metres,
            as officially. FCOS3D alone.
        checkpoint: weights of the whole detector: an official .pth, or a checkpoint of this suite's trainer.
        backbone_weights: an ImageNet state dict of the backbone alone. The official network freezes its first stage and
            all normalisation, so it cannot learn from random weights and a training without any is refused
            (:func:`detectors.base.require_learning`); no file is downloaded. "none" says that there are none.

    Raises:
        InputError: mmdetection3d is missing, or an argument does not fit; one line with the cure.
    """

    def __init__(
        self,
        config: str | dict[str, Any] = OFFICIAL,
        size: Size | None = None,
        overrides: dict[str, Any] | None = None,
        classes: Sequence[str] | None = None,
        attributes: bool = True,
        velocity: bool = True,
        depth_weight: float | None = None,
        focal: float | None = None,
        checkpoint: str | None = None,
        backbone_weights: str | None = None,
    ) -> None:
        super().__init__()
        self.scale: Tensor
        self.offset: Tensor
        model, own = self._model(config)
        names = own if classes is None else list(classes)
        if names is None:
            raise InputError("classes: the configuration names none; give the names in the order of its channels")
        self.classes = tuple(names)
        if size is not None:
            mmdet3d_config.apply_size(model, size)
        mmdet3d_config.supervise(model, attributes, velocity, depth_weight)
        mmdet3d_config.merge(model, overrides or {})
        mmdet3d_config.use_classes(model, len(self.classes))
        mmdet3d_config.forget_downloads(model)
        self.model = self._build(model)
        self.heatmap = not hasattr(self.model.bbox_head, "regress_ranges")  # SMOKE's kind of head
        self.attributes = bool(self.model.bbox_head.pred_attrs)
        self.code_size = int(self.model.bbox_head.bbox_code_size)
        pixels = model["data_preprocessor"]
        head = model["bbox_head"]["type"]
        if focal is not None and head != "FCOSMono3DHead":
            raise InputError(f"focal {focal}: {head} has other depths than FCOSMono3DHead; leave it out")
        self.focal, self.rays = focal, model["backbone"].get("in_channels", 3) == 5
        self.divisor = int(pixels.get("pad_size_divisor", 1))
        self.bgr = not (pixels.get("bgr_to_rgb") or pixels.get("rgb_to_bgr"))
        mean, std = (np.array(given)[::-1] if self.bgr else np.array(given) for given in (MEAN, STD))
        scale, offset = std / pixels["std"], (mean - pixels["mean"]) / pixels["std"]
        for name, value in (("scale", scale), ("offset", offset)):
            self.register_buffer(name, torch.tensor(value).float().view(1, 3, 1, 1), persistent=False)
        weights = None if backbone_weights == "none" else backbone_weights
        if weights is not None:
            load_backbone(self.model.backbone, Path(weights))
        if checkpoint is not None:
            off = (() if self.attributes else ("conv_attr",)) + (() if self.code_size > 7 else ("conv_regs.4",))
            load_detector(self.model, Path(checkpoint), tuple(f"bbox_head.{name}" for name in off))
        elif weights is None and not all(p.requires_grad for p in self.model.backbone.parameters()):
            warnings.warn(
                "the backbone has frozen layers with random weights: give checkpoint or backbone_weights", stacklevel=2
            )

    def _model(self, config: str | dict[str, Any]) -> tuple[dict[str, Any], list[str] | None]:
        """The ``model`` dictionary, free to change, and the configuration's class names."""
        if isinstance(config, dict):
            found = config
        else:
            folder = openmmlab().configs
            name = config.removeprefix("mmdet3d::")
            path = Path(name) if Path(name).is_file() else folder / name
            if not path.is_file():
                known = [str(p.relative_to(folder)) for p in folder.rglob("*mono3d*.py")]
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.3) or known[:1]
                raise InputError(f"config {config!r}: no such file, nor in {folder}; did you mean {near[0]!r}?")
            found = openmmlab().Config.fromfile(path).to_dict()
        names = (found.get("metainfo") or {}).get("classes")
        model = deepcopy(found.get("model", found))
        if not {"backbone", "bbox_head", "data_preprocessor"} <= model.keys():
            raise InputError(f"config {config!r}: expected a model with backbone, bbox_head and data_preprocessor")
        return model, names

    def _build(self, model: dict[str, Any]) -> Any:
        with openmmlab().DefaultScope.overwrite_default_scope("mmdet3d"):
            try:
                built = openmmlab().MODELS.build(openmmlab().Config({"model": model}).model)
            except (TypeError, KeyError, AssertionError, ValueError, NotImplementedError) as error:
                text = (str(error) or type(error).__name__).splitlines()[0]
                raise InputError(f"config or overrides: {model['type']} cannot be built: {text}") from error
            log = openmmlab().Logger.get_current_instance()
            level, log.level = log.level, logging.WARNING  # it would report every parameter's mean
            built.init_weights()
            log.level = level
        for layer in built.modules():
            if type(layer).__name__ == "Tree" and layer.levels > 1 and layer.project is not None:
                layer.project.requires_grad_(False)  # SMOKE's backbone drops its result; ddp would wait for gradients
        return built

    def forward(self, images: Tensor, projections: Tensor) -> dict[str, Tensor]:
        """The head's maps, float32, keyed "field.level"; an empty tensor where a head has no such field.

        See :class:`detectors.base.Detector`.
        """
        images = self.prepare(images)
        if self.rays:
            with full_precision(images.device):  # pixels need more than bfloat16's digits
                rays = slopes(projections, *images.shape[-2:])
            images = torch.cat([images, rays.to(images.dtype)], 1)
        features = self.model.extract_feat({"imgs": images})
        # The head runs in float32: bfloat16 has three digits, too few for a depth.
        with full_precision(images.device):
            fields = self.model.bbox_head(tuple(level.float() for level in features))
            if self.focal is not None:
                factor = torch.ones_like(fields[1][0][:, :, :1, :1])
                factor[:, 2, 0, 0] = projections[:, 0, 0] / self.focal
                fields = [fields[0], [level * factor for level in fields[1]], *fields[2:]]
        none = images.new_empty(0)
        return {
            f"{i}.{j}": none if value is None else value
            for i, levels in enumerate(fields)
            for j, value in enumerate(levels)
        }

    def prepare(self, images: Tensor) -> Tensor:
        """Normalised images as the configuration's own preprocessing leaves them: statistics, channel order, padding.

        Zeros are added right and below, so pixels stay where they are.
        """
        images = (images.flip(1) if self.bgr else images) * self.scale + self.offset
        height, width = images.shape[-2:]
        return F.pad(images, (0, -width % self.divisor, 0, -height % self.divisor))

    @staticmethod
    def _fields(outputs: Mapping[str, Tensor]) -> list[list[Tensor | None]]:
        """The head's lists again, as copies in plain memory order: heads write into what they are given."""
        fields: list[list[Tensor | None]] = []
        for key, value in outputs.items():
            if key.endswith(".0"):
                fields.append([])
            fields[-1].append(value.clone(memory_format=torch.contiguous_format) if value.numel() else None)
        return fields

    def _meta(self, camera: Camera) -> dict[str, Any]:
        """What heads ask about an image: its camera, its size, and its way to SMOKE's map, a quarter of its size."""
        matrix = np.vstack([camera.projection, [0.0, 0, 0, 1]])
        padded = tuple(length + -length % self.divisor for length in (camera.height, camera.width))
        return {
            "cam2img": matrix.tolist(),
            "img_shape": (camera.height, camera.width),
            "pad_shape": padded,
            "scale_factor": (1.0, 1.0),
            "box_type_3d": openmmlab().Boxes,
            "trans_mat": np.diag([0.25, 0.25, 1.0]).astype(np.float32),
            "affine_aug": False,
        }

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The head's weighted losses by name ("cls", "offset", "depth", "size", "rotsin", "centerness", "dir", ...)."""
        solid, flat = self.instances(batch)
        fields = self._fields(outputs)
        head = self.model.bbox_head
        with mmdet3d_counts.kept_targets(head) as kept:
            if self.heatmap and not sum(map(len, flat)):  # SMOKE's targets need an object somewhere in the batch
                losses = {name: sum_of(field) * 0 for name, field in zip(("cls", "bbox"), fields)}
                if ranks() > 1 and (heat := fields[0][0]) is not None:  # which another process's part may have
                    losses["cls"] = head.loss_cls(heat, torch.zeros_like(heat), avg_factor=1)
            else:
                metas = [self._meta(camera) for camera in batch.cameras]
                found = head.loss_by_feat(*fields, solid, flat, metas)
                losses = {name.removeprefix("loss_"): value for name, value in found.items()}
        if ranks() == 1:
            return losses
        if self.heatmap:
            counts = mmdet3d_counts.heatmap_counts(kept)
        else:
            counts = mmdet3d_counts.anchor_counts(kept[0], len(batch), len(self.classes))
        return mmdet3d_counts.over_ranks(losses, counts)

    def instances(self, batch: Batch) -> tuple[list[Any], list[Any]]:
        """Each frame's labels as mmdetection3d's ``gt_instances_3d`` and ``gt_instances``, on the batch's device."""
        device = batch.projections.device
        solid, flat = [], []
        for objects, camera in zip(batch.objects, batch.cameras):
            label = training_labels(objects, camera, self.classes, inside=self.heatmap)
            on = {name: torch.from_numpy(value).to(device) for name, value in vars(label).items()}
            boxes = openmmlab().Boxes(on["boxes"][:, : self.code_size], box_dim=self.code_size)
            entries = {"bboxes_3d": boxes, "labels_3d": on["label"], "centers_2d": on["center"], "depths": on["depth"]}
            if self.attributes:
                entries["attr_labels"] = on["attribute"]
            solid.append(openmmlab().InstanceData(**entries))
            flat.append(openmmlab().InstanceData(bboxes=on["bbox"], labels=on["label"]))
        return solid, flat

    @torch.no_grad()
    def decode(self, outputs: Mapping[str, Tensor], batch: Batch) -> list[Objects]:
        """Predictions of each frame; see :class:`detectors.base.Detector`.

        Image boxes are those of the projected 3D boxes, cut at the image's border. Attributes and velocities (along the
        camera's x and z) are there when they were learnt.
        """
        metas = [self._meta(camera) for camera in batch.cameras]
        found = self.model.bbox_head.predict_by_feat(*self._fields(outputs), batch_img_metas=metas, rescale=True)
        instances = found[0] if isinstance(found, tuple) else found
        return [self.objects(one, camera) for one, camera in zip(instances, batch.cameras)]

    def objects(self, instances: Any, camera: Camera) -> Objects:
        """Objects of mmdetection3d's predictions of one frame (``InstanceData``)."""
        attribute = instances.attr_labels.cpu().numpy() if self.attributes else None
        values = (instances.bboxes_3d.tensor, instances.scores_3d, instances.labels_3d)
        boxes, score, label = (value.float().cpu().numpy() for value in values)
        if not self.heatmap:  # SMOKE takes the ray's angle from the location itself
            boxes[:, 6] += tilt_correction(boxes, camera)
        return predictions(boxes, score, label.astype(np.int64), attribute, camera, self.classes)


def sum_of(field: Sequence[Tensor | None]) -> Tensor:
    """Sum over all levels of a field."""
    return torch.stack([level.sum() for level in field if level is not None]).sum()


@cache
def openmmlab() -> SimpleNamespace:
    """The names this file takes from OpenMMLab's packages, imported on the first call.

    Raises:
        InputError: the packages are missing or of unfitting versions.
    """
    try:
        mmcv_ops.install()
        with mmcv_ops.import_aids():
            importlib.import_module("mmdet3d.models")  # registers the networks
            structures = importlib.import_module("mmdet3d.structures")
            registry = importlib.import_module("mmdet3d.registry")
            package = importlib.import_module("mmdet3d")
            engine = {
                name: importlib.import_module(f"mmengine.{name}")
                for name in ("config", "logging", "registry", "structures")
            }
    except (ImportError, AssertionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"FCOS3D needs mmdetection3d, which cannot be imported ({reason}); run `make openmmlab`"
        ) from error
    warnings.filterwarnings("ignore", message="torch.meshgrid: in an upcoming release")  # mmdet3d's heads, every step
    return SimpleNamespace(
        configs=Path(package.__path__[0]) / ".mim" / "configs",
        MODELS=registry.MODELS,
        Boxes=structures.CameraInstance3DBoxes,
        Config=engine["config"].Config,
        DefaultScope=engine["registry"].DefaultScope,
        InstanceData=engine["structures"].InstanceData,
        Logger=engine["logging"].MMLogger,
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint file; nothing but tensors, numbers and mmengine's log histories is unpickled.

    Raises:
        InputError: no such file, or one that is no checkpoint or holds other objects.
    """
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist: expected a .pth or .ckpt file; correct the path")
    try:
        state = state_of(read_content(path, "a state dict", mmcv_ops.history_globals()), path, "a detector")
    except InputError as error:
        raise InputError(f"checkpoint {path} cannot be read safely: {error}; save its state dict alone") from error
    return {str(key).removeprefix(TRAINER_PREFIX).removeprefix("module."): value for key, value in state.items()}


def _fill(network: Any, path: Path, name: str, may_lack: Sequence[str], may_add: Sequence[str]) -> None:
    """Load a file; keys that contain an entry of ``may_lack`` or begin with one of ``may_add`` may differ."""
    state = {key: value for key, value in read_weights(path).items() if not key.startswith(tuple(may_add))}
    if problem := mismatch_in(state, network.state_dict()):
        raise InputError(f"{name} {path}: {problem}; use weights of this very configuration and classes")
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        text = str(error).splitlines()[1].strip()
        raise InputError(f"{name} {path}: {text}; use weights of this very configuration and classes") from error
    missing = [key for key in missing if not any(part in key for part in may_lack)]
    for keys, what in ((missing, "lacks"), (unexpected, "has unknown")):
        if keys:
            raise InputError(
                f"{name} {path} {what} {keys[0]!r}, {len(keys)} in all; use weights of this very configuration"
            )


def load_detector(model: Any, path: Path, dropped: Sequence[str]) -> None:
    """Fill a detector from a checkpoint; ``dropped`` are beginnings of keys of heads that were switched off."""
    _fill(model, path, "checkpoint", ("num_batches_tracked",), dropped)


def load_backbone(backbone: Any, path: Path) -> None:
    """Fill a backbone from ImageNet weights, which know neither deformable offsets nor need their classifier."""
    _fill(backbone, path, "backbone_weights", ("conv_offset", "num_batches_tracked"), ("fc.",))
