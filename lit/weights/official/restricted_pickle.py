"""Reading pickles as data: an interpreter of pickle opcodes that imports and calls nothing of the file's choice.

NVIDIA's network pickles carry the Python source of their networks and, loaded the usual way, run it. Here a global is
only a name that is looked up in a closed table (:mod:`lit.weights.official.pickle_globals`), a class becomes an inert
stub, and attributes are set on stubs alone. Opcodes with other powers (persistent ids, extension registry, old-style
instances, outside buffers) are refused, but for the storages of a TorchScript archive. Work is bounded: opcodes, bytes
that calls copy, and seconds.
"""

from __future__ import annotations

import pickletools
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, cast

from datamodules.errors import InputError
from lit.weights.official.pickle_globals import Refused, checked_keys, find_global, set_state

MAX_OPCODES = 5_000_000  # a small generator of 77 tensors takes some 7,000
MAX_COPIED = 1 << 26  # numbers, letters and bytes that calls may copy beyond what the file holds
MAX_SECONDS = 120.0
CURE = "nothing of it was run; take the file from its authors' site"
LITERALS = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
COPIED = (bytes, bytearray, str, list, tuple, dict, set, frozenset)
_MARK = object()
Find = Callable[[Any, Any], Any]


class _Global:
    """A name of the table; a type of its own, so that nothing else on the stack can be called."""

    __slots__ = ("build",)

    def __init__(self, build: Callable[..., Any]) -> None:
        self.build = build


class _Machine:
    """Stack and memo of one pickle under way.

    Args:
        most: what calls may copy, counted in elements.
        find: what stands for a global.
        stored: what stands for a persistent id; None refuses them.
    """

    def __init__(self, most: int, find: Find, stored: Callable[[Any], Any] | None) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.left, self.find, self.stored = most, find, stored

    def pop(self, count: int = 1) -> list[Any]:
        """The last ``count`` values, oldest first; none of them a mark."""
        start = len(self.stack) - count
        values = self.stack[max(start, 0) :]
        if start < 0 or any(value is _MARK for value in values):
            raise Refused("an opcode that finds too little on the stack")
        del self.stack[start:]
        return values

    def pop_mark(self) -> list[Any]:
        """The values above the topmost mark, which goes too."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise Refused("an opcode that finds no mark on the stack")

    def top(self, kind: type = object) -> Any:
        """The topmost value, which has to be of this kind."""
        if not self.stack or self.stack[-1] is _MARK or not isinstance(self.stack[-1], kind):
            raise Refused(f"an opcode that finds no {kind.__name__} on the stack")
        return self.stack[-1]

    def call(self, target: Any, arguments: Any) -> Any:
        """REDUCE and NEWOBJ: only names of the table can be called, with positional arguments."""
        if not isinstance(target, _Global) or not isinstance(arguments, tuple):
            raise Refused("a call of something that is no known global")
        self.spend(arguments)
        return target.build(*arguments)

    def spend(self, values: Any) -> None:
        """Count what a call or a state may copy; a value on the memo can be copied many times."""
        for value in values if isinstance(values, tuple) else (values,):
            self.left -= len(value) if isinstance(value, COPIED) else 1
        if self.left < 0:
            raise Refused("values that copy each other to more than its own size")

    def push_global(self, module: Any, name: Any) -> None:
        """GLOBAL and STACK_GLOBAL."""
        found = self.find(module, name)
        self.stack.append(_Global(found) if callable(found) else found)

    def step(self, name: str, argument: Any) -> None:
        """Carry out one opcode that makes or moves values."""
        push = self.stack.append
        match name:
            case "PROTO" | "FRAME":
                pass
            case "NONE":
                push(None)
            case "NEWTRUE" | "NEWFALSE":
                push(name == "NEWTRUE")
            case "MARK":
                push(_MARK)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.top()
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.top()
            case "GET" | "BINGET" | "LONG_BINGET":
                push(self.memo[argument])
            case "POP":
                self.stack.pop()
            case "POP_MARK":
                self.pop_mark()
            case "DUP":
                push(self.top())
            case "GLOBAL":
                self.push_global(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                self.push_global(*self.pop(2))
            case "REDUCE" | "NEWOBJ":
                push(self.call(*self.pop(2)))
            case "BUILD":
                (state,) = self.pop()
                self.spend(state)
                set_state(self.top(), state)
            case "BINPERSID" if self.stored is not None:
                push(self.stored(*self.pop()))
            case _:
                self.contain(name)

    def contain(self, name: str) -> None:
        """Carry out one opcode that makes or fills a container."""
        push = self.stack.append
        match name:
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_SET":
                push({"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}[name]())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(tuple(self.pop(int(name[-1]))))
            case "TUPLE":
                push(tuple(self.pop_mark()))
            case "LIST":
                push(self.pop_mark())
            case "DICT":
                push(dict(_pairs(self.pop_mark())))
            case "FROZENSET":
                push(frozenset(checked_keys(self.pop_mark())))
            case "APPEND" | "APPENDS":
                values = self.pop() if name == "APPEND" else self.pop_mark()
                self.top(list).extend(values)
            case "SETITEM" | "SETITEMS":
                values = self.pop(2) if name == "SETITEM" else self.pop_mark()
                self.top(dict).update(_pairs(values))
            case "ADDITEMS":
                values = self.pop_mark()
                self.top(set).update(checked_keys(values))
            case _:
                raise Refused(f"the opcode {name}, which network pickles do not need")


def _pairs(values: list[Any]) -> Iterable[tuple[Any, Any]]:
    if len(values) % 2:
        raise Refused("a key without a value")
    return zip(checked_keys(values[::2]), values[1::2])


class _Bounded:
    """A file that is never asked for more than it has left, so that a made-up length allocates nothing."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        if count > self._left:
            raise Refused("a value that reaches past its end (cut short?)")
        data = self._file.read(count)
        self._left -= len(data)
        return data

    def readline(self) -> bytes:
        """The next line."""
        line = self._file.readline()
        self._left -= len(line)
        return line


def read_pickle(path: str | Path) -> Any:
    """The content of a network pickle: plain containers, tensors on the CPU, and a stub for every module.

    Raises:
        InputError: no pickle, cut short, or with anything beyond what network pickles hold; names what it is.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a network pickle such as stylegan2-car-config-f.pkl")
    with path.open("rb") as file:
        return interpret(file, path.stat().st_size, str(path), "a network pickle")


def interpret(
    file: IO[bytes],
    size: int,
    where: str,
    expected: str,
    find: Find = find_global,
    stored: Callable[[Any], Any] | None = None,
) -> Any:
    """The content of a pickle.

    Args:
        file: at its beginning.
        size: its bytes.
        where: its name, for messages.
        expected: what it should be, for messages.
        find: builder or constant for a global's module and name; raises :class:`Refused` for what is not known.
        stored: the value that stands for a persistent id; None refuses them.

    Raises:
        InputError: see :func:`read_pickle`.
    """
    machine, bounded = _Machine(MAX_COPIED + 8 * size, find, stored), _Bounded(file, size)
    started = time.monotonic()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], bounded))):
            if opcode.name == "STOP":
                (result,) = machine.pop()
                return result
            if count > MAX_OPCODES:
                raise Refused(f"more than {MAX_OPCODES} opcodes")
            if count % 1024 == 0 and time.monotonic() - started > MAX_SECONDS:
                raise Refused(f"more than {MAX_SECONDS:g} seconds' work")
            if opcode.name in LITERALS:
                machine.stack.append(argument)
            else:
                machine.step(opcode.name, argument)
    except Refused as error:
        raise InputError(f"{where}: holds {error}; expected {expected}, {CURE}") from error
    except InputError:
        raise
    except Exception as error:  # a wrong opcode, a missing memo entry, a type that does not fit: many classes
        reason = ascii(" ".join(str(error).split()))[1:-1][:120]
        raise InputError(
            f"{where}: no readable pickle ({type(error).__name__}: {reason}); expected {expected}, {CURE}"
        ) from error
    raise InputError(f"{where}: ends before its pickle does; expected {expected}, download it again")
