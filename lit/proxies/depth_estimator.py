"""Depth of single pictures: any network that says how far things are, brought to the scale that photographs store."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.errors import InputError

NEAREST, FARTHEST = 4.1, 5.9  # a little room within the store's range of 4 to 6
TAILS = (0.02, 0.98)  # quantiles that these depths belong to; what lies beyond is clipped


class DepthEstimator(Protocol):
    """What is asked of an estimator.

    Attributes:
        inverse: whether larger values are nearer (disparity), as of networks for relative depth.
    """

    inverse: bool

    def __call__(self, images: Tensor) -> Tensor:
        """(B, H, W) depth or disparity, in any unit, of RGB images (B, 3, H, W) uint8."""
        ...


class TransformersDepth:
    """A depth network of the package transformers (DPT, Depth Anything, ZoeDepth, GLPN, ...) from a local folder.

    Args:
        folder: holds config.json, the weights and preprocessor_config.json, as ``save_pretrained`` writes them; nothing
            is downloaded.
        inverse: whether it answers with disparity (DPT, Depth Anything) or with depth (ZoeDepth, metric models).

    Raises:
        InputError: no such folder, no depth network in it, or transformers is not installed.
    """

    def __init__(self, folder: str, inverse: bool = True) -> None:
        self.inverse = inverse
        if not (Path(folder) / "config.json").is_file():
            raise InputError(
                f"{folder}: no config.json in it; expected a folder of a depth network for transformers; download "
                "Depth-Anything-V2-Small-hf, say, once and name its folder"
            )
        try:
            from transformers import AutoImageProcessor, AutoModelForDepthEstimation
        except ImportError:
            raise InputError(
                "transformers is not installed; install it to estimate depth: pip install transformers"
            ) from None
        try:
            self.processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            self.network: Any = AutoModelForDepthEstimation.from_pretrained(folder, local_files_only=True).eval()
        except (OSError, ValueError, KeyError) as error:
            said = str(error).splitlines()[0][:120]
            raise InputError(
                f"{folder}: no depth network that transformers can read ({said}); download it again"
            ) from None

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """See :class:`DepthEstimator`."""
        inputs = self.processor(images=list(images.cpu()), return_tensors="pt")
        outputs = self.network(**inputs)
        found: Tensor = outputs.predicted_depth
        crop = getattr(self.processor, "post_process_depth_estimation", None)
        if crop is not None and "source_sizes" in signature(crop).parameters:  # ZoeDepth's, which pads what it sees
            sizes = [tuple(images.shape[2:])] * len(images)
            found = torch.stack([each["predicted_depth"] for each in crop(outputs, source_sizes=sizes)])
        return F.interpolate(found[:, None].float(), images.shape[2:], mode="bicubic", align_corners=False)[:, 0]


def stored_depth(estimate: np.ndarray, inverse: bool) -> np.ndarray:
    """An estimate (H, W) as depth in the photographs' unit, 4 to 6, whatever scale and shift it had.

    Its 2nd and 98th percentile come to lie at 4.1 and 5.9. Disparity is turned first: larger is nearer.

    Raises:
        InputError: values that are not finite, or a flat map.
    """
    if not np.isfinite(estimate).all():
        raise InputError("the estimated depth holds values that are not finite; take another network")
    depth = -estimate.astype(np.float64) if inverse else estimate.astype(np.float64)
    low, high = np.quantile(depth, TAILS)
    if not high > low:
        raise InputError("the estimated depth is flat, expected nearer and farther places; take another network")
    return np.clip(NEAREST + (depth - low) / (high - low) * (FARTHEST - NEAREST), 4.0, 6.0)
