"""Renders into images: in batches of one strength, each seed logged, finished ones skipped, shared by processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby

import cv2
import numpy as np

from datamodules.errors import InputError
from datamodules.files.checksums import digest_of
from datamodules.processes import track
from datamodules.randomness import derive
from datamodules.renders.generated import Generated, ImageLog
from datamodules.renders.render_set import RENDER_PICTURES, RenderSet
from datamodules.renders.text_prompts import PromptBook
from datamodules.renders.visual_prompts import PROMPT_FOLDERS, THRESHOLDS, visual_prompt
from lit.generators.dst.pipelines import ControlledPipeline

TAKEN = (*RENDER_PICTURES, *PROMPT_FOLDERS.values(), "annotation")
PlannedImage = tuple[Generated, ImageLog]


def image_seed(seed: int, image: Generated) -> int:
    """The seed of one image's noise; of its key, so that neither order nor number of processes changes it."""
    return int(derive(seed, "image", image.key).integers(2**31))


def generate_images(
    renders: RenderSet,
    pipeline: ControlledPipeline,
    name: str,
    per_render: int = 1,
    batch: int = 4,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    progress: bool = False,
) -> int:
    """Draw the images that are missing, damaged, or of other settings or renders; how many this process drew.

    Args:
        renders: with text prompts beside them.
        pipeline: that draws.
        name: folder of the images in each model's.
        per_render: images of each render.
        batch: images at a time.
        seed: of the noise.
        rank, world_size: this process draws every so many-th image; together they draw what one would.
        progress: show a bar.

    Raises:
        InputError: a name that is taken, missing prompts, or a rank outside the number of processes.
    """
    if name in TAKEN or not name or "/" in name or name.startswith("."):
        raise InputError(f"name {name!r}: expected a folder's name other than {', '.join(TAKEN)}")
    if not 0 <= rank < world_size:
        raise InputError(f"rank {rank} of {world_size} processes: expected 0 to {world_size - 1}")
    images = [Generated(render, name, variant) for render in renders for variant in range(per_render)]
    book = PromptBook(renders.root)
    wanted = [(image, wanted_log(image, pipeline, book, seed)) for image in images[rank::world_size]]
    missing = [(image, log) for image, log in wanted if not image.is_whole(log.settings, log)]
    batches = list(_batches(missing, batch))
    for group in track(batches, "images", not progress):
        _draw(group, pipeline, book)
    return len(missing)


def wanted_log(image: Generated, pipeline: ControlledPipeline, book: PromptBook, seed: int) -> ImageLog:
    """What an image is to be made with; its digest is not known yet."""
    prompt, negative = book[image.render]
    settings, thresholds = pipeline.digest, book.thresholds(image.render)
    if "canny" in pipeline.settings.controls and thresholds != THRESHOLDS:
        settings = digest_of(json.dumps([settings, thresholds]).encode())
    annotation = image.render.annotation
    strength = annotation.strength * pipeline.settings.strength
    return ImageLog(settings, image_seed(seed, image), prompt, negative, strength, "", annotation.files["image_render"])


def _batches(images: Sequence[PlannedImage], batch: int) -> Iterator[list[PlannedImage]]:
    """Runs of images that share the strength of their control, some at a time."""
    for _, group in groupby(images, lambda wanted: wanted[0].render.annotation.strength):
        members = list(group)
        yield from (members[start : start + batch] for start in range(0, len(members), batch))


def _draw(wanted: list[PlannedImage], pipeline: ControlledPipeline, book: PromptBook) -> None:
    size = pipeline.settings.size
    images, logs = [image for image, _ in wanted], [log for _, log in wanted]
    controls = []
    for kind in pipeline.settings.controls:
        shown = [visual_prompt(image.render, kind, book.thresholds(image.render)) for image in images]
        if size is not None:
            shown = [cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA) for picture in shown]
        controls.append(np.stack(shown))
    strength = images[0].render.annotation.strength
    texts = [log.prompt for log in logs], [log.negative for log in logs]
    drawn = pipeline.draw(controls, *texts, [log.seed for log in logs], strength)
    for (image, log), pixels in zip(wanted, drawn):
        image.write(pixels, log)
