"""What all tests share: a tiny road world, written once a session, and one thread a process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import settings

# The same commit gives the same verdict everywhere; code that compiles when it is first called meets no deadline.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
torch.set_num_threads(1)  # test machines have two cores, and several workers use them


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A true KITTI folder of 12 training and 6 validation frames at 320 x 96."""
    from datamodules.world.road_world import write_world

    root = tmp_path_factory.mktemp("world")
    write_world(root, seed=0, train=12, val=6, width=320, height=96, workers=1, progress=False)
    return root


@pytest.fixture(scope="session")
def tiny_surround(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nuScenes folder of two training scenes and one validation scene, two samples each, at 160 x 90."""
    from datamodules.world.surround.world import write_surround_world

    root = tmp_path_factory.mktemp("surround")
    write_surround_world(
        root, train_scenes=2, val_scenes=1, samples_per_scene=2, width=160, height=90, workers=1, progress=False
    )
    return root
