"""What a file of `torch.save` asks for, looked through before torch builds anything of it.

torch's own reader of `weights_only=True` runs no foreign code, but a small file can still end the process (tuples
nested in a key), hang it (tuples that double) or take any amount of memory (`bytearray`, storages of older files,
compressed archives). Here the pickle inside is followed with placeholders for values; only what checkpoints are made of
may pass: plain values, dense tensors within their storages, and storages within the file.
"""

from __future__ import annotations

import math
import pickletools
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from models.errors import CheckpointError

WEIGHTS = (".ckpt", ".pt", ".pth")
PICKLE = b"\x80"  # the first byte of one that torch.save writes
LARGEST_PICKLE = 2**26  # bytes; the tensors lie outside of it
TUPLE_DEPTH, TUPLE_VALUES = 16, 2**16  # those within a tuple, counted again wherever one stands
OPEN = 64  # containers that are being filled at once
KEY_VALUES = 16  # of a tuple that is a key
COPIED = 2**24  # values and bytes that calls may copy
_ITEM_BYTES = {
    **dict.fromkeys(("Byte", "Char", "Bool", "Untyped", "QInt8", "QUInt8", "Float8_e4m3fn", "Float8_e5m2"), 1),
    **dict.fromkeys(("Short", "Half", "BFloat16", "UInt16"), 2),
    **dict.fromkeys(("Int", "Float", "UInt32"), 4),
    **dict.fromkeys(("Long", "Double", "ComplexFloat", "UInt64"), 8),
    "ComplexDouble": 16,
}
_PICKLES = 5  # of a file without an archive: magic number, version, machine, content, order of storages
_SIMPLE = {"torch.Size", "torch.device", "torch.serialization._get_layout", "builtins.complex", "__builtin__.complex"}
_DICTS = {"collections.OrderedDict", "collections.Counter"}
_SETS = {"builtins.set", "__builtin__.set"}
_TENSORS = {"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3"}
_PARAMETERS = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
# What arrays and scalars of numpy are written with; `bytes` is for empty ones. See `models.layouts.Unread`.
NUMPY = (
    *("numpy.ndarray", "numpy.dtype", "builtins.bytes", "__builtin__.bytes"),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
)
_BYTES = {"_codecs.encode", "builtins.bytearray", "__builtin__.bytearray", "builtins.bytes", "__builtin__.bytes"}


@dataclass
class _Made:
    """Placeholder of a value that is neither a scalar nor a tuple.

    Attributes:
        kind: `list`, `dict`, `bytes`, `tensor`, `storage`, `name`, `numpy`, or `other`.
        about: The name, or how many values it has.
        flat: Of a list: all that it holds are scalars.
    """

    kind: str
    about: Any = 0
    flat: bool = True


@dataclass(frozen=True)
class _Tuple:
    """Placeholder of a tuple: what is in it, how deep tuples nest in it, and how many values it has in all of them."""

    values: tuple[Any, ...]
    depth: int
    count: int


class _Refusal(ValueError):
    """Why a file is not loaded, a clause."""


def check_pickle(path: Path, numpy: bool = False) -> None:
    """Make sure that `torch.load(path, weights_only=True)` builds nothing that the file does not hold.

    Args:
        path: The file.
        numpy: Let the names of `NUMPY` pass, for a reader that builds none of what they stand for.

    Raises:
        CheckpointError: It is damaged, or asks for more than tensors and plain values.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            begin = file.read(9)
            if begin[:4] == b"PK\x03\x04":
                _check_archive(path, size, numpy)
            elif begin and begin[:1] != PICKLE:
                raise CheckpointError(f"{path} is not a file of weights: {_remedy(begin)}")
            else:
                file.seek(0)
                _check_sequence(file, size, numpy)
    except CheckpointError:
        raise
    except _Refusal as error:
        raise CheckpointError(
            f"{path} is not a file of weights, damaged, or holds more than tensors and plain values ({error}), and is "
            f"not loaded for safety; save its state_dict alone where it comes from"
        ) from None
    except (ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is not a readable file of weights, damaged or cut short: {_first_line(error)}; copy it again"
        ) from error


def _remedy(begin: bytes) -> str:
    if begin[8:] == b"{":  # after the length of the header
        return "it seems to be a safetensors file; give its name the ending .safetensors"
    return "it does not begin like one that torch.save wrote; name a checkpoint (.ckpt, .pt, .pth, .safetensors)"


def _check_archive(path: Path, size: int, numpy: bool) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        inside = [member.filename for member in members if member.filename.endswith(WEIGHTS)]
        if inside:
            shown = ", ".join(map(ascii, inside[:3]))
            raise CheckpointError(f"{path} is an archive of {shown}: unpack it, and name one of its files")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise _Refusal("it is compressed, which torch.save does not do")
        if len({member.filename.casefold() for member in members}) < len(members):
            raise _Refusal("two of its parts have one name")  # torch could read the one that is not looked at here
        if sum(member.file_size for member in members) > size:
            raise _Refusal("its parts are larger than the file")
        pickles = [member for member in members if re.fullmatch(r"[^/]*/data\.pkl", member.filename)]
        if len(pickles) != 1:
            raise _Refusal("an archive without a data.pkl")
        if pickles[0].file_size > LARGEST_PICKLE:
            raise _Refusal(f"a pickle of {pickles[0].file_size:,} bytes beside its tensors")
        folder = pickles[0].filename.removesuffix("data.pkl")
        storages = {member.filename.removeprefix(folder): member.file_size for member in members}
        with archive.open(pickles[0]) as file:
            _follow(file, lambda key: storages.get(f"data/{key}", 0), numpy)


def _check_sequence(file: BinaryIO, size: int, numpy: bool) -> None:
    for _ in range(_PICKLES):
        _follow(file, lambda key: size, numpy)


def _follow(file: BinaryIO, room: Callable[[Any], int], numpy: bool) -> None:
    """Follow one pickle to its end; `room` tells how many bytes a storage can have."""
    stack: list[Any] = []
    below: list[list[Any]] = []
    memo: dict[int, Any] = {}
    copied = 0
    for opcode, argument, place in pickletools.genops(_Limited(file)):
        name = opcode.name
        if place > LARGEST_PICKLE:
            raise _Refusal("a pickle as large as tensors are")
        if name in _SCALARS:
            stack.append(argument if argument is not None else _CONSTANTS.get(name))
        elif name == "MARK":
            below.append(stack)
            stack = []
            if len(below) > OPEN:
                raise _Refusal("values nested too deep")
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = _top(stack)
        elif name in ("BINGET", "LONG_BINGET"):
            if argument not in memo:
                raise _Refusal(f"it asks for value {argument}, which it has not kept")
            stack.append(memo[argument])
        elif name in ("TUPLE", "APPENDS", "SETITEMS"):
            if not below:
                raise _Refusal("it closes what was never opened")
            values, stack = stack, below.pop()
            _gather(name, values, stack)
        elif name in _TAKES:
            values = [_pop(stack) for _ in range(_TAKES[name])][::-1]
            _gather(name, values, stack)
        elif name in _EMPTY:
            stack.append(_Made(_EMPTY[name]))
        elif name == "GLOBAL":
            stack.append(_Made("name", argument.replace(" ", ".")))
        elif name == "BINPERSID":
            stack.append(_storage(_pop(stack), room))
        elif name == "REDUCE":
            arguments, called = _pop(stack), _pop(stack)
            stack.append(_Made("numpy") if numpy and _of_numpy(called) else _called(called, arguments))
            copied += _copied(arguments)
            if copied > COPIED:
                raise _Refusal("a value that is copied over and over")
        elif name == "BUILD":
            state, made = _pop(stack), _top(stack)
            if not (_is(made, "numpy") or (_is(made, "dict") and _is(state, "dict"))):
                raise _Refusal("it sets the state of more than a dictionary")
        elif name == "NEWOBJ":
            _, made = _pop(stack), _pop(stack)
            raise _Refusal(f"an object of {_clean(made.about) if _is(made, 'name') else 'a class'}")
        elif name == "STOP":
            if below or len(stack) != 1:
                raise _Refusal("its pickle ends in the middle")
            return
        elif name != "PROTO" or argument > 5:
            raise _Refusal(f"the instruction {name}, which torch.save does not write")


_CONSTANTS = {"NEWTRUE": True, "NEWFALSE": False}
_SCALARS = {
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINSTRING"),
}
_TAKES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2}
_EMPTY = {"EMPTY_LIST": "list", "EMPTY_DICT": "dict", "EMPTY_SET": "set"}


class _Limited:
    """A file that gives what it has, where a damaged length asks for more memory than that."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.tell = file.tell

    def read(self, count: int) -> bytes:
        """At most a pickle's worth of bytes."""
        if count > LARGEST_PICKLE:
            raise _Refusal(f"a value of {count:,} bytes in its pickle")
        return self._file.read(count)

    def readline(self) -> bytes:
        """A line, of a name at most."""
        return self._file.readline(1024)


def _gather(name: str, values: list[Any], stack: list[Any]) -> None:
    if name.endswith(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")):
        stack.append(_tuple(values))
        return
    target = _top(stack)
    if name.startswith("APPEND"):
        if not _is(target, "list"):
            raise _Refusal("it appends to what is no list")
        target.flat &= all(map(_scalar, values))
        target.about += len(values)
    else:
        if not _is(target, "dict") or len(values) % 2:
            raise _Refusal("it enters values into what is no dictionary")
        target.about += len(values)
        for key in values[::2]:
            _check_key(key)


def _tuple(values: list[Any]) -> _Tuple:
    inner = [value for value in values if isinstance(value, _Tuple)]
    depth = 1 + max((value.depth for value in inner), default=0)
    count = len(values) + sum(value.count for value in inner)
    if depth > TUPLE_DEPTH or count > TUPLE_VALUES:
        raise _Refusal("tuples nested too deep")
    return _Tuple(tuple(values), depth, count)


def _check_key(key: Any) -> None:
    flat = isinstance(key, _Tuple) and key.count <= KEY_VALUES and all(map(_scalar, key.values))
    if not (_scalar(key) or flat):
        raise _Refusal("a key that is neither a text nor a number")


def _storage(about: Any, room: Callable[[Any], int]) -> _Made:
    """The storage of a persistent id: `("storage", type, key, device, values)`."""
    values = about.values if isinstance(about, _Tuple) else ()
    if len(values) not in (5, 6) or not _is(values[1], "name") or not isinstance(values[2], str | int):
        raise _Refusal("a reference to what is no storage")
    kind, count = values[1].about.rpartition(".")[2].removesuffix("Storage"), values[4]
    if kind not in _ITEM_BYTES or not _whole(count):
        raise _Refusal(f"a storage of {count!r:.40} values of {kind:.40}")
    if count * _ITEM_BYTES[kind] > room(values[2]):
        raise _Refusal(f"a storage of {count:,} values, more than the file holds")
    return _Made("storage", count)


def _called(called: Any, arguments: Any) -> _Made:
    name = called.about if _is(called, "name") else None
    values = arguments.values if isinstance(arguments, _Tuple) else ()
    if name in _DICTS and (not values or (len(values) == 1 and _is(values[0], "dict"))):
        return _Made("dict")
    if name in _SETS and (not values or (len(values) == 1 and _is(values[0], "list") and values[0].flat)):
        return _Made("other")
    if name in _TENSORS:
        _check_tensor(values)
        return _Made("tensor")
    if name in _PARAMETERS and values and _is(values[0], "tensor"):
        return _Made("tensor")
    if name in _SIMPLE and all(_scalar(value) or _flat(value) for value in values):
        return _Made("other")
    given = not values or isinstance(values[0], str | bytes) or _is(values[0], "bytes")
    if name in _BYTES and given and (len(values) < 2 or values[1] in ("latin1", "latin-1")):
        return _Made("bytes", _copied(arguments))
    raise _Refusal(f"{_clean(name)}")


def _of_numpy(called: Any) -> bool:
    return _is(called, "name") and called.about in NUMPY


def _copied(arguments: Any) -> int:
    """How much a call can copy: the values of its arguments, the values in these, and the bytes."""
    values = arguments.values if isinstance(arguments, _Tuple) else ()
    sizes = [value.about for value in values if isinstance(value, _Made) and value.kind in ("list", "dict", "bytes")]
    texts = [len(value) for value in values if isinstance(value, str | bytes)]
    return sum(sizes) + sum(texts) + getattr(arguments, "count", 0)


def _check_tensor(values: tuple[Any, ...]) -> None:
    storage, offset, shape, strides = (*values, *[None] * 4)[:4]
    numbers = [*shape.values, *strides.values] if isinstance(shape, _Tuple) and isinstance(strides, _Tuple) else None
    if not _is(storage, "storage") or numbers is None or not all(map(_whole, [offset, *numbers])):
        raise _Refusal("a tensor that is described otherwise than torch does")
    if len(shape.values) != len(strides.values) or math.prod(shape.values) > storage.about:
        raise _Refusal(f"a tensor of the shape {list(shape.values)!r:.80}, more values than the file holds of it")
    last = offset + sum((length - 1) * stride for length, stride in zip(shape.values, strides.values, strict=True))
    if math.prod(shape.values) and last >= storage.about:
        raise _Refusal(f"a tensor of the shape {list(shape.values)!r:.80}, more values than the file holds of it")


def _scalar(value: Any) -> bool:
    return not isinstance(value, _Made | _Tuple)


def _flat(value: Any) -> bool:
    return isinstance(value, _Tuple) and all(map(_scalar, value.values))


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _Made) and value.kind == kind


def _pop(stack: list[Any]) -> Any:
    _top(stack)
    return stack.pop()


def _top(stack: list[Any]) -> Any:
    if not stack:
        raise _Refusal("it takes a value that is not there")
    return stack[-1]


def _clean(name: Any) -> str:
    return ascii(name)[1:-1][:120] if isinstance(name, str) else "a call of what is no function"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
