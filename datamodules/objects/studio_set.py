"""The embedded posed image set: studio cars, rendered the first time somebody asks for them."""

from __future__ import annotations

from pathlib import Path


def render_when_missing(folder: str | Path, objects: int, views: int, size: int, seed: int = 0) -> None:
    """Write the studio's set into a folder that holds no posed image set; otherwise do nothing.

    Args:
        folder: of the set.
        objects: cars.
        views: views of each.
        size: pixels a side.
        seed: same seed, same cars.
    """
    if (Path(folder) / "posed.json").exists():
        return
    from datamodules.objects.studio import write_posed_images  # Embree and the meshes only where they are needed

    write_posed_images(folder, objects=objects, views=views, size=size, seed=seed)
