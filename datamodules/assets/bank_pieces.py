"""A bank that several processes draw without talking to each other: each leaves a piece, which is a bank by itself.

Piece i of n holds what process i of n would write; the pieces lie in a hidden folder beside the bank, and joined they
are the same files whatever n is. A piece that was lost with its machine is simply drawn again.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from datamodules.assets.bank import AssetBank
from datamodules.assets.bank_index import BANK_KIND, INDEX, BankHeader, BankIndex
from datamodules.assets.bank_writer import AssetBankWriter
from datamodules.errors import InputError
from datamodules.files.typed_json import read_json

PIECE = "LIFTBENCH_PIECE"  # environment: which piece this process draws, such as 0/4


def this_piece() -> tuple[int, int] | None:
    """Which piece of how many this process draws; None draws everything.

    Raises:
        InputError: the environment names none.
    """
    if not (text := os.environ.get(PIECE)):
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise InputError(f"{PIECE}={text}: expected a piece such as 0/4, the first of four; correct it or unset it")
    return int(found[1]), int(found[2])


def pieces_folder(target: str | Path) -> Path:
    """Where the pieces of a bank lie until they are joined."""
    return Path(target).parent / f".{Path(target).name}.pieces"


def piece_folder(target: str | Path, number: int) -> Path:
    """A piece's own folder."""
    return pieces_folder(target) / f"{number:04d}"


def join_pieces(target: str | Path, count: int) -> None:
    """Write the assets of all pieces, sorted by their ids, as one bank, and remove the pieces.

    Args:
        target: the bank's folder; an older bank there is replaced at the end.
        count: of the pieces.

    Raises:
        InputError: a piece is missing or damaged, they were not made in the same way, or the disk refuses.
    """
    folders = [piece_folder(target, number) for number in range(count)]
    indices = [read_json(folder / INDEX, BankIndex, BANK_KIND) for folder in folders]
    names = [name for name in BankHeader.__struct_fields__ if name not in ("schema", "kind")]
    headers = [{name: getattr(index, name) for name in names} for index in indices]
    for folder, header in zip(folders, headers):
        if header != headers[0]:
            differs = [name for name in names if header[name] != headers[0][name]]
            raise InputError(f"{folder}: has another {' and '.join(differs)} than the first piece; draw the bank again")
    banks = [AssetBank(folder, cache=1) for folder in folders]
    rows = [(row.id, bank, place, row) for bank, i in zip(banks, indices) for place, row in enumerate(i.assets)]
    with AssetBankWriter(target, **headers[0]) as writer:
        for _, bank, place, row in sorted(rows, key=lambda entry: entry[0]):
            writer.write(bank[place], row.caption, row.score, row.source, row.licence)
    shutil.rmtree(pieces_folder(target), ignore_errors=True)
