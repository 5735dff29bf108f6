"""The frames of ``prepare dst-in-place``: what each process opens once, and one frame's file after the other.

A frame's objects are drawn over together, always the same ones in the same batches, so that a run that was stopped
writes the bytes that it would have written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from datamodules.assets.in_place.frame_file import FrameObjects, read_frame, write_frame
from datamodules.assets.in_place.in_place_bank import FrameRow, InPlaceIndex, frame_path
from datamodules.assets.in_place.placed_asset import PlacedAsset
from datamodules.augment import resize
from datamodules.errors import InputError
from datamodules.files.atomic_files import read_bytes
from datamodules.files.checksums import digest_of
from datamodules.randomness import derive
from datamodules.renders.crops.placed_crop import EdgeSource, OneObject, PlacedCrop, edge_table, redrawn
from datamodules.renders.synsets import words_of
from datamodules.renders.text_prompts import NEGATIVE, Described, template_prompt
from datamodules.scene import Frame
from lit.commands.evaluate.dst_edges import EDGE_REACH, forgiving, gradient_strength
from lit.commands.injected_frames import configured_datamodule
from lit.generators.dst.pipelines import ControlledPipeline, PipelineSettings
from lit.metrics.edge_precision import precision_of_counts

VERSION = "1"  # of what follows from the same settings
ELSEWHERE = (  # options of the data that change no object
    "root", "workers", "batch_size", "cache", "augment", "val_split", "val_frames", "on_error", "samples_per_epoch",
)  # fmt: skip
AROUND = EDGE_REACH + 2  # pixels about an outline in which edges are counted


@dataclass(frozen=True)
class InPlacePlan:
    """What a bank follows from.

    Attributes:
        bank: its folder.
        config, options, split: the experiment and its further options, and whose frames it trains on.
        pipeline: draws over the objects; None leaves them.
        device: of the pipeline.
        strength: of the change.
        seeds: objects of each frame.
        seed: of all draws.
        edges: see :class:`datamodules.renders.crops.placed_crop.OneObject`.
        size: of the square crops.
        batch: crops at a time.
    """

    bank: str
    config: str
    options: tuple[str, ...]
    split: str
    pipeline: PipelineSettings | None
    device: str
    strength: float
    seeds: int
    seed: int
    edges: EdgeSource
    size: int
    batch: int


class Opened:
    """An experiment's frames, its injection and the pipeline.

    Attributes:
        data: set up on the frames.
        digest: of all that the objects follow from, but for the frames themselves.
    """

    def __init__(self, plan: InPlacePlan) -> None:
        self.plan = plan
        self.pipeline = None if plan.pipeline is None else ControlledPipeline(plan.pipeline, plan.device)
        self.data, resolved = configured_datamodule(Path(plan.config), plan.options, plan.split)
        injection = self.data.injection
        assert injection is not None
        if injection.around:
            raise InputError(f"{plan.config}: its injection is around a car, expected one for single cameras")
        self.drawer = OneObject(injection, plan.size, plan.edges)
        self.digest = self._digest(resolved)

    def _digest(self, data: dict[str, Any]) -> str:
        plan = self.plan
        kept = {key: value for key, value in data["init_args"].items() if key not in ELSEWHERE}
        kept["seed"] = self.data.position().seed  # which frames are kept, and what placement learns from them
        drawn = [] if self.pipeline is None else [self.pipeline.digest, plan.edges, plan.size]
        stated = [VERSION, kept, drawn, plan.strength, plan.seeds, plan.seed]
        return digest_of(json.dumps(stated, sort_keys=True, default=str).encode())

    def injected(self, frame: Frame) -> Frame:
        """A frame as training injects into it."""
        data = self.data
        if data.size is None or data.inject_at != "training" or data.fit != "resize":
            return frame
        return resize(frame, data.size[1], data.size[0])

    def objects(self, frame: Frame) -> FrameObjects:
        """A frame's objects, drawn over."""
        injected, plan = self.injected(frame), self.plan
        found = [self.drawer.draw(frame, injected, plan.seed, number) for number in range(plan.seeds)]
        crops = [(number, crop) for number, crop in enumerate(found) if crop is not None]
        edges, assets = np.zeros((3, 256, 2), np.int64), []
        for start in range(0, len(crops), plan.batch):
            part = crops[start : start + plan.batch]
            if self.pipeline is None:
                assets += [crop.asset for _, crop in part]
                continue
            drawn = self._restyled(self.pipeline, frame, part)
            for (_, crop), picture in zip(part, drawn):
                assets.append(redrawn(crop, picture))
                edges += followed(crop, picture, assets[-1])
        return FrameObjects(assets, self.stamp(frame), edges)

    def _restyled(
        self, pipeline: ControlledPipeline, frame: Frame, crops: Sequence[tuple[int, PlacedCrop]]
    ) -> np.ndarray:
        draws = [derive(self.plan.seed, number, frame.sample_id, "restyle") for number, _ in crops]
        seeds = [int(draw.integers(2**31)) for draw in draws]
        prompts = [template_prompt(Described(words_of(c.asset.name)), draw) for (_, c), draw in zip(crops, draws)]
        pictures = np.stack([crop.picture for _, crop in crops])
        edges = np.stack([np.repeat(crop.edges[..., None], 3, -1) for _, crop in crops])
        return pipeline.restyle(pictures, self.plan.strength, [edges], prompts, [NEGATIVE] * len(crops), seeds)

    def stamp(self, frame: Frame) -> str:
        """Digest of the settings and of a frame's picture, camera and labels."""
        boxes, found = frame.objects.boxes, blake2b(self.digest.encode(), digest_size=16)
        for values in (frame.image, frame.camera.projection, boxes.center, boxes.dims, boxes.yaw):
            found.update(np.ascontiguousarray(values).tobytes())
        return found.hexdigest()

    def index(self, rows: Sequence[FrameDone]) -> InPlaceIndex:
        """The bank's index."""
        edges = np.sum([row.edges for row in rows], 0)
        frames = {row.sample_id: FrameRow(row.digest, row.objects) for row in rows if row.sample_id}
        names = sorted({name for row in rows for name in row.classes})
        injection = self.data.injection
        source = type(getattr(injection, "source", None)).__name__
        return InPlaceIndex(1, self.digest, source, self.plan.strength, names, frames, figures_of(edges))


@dataclass(frozen=True)
class FrameDone:
    """A frame whose file is there; a broken one, which training replaces by its neighbour, has no id."""

    sample_id: str
    digest: str
    objects: int
    classes: tuple[str, ...]
    edges: np.ndarray


@lru_cache(maxsize=1)
def opened(plan: InPlacePlan) -> Opened:
    """What a process needs for all frames of a plan."""
    return Opened(plan)


def write_frame_of(index: int, plan: InPlacePlan) -> FrameDone:
    """Write one frame's file, unless it is there as these settings and this frame make it."""
    cv2.setNumThreads(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order, however many processes there are
    try:
        here = opened(plan)
        frame = here.data.train_reader.read(index)
        if frame.sample_id != here.data.train_reader.ids[index]:
            return FrameDone("", "", 0, (), np.zeros((3, 256, 2), np.int64))
        path = frame_path(plan.bank, frame.sample_id)
        content = _kept(path, here.stamp(frame))
        if content is None:
            content = here.objects(frame)
            digest = write_frame(path, frame.camera, content)
        else:
            digest = digest_of(read_bytes(path, "a frame's objects"))
    finally:
        torch.set_num_threads(threads)
    names = tuple(asset.name for asset in content.assets)
    return FrameDone(frame.sample_id, digest, len(names), names, content.edges)


def _kept(path: Path, stamp: str) -> FrameObjects | None:
    try:
        found = read_frame(path)
    except InputError:  # not there, or damaged
        return None
    return found if found.settings == stamp else None


def followed(crop: PlacedCrop, picture: np.ndarray, replaced: PlacedAsset) -> np.ndarray:
    """(3, 256, 2) of :func:`edge_table`: the picture drawn over, the object as it stands in the frame then, and as it
    stood before.
    """
    stood = crop.picture.astype(np.float32)
    stands = stood + crop.change_of(replaced)
    shown = [picture, np.rint(stands).clip(0, 255).astype(np.uint8), crop.picture]
    strengths = [forgiving(crop.edges, gradient_strength(one)) for one in shown]
    return edge_table(strengths, crop.edges, crop.inside, AROUND)


def figures_of(edges: np.ndarray) -> dict[str, float | None]:
    """Average precision of edges against the prompt, and that of a random order: the share of pixels on edges."""
    if not edges[0, :, 0].any():
        return {}
    figures: dict[str, float | None] = {}
    for name, table in zip(("edge_ap_drawn", "edge_ap_in_place", "edge_ap_before"), edges):
        values = torch.arange(256, dtype=torch.float64)[:, None]
        counts = torch.cat([values, torch.from_numpy(table).double()], 1)
        figures[name] = precision_of_counts(counts[counts[:, 1:].sum(1) > 0])
    figures["edge_ap_of_chance"] = float(edges[0, :, 0].sum() / edges[0].sum())
    return figures
