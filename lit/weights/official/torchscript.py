"""Tensors of TorchScript archives, read without the program that comes with them.

An archive holds its module as a pickle of objects with attributes (``data.pkl``), their tensors' storages as files of
their own, and the code of their methods, of which nothing is looked at here.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.storage import TypedStorage

from datamodules.errors import InputError
from datamodules.files.archives import open_archive, read_entry, verify_archive
from lit.weights.official.pickle_globals import Refused, Stub, find_global
from lit.weights.official.restricted_pickle import interpret

STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
MOST_VALUES = 100_000  # attributes of all modules; a large network has some thousand


def read_torchscript(path: Path, expected: str) -> dict[str, Tensor]:
    """The tensors of a TorchScript module by name, such as "layers.conv.weight".

    Args:
        path: the file.
        expected: what it should be, for messages.

    Raises:
        InputError: it is damaged, or its module holds something else than numbers, texts, tensors and modules.
    """
    with open_archive(path, expected) as archive:
        verify_archive(archive, expected)
        root = next((name[: -len("data.pkl")] for name in archive.namelist() if name.endswith("/data.pkl")), None)
        if root is None:
            raise InputError(f"{path}: a TorchScript archive without its data.pkl; expected {expected}")
        order = f"{root}byteorder"
        if order in archive.namelist() and read_entry(archive, order, expected).strip() != b"little":
            raise InputError(f"{path}: written on a machine of the other byte order; expected {expected}")
        content = read_entry(archive, f"{root}data.pkl", expected)
        storages = _Storages(archive, root, expected)
        module = interpret(io.BytesIO(content), len(content), str(path), expected, _find, storages.read)
    return _tensors(module, path, expected)


class _Storages:
    """The storages of an archive, read when the pickle names them, each once."""

    def __init__(self, archive: zipfile.ZipFile, root: str, expected: str) -> None:
        self.archive, self.root, self.expected = archive, root, expected
        self.known: dict[str, TypedStorage] = {}

    def read(self, pid: Any) -> TypedStorage:
        """The storage of a persistent id ("storage", type, name, device, count)."""
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage" or pid[1] not in STORAGES:
            raise Refused("a persistent id that is no storage of numbers")
        _, kind, name, _, count = pid
        if not isinstance(name, str) or not name.isalnum():
            raise Refused("a storage whose name is no number")
        if name not in self.known:
            data = bytearray(read_entry(self.archive, f"{self.root}data/{name}", self.expected))
            flat = torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
            storage = flat.untyped_storage()
            self.known[name] = TypedStorage(wrap_storage=storage, dtype=STORAGES[kind], _internal=True)
        found = self.known[name]
        if found.dtype != STORAGES[kind] or found._size() != count:
            raise Refused(f"a storage of {count} numbers where its file has {found._size()}")
        return found


def _find(module: Any, name: Any) -> Any:
    """What stands for a global of a TorchScript pickle: stubs of its classes, lists, types of storages."""
    if not isinstance(module, str) or not isinstance(name, str):
        raise Refused("a global whose name is no text")
    if module == "torch" and name in STORAGES:
        return name
    if module == "torch.jit._pickle" and name in LISTS:
        return lambda values: list(values) if isinstance(values, list | tuple) else []
    if (module == "__torch__" or module.startswith("__torch__.")) and name.isidentifier():
        return lambda *_: Stub(name, module)
    return find_global(module, name)


def _tensors(module: Any, path: Path, expected: str) -> dict[str, Tensor]:
    if not isinstance(module, Stub):
        raise InputError(f"{path}: its program is a {type(module).__name__}, no module; expected {expected}")
    found: dict[str, Tensor] = {}
    waiting, count = [("", module, 0)], 0
    while waiting:
        prefix, stub, depth = waiting.pop()
        for key, value in stub.state.items():
            count += 1
            if isinstance(value, Tensor):
                found[f"{prefix}{key}"] = value
            elif isinstance(value, Stub):
                waiting.append((f"{prefix}{key}.", value, depth + 1))
        if count > MOST_VALUES or depth > 40 or len(prefix) > 1000:
            raise InputError(f"{path}: modules of more than {MOST_VALUES} attributes; expected {expected}")
    return found
