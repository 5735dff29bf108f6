"""What a picture of one object shows, in words: class, body, paint, the side it is seen from, and parts in view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from datamodules.renders.text_prompts import with_article
from datamodules.shapes.meshes import CarMesh
from datamodules.shapes.primitives import GLASS, HEADLIGHT, PAINT, PLATE, RIM, TAILLIGHT, TYRE, Mesh
from datamodules.shapes.shading import GAMMA

Rgb = tuple[float, float, float]

VIEW_SIDES = ("front", "front left", "left side", "rear left", "rear", "rear right", "right side", "front right")
BODY_WORDS = {"suv": "off-roader", "estate": "estate car"}  # where a body style's name is no noun by itself
PARTS = (  # one, several, labels
    ("headlight", "headlights", (HEADLIGHT,)),
    ("tail light", "tail lights", (TAILLIGHT,)),
    ("wheel", "wheels", (TYRE, RIM)),
    ("window", "windows", (GLASS,)),
    ("number plate", "number plates", (PLATE,)),
)
SEEN = 0.006  # share of the object's pixels from which on one piece of a part counts as seen
SHADES: dict[str, tuple[tuple[int, int, int], ...]] = {  # display colours that a name stands for, dark ones among them
    "black": ((0, 0, 0), (40, 40, 40)),
    "grey": ((85, 85, 85), (125, 125, 125), (165, 165, 165)),
    "white": ((215, 215, 215), (250, 250, 250)),
    "red": ((205, 30, 30), (130, 20, 25), (225, 75, 70), (110, 30, 55)),
    "orange": ((235, 130, 30), (195, 95, 25), (240, 165, 95)),
    "yellow": ((230, 215, 50), (185, 170, 40), (235, 225, 130)),
    "green": ((60, 170, 60), (30, 90, 40), (140, 210, 110), (95, 105, 30), (140, 190, 40)),
    "turquoise": ((50, 190, 180), (25, 110, 110), (140, 215, 205)),
    "blue": ((50, 90, 210), (25, 40, 120), (110, 160, 225), (40, 60, 90)),
    "purple": ((130, 60, 190), (75, 35, 110), (175, 130, 225)),
    "pink": ((235, 120, 170), (210, 60, 140), (240, 180, 200)),
    "brown": ((110, 70, 40), (70, 42, 22), (150, 110, 70), (165, 120, 100)),
}
HUELESS = ("black", "grey", "white")
FAINT = 12.0  # chroma in CIELAB below which a colour has none of the others' names
OPENINGS_OF_CAPTIONS = ("a photo of {}", "a picture of {}", "{}", "a small image of {}")
FROM = ("{} seen from the {}", "{} from the {}", "the {side} view of {what}")
WITH = ("{} with {} in view", "{}, {} visible")
WORDINGS = 7  # beside the fullest, of a photograph whose captions lie in a file
LEFT_OUT = (0.15, 0.15, 0.5)  # share of training captions without the paint, the side, the parts


@dataclass(frozen=True)
class Facts:
    """What is true of one picture.

    Attributes:
        name: class.
        body: style, or None.
        paint: colour's name, or None.
        side: of :data:`VIEW_SIDES`, from which the camera looks.
        parts: such as "headlights" and "a wheel".
    """

    name: str
    body: str | None
    paint: str | None
    side: str
    parts: tuple[str, ...] = ()


def facts_of(name: str, mesh: CarMesh, azimuth: float, labels: np.ndarray) -> Facts:
    """What is true of a view of one of the studio's objects.

    Args:
        name: class.
        mesh: the object.
        azimuth: of the camera, degrees.
        labels: (S, S) uint8 part labels of the picture.
    """
    paint, body = paint_of(mesh.mesh), mesh.body if name == "car" else None
    return Facts(name, body, None if paint is None else colour_name(paint), side_word(azimuth), parts_in_view(labels))


def paint_of(mesh: Mesh) -> Rgb | None:
    """Linear albedo of most of the painted surface; None where nothing is labelled as paint."""
    corners = mesh.triangles[mesh.part == PAINT]
    if not len(corners):
        return None
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    colours, which = np.unique(mesh.colour[mesh.part == PAINT], axis=0, return_inverse=True)
    r, g, b = colours[np.bincount(which.ravel(), area).argmax()]
    return float(r), float(g), float(b)


def colour_name(albedo: Sequence[float]) -> str:
    """The name of :data:`SHADES` nearest to a linear albedo in CIELAB, where hue counts more than chroma."""
    shown = _lab(np.asarray(albedo, np.float32)[None] ** np.float32(1 / GAMMA))
    faint = bool(np.linalg.norm(shown[0, 1:]) < FAINT)
    shades = [(name, shade) for name, those in SHADES.items() for shade in those if (name in HUELESS) == faint]
    known = _lab(np.array([shade for _, shade in shades], np.float32) / 255)
    distance = np.linalg.norm(_by_hue(known) - _by_hue(shown), axis=1)
    return shades[int(distance.argmin())][0]


def _lab(colours: np.ndarray) -> np.ndarray:
    """(N, 3) CIELAB of display colours (N, 3) in [0, 1]."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(colours[None], np.float32), cv2.COLOR_RGB2LAB)[0])


def _by_hue(lab: np.ndarray) -> np.ndarray:
    """(N, 4) lightness, chroma and direction of hue (N, 3) so that distances are those that names go by."""
    chroma = np.linalg.norm(lab[:, 1:], axis=1, keepdims=True)
    return np.concatenate([0.6 * lab[:, :1], 0.3 * chroma, 60 * lab[:, 1:] / np.maximum(chroma, FAINT)], 1)


def side_word(azimuth: float) -> str:
    """The side that a camera at an azimuth sees: 0 degrees looks at the front, 90 at the left side."""
    return VIEW_SIDES[round(azimuth / 45) % 8]


def parts_in_view(labels: np.ndarray) -> tuple[str, ...]:
    """Parts of which enough is seen, each with its number.

    Args:
        labels: (S, S) uint8, see :data:`datamodules.shapes.primitives.PART_NAMES`.
    """
    least, found = max(SEEN * np.count_nonzero(labels), 3), []
    for one, several, values in PARTS:
        mask = np.isin(labels, values).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        count = int((stats[1:, cv2.CC_STAT_AREA] >= least).sum())
        if count:
            found.append(with_article(one) if count == 1 else several)
    return tuple(found)


def caption(facts: Facts, rng: np.random.Generator | None = None) -> str:
    """One wording of facts; some are left out at random. Without a source of randomness: the fullest one.

    Args:
        facts: of a picture.
        rng: of the draws.
    """
    draws = np.ones(3) if rng is None else rng.random(3)
    paint, side, parts = (draw >= share for draw, share in zip(draws, LEFT_OUT))

    def pick(options: Sequence[str]) -> str:
        return options[0 if rng is None else int(rng.integers(len(options)))]

    noun = pick([BODY_WORDS.get(facts.body, facts.body), facts.name]) if facts.body else facts.name
    words = with_article(f"{facts.paint} {noun}" if paint and facts.paint else noun)
    if side:
        words = pick(FROM).format(words, facts.side, what=words, side=facts.side)
    if parts and facts.parts:
        words = pick(WITH).format(words, " and ".join(facts.parts))
    return pick(OPENINGS_OF_CAPTIONS).format(words)


def phrases(slot: str, name: str, words: Sequence[str]) -> list[str]:
    """What an object of a class is called if each of some words were true of it.

    Args:
        slot: "class" (words are classes), "paint" or "side".
        name: class.
        words: to choose from.
    """
    if slot == "class":
        return [with_article(word) for word in words]
    if slot == "paint":
        return [with_article(f"{word} {name}") for word in words]
    return [FROM[0].format(with_article(name), word) for word in words]
