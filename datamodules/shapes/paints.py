"""The paints of cars on German streets about 2011, where and when KITTI was recorded.

Shares are the mean of two years of new registrations, because the fleet of 2011 was eight years old on average:
the Kraftfahrt-Bundesamt gives for 2011 black 31.0 %, grey and silver 30.9, white 13.0, blue 9.0, brown 6.0, red 5.8,
yellow 1.4, green 1.1, others 1.9; for 2006 grey and silver 42.2 %, black 27.8, blue 16.3, white 1.6, orange 1.1,
brown 0.9 (Jahresbericht 2006; red, green and the rest share what is left). Grey and silver are one colour there; of
that, a third is taken to be dark. Albedos are our reading of photographs: those of saturated paints are far lower than
the display colour suggests.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import numpy as np

from datamodules.errors import InputError
from datamodules.shapes.cars import CarShape

Paints = Literal["studio", "street"]
Colour = tuple[float, float, float]


class Paint(NamedTuple):
    """One colour of the statistics: its share, and linear albedos from the darkest to the lightest of its paints."""

    name: str
    share: float
    darkest: Colour
    lightest: Colour


STREET = (
    Paint("black", 0.29, (0.006, 0.006, 0.006), (0.022, 0.022, 0.023)),
    Paint("grey", 0.12, (0.040, 0.041, 0.043), (0.12, 0.12, 0.125)),
    Paint("silver", 0.25, (0.20, 0.205, 0.21), (0.43, 0.44, 0.45)),
    Paint("white", 0.08, (0.58, 0.58, 0.56), (0.78, 0.78, 0.77)),
    Paint("blue", 0.125, (0.005, 0.010, 0.030), (0.05, 0.11, 0.28)),
    Paint("red", 0.07, (0.07, 0.005, 0.007), (0.30, 0.014, 0.016)),
    Paint("brown", 0.03, (0.035, 0.022, 0.014), (0.30, 0.24, 0.17)),
    Paint("green", 0.02, (0.006, 0.020, 0.012), (0.05, 0.11, 0.07)),
    Paint("yellow", 0.015, (0.50, 0.30, 0.015), (0.65, 0.50, 0.05)),
)
BUMPERS = 0.2  # share of cars whose bumpers and sills are unpainted plastic
BLACK_PILLARS = 0.75
LICENCE = (0.62, 0.63, 0.64)  # German plates are white at both ends
RED_LAMP = (0.22, 0.006, 0.008)  # a lens in the shade; lit ones are rare by day


def check_paints(paints: str) -> None:
    """Raise InputError for an unknown choice of paints."""
    if paints not in get_args(Paints):
        raise InputError(f"paints {paints!r}: expected one of {', '.join(get_args(Paints))}")


def street_paint(rng: np.random.Generator) -> Colour:
    """One paint as linear albedo, its colour drawn by the shares of :data:`STREET`."""
    shares = np.array([paint.share for paint in STREET])
    paint = STREET[int(rng.choice(len(STREET), p=shares / shares.sum()))]
    dark, light = np.log(paint.darkest), np.log(paint.lightest)
    r, g, b = np.exp(dark + rng.random() * (light - dark) + rng.normal(0, 0.02, 3))
    return float(r), float(g), float(b)


def repainted(shape: CarShape, rng: np.random.Generator) -> CarShape:
    """The same car as the street has it: its paint, dark glass, lamps, plates and plastics.

    Args:
        shape: a car in any paint; its form stays.
        rng: the only source of randomness.
    """
    u, paint = rng.uniform, street_paint(rng)
    plastic, glass, lamp, rim = (
        float(u(0.012, 0.035)),
        float(u(0.003, 0.014)),
        float(u(0.18, 0.42)),
        float(u(0.08, 0.4)),
    )
    black = (0.012, 0.012, 0.012)
    return replace(
        shape,
        paint=paint,
        roof=paint if rng.random() < 0.97 else black,
        lower=(plastic, plastic, plastic) if rng.random() < BUMPERS else paint,
        pillar=black if rng.random() < BLACK_PILLARS else paint,
        tint=(glass, glass * 1.1, glass * 1.1),
        gloss=float(u(0.55, 1.0)),
        rim=(rim, rim, rim),
        headlight=(lamp, lamp, lamp),
        taillight=RED_LAMP,
        front_plate=LICENCE,
        rear_plate=LICENCE,
    )
