"""How a finished bank takes its place: old and new change places in one step of the system, where it can.

Where it cannot, a kill between the two renames leaves the old bank aside; whoever opens or writes the bank next
finishes the move.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from datamodules.assets.bank_index import INDEX
from datamodules.files.atomic_files import disk_refusals
from datamodules.files.folder_lock import folder_lock

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def work_folder(target: Path) -> Path:
    """Where a bank grows, beside its place."""
    return target.parent / f".{target.name}.writing"


def bank_lock(target: Path) -> AbstractContextManager[None]:
    """The lock lies beside the bank, whose folder is replaced whole."""
    return folder_lock(target.parent, f"the bank {target.name!r}", f".{target.name}.lock")


def recover(target: Path, locked: bool = False) -> None:
    """Finish what a kill between the two renames of :func:`replace_folder` has left, if it has.

    Args:
        target: the bank's folder.
        locked: the caller holds the bank's lock.

    Raises:
        InputError: another process is writing the bank at this moment.
    """
    aside, work = target.parent / f".{target.name}.old", work_folder(target)
    if target.exists() or not aside.exists():
        return
    with nullcontext() if locked else bank_lock(target), disk_refusals(target):
        os.replace(work if (work / INDEX).is_file() else aside, target)


def replace_folder(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``; an older folder there changes places with it and is removed last."""
    aside = target.parent / f".{target.name}.old"
    if aside.exists():
        shutil.rmtree(aside)
    if target.exists() and _exchange(source, target):
        os.replace(source, aside)
    else:
        if target.exists():
            os.replace(target, aside)
        os.replace(source, target)
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0)
