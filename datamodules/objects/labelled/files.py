"""Files of a zip archive or a folder by key, the path without its suffix."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from datamodules.errors import DatasetNotFound, InputError
from datamodules.files.archives import open_archive, read_entry
from datamodules.files.atomic_files import read_bytes

DATASET_INDEX = "dataset.json"


class KeyedFiles:
    """PNG files of an archive or a folder, and the index beside them.

    Args:
        path: zip archive or folder.
        expected: what it should hold, for messages.

    Attributes:
        names: key ("studio-000001/studio-000001_003") to file name, in the order of the keys.

    Raises:
        DatasetNotFound: nothing is there.
        InputError: it is no archive, holds no PNG file, or two of one key.
    """

    def __init__(self, path: str | Path, expected: str) -> None:
        self.path, self.expected = Path(path), expected
        self._archive: zipfile.ZipFile | None = None
        self._process = -1
        if self.path.is_dir():
            found = (file.relative_to(self.path).as_posix() for file in self.path.rglob("*.png"))
        elif self.path.exists():
            found = (name for name in self._opened().namelist() if name.lower().endswith(".png"))
        else:
            raise DatasetNotFound(f"{self.path} does not exist; expected {expected}")
        shown = (name for name in found if not any(part.startswith((".", "__MACOSX")) for part in name.split("/")))
        self.names = {PurePosixPath(name).with_suffix("").as_posix(): name for name in sorted(shown)}
        if not self.names:
            raise InputError(f"{self.path}: holds no PNG file; expected {expected}")

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_archive": None, "_process": -1}

    def _opened(self) -> zipfile.ZipFile:
        """The archive, opened once a process: a forked one would share the place in the file with its parent."""
        if self._archive is None or self._process != os.getpid():
            self._archive, self._process = open_archive(self.path, self.expected), os.getpid()
        return self._archive

    def where(self, name: str) -> Path:
        """A file's place, for messages."""
        return self.path / name

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            InputError: it is missing or damaged.
        """
        if self.path.is_dir():
            return read_bytes(self.path / name, self.expected)
        if name not in self._opened().NameToInfo:
            raise DatasetNotFound(f"{self.path}: holds no {name}; expected {self.expected}")
        return read_entry(self._opened(), name, self.expected)


def paired(images: KeyedFiles, labels: KeyedFiles) -> dict[str, tuple[str, str]]:
    """Names of picture and label map by key: of equal paths, or else of equal stems, never by order.

    Raises:
        InputError: a picture or a map has no partner, or a stem stands twice.
    """
    if images.names.keys() == labels.names.keys():
        return {key: (name, labels.names[key]) for key, name in images.names.items()}
    stems, others = _by_stem(images), _by_stem(labels)
    for own, rest, side, partner in ((stems, others, images, labels), (others, stems, labels, images)):
        if missing := sorted(own.keys() - rest.keys()):
            raise InputError(
                f"{partner.path}: no {missing[0]}.png, one of {len(missing)} of {len(own)} files of {side.path} "
                "without a partner; expected a picture and a label map of each stem; add or remove them"
            )
    return {key: (images.names[key], labels.names[others[stem]]) for stem, key in sorted(stems.items())}


def _by_stem(files: KeyedFiles) -> dict[str, str]:
    found: dict[str, str] = {}
    for key in files.names:
        stem = PurePosixPath(key).name
        if stem in found:
            raise InputError(
                f"{files.path}: {found[stem]} and {key} have one stem, expected unique stems, or the same folders in "
                "both archives; rename them"
            )
        found[stem] = key
    return found
