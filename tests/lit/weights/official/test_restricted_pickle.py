"""Hostile, damaged and foreign pickles: refused by name, nothing run, nothing large allocated."""

from __future__ import annotations

import builtins
import functools
import io
import operator
import os
import pickle
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.errors import InputError
from lit.cli import main
from lit.weights import read_stylegan2
from lit.weights.official.restricted_pickle import read_pickle
from tests.lit.weights.official.network_pickles import EasyDict, Persistent, write_pickle
from tests.lit.weights.official.official_states import rosinality_state


class Call:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def text(value: str) -> bytes:
    """The opcode that pushes a text."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def stack_global(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def refusal(data: bytes, tmp_path: Path) -> str:
    """The message for a file of these bytes."""
    path = tmp_path / "hostile.pkl"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_pickle(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))
    return message


CALLS = {
    "posix.system": lambda marker: Call(os.system, f"touch {marker}"),
    "builtins.eval": lambda marker: Call(eval, f"open({marker!r}, 'w')"),
    "builtins.exec": lambda marker: Call(exec, f"open({marker!r}, 'w')"),
    "builtins.getattr": lambda marker: Call(getattr, "x", "upper"),
    "io.open": lambda marker: Call(builtins.open, marker, "w"),
    "subprocess.Popen": lambda marker: Call(subprocess.Popen, ["touch", marker]),
    "torch.serialization.load": lambda marker: Call(torch.load, marker),
    "torch.hub.load": lambda marker: Call(torch.hub.load, marker, "x"),
    "numpy.load": lambda marker: Call(np.load, marker, None, True),
    "operator.attrgetter": lambda marker: Call(operator.attrgetter, "system"),
    "functools.partial": lambda marker: functools.partial(os.system, f"touch {marker}"),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", CALLS)
def test_calls_are_refused_by_name(name: str, protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    network = Persistent("Generator", "raise SystemExit")
    content = {"training_set_kwargs": EasyDict(x=CALLS[name](str(marker))), "G_ema": network}
    with pytest.raises(InputError) as caught:
        read_pickle(write_pickle(tmp_path / "hostile.pkl", content, protocol))
    module, function = name.rsplit(".", 1)
    assert f".{function}, which no StyleGAN2" in str(caught.value)
    if protocol > 2:  # protocol 2 writes Python 2's names of modules
        assert f"the global {module}.{function}," in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "path.join"),
        ("torch.storage", "_load_from_bytes.__globals__"),
        ("torch._utils", "_rebuild_tensor_v2.__code__"),
        ("torch.nn.modules", "module.Module.__init__.__globals__"),
        ("torch.nn.modules.container", "Sequential.__class__"),
        ("torch.nn.modules.os", "__import__"),
        ("training.triplane", "OSGDecoder.__init__"),
        ("training.triplane_evil", "OSGDecoder"),
        ("collections", "OrderedDict.fromkeys"),
        ("builtins", "object"),
        ("copyreg", "_reconstructor"),
        ("dnnlib.tflib.network", "Network"),
        ("evil\nmodule", "x" * 5000),
    ],
)
def test_names_outside_the_table_are_refused(module: str, name: str, tmp_path: Path) -> None:
    message = refusal(b"\x80\x04" + stack_global(module, name) + b".", tmp_path)
    assert module.splitlines()[0] in message
    assert name[:40] in message


REBUILD = stack_global("torch._utils", "_rebuild_parameter")
STUB = stack_global("torch.nn.modules.activation", "Softplus") + b")\x81"
CASES = {
    "persistent id": (b"Pname\n.", "PERSID"),
    "binary persistent id": (b"\x80\x04K\x01Q.", "BINPERSID"),
    "extension registry": (b"\x80\x04\x82\x01.", "EXT1"),
    "old instance": (b"(S'touch x'\nios\nsystem\n.", "INST"),
    "old object": (b"(" + REBUILD + b"o.", "OBJ"),
    "buffer": (b"\x80\x05\x97.", "NEXT_BUFFER"),
    "attributes of a builder": (
        b"\x80\x04" + REBUILD + b"}" + text("__code__") + b"K\x01sb.",
        "attributes set on a global",
    ),
    "slots of a builder": (
        b"\x80\x04" + REBUILD + b"N}" + text("build") + b"K\x01s\x86b.",
        "attributes set on a global",
    ),
    "attributes of a list": (b"\x80\x04]}b.", "attributes set on a list"),
    "call of a stub": (b"\x80\x04" + STUB + b")R.", "call of something"),
    "call of a text": (b"\x80\x04" + text("os.system") + b")R.", "call of something"),
    "append to a stub": (b"\x80\x04" + STUB + b"K\x01a.", "finds no list"),
    "computed name": (b"\x80\x04" + STUB + text("x") + b"\x93.", "no text"),
    "deep key": (b"\x80\x04})" + b"\x85" * 50_000 + b"K\x01s.", "key of a dict"),
    "empty stack": (b"\x80\x04R.", "too little"),
    "mark": (b"\x80\x04(.", "too little"),
    "unknown memo": (b"\x80\x04h\x07.", "KeyError"),
    "claimed length": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"abc.", "cut short"),
    "no stop": (b"\x80\x04K\x01", "cut short"),
    "text": (b"this is not a pickle", "expected a network pickle"),
    "empty": (b"", "cut short"),
    "array of objects": (b"\x80\x04" + stack_global("numpy", "dtype") + text("O8") + b"\x85R.", "else than numbers"),
}


@pytest.mark.parametrize("case", CASES)
def test_other_powers_are_refused(case: str, tmp_path: Path) -> None:
    data, expected = CASES[case]
    assert expected in refusal(data, tmp_path)


def storage(data: bytes) -> bytes:
    """A pickle that hands ``data`` to the loader of tensor storages."""
    size = struct.pack("<I", len(data))
    return b"\x80\x04" + stack_global("torch.storage", "_load_from_bytes") + b"B" + size + data + b"\x85R"


def test_tensor_storages_are_read_without_running_code(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    hostile = io.BytesIO()
    torch.save(Call(os.system, f"touch {marker}"), hostile, _use_new_zipfile_serialization=False)
    assert "posix.system" in refusal(storage(hostile.getvalue()) + b".", tmp_path)
    for protocol in (0, 2, 4):
        raw = pickle.dumps(Call(os.system, f"touch {marker}"), protocol)
        assert "inside a tensor storage" in refusal(storage(raw) + b".", tmp_path)
    zipped = io.BytesIO()
    torch.save(torch.zeros(3), zipped)
    assert "legacy" in refusal(storage(zipped.getvalue()) + b".", tmp_path)
    legacy = io.BytesIO()
    torch.save(torch.zeros(3), legacy, _use_new_zipfile_serialization=False)
    assert "in the place of a tensor storage" in refusal(storage(legacy.getvalue()) + b".", tmp_path)
    assert not marker.exists()


def test_tensors_cannot_outgrow_their_storage(tmp_path: Path) -> None:
    small = io.BytesIO()
    torch.save(torch.zeros(4)._typed_storage(), small, _use_new_zipfile_serialization=False)
    number = lambda n: b"\x8a\x08" + struct.pack("<q", n)  # noqa: E731
    for size, step, offset in ((1 << 40, 1, 0), (1 << 40, 0, 0), (4, 1, 1), (3, 2, 0), (-1, 1, 0)):
        arguments = (
            b"(" + storage(small.getvalue())[2:] + number(offset) + number(size) + b"\x85" + number(step) + b"\x85"
        )
        data = b"\x80\x04" + stack_global("torch._utils", "_rebuild_tensor_v2") + arguments + b"\x89}tR."
        message = refusal(data, tmp_path)
        assert "over a storage of 4" in message or "negative" in message


def test_modules_that_share_children_take_no_exponential_time(tmp_path: Path) -> None:
    module = Persistent("Leaf", "x")
    for _ in range(35):  # two paths to each of the next: 2**35 names
        parent = Persistent("Pair", "x")
        parent.add_module("a", module)
        parent.add_module("b", module)
        module = parent
    path = write_pickle(tmp_path / "shared.pkl", {"G_ema": module})
    with pytest.raises(InputError, match=r"more than \d+ of them"):
        read_stylegan2(path)


def test_values_cannot_copy_each_other_without_end(tmp_path: Path) -> None:
    longest = 100_000
    content = b"\x80\x04](" + b"N" * longest + b"eq\x00" + stack_global("builtins", "list") + b"q\x01]("
    message = refusal(content + b"h\x01h\x00\x85R" * 2000 + b"e.", tmp_path)
    assert "values that copy each other" in message


def test_a_truncated_pickle_is_named(tmp_path: Path) -> None:
    whole = write_pickle(tmp_path / "whole.pkl", {"G_ema": Persistent("Generator", "x", z_dim=3)}).read_bytes()
    for length in (1, 7, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        assert "network pickle" in refusal(whole[:length], tmp_path)
    (tmp_path / "hostile.pkl").write_bytes(whole)
    assert "G_ema" in read_pickle(tmp_path / "hostile.pkl")


def test_numbers_that_are_not_finite_are_named(tmp_path: Path) -> None:
    network = Persistent("Generator", "x", z_dim=3)
    network.register_buffer("w_avg", torch.tensor([0.0, float("nan")]))
    with pytest.raises(InputError, match="w_avg holds numbers that are not finite"):
        read_stylegan2(write_pickle(tmp_path / "nan.pkl", {"G_ema": network}))


def test_damaged_pickles_never_raise_anything_else(tmp_path: Path) -> None:
    network = Persistent("Generator", "x", z_dim=3, sizes=[1, 2.5, None, "a"])
    network.register_buffer("w_avg", torch.zeros(3))
    whole = write_pickle(tmp_path / "whole.pkl", {"G_ema": network}).read_bytes()
    rng, path = np.random.default_rng(0), tmp_path / "damaged.pkl"
    for _ in range(150):
        data = bytearray(whole)
        for position in rng.integers(0, len(data), 3):
            data[position] = rng.integers(0, 256)
        path.write_bytes(data)
        with pytest.raises(InputError):
            read_stylegan2(path)


def test_the_command_prints_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marker = tmp_path / "marker"
    path = write_pickle(tmp_path / "cars.pkl", {"G_ema": Call(os.system, f"touch {marker}")})
    assert main(["prepare", "weights", "--checkpoint", str(path), "--out", str(tmp_path / "x.safetensors")]) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert "posix.system" in error
    assert not marker.exists()
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", ["pt", "ckpt"])
def test_hostile_pytorch_files(kind: str, zipped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marker, path = tmp_path / "marker", tmp_path / f"cars.{kind}"
    evil = Call(os.system, f"touch {marker}")
    if kind == "pt":
        content = {"g_ema": rosinality_state(), "args": evil}
    else:
        content = {"state_dict": {"ema.mapping.w_avg": torch.zeros(1)}, "hyper_parameters": {"resolution": evil}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"posix\.system"):
        read_stylegan2(path)
    assert main(["prepare", "weights", "--checkpoint", str(path), "--out", str(tmp_path / "x.safetensors")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not marker.exists()


def test_other_files_are_no_generators(tmp_path: Path) -> None:
    for name, data in (
        ("a.pkl", b"hello"),
        ("b.pt", b"PK\x03\x04broken"),
        ("c.safetensors", b"\x05" + bytes(7) + b"{bad}"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="expected a StyleGAN2 generator"):
            read_stylegan2(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        read_stylegan2(tmp_path / "nowhere.pkl")
