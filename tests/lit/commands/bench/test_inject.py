from __future__ import annotations

import numpy as np

from datamodules.injection.compositing import Compositor
from lit.commands.bench.inject import alternate, baked_car, draw_layers, road_frame, whole_frame_composite


def test_the_reference_and_the_compositor_paint_the_same_picture() -> None:
    frame = road_frame()
    layers = draw_layers(frame.camera, [baked_car((170, 40, 40), 0)])
    compositor = Compositor(occluders="boxes")
    backdrop = compositor.backdrop(frame)
    arranged = compositor.arrange(backdrop, layers).objects
    ours = compositor.paint(backdrop, arranged).image.transpose(1, 2, 0)
    reference = whole_frame_composite(frame.image.transpose(1, 2, 0), frame.camera, layers)
    window = arranged[0].window.slices
    clear = arranged[0].clear
    difference = np.abs(ours.astype(int) - reference.astype(int)).max(-1)
    assert np.median(difference[window][clear]) <= 2
    assert (difference > 12).mean() < 0.01
    assert (ours != frame.image.transpose(1, 2, 0)).any(-1)[window].mean() > 0.5


def test_alternate_times_every_function() -> None:
    fast, slow = alternate([lambda: None, lambda: sum(range(20_000))], rounds=5)
    assert 0 <= fast < slow
