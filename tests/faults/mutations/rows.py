"""Damage to text in rows and columns: encodings, lines, and what stands for a number."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from tests.faults.mutations import bytewise

TOKENS = (
    "nan", "-nan", "NaN", "inf", "-inf", "Infinity", "1e400", "-1", "0", "-0", "1e30", "1e308", "1e-400", "1e5", ".5",
    "+3", "4294967296", "99999999999999999999", "-1000", "1d5", "1,5", "1_0", "12_00", "0x10", "--1", "1e", "True",
    "null", "''", "１２", "١٢", "é", "\x1b[31mred", "1.2.3", "-10", "3.5", "#", "a" * 5000,
)  # fmt: skip
WIDE = str.maketrans("0123456789", "０１２３４５６７８９")
Text = Callable[[str, np.random.Generator], str]
Mutate = Callable[[bytes, np.random.Generator], bytes]


def on_text(change: Text) -> Mutate:
    """A mutator of bytes from one of text."""
    return lambda content, rng: change(content.decode(), rng).encode("utf-8", "surrogatepass")


def on_lines(change: Callable[[list[str], int, np.random.Generator], None]) -> Mutate:
    """A mutator of bytes from one that changes a list of lines in place, at or after a drawn line."""

    def mutate(text: str, rng: np.random.Generator) -> str:
        lines = text.split("\n")
        change(lines, int(rng.integers(max(len(lines) - 1, 1))), rng)
        return "\n".join(lines)

    return on_text(mutate)


def on_token(change: Text) -> Mutate:
    """A mutator of bytes from one of a single word."""

    def mutate(text: str, rng: np.random.Generator) -> str:
        words = list(re.finditer(r"[^\s:]+", text))
        word = words[int(rng.integers(len(words)))]
        return text[: word.start()] + change(word[0], rng) + text[word.end() :]

    return on_text(mutate)


def _token(word: str, rng: np.random.Generator) -> str:
    return str(rng.choice(TOKENS))


def _number(word: str, rng: np.random.Generator) -> str:
    return f"{rng.choice([-1, 1]) * 10.0 ** rng.integers(-3, 7) * rng.random():.2f}"


def _swap(text: str, rng: np.random.Generator) -> str:
    words = list(re.finditer(r"\S+", text))
    a, b = sorted(int(rng.integers(len(words))) for _ in range(2))
    first, second = words[a], words[b]
    if a == b:
        return text
    return text[: first.start()] + second[0] + text[first.end() : second.start()] + first[0] + text[second.end() :]


def _exchange(lines: list[str], at: int, rng: np.random.Generator) -> None:
    other = int(rng.integers(len(lines)))
    lines[at], lines[other] = lines[other], lines[at]


def _drop(lines: list[str], at: int, rng: np.random.Generator) -> None:
    del lines[at]


def _column(lines: list[str], at: int, rng: np.random.Generator, more: bool) -> None:
    cells = lines[at].split(" ")
    place = int(rng.integers(len(cells)))
    cells[place : place + 1] = [cells[place]] * 2 if more else []
    lines[at] = " ".join(cells)


def _space(mark: str) -> Text:
    def change(text: str, rng: np.random.Generator) -> str:
        places = [found.start() for found in re.finditer(r"[ \n]", text)]
        place = places[int(rng.integers(len(places)))]
        keep = rng.random() < 0.5  # beside the blank, or in its place
        return text[:place] + mark + text[place + (0 if keep else 1) :]

    return change


KINDS: dict[str, Mutate] = {
    "bom": lambda content, rng: b"\xef\xbb\xbf" + content,
    "utf16": lambda content, rng: content.decode().encode("utf-16"),
    "utf16-unmarked": lambda content, rng: content.decode().encode("utf-16-le"),
    "cr": lambda content, rng: content.replace(b"\n", b"\r"),
    "crlf": lambda content, rng: content.replace(b"\n", b"\r\n"),
    "no-newline": lambda content, rng: content.rstrip(b"\n"),
    "latin1": lambda content, rng: bytewise.replaced(content, bytewise.at(content, rng), 0, b"\xe9"),
    "nul": lambda content, rng: bytewise.replaced(content, bytewise.at(content, rng), 0, b"\0"),
    "escape": on_text(lambda text, rng: text.replace(" ", " \x1b[31m", 1)),
    "nbsp": on_text(_space("\xa0")),
    "u2028": on_text(_space("\u2028")),
    "vtab": on_text(_space("\x0b")),
    "tab": on_text(_space("\t")),
    "case": on_token(lambda word, rng: word.swapcase()),
    "wide": on_token(lambda word, rng: word.translate(WIDE)),
    "token": on_token(_token),
    "token2": on_token(_token),
    "number": on_token(_number),
    "neg": on_token(lambda word, rng: f"-{word}"),
    "sci": on_token(lambda word, rng: f"{word}e{rng.choice([3, 9, 99, 400])}"),
    "underscore": on_token(lambda word, rng: f"{word[:1]}_{word[1:]}"),
    "swap": on_text(_swap),
    "dropline": on_lines(_drop),
    "dupline": on_lines(lambda lines, at, rng: lines.insert(at, lines[at])),
    "swapline": on_lines(_exchange),
    "blank": on_lines(lambda lines, at, rng: lines.insert(at, "   ")),
    "addcol": on_lines(lambda lines, at, rng: _column(lines, at, rng, True)),
    "dropcol": on_lines(lambda lines, at, rng: _column(lines, at, rng, False)),
    "long": on_lines(lambda lines, at, rng: lines.insert(at, "x " * 20_000)),
    "comment": on_lines(lambda lines, at, rng: lines.insert(at, "# a remark")),
}
