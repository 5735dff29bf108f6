"""Cross-view editing: a label map is rendered at any view, drawn on there, and encoded again.

The geometry rows of w+ come from the edited map, the appearance rows stay, so that every view follows the drawing and
the look is kept.

Source: Deng et al., "3D-aware Conditional Image Synthesis", CVPR 2023, section 4.4 and its interactive demonstration.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.errors import InputError
from lit.editing.strokes import Stroke
from lit.networks.image_range import to_pixels
from lit.networks.pix2pix3d.generator import Pix2Pix3DGenerator

MOST_STATES = 200  # that undoing can go back


class View(NamedTuple):
    """What a camera sees.

    Attributes:
        image: (R, R, 3) uint8 RGB.
        labels: (R, R) int64 class numbers, or float32 edges: paper 1, ink -1.
    """

    image: np.ndarray
    labels: np.ndarray


class State(NamedTuple):
    """One object between two edits.

    Attributes:
        latent: w+ (1, rows, w_dim).
        canvas: (R, R) the map it was made of, as :attr:`View.labels`.
        camera: (25,) the view of that map.
    """

    latent: Tensor
    canvas: np.ndarray
    camera: Tensor


class EditingSession:
    """One object that is drawn, looked at and drawn on. The same calls give the same answers.

    Strokes at one view add up on the same map, also where the network does not follow them. As soon as a stroke falls
    at another view, the map is the one rendered there.

    Args:
        network: in evaluation mode, on any device.
        labels: the first map, (R, R) class numbers or (R, R) edges with paper at 1.
        z: (z_dim,) of the appearance.
        camera: (25,) the view of the map.

    Attributes:
        version: rises with every change, for those who keep pictures.

    Raises:
        InputError: a map of another size or with unknown classes.
    """

    def __init__(self, network: Pix2Pix3DGenerator, labels: np.ndarray, z: Tensor, camera: Tensor) -> None:
        self.network, self.version = network, 0
        self.device = next(network.parameters()).device
        self.states: list[State] = []
        self._planes: Tensor | None = None
        self.begin(labels, z, camera)

    @property
    def classes(self) -> int | None:
        """Number of classes; None for edges."""
        return None if self.network.kind == "edges" else self.network.classes

    @property
    def undoable(self) -> int:
        """Edits that can be taken back."""
        return len(self.states) - 1

    @torch.no_grad()
    def begin(self, labels: np.ndarray, z: Tensor, camera: Tensor) -> None:
        """Start anew from a map; edits before are forgotten. Arguments and errors as of the class."""
        pose = camera.to(self.device)[None]
        latent = self.network.latents(z.to(self.device)[None], pose, self._batch(labels))
        self.states = []
        self._push(State(latent, labels.copy(), camera.clone()))

    @torch.no_grad()
    def render(self, camera: Tensor) -> View:
        """The object through a camera (25,)."""
        if self._planes is None:
            self._planes = self.network.planes(self.states[-1].latent, "const")
        seen = self.network.pictures(self._planes, self.states[-1].latent, camera.to(self.device)[None])
        labels = seen.labels[0, 0].float() if self.classes is None else seen.labels[0].argmax(0)
        return View(to_pixels(seen.image[0]).permute(1, 2, 0).cpu().numpy(), labels.cpu().numpy())

    def canvas(self, camera: Tensor) -> np.ndarray:
        """The map (R, R) that a stroke at this view is drawn on: that of the last edit there, or the rendered one."""
        last = self.states[-1]
        return last.canvas if torch.equal(last.camera, camera) else self.render(camera).labels

    def draw(self, stroke: Stroke, camera: Tensor) -> None:
        """Draw on the map at a view (25,), and encode it.

        Raises:
            InputError: a brush of no class.
        """
        self.replace(stroke.paint(self.canvas(camera), self.classes), camera)

    @torch.no_grad()
    def replace(self, labels: np.ndarray, camera: Tensor) -> None:
        """Encode a whole map (R, R) at a view (25,): its geometry rows, and the appearance rows there were.

        Raises:
            InputError: a map of another size or with unknown classes.
        """
        encoder = self.network.mapping.encoder
        rows = encoder(self.network.label_channels(self._batch(labels)))
        latent = torch.cat([rows, self.states[-1].latent[:, encoder.rows :]], 1)
        self._push(State(latent, labels.copy(), camera.clone()))

    @torch.no_grad()
    def restyle(self, z: Tensor) -> None:
        """New appearance rows of z (z_dim,); the geometry stays."""
        last = self.states[-1]
        pose = self.network.pose(last.camera.to(self.device)[None])
        style = self.network.mapping.appearance(z.to(self.device)[None], pose)
        kept = last.latent[:, : self.network.mapping.encoder.rows]
        self._push(State(torch.cat([kept, style], 1), last.canvas, last.camera))

    def undo(self) -> bool:
        """Take the last edit back. False where there is none."""
        if not self.undoable:
            return False
        self.states.pop()
        self._changed()
        return True

    def _push(self, state: State) -> None:
        self.states = [*self.states[-MOST_STATES:], state]
        self._changed()

    def _changed(self) -> None:
        self._planes = None
        self.version += 1

    def _batch(self, labels: np.ndarray) -> Tensor:
        """A map as the network takes it.

        Raises:
            InputError: another number of axes, or edges that are not numbers from -1 to 1.
        """
        if labels.ndim != 2:
            raise InputError(f"label map of shape {labels.shape}: expected height and width")
        maps = torch.from_numpy(labels).to(self.device)
        if self.classes is None:
            if not bool(maps.isfinite().all()):
                raise InputError("edge map with numbers that are not finite; draw it again")
            return maps.float()[None, None]
        return maps.long()[None]
