"""Names of pix2pix3D's parameters in its authors' files, and what they are called in this suite."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from datamodules.errors import InputError
from lit.weights.official.stylegan2_names import FILTER, below, check_filter, mapping_state, synthesis_state

UNUSED = {"dataset_label_std", "backbone.mapping.embed_mask.alpha"}
"""Saved with the generator, but without effect: the poses' spread, and the state of a progressive training (-1)."""
ENCODER = "backbone.mapping.embed_mask."
APPEARANCE = re.compile(r"backbone\.mapping\.((?:embed|fc\d+)\.(?:weight|bias))")
UPSAMPLER = re.compile(r"(superresolution(?:_semantic)?)\.(block[01])\.(conv[01]|torgb)\.(.+)")
DECODER = re.compile(r"decoder\.(net|net_semantic)\.([02])\.(weight|bias)")
CRITIC = re.compile(r"b4\.(conv|fc|out)\.(weight|bias)")
BLOCK = re.compile(r"b(\d+)\.(fromrgb|conv0|conv1|skip)\.(weight|bias)")


def generator_state(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The state of a ``TriPlaneSemanticEntangleGenerator`` under our names.

    Every entry gets one; the resampling filters, which are part of our code, are compared and left out, as are those
    that have no effect (:data:`UNUSED`).

    Args:
        state: under the official names.
        source: the file, for messages.

    Raises:
        InputError: a name of another architecture, or another filter.
    """
    planes = synthesis_state(below(state, "backbone.synthesis."), source)
    renamed = {f"synthesis.{key}": value for key, value in planes.items()}
    encoder = {key: value for key, value in below(state, ENCODER).items() if f"{ENCODER}{key}" not in UNUSED}
    projector = {"projector": encoder.pop("projector.weight").float()} if "projector.weight" in encoder else {}
    renamed |= {
        f"mapping.encoder.{k}": v for k, v in (_downsampling(encoder, source, "from_label") | projector).items()
    }
    for key, value in state.items():
        if key in UNUSED or key.startswith(("backbone.synthesis.", ENCODER)):
            continue
        if key.endswith(FILTER):
            check_filter(value, 1 / 64, key, source)
        elif key == "backbone.mapping.w_avg":
            renamed["mapping.w_avg"] = value.float()
        else:
            renamed[_place(key, source)] = value.float()
    return renamed


def discriminator_state(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The state of a ``DualDiscriminator`` under our names; see :func:`generator_state`.

    Raises:
        InputError: a name of another architecture, or another filter.
    """
    blocks: dict[str, Tensor] = {}
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if match := CRITIC.fullmatch(key):
            layer, rest = match.groups()
            renamed[f"{'hidden' if layer == 'fc' else layer}.{rest}"] = value.float()
        elif not key.startswith("mapping."):
            blocks[key] = value
    named = mapping_state(below(state, "mapping."))
    renamed |= {f"project.mapping.{key}": value for key, value in named.items()}
    return renamed | _downsampling(blocks, source, "from_rgb")


def upsampler_state(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The state of one super-resolution module under our names.

    Raises:
        InputError: a name of another architecture, or another filter.
    """
    renamed = generator_state({f"superresolution.{key}": value for key, value in state.items()}, source)
    return below(renamed, "upsample_image.")


def _downsampling(state: Mapping[str, Tensor], source: str, entry: str) -> dict[str, Tensor]:
    """Residual blocks ``b128``, ``b64``, ... under our names, the first one's entry as ``entry``."""
    found = {key: BLOCK.fullmatch(key) for key in state if not key.endswith(FILTER)}
    if unknown := next((key for key, match in found.items() if match is None), None):
        raise InputError(f"{source}: {unknown} is no parameter of a residual discriminator or label encoder")
    top = max((int(match[1]) for match in found.values() if match), default=0)
    renamed = {}
    for key, match in found.items():
        assert match is not None
        side, layer, rest = match.groups()
        index = top.bit_length() - int(side).bit_length()
        place = f"{entry}.{rest}" if layer == "fromrgb" else f"blocks.{index}.{layer}.{rest}"
        renamed[place] = state[key].float()
    for key, value in state.items():
        if key.endswith(FILTER):
            check_filter(value, 1 / 64, key, source)
    return renamed


def _place(key: str, source: str) -> str:
    """Our name of an entry that is neither of the synthesis nor of the label encoder."""
    if match := APPEARANCE.fullmatch(key):
        return "mapping.style." + re.sub(r"^fc(\d+)", r"layers.\1", match[1])
    if match := UPSAMPLER.fullmatch(key):
        module, block, layer, rest = match.groups()
        ours = "upsample_labels" if module.endswith("semantic") else "upsample_image"
        return f"{ours}.{block}.{'to_rgb' if layer == 'torgb' else layer}.{rest}"
    if match := DECODER.fullmatch(key):
        net, layer, rest = match.groups()
        ours = "label" if net.endswith("semantic") else "colour"
        return f"decoder.{ours}.{'heads' if layer == '2' else 'hidden'}.{rest}"
    raise InputError(f"{source}: {key} is no parameter of pix2pix3D's generator")
