"""Lift3D's released files: the network (``lift3d_ckp.pt``) and a car (``obj_latent.pth``).

Their canonical frame has y up, ours y down. A half turn about x, (x, y, z) to (x, -y, -z), leads from one to the other
without a mirror; on planes it is an exact flip of the axes y and z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from datamodules.errors import InputError
from datamodules.files.weight_files import require_floats
from lit.networks.fields.painted_decoder import PaintedDecoder
from lit.networks.fields.planes import DecodedPlanes
from lit.networks.fields.triplane_field import TriplaneField
from lit.weights.files import expecting, read_content
from lit.weights.fitting import fit_state
from lit.weights.official.channel_rule import channel_rule
from lit.weights.official.stylegan2_names import below, block_widths, synthesis_state

CHECKPOINT = "Lift3D's released network (lift3d_ckp.pt)"
LATENT = "Lift3D's released car (obj_latent.pth: lc_shape and lc_color, each planes and styles)"
PROPORTIONS = (1.8, 0.7, 0.78)  # length, height, width of the box that the released car was trained in
HEADS = ("rgb_linear", "sigma_linear", "other_linear")
FLIPPED_AXES = ((-2,), (-2,), (-2, -1))  # rows and columns along y or z, of the planes (x, y), (x, z), (y, z)


def half_turn(planes: Tensor) -> Tensor:
    """Planes (..., 3, C, R, R) of an object turned by 180 degrees about its x axis; its own inverse."""
    turned = [planes[..., i, :, :, :].flip(axes) for i, axes in enumerate(FLIPPED_AXES)]
    return torch.stack(turned, -4)


@dataclass(frozen=True)
class ReleasedCar:
    """A released asset in our canonical frame.

    Attributes:
        field: the network whose decoder it needs.
        planes: (3, 2C, R, R) planes of the shape, then of the colour, along the channels.
        style: (2 w_dim,) their styles.
    """

    field: TriplaneField
    planes: Tensor
    style: Tensor

    def values(self, repaint: Sequence[int] | None = None) -> DecodedPlanes:
        """The car as a field with part logits; ``repaint``: the parts that ``lc_color`` colours (None: all).

        Raises:
            InputError: an index beyond the part logits.
        """
        parts = self.field.decoder.parts
        if wrong := [part for part in repaint or () if not 0 <= part < parts]:
            raise InputError(f"part {wrong[0]}: expected indices below {parts}, the part logits of this checkpoint")
        decoder, style = PaintedDecoder(self.field.decoder, repaint), self.style[None]
        return DecodedPlanes(self.planes[None], lambda features: decoder(features, style), self.field.aggregate)


def read_lift3d(path: str | Path) -> TriplaneField:
    """The released network, plain or as a training dump under ``g``; sizes follow from its tensors.

    Its planes come out in *their* frame (:func:`half_turn` brings them to ours), as those of a fixed noise of zero:
    the official network adds noise of learned strengths when it synthesises planes from latents.

    Raises:
        InputError: another file.
    """
    content = read_content(path, CHECKPOINT)
    state = content.get("g", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or any(not isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path}: holds no state dict; expected {CHECKPOINT}")
    for key in ("sigmoid_beta", "final_fc.net.weight", "final_fc.rgb_linear.weight", "backbone.synthesis.b4.const"):
        if key not in state:
            raise InputError(f"{path}: {key} is missing; expected {CHECKPOINT}")
    require_floats(state, path, f"give {CHECKPOINT}")
    with expecting(path, CHECKPOINT):
        field, renamed = _field_of(state, str(path))
    fit_state(field, renamed, Path(path), CHECKPOINT)
    return field.eval()


def _field_of(state: dict[str, Tensor], path: str) -> tuple[TriplaneField, dict[str, Tensor]]:
    """A field of the sizes of an official state, with new weights, and that state under our names."""
    synthesis = below(state, "backbone.synthesis.")
    widths = block_widths(synthesis, path)
    base, most = channel_rule(widths, path)
    net, parts = state["final_fc.net.weight"], state.get("final_fc.other_linear.weight")
    field = TriplaneField(
        plane_resolution=max(widths),
        plane_channels=net.shape[1],
        channel_base=base,
        channel_max=most,
        w_dim=state["final_fc.net.gamma.weight"].shape[1],
        hidden=net.shape[0],
        parts=0 if parts is None else parts.shape[0],
    )
    renamed = {f"synthesis.{key}": value for key, value in synthesis_state(synthesis, path).items()}
    renamed = {key: value for key, value in renamed.items() if ".noise_" not in key}
    renamed |= _decoder_state(below(state, "final_fc."), path)
    renamed["decoder.beta"] = state["sigmoid_beta"].reshape(())
    return field, renamed


def _decoder_state(state: dict[str, Tensor], path: str) -> dict[str, Tensor]:
    """FiLM layer and heads under our names; the heads are stacked: colour, signed distance, parts."""
    names = {"net.weight": "film.weight", "net.bias": "film.bias"}
    for kind in ("weight", "bias"):
        names |= {f"net.gamma.{kind}": f"film.scale.{kind}", f"net.beta.{kind}": f"film.shift.{kind}"}
    if missing := [key for key in names if key not in state]:
        raise InputError(f"{path}: final_fc.{missing[0]} is missing; expected {CHECKPOINT}")
    renamed = {f"decoder.{ours}": state[theirs] for theirs, ours in names.items()}
    for kind in ("weight", "bias"):
        heads = [state[f"{head}.{kind}"] for head in HEADS if f"{head}.{kind}" in state]
        renamed[f"decoder.heads.{kind}"] = torch.cat(heads)
    return {key: value.float() for key, value in renamed.items()}


def read_car(path: str | Path, field: TriplaneField) -> ReleasedCar:
    """A released car, turned into our canonical frame.

    Args:
        path: ``obj_latent.pth``.
        field: its network.

    Raises:
        InputError: another file, or sizes that are not the network's.
    """
    content = read_content(path, LATENT)
    planes, styles = [], []
    for key in ("lc_shape", "lc_color"):
        pair = content.get(key) if isinstance(content, dict) else None
        if not isinstance(pair, list | tuple) or len(pair) != 2 or any(not isinstance(part, Tensor) for part in pair):
            raise InputError(f"{path}: {key} is no list of planes and styles; expected {LATENT}")
        synthesis = field.synthesis
        size = (1, 3, synthesis.channels, synthesis.resolution, synthesis.resolution)
        rows, width = (pair[1].shape[1], pair[1].shape[2]) if pair[1].ndim == 3 else (0, 0)
        if tuple(pair[0].shape) != size or rows < synthesis.rows or width != synthesis.w_dim:
            raise InputError(
                f"{path}: {key} has planes {tuple(pair[0].shape)}, styles {tuple(pair[1].shape)}, expected {size} and"
                f" (1, >= {synthesis.rows}, {synthesis.w_dim}) of this network; take the files of one release"
            )
        planes.append(pair[0][0].float())
        styles.append(synthesis.used(pair[1].float()).mean(1)[0])
    return ReleasedCar(field, half_turn(torch.cat(planes, 1)), torch.cat(styles))
