"""A reader of pickles that hold arrays by name and nothing else.

A pickle is a program for a small stack machine, and the usual machine can be made to call functions, to recurse until
the process dies, or to allocate what it is told. This one knows the instructions that a dictionary of numpy arrays is
written with (protocols 2 to 5) and refuses every other. It keeps to these limits: there is one dictionary, tuples are
short and nest twice, a number has 64 bits, no text or array is larger than what is left of the file, all arrays
together are no larger than the file, and values are kept under numbers without gaps. So it needs time and memory in
proportion to the file.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

WAITING = 4096  # values on the stack; pickles are written in portions of 1,000 pairs
MARKS = 4
LONGEST_TUPLE = 64  # as many axes as an array can have
LONGEST_NAME = 256  # bytes of a line that names a module, or a thing in it
DTYPE = re.compile(r"[biuf](1|2|4|8|16)")
NAMES = {  # what a pickle may ask for, and what stands for it here
    "numpy.core.multiarray._reconstruct": "blank",
    "numpy._core.multiarray._reconstruct": "blank",
    "numpy.core.numeric._frombuffer": "array",
    "numpy._core.numeric._frombuffer": "array",
    "numpy.ndarray": "kind",
    "numpy.dtype": "dtype",
    "_codecs.encode": "bytes",  # in protocol 2
    "__builtin__.bytes": "no bytes",
}


class PickleRefusal(ValueError):
    """A pickle that is damaged or asks for what is not read; the message is a clause without a subject."""


class _Name(str):
    """A function or class that the pickle asks for, as a value of `NAMES`."""


class _Array:
    """An array, empty until its state is told."""

    array: np.ndarray | None = None


class _DType:
    """A type of arrays, in the machine's byte order until its state is told."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype


def load_arrays(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
    """The arrays of a pickled dictionary from text to array, in its order.

    Args:
        file: At the beginning of the pickle.
        size: Bytes of the file.

    Raises:
        PickleRefusal: It is anything else.
    """
    return _Machine(file, size).run()


class _Machine:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left = file, size
        self.room = {"arrays": size, "bytes": size}
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: list[Any] = []
        self.found: dict[str, np.ndarray] = {}
        self.instructions: dict[int, Callable[[], Any]] = {ord(key): getattr(self, n) for key, n in _BARE.items()}
        for key, value in _CONSTANTS.items():
            self.instructions[ord(key)] = lambda value=value: value
        for key, form in _NUMBERS.items():
            self.instructions[ord(key)] = lambda form=form: self._number(form)
        for key, (form, text) in _LENGTHS.items():
            self.instructions[ord(key)] = lambda form=form, text=text: self._sized(form, text)

    def run(self) -> dict[str, np.ndarray]:
        """Carry the pickle out; returns what it holds."""
        instructions = self.instructions
        while True:
            code = self._read(1)[0]
            if code == _STOP:
                break
            if code not in instructions:
                raise PickleRefusal(f"it is no pickle of protocol 2 to 5, or holds more than arrays ({code:#04x})")
            value = instructions[code]()
            if value is not _NOTHING:
                self.stack.append(value)
                if len(self.stack) > WAITING:
                    raise PickleRefusal(f"more than {WAITING} values wait for their place")
        if self.below or len(self.stack) != 1:
            raise PickleRefusal("it ends in the middle")
        if self.stack[0] is not self.found:
            raise PickleRefusal(f"it holds {_kind(self.stack[0])}; a dict of arrays is expected")
        return self.found

    def _read(self, count: int) -> bytes:
        if count > self.left:
            raise PickleRefusal("it ends early")
        self.left -= count
        data = self.file.read(count)
        if len(data) != count:
            raise PickleRefusal("it ends early")
        return data

    def _pop(self) -> Any:
        if not self.stack:
            raise PickleRefusal("it takes a value that is not there")
        return self.stack.pop()

    def _number(self, form: struct.Struct) -> int | float:
        return form.unpack(self._read(form.size))[0]

    def _sized(self, form: struct.Struct, text: bool) -> str | bytes:
        data = self._read(self._number(form))
        if not text:
            return data
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise PickleRefusal(f"a text in it is not UTF-8 ({error.reason})") from None

    def _long(self) -> int:
        length = self._read(1)[0]
        if length > 8:
            raise PickleRefusal(f"a number of {length} bytes")
        return int.from_bytes(self._read(length), "little", signed=True)

    def _protocol(self) -> object:
        if (number := self._read(1)[0]) > 5:
            raise PickleRefusal(f"pickle protocol {number}; 2 to 5 are read")
        return _NOTHING

    def _frame(self) -> object:
        self._read(8)
        return _NOTHING

    def _mark(self) -> object:
        if len(self.below) == MARKS:
            raise PickleRefusal("its values are nested too deep")
        self.below.append(self.stack)
        self.stack = []
        return _NOTHING

    def _since_mark(self) -> list[Any]:
        if not self.below:
            raise PickleRefusal("it closes what was never opened")
        values, self.stack = self.stack, self.below.pop()
        return values

    def _tuple_of(self, values: list[Any]) -> tuple[Any, ...]:
        if len(values) > LONGEST_TUPLE:
            raise PickleRefusal(f"it holds a tuple of {len(values)} values")
        for value in values:
            if value is self.found or (type(value) is tuple and any(type(inner) is tuple for inner in value)):
                raise PickleRefusal("its values are nested too deep")
        return tuple(values)

    def _marked_tuple(self) -> tuple[Any, ...]:
        return self._tuple_of(self._since_mark())

    def _one(self) -> tuple[Any, ...]:
        return self._tuple_of([self._pop()])

    def _two(self) -> tuple[Any, ...]:
        return self._tuple_of([self._pop(), self._pop()][::-1])

    def _three(self) -> tuple[Any, ...]:
        return self._tuple_of([self._pop(), self._pop(), self._pop()][::-1])

    def _a_list(self) -> object:
        raise PickleRefusal("it holds a list; a dict of arrays is expected")

    def _a_dict(self) -> object:
        if self.stack or self.below or self.memo:
            raise PickleRefusal("it holds a dict within a dict; a dict of arrays is expected")
        return self.found

    def _memoize(self) -> object:
        return self._put(len(self.memo))

    def _put_short(self) -> object:
        return self._put(self._read(1)[0])

    def _put_long(self) -> object:
        return self._put(self._number(_U4))

    def _put(self, number: int) -> object:
        if not self.stack:
            raise PickleRefusal("it keeps a value that is not there")
        if number > len(self.memo):
            raise PickleRefusal(f"it keeps value {number} before value {len(self.memo)}")
        if number == len(self.memo):
            self.memo.append(self.stack[-1])
        else:
            self.memo[number] = self.stack[-1]
        return _NOTHING

    def _get_short(self) -> Any:
        return self._get(self._read(1)[0])

    def _get_long(self) -> Any:
        return self._get(self._number(_U4))

    def _get(self, number: int) -> Any:
        if number >= len(self.memo) or self.memo[number] is self.found:
            raise PickleRefusal(f"it asks for value {number}, which it has not kept")
        return self.memo[number]

    def _set_one(self) -> object:
        value, key = self._pop(), self._pop()
        return self._enter([key, value])

    def _set_many(self) -> object:
        return self._enter(self._since_mark())

    def _enter(self, pairs: list[Any]) -> object:
        if len(self.stack) != 1 or self.stack[0] is not self.found or len(pairs) % 2:
            raise PickleRefusal("it enters values into what is no dict")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if type(key) is not str:
                raise PickleRefusal(f"the key {_shown(key)} is not a text; track ids are expected")
            if type(value) is not _Array or value.array is None:
                raise PickleRefusal(f"{key!r:.200} is {_kind(value)}; a numpy array is expected")
            self.found[key] = value.array
        return _NOTHING

    def _name(self) -> _Name:
        return _named(self._line(), self._line())

    def _name_of_stack(self) -> _Name:
        attribute, module = self._pop(), self._pop()
        if type(module) is not str or type(attribute) is not str:
            raise PickleRefusal("it names what is no text")
        return _named(module, attribute)

    def _line(self) -> str:
        line = self.file.readline(min(LONGEST_NAME, self.left))
        self.left -= len(line)
        if not line.endswith(b"\n"):
            raise PickleRefusal("it ends early, or in a long name")
        return line[:-1].decode("utf-8", "replace")

    def _call(self) -> Any:
        arguments, what = self._pop(), self._pop()
        if type(what) is not _Name or type(arguments) is not tuple:
            raise PickleRefusal("it calls what is no function")
        if what == "blank":
            return _Array()
        if what == "array" and len(arguments) == 4:
            made, (data, dtype, shape, order) = _Array(), arguments
            made.array = self._array(data, dtype, shape, order)
            return made
        if what == "dtype" and arguments and type(arguments[0]) is str:
            if not DTYPE.fullmatch(arguments[0]):
                raise PickleRefusal(
                    f"an array of {arguments[0]!r:.60}; only truth values, integers and floats are read"
                )
            return _DType(_dtype(arguments[0]))
        if what == "bytes" and len(arguments) == 2 and type(arguments[0]) is str and arguments[1] == "latin1":
            self._spend("bytes", len(arguments[0]))
            return _latin1(arguments[0])
        if what == "no bytes" and not arguments:
            return b""
        raise PickleRefusal("an array is described otherwise than numpy does")

    def _spend(self, what: str, count: int) -> None:
        self.room[what] -= count
        if self.room[what] < 0:
            raise PickleRefusal(f"its {what} are larger than the file")

    def _build(self) -> object:
        state, made = self._pop(), self.stack[-1] if self.stack else None
        if type(state) is tuple and type(made) is _Array and made.array is None and len(state) == 5:
            _, shape, dtype, fortran, data = state
            made.array = self._array(data, dtype, shape, "F" if fortran is True else "C")
        elif type(state) is tuple and type(made) is _DType and len(state) > 1 and state[1] in _ORDERS:
            made.dtype = made.dtype.newbyteorder(_ORDERS[state[1]])
        else:
            raise PickleRefusal("an array is described otherwise than numpy does")
        return _NOTHING

    def _array(self, data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
        if type(dtype) is not _DType or type(data) is not bytes or type(shape) is not tuple or order not in ("C", "F"):
            raise PickleRefusal("an array is described otherwise than numpy does")
        if any(type(length) is not int or length < 0 for length in shape):
            raise PickleRefusal(f"an array of the shape {_shown(shape)}")
        if math.prod(shape) * dtype.dtype.itemsize != len(data):
            raise PickleRefusal(f"an array of the shape {_shown(shape)} in {len(data)} bytes")
        self._spend("arrays", len(data))
        try:
            return np.frombuffer(data, dtype.dtype).reshape(shape, order=order).copy()
        except ValueError as error:
            raise PickleRefusal(f"an array of the shape {_shown(shape)} ({error})") from None


_NOTHING = object()
_STOP = ord(".")
_U1, _U2, _U4, _U8 = map(struct.Struct, ("<B", "<H", "<I", "<Q"))
_ORDERS = {"<": "<", ">": ">", "|": "|", "=": "="}
_CONSTANTS = {"N": None, "\x88": True, "\x89": False, ")": ()}
_NUMBERS = {"J": struct.Struct("<i"), "K": _U1, "M": _U2, "G": struct.Struct(">d")}
_LENGTHS = {  # form of the length, and whether it is a text's
    "\x8c": (_U1, True),
    "X": (_U4, True),
    "\x8d": (_U8, True),
    "C": (_U1, False),
    "B": (_U4, False),
    "\x8e": (_U8, False),
    "\x96": (_U8, False),
}
_BARE = {
    "\x80": "_protocol",
    "\x95": "_frame",
    "\x8a": "_long",
    "(": "_mark",
    "t": "_marked_tuple",
    "\x85": "_one",
    "\x86": "_two",
    "\x87": "_three",
    "]": "_a_list",
    "}": "_a_dict",
    "\x94": "_memoize",
    "q": "_put_short",
    "r": "_put_long",
    "h": "_get_short",
    "j": "_get_long",
    "s": "_set_one",
    "u": "_set_many",
    "c": "_name",
    "\x93": "_name_of_stack",
    "R": "_call",
    "b": "_build",
}


def _named(module: str, attribute: str) -> _Name:
    name = f"{module}.{attribute}"
    if name not in NAMES:
        raise PickleRefusal(f"it asks for {ascii(name)[1:-1]:.200}; only numpy arrays and built-ins are read")
    return _Name(NAMES[name])


def _dtype(name: str) -> np.dtype:
    try:
        return np.dtype(name)
    except TypeError:
        raise PickleRefusal(f"an array of {name!r}, which this machine does not have") from None


def _latin1(text: str) -> bytes:
    try:
        return text.encode("latin1")
    except UnicodeEncodeError:
        raise PickleRefusal("bytes in it are damaged") from None


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    return f"a {'numpy array' if type(value) is _Array else type(value).__name__.strip('_').lower()}"


def _shown(value: Any) -> str:
    return f"{value!r:.60}" if isinstance(value, bool | int | float | str | bytes | tuple | None) else _kind(value)
