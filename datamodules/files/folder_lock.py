"""One writer a folder: a lock of the operating system, which a killed process cannot leave behind."""

from __future__ import annotations

import errno
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from datamodules.errors import InputError, printable
from datamodules.files.atomic_files import disk_refusals

LOCK_FILE = ".lock"
UNLOCKABLE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # what file systems without locks answer
COMMAND = 200  # letters of the holder's command line that are told
_HELD: set[int] = set()  # handles of this process's locks


@contextmanager
def folder_lock(folder: str | Path, written: str, name: str = LOCK_FILE, wait: bool = False) -> Iterator[None]:
    """Hold a folder for writing; its hidden lock file exists as long as somebody does.

    Readers take no lock: what they read was renamed into place. Threads of one process exclude each other as processes
    do. On a file system without locks this warns and goes on.

    Args:
        folder: made when missing; taken away again when it stays empty.
        written: what is written there, for the message: "a road world".
        name: of the lock file.
        wait: for whoever writes there, rather than refuse.

    Raises:
        InputError: another process writes there, or the folder cannot be written to.
    """
    folder = Path(folder)
    made = not folder.exists()
    with disk_refusals(folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    try:
        with disk_refusals(path):
            handle = _locked(path, wait)
        if handle is None:
            raise InputError(
                f"{folder}: {_holder(path)} writes there, expected {written} to be written by one process at a time; "
                "wait for it, stop it, or choose another folder"
            )
        owner = os.getpid()
        _HELD.add(handle)
        try:
            yield
        finally:
            if os.getpid() == owner:  # not a forked process that unwinds
                with suppress(OSError):
                    path.unlink()  # before the lock goes: who waits for this file finds it is no longer the folder's
                _HELD.discard(handle)
                os.close(handle)
    finally:
        if made:
            with suppress(OSError):
                folder.rmdir()


def _let_go() -> None:
    """A forked process holds no lock: one that outlives a killed parent would keep the folder from the next run."""
    while _HELD:
        os.close(_HELD.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _locked(path: Path, wait: bool) -> int | None:
    """A handle of the locked file, or None when somebody else holds it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if not _lock(handle, path, wait):
            os.close(handle)
            return None
        try:
            current = os.stat(path).st_ino == os.fstat(handle).st_ino
        except FileNotFoundError:
            current = False
        if current:
            break
        os.close(handle)  # its last holder removed it in between
    command = printable(" ".join(sys.argv))[:COMMAND]
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()} ({command})".encode("utf-8", "replace"))
    return handle


def _lock(handle: int, path: Path, wait: bool) -> bool:
    """Whether the lock was free, or does not exist on this file system."""
    try:
        import fcntl
    except ImportError:  # Windows
        _warn(path)
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNLOCKABLE:
            raise
        _warn(path)
    return True


def _warn(path: Path) -> None:
    warnings.warn(f"{path.parent}: its file system has no locks; take care that one process writes there", stacklevel=5)


def _holder(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace") or "another process"
    except OSError:
        return "another process"
