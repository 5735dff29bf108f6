"""A CLIP tokenizer for a small text encoder: whole words that the prompts use, letters for all others."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from datamodules.renders.text_prompts import ANYWHERE, LIGHTS, NEGATIVE, OPENINGS, PAVEMENTS, QUALITIES, ROAD

START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789,.()-'!?"


def prompt_words(more: Iterable[str] = ()) -> list[str]:
    """Every word of the templates and of ``more`` texts, sorted."""
    texts = (*OPENINGS, *ROAD, *PAVEMENTS, *ANYWHERE, *LIGHTS, *QUALITIES, NEGATIVE, "a an", *more)
    return sorted({word for text in texts for word in re.findall(r"[a-z]+", text.lower())})


def word_tokenizer(words: Iterable[str], length: int = 32) -> Any:
    """transformers' CLIPTokenizer that knows some words whole.

    Args:
        words: small letters.
        length: tokens of a prompt, start and end among them.
    """
    from tokenizers import AddedToken  # with transformers: seconds to import
    from transformers import CLIPTokenizer

    tokens = [START, END, *LETTERS, *(letter + WORD_END for letter in LETTERS)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=length)
    tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=True) for word in words if len(word) > 1])
    return tokenizer
