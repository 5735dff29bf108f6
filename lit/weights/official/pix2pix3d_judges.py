"""pix2pix3D's two judges from its authors' pickles, from EG3D's, and from our trainings, for a training to go on with.

Source: released code (``training_loop.py``): a judge of labels that a file does not have begins with EG3D's tensors
where the shapes agree.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from datamodules.errors import InputError
from lit.weights.files import expecting, read_content
from lit.weights.fitting import fit_state
from lit.weights.official.nvidia import read_networks
from lit.weights.official.pix2pix3d_names import discriminator_state
from lit.weights.official.stylegan2_files import file_kind
from lit.weights.official.stylegan2_names import below

EXPECTED = "judges (pix2pix3D's or EG3D's .pkl, .ckpt of conf/experiment/pix2pix3d_small.yaml)"
OFFICIAL = {"image": "D", "label": "D_semantic"}


def judge_states(path: str | Path) -> dict[str, dict[str, Tensor]]:
    """States under our names: of the judge of pictures as "image", and of that of labels as "label" if there is one.

    Raises:
        InputError: no file with a judge of pictures, or a tensor that has no place in one.
    """
    path = Path(path)
    with expecting(path, EXPECTED):
        if file_kind(path, EXPECTED) == "pickle":
            networks = read_networks(path)
            held = {ours: networks[name].state for ours, name in OFFICIAL.items() if name in networks}
            found = {name: discriminator_state(state, str(path)) for name, state in held.items()}
        else:
            content = read_content(path, EXPECTED)
            state = content.get("state_dict") if isinstance(content, dict) else None
            parts = {name: below(state, f"game.{name}_critic.") for name in OFFICIAL} if isinstance(state, dict) else {}
            found = {name: part for name, part in parts.items() if part}
    if "image" not in found:
        raise InputError(f"{path}: has no judge of pictures; expected {EXPECTED}")
    return found


def start_judges(image: nn.Module | None, label: nn.Module | None, path: str | Path) -> None:
    """Fill the judges of a training; None stands for one that it does without.

    Args:
        image: of pictures.
        label: of labels. Where the file has none, the tensors of that of pictures whose shapes agree are taken.
        path: see :func:`judge_states`.

    Raises:
        InputError: see there, or other sizes.
    """
    states = judge_states(path)
    if image is not None:
        fit_state(image, states["image"], path, "the judge of pictures")
    if label is None:
        return
    if "label" in states:
        fit_state(label, states["label"], path, "the judge of labels")
        return
    own = label.state_dict()
    alike = {key: value for key, value in states["image"].items() if key in own and own[key].shape == value.shape}
    fit_state(label, own | alike, path, "the judge of labels")
