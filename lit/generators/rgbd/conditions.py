"""What a picture shall show, as tokens that a U-Net attends to: a class, or a text, through one door.

Both take words and give (B, L, width); no words ask for anything at all, which guidance compares with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from datamodules.errors import InputError, closest
from lit.features.pretrained import build_clip, read_open_clip
from lit.generators.dst.text_encoder import build_text_encoder, encoded
from lit.generators.dst.tokenizer import prompt_words, word_tokenizer

TEMPLATE = "a photo of a {}"
ConditionKind = Literal["class", "text"]


def class_prompt(name: str) -> str:
    """A class as a text."""
    return TEMPLATE.format(name.replace("_", " "))


class ClassCondition(nn.Module):
    """One learned token a class, as the class-conditional model of "Latent Diffusion Models" has.

    Args:
        classes: names.
        width: of a token.
    """

    def __init__(self, classes: Sequence[str], width: int) -> None:
        super().__init__()
        self.rows = {name: row for row, name in enumerate(classes)}
        self.table = nn.Embedding(len(classes) + 1, width)  # the last is none

    def forward(self, words: Sequence[str]) -> Tensor:
        """(B, 1, width) of names.

        Raises:
            InputError: a name that is no class.
        """
        if unknown := [name for name in words if name and name not in self.rows]:
            raise InputError(
                f"class {unknown[0]!r}: expected one of {', '.join(self.rows)}{closest(unknown[0], self.rows)}; "
                "model.classes says which a model learns"
            )
        rows = [self.rows.get(name, len(self.rows)) for name in words]
        tokens: Tensor = self.table(torch.tensor(rows, device=self.table.weight.device))
        return tokens.unsqueeze(1)


class TextCondition(nn.Module):
    """A small CLIP text encoder that learns with the U-Net.

    Args:
        classes: names; a text that is one stands for :data:`TEMPLATE` with it.
        width: of a token.
        layers: of the encoder.
        heads: of attention.
        length: tokens of a text.
    """

    def __init__(self, classes: Sequence[str], width: int, layers: int, heads: int, length: int) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.tokenizer = word_tokenizer(prompt_words(class_prompt(name) for name in classes), length)
        self.encoder = build_text_encoder(len(self.tokenizer), width, layers, heads, length)

    def forward(self, words: Sequence[str]) -> Tensor:
        """(B, L, width) of texts."""
        texts = [class_prompt(text) if text in self.classes else text for text in words]
        tokens: Tensor = encoded(self.tokenizer, self.encoder, texts)
        return tokens


class ClipCondition(nn.Module):
    """The frozen text tower of an open_clip model, and a learned map of its tokens.

    Args:
        classes: names; a text that is one stands for :data:`TEMPLATE` with it.
        width: of a token.
        network: both towers; the one of pictures is left out.
    """

    def __init__(self, classes: Sequence[str], width: int, network: Any) -> None:
        super().__init__()
        from open_clip import SimpleTokenizer  # type: ignore[import-untyped]  # ships no type information

        self.classes = tuple(classes)
        network.visual = None
        self.network = network.requires_grad_(False)
        self.tokenizer = SimpleTokenizer(context_length=network.context_length)
        self.width = nn.Linear(network.ln_final.normalized_shape[0], width)

    def forward(self, words: Sequence[str]) -> Tensor:
        """(B, L, width) of texts."""
        texts = [class_prompt(text) if text in self.classes else text for text in words]
        ids = self.tokenizer(texts).to(self.width.weight.device)
        with torch.no_grad():
            found = self.network.forward_intermediates(
                text=ids, text_indices=1, normalize_intermediates=True, intermediates_only=True
            )["text_intermediates"][-1]
        tokens: Tensor = self.width(found)
        return tokens


def text_tower(model: str, weights: str, architecture: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
    """An open_clip model for its text tower, and its architecture in open_clip's words.

    Args:
        model, weights: see :func:`lit.features.pretrained.read_open_clip`.
        architecture: of a tower whose weights come later, in place of the file's.

    Raises:
        InputError: no such weights; or a model whose text tower is not open_clip's own.
    """
    import open_clip

    if architecture is not None:
        return build_clip(architecture), architecture
    network, path = read_open_clip(model, weights)
    if not isinstance(network, open_clip.CLIP):
        raise InputError(f"{path}: {model} has a text tower of its own kind, expected one such as ViT-B-16's")
    return network, getattr(network, "architecture", None) or open_clip.get_model_config(model)


def build_condition(
    kind: ConditionKind, classes: Sequence[str], width: int, layers: int, heads: int, length: int, clip: Any = None
) -> nn.Module:
    """The door of a kind; ``clip`` is an open_clip model that reads texts, in place of an encoder that learns.

    Raises:
        InputError: an unknown kind, no classes, or one twice; or a model that reads texts where there are none.
    """
    if kind not in ("class", "text"):
        raise InputError(f"condition {kind!r}: expected class or text")
    if not classes or len(set(classes)) < len(classes) or "" in classes:
        raise InputError(f"classes {list(classes)}: expected different names, at least one; correct model.classes")
    if kind == "class" and clip is not None:
        raise InputError("model.clip with model.condition class: expected condition text; or leave clip out")
    if kind == "class":
        return ClassCondition(classes, width)
    if clip is not None:
        return ClipCondition(classes, width, clip)
    return TextCondition(classes, width, layers, heads, length)
