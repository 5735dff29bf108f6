"""Files that are either complete or absent, whatever happens to the process that writes them."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

import msgspec

from datamodules.errors import DatasetNotFound, InputError, listed
from datamodules.files.checksums import CHECKSUMS, checksums_text, digest_of, require_checksums, verify
from datamodules.files.typed_json import read_json

BEGUN = ".begun"  # lies in a folder that is being written


def write_atomically(path: str | Path, data: bytes | memoryview | str) -> str:
    """Write beside the target and rename, so that a killed process leaves the old file or the new one, never a part.

    What a killed process left beside the target is taken by the next one that writes it, so nothing piles up.

    Args:
        path: target; missing folders above it are made.
        data: the whole content; text becomes UTF-8, whatever the system's locale.

    Returns:
        Its :func:`datamodules.files.checksums.digest_of`.

    Raises:
        InputError: the disk refuses: it is full, read-only, or something else stands there. No temporary file stays.
    """
    path = Path(path)
    content = data.encode() if isinstance(data, str) else data
    with disk_refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, handle = _temporary(path)
        with open(handle, "wb") as file:  # closed after the rename: its lock keeps others away until then
            try:
                file.truncate()
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # else a crash of the system may keep the name and lose the content
                os.replace(temporary, path)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
    return digest_of(content)


def _temporary(path: Path) -> tuple[Path, int]:
    """A file beside the target, open for writing, that no other process or thread writes: ``.NAME.tmp``.

    Where that is taken, or the file system has no locks, it has this thread's name.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with suppress(PermissionError):  # another user's
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if _is_own(handle, temporary):
            return temporary, handle
        os.close(handle)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    return temporary, os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _is_own(handle: int, temporary: Path) -> bool:
    """Lock an open file unless somebody else did, or renamed it since it was opened."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(handle).st_ino == os.stat(temporary).st_ino
    except (ImportError, OSError):  # Windows, or a file system without locks
        return False


@contextmanager
def disk_refusals(path: str | Path) -> Iterator[None]:
    """What a disk refuses while ``path`` is written, as one line.

    Raises:
        InputError: names path and reason.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{path}: cannot be written ({reason}); expected a folder with room and the right to write; free space, "
            "correct its permissions, or choose another folder"
        ) from None


def write_index(index: Path, content: str, files: Mapping[str, str]) -> None:
    """Write a folder's index, last, and before it the checksums of all files, the index among them.

    Args:
        index: whose presence says that the folder is complete.
        content: its text.
        files: :func:`digest_of` every other file by its path from the folder.
    """
    stated = {**files, index.name: digest_of(content.encode())}
    with disk_refusals(index):
        index.unlink(missing_ok=True)  # an old one would not fit the new checksums if this process were killed now
    write_atomically(index.parent / CHECKSUMS, checksums_text(stated))
    write_atomically(index, content)


def is_finished(index: Path, settings: Mapping[str, object], own: Collection[str]) -> bool:
    """Whether a folder whose JSON index is written last holds exactly what is asked for.

    What an older schema wrote with the same settings is not finished: it lacks what the new one has.

    Args:
        index: the index.
        settings: what it has to say, a "schema" among it.
        own: as in :func:`refuse_foreign`.

    Raises:
        InputError: it was made with other settings, the index is damaged, or the folder holds something else.
    """
    if not index.is_file():
        refuse_foreign(index, own)
        return False
    stated = msgspec.defstruct("Settings", [(name, type(value)) for name, value in settings.items()])
    found = read_json(index, stated, "a world's settings; delete the folder and write the world again")
    has = msgspec.to_builtins(found)
    if {**has, "schema": settings["schema"]} == settings and has["schema"] < settings["schema"]:
        return False
    if has != settings:
        raise InputError(
            f"{index.parent}: holds a world with other settings than {settings}; delete it or give another folder"
        )
    require_checksums(index)
    return True


def refuse_foreign(index: Path, own: Collection[str]) -> None:
    """Refuse a folder without an index that holds what no interrupted write leaves; hidden files may stay.

    Args:
        index: what is written last.
        own: names, or patterns of names, that are written before.

    Raises:
        InputError: names what lies there.
    """
    found = ["the bytes of a file"] if index.parent.is_file() else sorted(path.name for path in index.parent.glob("*"))
    if foreign := [name for name in found if not any(fnmatch(name, pattern) for pattern in (".*", CHECKSUMS, *own))]:
        raise InputError(
            f"{index.parent}: holds {listed(foreign, 3)} and no {index.name}, "
            "expected a new or empty folder; choose another one"
        )


@contextmanager
def begun(index: Path, own: Collection[str]) -> Iterator[None]:
    """As :func:`refuse_foreign`, where others write files of the same names, too: an interrupted write leaves a mark.

    Args:
        index: what is written last.
        own: names, or patterns of names, that are written before; they may lie there with the index, or with the mark.

    Raises:
        InputError: names what else lies there.
    """
    mark = index.parent / BEGUN
    refuse_foreign(index, [index.name, *own] if index.is_file() or mark.is_file() else [])
    write_atomically(mark, "")
    try:
        yield
    except BaseException:
        if not any(index.parent.glob("[!.]*")):  # nothing is left to tell from others' files
            mark.unlink(missing_ok=True)
        raise
    mark.unlink(missing_ok=True)


def read_bytes(path: Path, kind: str, cure: str = "restore it") -> bytes:
    """A file's bytes.

    Args:
        path: the file.
        kind: what it should be, for the message.
        cure: what to do where it is missing.

    Raises:
        DatasetNotFound: it does not exist.
        InputError: it cannot be read, or differs from its checksum.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetNotFound(f"{path} does not exist; expected {kind}; {cure}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected {kind} that can be read") from None
    verify(path, content)
    return content
