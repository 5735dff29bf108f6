"""Photographs with depth as pictures of four channels: what diffusion learns and draws.

Colour lies in [-1, 1], on mid-grey where the photograph has a mask. The fourth channel is the place along the camera's
axis in the scene cube: -1 is its near side, 1 its far side, where also everything lies that nobody measured. So a mask
needs no channel of its own: what is not near the far side belongs to the object.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.images import write_image
from datamodules.objects.photos.depth_files import write_depth
from datamodules.objects.photos.photo import CAMERA_RADIUS, Photo, PhotoBatch, cube_projection
from lit.networks.g3dr.network import centred_depth
from lit.networks.image_range import to_pixels

RGBD_CHANNELS = 4
FAR_SIDE = 0.9  # places beyond are background; objects of `prepare depth-images` end at 0.77
_GREY = 0.5


class RgbdViews(NamedTuple):
    """Drawn pictures beside photographs, as :class:`lit.callbacks.image_samples.ImageSamples` takes them.

    Attributes:
        image: (B, 3, S, S) uint8 drawn colour.
        real: (B, 3, S, S) uint8 the photographs' in the same form.
        tiles: both with depth below, (B, 3, 2 S, S) uint8, bright being near.
    """

    image: Tensor
    real: Tensor
    tiles: tuple[Tensor, Tensor]

    @staticmethod
    def of(drawn: Tensor, photographs: Tensor) -> RgbdViews:
        """From pictures (B, 4, S, S) and photographs of the same form."""
        tiles = colour_and_depth(drawn), colour_and_depth(photographs)
        return RgbdViews(to_pixels(drawn[:, :3]), to_pixels(photographs[:, :3]), tiles)


def colour_and_depth(pictures: Tensor) -> Tensor:
    """(B, 3, 2 S, S) uint8 of pictures (B, 4, S, S): colour above depth, bright being near."""
    near = (-pictures[:, 3:]).expand(-1, 3, -1, -1)
    return to_pixels(torch.cat([pictures[:, :3], near], 2))


def rgbd_pictures(batch: PhotoBatch) -> Tensor:
    """(B, 4, S, S) float32 of photographs."""
    alpha = (batch.alpha * batch.known).unsqueeze(1)
    colour = batch.images.float() / 255 * alpha + _GREY * (1 - alpha)
    unknown = torch.full_like(batch.depth, float("nan"))
    place = centred_depth(torch.where(batch.known > 0.5, batch.depth, unknown), batch.projection)
    return torch.cat([2 * colour - 1, place.unsqueeze(1)], 1)


def resized_picture(picture: Tensor, size: int | None) -> Tensor:
    """A picture (4, S, S) at ``size`` pixels a side; depth is not mixed across edges."""
    if size is None or size == picture.shape[1]:
        return picture
    way: dict[str, Any] = {"mode": "area"}
    if size > picture.shape[1]:
        way = {"mode": "bilinear", "align_corners": False}
    colour = F.interpolate(picture[None, :3], size, **way)
    return torch.cat([colour, F.interpolate(picture[None, 3:], size, mode="nearest-exact")], 1)[0]


def as_photo(
    picture: Tensor,
    id: str,
    name: str,
    masks: bool,
    frame: np.ndarray | None = None,
    dims: np.ndarray | None = None,
) -> Photo:
    """A drawn picture (4, S, S) as a photograph of G3DR's camera.

    Args:
        picture: see the module's text.
        id: unique name.
        name: of the class.
        masks: whether places at the far side are background.
        frame: where the object's box lies in the cube, if that is known.
        dims: its size, metres.
    """
    pixels = to_pixels(picture[:3]).permute(1, 2, 0).cpu().numpy()
    place = picture[3].clamp(-1, 1).cpu().numpy().astype(np.float32)
    alpha = np.where(place < FAR_SIDE, np.uint8(255), np.uint8(0)) if masks else None
    depth = place + np.float32(CAMERA_RADIUS)
    if alpha is not None:
        depth = np.where(alpha > 127, depth, np.float32(np.nan))
    return Photo(id, name, pixels, depth, cube_projection(len(place)), alpha, None, frame, dims)


def write_rgbd(photo: Photo, root: Path) -> Path:
    """Write ``CLASS/NAME.png`` and ``NAME_depth.png`` of 16 bits beside it; the photograph's path.

    The depth comes first: a photograph without one would stop whoever reads the folder.

    Args:
        photo: its id is ``CLASS/NAME``.
        root: of the folder that :class:`datamodules.objects.photos.depth_images.DepthImages` reads.
    """
    path = root / f"{photo.id}.png"
    write_depth(path, np.nan_to_num(photo.depth, nan=CAMERA_RADIUS + 1))
    channels = photo.rgb if photo.alpha is None else np.concatenate([photo.rgb, photo.alpha[..., None]], -1)
    write_image(path, channels.transpose(2, 0, 1))
    return path
