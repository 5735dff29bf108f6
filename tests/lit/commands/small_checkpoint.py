"""A checkpoint of a tiny pix2pix3D and label maps for it, as files."""

from __future__ import annotations

from pathlib import Path

import cv2
import torch

from tests.lit.networks.pix2pix3d.small import label_maps, small


def write_checkpoint(folder: Path, kind: str = "segmentation") -> tuple[Path, list[Path]]:
    """The file that a training leaves, as far as it is read, and two label maps."""
    network = small(kind)
    path = folder / f"{kind}.ckpt"
    state = {f"ema.{key}": value for key, value in network.state_dict().items()}
    torch.save({"network": network.config, "state_dict": state}, path)
    maps = []
    for number, labels in enumerate(label_maps(kind).numpy()):
        maps.append(folder / f"{kind}{number}.png")
        cv2.imwrite(str(maps[-1]), labels if kind == "segmentation" else (labels[0] > -0.8) * 255.0)
    return path, maps
