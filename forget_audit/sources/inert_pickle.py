"""Read the pickled files of CIFAR without unpickling them: nothing is imported, called or run.

Unpickling runs whatever program a file holds. The files of CIFAR need little of that language:
a dictionary of texts, numbers and one array of bytes. So the instructions are listed by the
standard library's disassembler, which runs none of them, and the few that build such values are
followed here. The names of numpy's functions that build the array are taken as words; any other
name, and any other instruction, is refused.
"""

import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np

from forget_audit.errors import CaseError

RECONSTRUCT = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")
WORDS = frozenset({*RECONSTRUCT, "numpy ndarray", "numpy dtype"})
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
PLAIN = frozenset(
    {
        "BININT", "BININT1", "BININT2", "INT", "LONG1", "BINSTRING", "SHORT_BINSTRING",
        "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES",
    }
)  # fmt: skip
IGNORED = frozenset({"PROTO", "FRAME", "STOP"})
MARK = object()


@dataclass
class Word:
    """A name that stands in the file; never looked up."""

    name: str


@dataclass
class Recipe:
    """What would be called, and with what; never called."""

    word: Word
    arguments: Any
    state: Any = None


class Reader:
    """A stack of values, as the instructions of one file build it."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def follow(self, name: str, argument: Any) -> None:
        """Follow one instruction.

        Raises:
            CaseError: If files of numbers have no need of it.
        """
        stack = self.stack
        if name in PLAIN:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "MARK":
            stack.append(MARK)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "TUPLE":
            stack.append(tuple(self._to_mark()))
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS"):
            self._fill(name)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[argument])
        elif name == "GLOBAL" and argument in WORDS:
            stack.append(Word(argument))
        elif name == "REDUCE" and isinstance(stack[-2], Word):
            arguments = stack.pop()
            stack[-1] = Recipe(stack[-1], arguments)
        elif name == "BUILD" and isinstance(stack[-2], Recipe):
            state = stack.pop()
            stack[-1].state = state
        elif name not in IGNORED:
            what = f"{name} {argument}" if name == "GLOBAL" else name
            raise CaseError(f"the file asks for {what!r}, which files of numbers never do")

    def _fill(self, name: str) -> None:
        count = 1 if name == "APPEND" else 2
        values = self._to_mark() if name.endswith("S") else self._last(count)
        if name.startswith("APPEND"):
            self.stack[-1].extend(values)
            return
        keys = [_text(key) for key in values[::2]]
        if len(set(keys)) < len(keys) or not self.stack[-1].keys().isdisjoint(keys):
            raise ValueError("a name occurs twice in one table")
        self.stack[-1].update(zip(keys, values[1::2], strict=True))

    def _last(self, count: int) -> list[Any]:
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def _to_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not MARK:
            place -= 1
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values


def read_values(data: bytes) -> dict[str, Any]:
    """Return the dictionary that a pickled file describes, arrays of bytes as numpy arrays.

    Raises:
        CaseError: If it describes anything that would have to be run.
        ValueError: If the file is damaged.
    """
    reader = Reader()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            reader.follow(opcode.name, argument)
        (found,) = reader.stack
        return {name: _value(value) for name, value in found.items()}
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"damaged: {error}") from error


def _text(value: Any) -> str:
    """Return a text; anything else is not even printed, for it may hold itself many times."""
    if not isinstance(value, (bytes, str)):
        raise TypeError(f"expected text, found {type(value).__name__}")
    return value.decode("latin-1") if isinstance(value, bytes) else value


def flat(values: Any, kind: type) -> list[Any]:
    """Return a list that holds values of one kind and nothing else.

    A list that holds one list many times, which holds one many times, and so on, takes a few
    bytes in a file, and all memory once it becomes an array.

    Raises:
        ValueError: If it is anything else.
    """
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise ValueError(f"expected a list of {kind.__name__}")
    return values


def _value(value: Any) -> Any:
    if not isinstance(value, Recipe):
        return value
    _, shape, kind, fortran, content = value.state
    if value.word.name not in RECONSTRUCT or _text(kind.arguments[0]) not in ("u1", "|u1"):
        raise ValueError("expected an array of bytes")
    raw = content if isinstance(content, bytes) else content.encode("latin-1")
    return np.frombuffer(raw, dtype=np.uint8).reshape(shape, order="F" if fortran else "C")
