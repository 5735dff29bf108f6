"""All surfaces, by the part of the suite that reads them."""

from __future__ import annotations

from tests.faults.surface import Surface
from tests.faults.surfaces import assets, kitti, maps, nuscenes, omni3d, pictures, records, settings, weights, world

SURFACES: dict[str, Surface] = {
    surface.name: surface
    for module in (kitti, world, nuscenes, assets, omni3d, pictures, maps, records, settings, weights)
    for surface in module.SURFACES
}
