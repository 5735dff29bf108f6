"""What the editing page asks: pictures of views, strokes, undoing, another look, another map. No sockets here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from threading import Lock
from typing import Annotated, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from datamodules.errors import InputError
from datamodules.files.typed_json import Finite, parse_json
from datamodules.randomness import derive
from lit.editing.session import EditingSession
from lit.editing.strokes import MOST_POINTS, Stroke
from lit.networks.pix2pix3d.generator import Pix2Pix3DGenerator
from lit.pictures.label_maps import class_colours, label_picture
from lit.pictures.pictures import png
from lit.rendering.orbit import Orbit

FILES = {
    "/": ("edit.html", "text/html; charset=utf-8"),
    "/edit.js": ("edit.js", "text/javascript; charset=utf-8"),
    "/edit.css": ("edit.css", "text/css; charset=utf-8"),
}
EDGE_BRUSHES: dict[str, tuple[int, ...]] = {"rubber": (255, 255, 255), "ink": (0, 0, 0)}
Angle = Annotated[float, Meta(ge=-1000.0, le=1000.0)]
S = TypeVar("S", bound=msgspec.Struct)


class ViewRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Yaw and pitch of a camera in radians; None for the one the map was drawn at."""

    yaw: Angle | None = None
    pitch: Angle | None = None


class StrokeRequest(ViewRequest):
    """A stroke at a view: see :class:`lit.editing.strokes.Stroke`."""

    points: Annotated[list[tuple[Finite, Finite]], Meta(min_length=1, max_length=MOST_POINTS)] = msgspec.field(
        default_factory=list
    )
    radius: Annotated[float, Meta(gt=0, le=4096)] = 1.0
    value: int = 0


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """Nothing more to say."""


class NumberRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The number of a look or of a map."""

    number: Annotated[int, Meta(ge=0, le=1 << 40)]


class Answer(NamedTuple):
    """Status, media type and body of a response."""

    status: int
    media: str
    body: bytes


@dataclass(frozen=True)
class StartMap:
    """A map to begin with.

    Attributes:
        name: that a person reads.
        labels: (R, R), see :class:`lit.editing.session.EditingSession`.
        camera: (25,) that saw it.
    """

    name: str
    labels: np.ndarray
    camera: Tensor


class EditingPage:
    """Answers requests about one session; one at a time, from any thread.

    Args:
        network: in evaluation mode.
        maps: maps to begin with, at least one.
        orbit: where views stand.
        names: of the classes; None numbers them. Edges have ink and a rubber.
        seed: of the looks.
    """

    def __init__(
        self,
        network: Pix2Pix3DGenerator,
        maps: Sequence[StartMap],
        orbit: Orbit,
        names: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.maps, self.orbit, self.seed, self.z_dim = maps, orbit, seed, network.z_dim
        self.session = session = EditingSession(network, maps[0].labels, self.latent(0), maps[0].camera)
        if session.classes is None:
            self.brushes = EDGE_BRUSHES
        else:
            known = names or [f"class {number}" for number in range(session.classes)]
            if len(known) != session.classes:
                raise InputError(f"{len(known)} names: expected {session.classes}, as many as the network has classes")
            self.brushes = {name: tuple(map(int, c)) for name, c in zip(known, class_colours(session.classes))}
        self.lock = Lock()
        self.posts: dict[str, Callable[[bytes], None]] = {
            "/stroke": self._stroke,
            "/undo": self._undo,
            "/look": self._look,
            "/begin": self._begin,
        }

    def latent(self, number: int) -> Tensor:
        """(z_dim,) of a look."""
        return torch.from_numpy(derive(self.seed, "look", number).standard_normal(self.z_dim)).float()

    def answer(self, method: str, target: str, body: bytes = b"") -> Answer:
        """The response to a request; what is wrong with it is said in one line of JSON.

        Args:
            method: "GET" or "POST".
            target: path and query.
            body: JSON of a POST.
        """
        try:
            place = urlsplit(target)
        except ValueError:
            return self._json(400, {"error": f"{method} {target[:200]!r}: no address"})
        try:
            if method == "GET" and place.path in FILES:
                name, media = FILES[place.path]
                return Answer(200, media, (resources.files("lit.editing") / "page" / name).read_bytes())
            with self.lock:
                if method == "GET" and place.path == "/state":
                    return self._json(200, self.state())
                if method == "GET" and place.path.startswith("/picture/"):
                    query = dict(parse_qsl(place.query))
                    return Answer(200, "image/png", self.picture(place.path.removeprefix("/picture/"), query))
                if method == "POST" and place.path in self.posts:
                    self.posts[place.path](body)
                    return self._json(200, self.state())
        except InputError as error:
            return self._json(400, {"error": str(error)})
        known = place.path in {*FILES, *self.posts, "/state"} or place.path.startswith("/picture/")
        return self._json(405 if known else 404, {"error": f"{method} {place.path}: no such request"})

    @staticmethod
    def _json(status: int, content: object) -> Answer:
        return Answer(status, "application/json", json.dumps(content).encode())

    def state(self) -> dict[str, object]:
        """What the page shows beside the pictures."""
        network = self.session.network
        return {
            "version": self.session.version,
            "size": network.resolution,
            "kind": network.kind,
            "brushes": [{"name": name, "colour": colour} for name, colour in self.brushes.items()],
            "undoable": self.session.undoable,
            "maps": [start.name for start in self.maps],
            "level": self.orbit.level,
            "reach": [self.orbit.yaw, min(self.orbit.pitch, math.pi / 2)],
        }

    def camera(self, request: ViewRequest) -> Tensor:
        """(25,) of a view."""
        if request.yaw is None:
            return self.session.states[-1].camera
        return self.orbit.camera(request.yaw, self.orbit.level if request.pitch is None else request.pitch)

    def picture(self, what: str, query: dict[str, str]) -> bytes:
        """PNG of the "image", the rendered "labels" or the "canvas" (what the next stroke falls on) at a view.

        Raises:
            InputError: none of these, or angles that are no numbers.
        """
        given: dict[str, object] = {}
        for name in ("yaw", "pitch"):
            if name in query:
                try:
                    given[name] = float(query[name])
                except ValueError:
                    raise InputError(f"{name}={query[name]}: expected radians") from None
        camera = self.camera(_parsed(json.dumps(given).encode(), ViewRequest))
        if what == "image":
            return png(self.session.render(camera).image)
        if what not in ("labels", "canvas"):
            raise InputError(f"picture {what}: expected image, labels or canvas")
        labels = self.session.canvas(camera) if what == "canvas" else self.session.render(camera).labels
        return png(label_picture(labels, self.session.classes))

    def _stroke(self, body: bytes) -> None:
        asked = _parsed(body, StrokeRequest)
        stroke = Stroke(np.array(asked.points, np.float64).reshape(-1, 2), asked.radius, asked.value)
        self.session.draw(stroke, self.camera(asked))

    def _undo(self, body: bytes) -> None:
        _parsed(body, Nothing)
        self.session.undo()

    def _look(self, body: bytes) -> None:
        self.session.restyle(self.latent(_parsed(body, NumberRequest).number))

    def _begin(self, body: bytes) -> None:
        number = _parsed(body, NumberRequest).number
        if number >= len(self.maps):
            raise InputError(f"map {number}: expected 0 to {len(self.maps) - 1}")
        start = self.maps[number]
        self.session.begin(start.labels, self.latent(0), start.camera)


def _parsed(body: bytes, kind: type[S]) -> S:
    """The JSON of a request.

    Raises:
        InputError: it is none, or of another form.
    """
    return parse_json(body or b"{}", "request", kind, f"a {kind.__name__}")
