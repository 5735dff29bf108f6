"""``prepare gan-views``: from a trained StyleGAN2, a segmenter and one posed CAD object to a posed image set."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from datamodules.atomic_files import write_atomically
from datamodules.errors import InputError
from datamodules.object_images import backdrop
from datamodules.posed_images import PosedImageSet, write_index, write_object
from datamodules.randomness import derive
from lit.arguments import Arguments
from lit.checkpoints import read_stylegan2
from lit.gan_views import GanCar, GanViews, ViewRules, check_split, composited
from lit.image_range import to_pixels
from lit.inversion import InversionSettings, image_distance, invert
from lit.metrics.weight_files import digest
from lit.networks.stylegan2 import StyleGAN2Generator
from lit.pictures import png, stacked
from lit.prepare import positive
from lit.prepare_masks import class_rows, share
from lit.segmentation import Segmenter

OBJECTS = ("object", "vehicle", "car", "truck", "bus", "van")
TRIES = 5  # cars drawn for each one that is asked for, before giving up
SHOWN = 8  # templates and cars in the pictures


def main(argv: list[str]) -> int:
    """Write a posed image set of cars a GAN draws; an interrupted run goes on where it stopped."""
    options = _parse(argv)
    generator = read_stylegan2(options.generator).eval()
    check_split(generator, options.pose_layers)
    template = _template(options, generator)
    views = options.views or max(1, template.views * 3 // 4)
    if views > template.views:
        raise InputError(f"--views {views}: the template has {template.views}; lower it or write more views of it")
    segmenter = Segmenter.load(options.segmenter)
    rows = class_rows(segmenter, OBJECTS, options.segmenter)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator, segmenter = generator.to(device), segmenter.to(device)
    settings = _settings(options, template, views)
    drawn = _open(options.root, settings)
    behind = _backdrop(options.backdrop, template.image_size)
    images = composited(template.rgba[0], behind)
    silhouettes = template.rgba[0, ..., 3] > 127
    latents = _inverted(options, generator, images).to(device)
    rules = ViewRules(options.min_confidence, options.min_area, options.min_overlap)
    cars = GanViews(
        generator, segmenter, rows, latents, silhouettes, options.pose_layers, views, rules, options.truncation,
        options.seed, behind,
    )  # fmt: skip
    _check_segmenter(cars, to_pixels(images).to(device), options.segmenter)
    kept = _draw_cars(options, cars, template, drawn, settings)
    dims = np.repeat(template.dims, len(kept), 0)
    source = f"StyleGAN2 {settings['generator']}, poses of {template.ids[0]}"
    write_index(options.root, template.name, template.image_size, views, kept, dims, source)
    _draw_sheet(options.root, kept)
    print(f"wrote {options.root}: {views} views of {len(kept)} cars; {_faults(drawn, template.views)}")
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = Arguments("prepare gan-views", "Writes posed views of cars that a StyleGAN2 draws (Lift3D's first stage).")
    add = parser.add_argument
    add("--generator", type=Path, required=True, help="StyleGAN2 checkpoint: .ckpt, .safetensors, .pkl or .pt")
    add("--templates", type=Path, required=True, help="posed image set; one object of it gives the poses")
    add("--segmenter", type=Path, required=True, help="checkpoint of conf/experiment/object_segmenter.yaml")
    add("--root", type=Path, required=True, help="posed image set to write")
    add("--objects", type=positive, default=40, help="cars (default 40)")
    add("--views", type=positive, default=None, help="views a car (default: three quarters of the template's)")
    add("--pose-layers", type=positive, default=8, help="rows of W+ that carry the pose (default 8, of 16 at 512 px)")
    add("--template-object", type=int, default=0, help="which object of the set gives the poses (default 0)")
    add("--steps", type=positive, default=1000, help="steps of the inversion (default 1000)")
    add("--batch", type=positive, default=16, help="templates inverted side by side (default 16)")
    add("--prior-weight", type=float, default=0.0, help="holds inverted codes near W's mean (default 0)")
    add("--vgg16", default=None, help="torchvision's vgg16 weights for LPIPS (default: fixed random features)")
    add("--backdrop", default="grey", help="behind the templates: grey (default, as ObjectImages) or R,G,B of 0 to 255")
    add("--truncation", type=float, default=1.0, help="of the random codes (default 1)")
    add("--min-confidence", type=share, default=0.5, help="least confidence of a view's mask (default 0.5)")
    add("--min-area", type=share, default=0.02, help="least share of the image a mask covers (default 0.02)")
    add("--min-overlap", type=share, default=0.0, help="least IoU with the template's silhouette (default 0: any)")
    add("--seed", type=int, default=0, help="same seed, same cars (default 0)")
    return parser.parse_args(argv)


def _template(options: argparse.Namespace, generator: StyleGAN2Generator) -> PosedImageSet:
    """The one object whose views give the poses.

    Raises:
        InputError: there is no such object, or its images are not of the generator's size.
    """
    posed = PosedImageSet.load(options.templates)
    if not 0 <= options.template_object < len(posed):
        raise InputError(f"--template-object {options.template_object}: {options.templates} has {len(posed)} objects")
    size = generator.synthesis.resolution
    if posed.image_size != size:
        raise InputError(
            f"{options.templates}: images of {posed.image_size} pixels, the generator makes {size}; write templates "
            f"with `python -m lit prepare posed --objects 1 --size {size}`"
        )
    return posed.subset([options.template_object])


def _backdrop(text: str, size: int) -> np.ndarray:
    """What the templates stand before: (size, size, 3) or (3,), in [0, 255].

    Raises:
        InputError: neither the name nor three numbers.
    """
    if text == "grey":
        return backdrop(size, text, derive(0))
    cells = text.split(",")
    if len(cells) != 3 or not all(cell.strip().isdigit() and int(cell) < 256 for cell in cells):
        raise InputError(f"--backdrop {text}: expected grey or R,G,B with numbers from 0 to 255")
    return np.array([float(cell) for cell in cells])


def _settings(options: argparse.Namespace, template: PosedImageSet, views: int) -> dict[str, Any]:
    """Whatever changes a car; not how many there are."""
    seen = hashlib.sha256(template.rgba.tobytes() + template.projection.tobytes()).hexdigest()[:12]
    files = {"generator": digest(options.generator), "segmenter": digest(options.segmenter), "template": seen}
    names = ("pose_layers", "steps", "prior_weight", "truncation", "min_confidence", "min_area", "min_overlap", "seed")
    chosen = {name: getattr(options, name) for name in names}
    return {**files, **chosen, "views": views, "backdrop": options.backdrop, "lpips": options.vgg16 is not None}


def _open(root: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The draws of an earlier run with the same settings.

    Raises:
        InputError: the folder holds something else.
    """
    path = root / "draws.json"
    if not path.is_file():
        if root.is_dir() and any(root.iterdir()):
            raise InputError(f"{root}: holds other files; expected a new folder or one of this command")
        write_atomically(path, json.dumps({"settings": settings, "draws": []}))
        return []
    try:
        found = json.loads(path.read_text())
        changed = sorted(key for key in settings if found["settings"].get(key) != settings[key])
        if not changed:
            return list(found["draws"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: damaged ({error}); delete {root} and run again") from error
    raise InputError(f"{root}: written with another {', '.join(changed)}; delete it or give another --root")


def _inverted(options: argparse.Namespace, generator: StyleGAN2Generator, images: torch.Tensor) -> torch.Tensor:
    """Latents of the templates, from the folder when an earlier run has found them."""
    path = options.root / "templates.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            return torch.from_numpy(stored["latents"])
    settings = InversionSettings(steps=options.steps, prior_weight=options.prior_weight, seed=options.seed)
    found = invert(generator, images, settings, image_distance(options.vgg16), options.batch, progress=True)
    buffer = io.BytesIO()
    np.savez(buffer, latents=found.latents.cpu().numpy(), distances=found.distances.cpu().numpy())
    write_atomically(path, buffer.getvalue())
    with torch.no_grad():
        plain = to_pixels(generator.synthesis(found.latents, noise="const")).cpu()
    strips = [
        strip[:SHOWN].permute(0, 2, 3, 1).numpy() for strip in (to_pixels(images), to_pixels(found.images).cpu(), plain)
    ]
    write_atomically(
        options.root / "templates.png", png(stacked([tile for strip in strips for tile in strip], SHOWN, 2))
    )
    error = (found.images.cpu() - images).square().mean().div(4).clamp_min(1e-12)
    print(f"inverted {len(images)} templates: PSNR {float(-10 * error.log10()):.1f} dB")
    return found.latents.cpu()


def _check_segmenter(cars: GanViews, images: torch.Tensor, path: Path) -> None:
    """Say how well the segmenter masks the templates, whose silhouettes are known.

    Raises:
        InputError: it masks nothing.
    """
    mask = cars.probabilities(images) > 0.5
    if not mask.any():
        raise InputError(
            f"{path}: masks nothing in any of {len(mask)} template views, expected the object; train it longer "
            "(val/iou in its result.json) or on images with this backdrop"
        )
    truth = cars.silhouettes
    print(f"segmenter on the templates: mask IoU {(mask & truth).sum() / (mask | truth).sum():.3f}")


def _draw_cars(
    options: argparse.Namespace,
    cars: GanViews,
    template: PosedImageSet,
    drawn: list[dict[str, Any]],
    settings: dict[str, Any],
) -> list[str]:
    """Draw cars until enough are good; ``drawn`` grows, and is written with each.

    Returns:
        Ids of the first ``options.objects`` good ones.

    Raises:
        InputError: too few of them are good.
    """
    limit = TRIES * options.objects
    for number in track(range(limit), "cars drawn"):
        if sum(car["kept"] for car in drawn) >= options.objects:
            break
        if number < len(drawn):
            continue
        car = cars.draw(number)
        if car.rgba is not None:
            write_object(options.root, _name(number), _arrays(car, template))
        drawn.append({"kept": car.rgba is not None, "faults": car.faults})
        write_atomically(options.root / "draws.json", json.dumps({"settings": settings, "draws": drawn}))
    kept = [_name(number) for number, car in enumerate(drawn) if car["kept"]]
    if len(kept) < options.objects:
        raise InputError(
            f"{len(kept)} cars have {settings['views']} good views, expected {options.objects} ("
            f"{_faults(drawn, template.views)}); lower --views or --objects, or relax --min-confidence, --min-area, "
            "--min-overlap"
        )
    return kept[: options.objects]


def _name(number: int) -> str:
    return f"gan-{number:06d}"


def _faults(drawn: list[dict[str, Any]], templates: int) -> str:
    """How many views were dropped for which reason."""
    counts: Counter[str] = Counter()
    for car in drawn:
        counts.update(car["faults"])
    lost = ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
    return f"{len(drawn)} cars drawn, dropped of {len(drawn) * templates} views: {lost}"


def _arrays(car: GanCar, template: PosedImageSet) -> dict[str, np.ndarray]:
    assert car.rgba is not None
    return {"rgba": car.rgba, "projection": template.projection[0][car.views]}


def _draw_sheet(root: Path, kept: list[str]) -> None:
    """A picture of some cars, cut out."""
    tiles = []
    for name in kept[:SHOWN]:
        with np.load(root / f"{name}.npz", allow_pickle=False) as stored:
            rgba = stored["rgba"]
        for view in rgba[np.linspace(0, len(rgba) - 1, SHOWN).round().astype(int)]:
            alpha = view[..., 3:] / 255.0
            tiles.append((view[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8))
    write_atomically(root / "cars.png", png(stacked(tiles, SHOWN, 2)))
