"""Continuations of prompts by a language model in a local folder, through transformers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from datamodules.errors import InputError
from lit.weights.files import shortened

SENTENCE = re.compile(r"[.!?\n]")


class LanguageCompleter:
    """Continues the beginning of a prompt to the end of its sentence; the same beginning and seed, the same words.

    Args:
        folder: a causal language model as transformers saves it, with its tokenizer and safetensors weights.
        words: new tokens at most.
        temperature: of the draws.
    """

    def __init__(self, folder: str | Path, words: int = 20, temperature: float = 0.9) -> None:
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise InputError(
                f"{folder}: no config.json, expected a language model's folder (config.json, tokenizer, "
                "model.safetensors); download one, such as gpt2, and give its folder"
            )
        from transformers import AutoModelForCausalLM, AutoTokenizer  # seconds to import, for this option alone

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        except (OSError, SafetensorError, ValueError, LookupError, RuntimeError, TypeError, AttributeError) as error:
            raise InputError(f"{folder}: no language model can be loaded from it ({shortened(error)})") from error
        self.model.eval()
        self.folder = folder
        self.words, self.temperature = words, temperature

    @torch.no_grad()
    def __call__(self, start: str, seed: int) -> str:
        """What follows ``start``, without the sentence's full stop; empty where the model says nothing.

        Raises:
            InputError: tokenizer and model do not fit.
        """
        encoded = self.tokenizer(start, return_tensors="pt")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                ids = self.model.generate(
                    **{key: encoded[key] for key in ("input_ids", "attention_mask")},
                    max_new_tokens=self.words,
                    do_sample=True,
                    temperature=self.temperature,
                    pad_token_id=self.tokenizer.eos_token_id,
                )
            except (IndexError, RuntimeError) as error:
                raise InputError(
                    f"{self.folder}: cannot continue {start!r} ({shortened(error)}); expected a tokenizer beside the "
                    "model, its own; download the whole folder again"
                ) from error
        said = self.tokenizer.decode(ids[0, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
        clean = "".join(letter if letter.isprintable() else " " for letter in SENTENCE.split(said.strip())[0])
        return " ".join(clean.split())
