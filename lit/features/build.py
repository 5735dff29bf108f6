"""Feature extractors by name, as configurations and commands give them."""

from __future__ import annotations

from datamodules.errors import InputError, closest
from lit.features.extractors import FrozenExtractor
from lit.features.random_extractor import RandomExtractor

KINDS = ("random", "inception", "timm", "open_clip")
SPECIFICATIONS = "random:SEED, inception, timm:NAME[:FILE] or open_clip:NAME[:FILE]"


def build_extractor(spec: str, weights: str | None = None, resize: str | None = None) -> FrozenExtractor:
    """Build the extractor that a specification names. Nothing is downloaded: pretrained networks read ``weights``.

    Args:
        spec: ``random:SEED``, ``inception`` (the FID network), ``timm:NAME[:FILE]`` or ``open_clip:NAME[:FILE]``.
        weights: file of weights, instead of FILE in the specification.
        resize: for inception only: "torchfidelity" (bilinear as TensorFlow 1, the default) or "cleanfid" (bicubic,
            antialiased, as clean-fid).

    Raises:
        InputError: unknown kind, model or resize, or a weights file that is missing or of another network.
    """
    kind, _, rest = spec.partition(":")
    if kind not in KINDS:
        raise InputError(f"extractor '{spec}': expected {SPECIFICATIONS}{closest(kind, KINDS)}")
    if resize is not None and kind != "inception":
        raise InputError(f"resize '{resize}' with the extractor '{spec}': only inception has a choice; leave it out")
    if kind == "random":
        if weights is not None or not (rest or "0").isdecimal():
            raise InputError(f"extractor '{spec}': expected random:SEED such as random:0, without weights")
        return RandomExtractor(int(rest or 0))
    if kind == "inception":
        from lit.features.inception import RESIZES, InceptionExtractor  # only here: imports torch-fidelity, clean-fid

        if rest:
            raise InputError(f"extractor '{spec}': expected just inception; its weights and resize are options")
        return InceptionExtractor(weights, resize or RESIZES[0])
    from lit.features.pretrained import OpenClipExtractor, TimmExtractor

    name, _, file = rest.partition(":")
    if file and weights:
        raise InputError(f"extractor '{spec}' and weights '{weights}' both name a file; give one of them")
    extractor = TimmExtractor if kind == "timm" else OpenClipExtractor
    return extractor(name, file or weights)
