"""Batches for generators trained on posed images: rays drawn in and around the masks, and objects with their views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch

from datamodules.geometry import CORNER_SIGNS
from datamodules.objects.mapped_views import MappedViews

WHOLE = slice(None)


@dataclass(frozen=True)
class RayBatch:
    """Rays of B objects, R of each; the first ``patches * patch**2`` of an object are square patches in row order.

    Attributes:
        objects: (B,) int64 rows of the objects in the posed image set.
        origins: (B, R, 3) float32 in the canonical frame.
        directions: (B, R, 3) float32, one metre of depth a unit.
        rgba: (B, R, 4) float32 straight colour and alpha in [0, 1].
        background: (B, 1, 3) float32 random colour to composite prediction and target on.
        labels: (B, R) int64 part labels, 0 the background, or None.
        images: number of posed images the rays were drawn from.
        patches: patches an object.
        patch: side of a patch in pixels.
        seed: seed of anything the training step draws for the batch of all processes (sample jitter).
    """

    objects: torch.Tensor
    origins: torch.Tensor
    directions: torch.Tensor
    rgba: torch.Tensor
    background: torch.Tensor
    labels: torch.Tensor | None
    images: int
    patches: int
    patch: int
    seed: int

    def to(self, device: torch.device | str, non_blocking: bool = False) -> RayBatch:
        """Move the tensors; Lightning calls this."""
        moved: dict[str, Any] = {
            k: v.to(device, non_blocking=non_blocking) for k, v in vars(self).items() if torch.is_tensor(v)
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class PosedObject:
    """One object with some of its posed views.

    Attributes:
        index: row of the object in the posed image set.
        id: its id.
        name: class name.
        dims: (3,) float64 length, height, width in metres.
        rgba: (V, S, S, 4) uint8 straight colour and alpha.
        projection: (V, 3, 4) float64 canonical cube to pixels.
    """

    index: int
    id: str
    name: str
    dims: np.ndarray
    rgba: torch.Tensor
    projection: torch.Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PosedObject:
        """Move the views; Lightning calls this."""
        return replace(
            self,
            rgba=self.rgba.to(device, non_blocking=non_blocking),
            projection=self.projection.to(device, non_blocking=non_blocking),
        )


def draw_pixels(
    alpha: np.ndarray, projection: np.ndarray, count: int, shares: Sequence[float] | None, rng: np.random.Generator
) -> np.ndarray:
    """Draw pixel indices (count,), with replacement, of one posed image.

    Args:
        alpha: (S, S) uint8.
        projection: (3, 4) canonical cube to pixels.
        shares: shares of the rays inside the mask, on the four-pixel rim around it, and anywhere in the rectangle of
            the projected cube; None draws uniformly from the whole image (Lift3D's code).
    """
    size = alpha.shape[0]
    if shares is None:
        return rng.integers(0, alpha.size, count)
    mask = (alpha > 0).astype(np.uint8)
    rim = cv2.dilate(mask, np.ones((9, 9), np.uint8)) - mask
    corners = CORNER_SIGNS @ projection[:, :3].T + projection[:, 3]
    pixels = corners[:, :2] / corners[:, 2:]
    low = np.clip(np.floor(pixels.min(0)), 0, size - 1).astype(np.int64)
    high = np.clip(np.ceil(pixels.max(0)), 0, size - 1).astype(np.int64) + 1
    inside_count, rim_count = round(count * shares[0]), round(count * shares[1])
    inside, around = np.flatnonzero(mask), np.flatnonzero(rim)
    picks = [
        inside[rng.integers(0, len(inside), inside_count)]
        if len(inside)
        else rng.integers(0, alpha.size, inside_count),
        around[rng.integers(0, len(around), rim_count)] if len(around) else rng.integers(0, alpha.size, rim_count),
    ]
    rest = count - inside_count - rim_count
    picks.append(rng.integers(low[1], high[1], rest) * size + rng.integers(low[0], high[0], rest))
    return np.concatenate(picks)


def draw_patch(alpha: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Pixel indices (side * side,) in row order of a square patch whose centre lies in the mask of alpha (S, S)."""
    size = alpha.shape[0]
    inside = np.flatnonzero(alpha)
    centre = int(inside[rng.integers(0, len(inside))]) if len(inside) else int(rng.integers(0, alpha.size))
    top = int(np.clip(centre // size - side // 2, 0, size - side))
    left = int(np.clip(centre % size - side // 2, 0, size - side))
    return (np.arange(top, top + side)[:, None] * size + np.arange(left, left + side)).ravel()


def draw_rays(
    rgba: np.ndarray | MappedViews,
    projection: np.ndarray,
    labels: np.ndarray | MappedViews | None,
    objects: np.ndarray,
    views: np.ndarray,
    rays: int,
    patch: int,
    shares: Sequence[float] | None,
    rng: np.random.Generator,
    part: slice = WHOLE,
) -> RayBatch:
    """Draw a batch.

    Args:
        rgba: (N, V, S, S, 4) uint8 posed images.
        projection: (N, V, 3, 4) float64.
        labels: (N, V, S, S) uint8 part labels or None.
        objects: (B,) rows of the objects.
        views: (B, K) views of each that share its rays.
        rays: rays an object, besides patches.
        patch: side of one patch an object, taken from its first view; 0 for none.
        shares: see :func:`draw_pixels`.
        rng: source of every draw.
        part: objects of the batch that are returned; the draws are those of the whole batch.
    """
    size, per_view = rgba.shape[2], rays // views.shape[1]
    view_of, pixel_of = [], []
    for row, chosen in zip(objects, views):
        picked = [draw_patch(rgba[row, chosen[0], ..., 3], patch, rng)] if patch else []
        source = [np.full(patch * patch, chosen[0])] if patch else []
        for view in chosen:
            picked.append(draw_pixels(rgba[row, view, ..., 3], projection[row, view], per_view, shares, rng))
            source.append(np.full(per_view, view))
        pixel_of.append(np.concatenate(picked))
        view_of.append(np.concatenate(source))
    background, seed = rng.random((len(objects), 1, 3), dtype=np.float32), int(rng.integers(0, 2**62))
    pixel, view, objects = np.stack(pixel_of)[part], np.stack(view_of)[part], objects[part]
    row, column = pixel // size, pixel % size
    item = objects[:, None]
    inverse = np.linalg.inv(projection[item, view, :, :3])  # B R 3 3
    homogeneous = np.stack([column, row, np.ones_like(row)], -1).astype(np.float64)
    return RayBatch(
        objects=torch.from_numpy(objects.astype(np.int64)),
        origins=torch.from_numpy(-np.einsum("brij,brj->bri", inverse, projection[item, view, :, 3]).astype(np.float32)),
        directions=torch.from_numpy(np.einsum("brij,brj->bri", inverse, homogeneous).astype(np.float32)),
        rgba=torch.from_numpy(rgba[item, view, row, column]).float() / 255.0,
        background=torch.from_numpy(background[part]),
        labels=None if labels is None else torch.from_numpy(labels[item, view, row, column].astype(np.int64)),
        images=views[part].size,
        patches=int(patch > 0),
        patch=patch,
        seed=seed,
    )
