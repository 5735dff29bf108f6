"""What injection costs a loader of six 900 x 1600 cameras, on one thread."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datamodules.injection.compositing import Compositor
from datamodules.injection.placement import Placement
from datamodules.injection.surround_injection import SurroundInjection
from datamodules.nuscenes.datamodule import NuscenesDataset
from datamodules.nuscenes.samples import read_samples
from datamodules.nuscenes.tables import Tables
from datamodules.randomness import derive
from datamodules.scene import REAL, Frame
from datamodules.world.surround.world import write_surround_world
from lit.commands.bench.inject import BakedCars, alternate

SHOT_WIDTH, SHOT_HEIGHT, ROUNDS = 1600, 900, 5
COUNT = (3, 3)  # objects around the car


def measure() -> dict[str, Any]:
    """Read the six pictures of one sample of the surround world, without injection and with three cars placed.

    Timed are decoding, labels in each camera's frame, and, with injection, masks, placement (once for the six pictures,
    anew each time), rendering, painting and relabelling.

    Returns:
        ``surround_images_per_second``, the same with injection, their ratio, and how many labels were added.
    """
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write_surround_world(
            root, train_scenes=1, val_scenes=0, samples_per_scene=1, width=SHOT_WIDTH, height=SHOT_HEIGHT, workers=1,
            progress=False,
        )  # fmt: skip
        tables = Tables(root / "v1.0-world")
        samples = read_samples(tables, str(root / "ImageSets" / "train.txt"))
        plain, populated = NuscenesDataset(samples, root), NuscenesDataset(samples, root, extras=True)
        placement, compositor = Placement(depth=(5.0, 40.0)), Compositor(occluders="instances")
        injection = SurroundInjection(BakedCars(), placement, compositor, probability=1.0, count=COUNT)

        passes = count()

        def inject() -> list[Frame]:
            turn, frames = next(passes), map(populated.read, range(len(populated)))
            return [injection(frame, derive(0, turn, injection.key(frame), "injection")) for frame in frames]

        added = sum(int((frame.objects.provenance != REAL).sum()) for frame in inject())
        without, with_injection = alternate([lambda: [plain.read(i) for i in range(len(plain))], inject], ROUNDS)
    cameras = len(samples[0].shots)
    return {
        "surround_images_per_second": cameras / without * 1e3,
        "surround_injected_images_per_second": cameras / with_injection * 1e3,
        "surround_overhead": with_injection / without - 1,
        "surround_labels_added": added,
    }
