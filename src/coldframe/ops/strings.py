"""Strings: bytes of any kind, held as Python ``bytes`` in object arrays. All of it runs on the host."""

from __future__ import annotations

import base64
import binascii
import functools
import itertools
import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops import inference_math, inference_text
from coldframe.ops.table import Op, op
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
_HOST = "strings"
_SPACE = b" \t\n\v\f\r"
_CONTINUING = bytes(range(0x80, 0xC0))  # what continues a character of UTF-8


def filled(items: Iterable[Any], shape: Sequence[int], dtype: Any = object) -> Array:
    """Return an array of `shape` that holds `items`, as many as it takes."""
    out: Array = np.empty(math.prod(shape), dtype)
    out[:] = list(items)
    return out.reshape(shape)


def _items(x: Array) -> list[bytes]:
    """Return the strings of `x`; a graph that is wired wrongly may bring objects that are no strings."""
    items: list[bytes] = x.ravel().tolist()
    if x.dtype != object or not all(issubclass(t, bytes) for t in set(map(type, items))):
        raise refuse("not all elements are strings")
    return items


def _each_string(x: Array, fn: Callable[[bytes], Any], dtype: Any = object) -> Array:
    return filled(map(fn, _items(x)), x.shape, dtype)


def _text(b: bytes) -> str:
    return b.decode("utf-8", "surrogateescape")


def _case(name: str, ascii_only: Callable[[bytes], bytes], unicode: Callable[[str], str], doc: str) -> Op:
    def run(xp: Any, x: Array, *, encoding: str) -> Any:
        if encoding not in ("", "utf-8"):
            raise refuse("`encoding`", expected="`utf-8` or nothing", found=encoding)
        if not encoding:
            return _each_string(x, ascii_only)
        return _each_string(x, lambda b: unicode(_text(b)).encode("utf-8", "surrogateescape"))

    run.__doc__ = doc
    return Op(name, run, shape="x -> x", host=_HOST)


CASES = [
    _case("StringLower", bytes.lower, str.lower, "Small letters, of ASCII or of all scripts"),
    _case("StringUpper", bytes.upper, str.upper, "Capital letters, of ASCII or of all scripts"),
]


@op("StringStrip", shape="x -> x", host=_HOST)
def string_strip(xp: Any, x: Array) -> Any:
    """Strings without white space at their ends."""
    return _each_string(x, lambda b: b.strip(_SPACE))


@op("StringLength", shape="x -> x", host=_HOST)
def string_length(xp: Any, x: Array, *, unit: str) -> Any:
    """Lengths in bytes, or in UTF-8 characters."""
    return _each_string(x, len if unit == "BYTE" else _characters, np.int32)


def _characters(b: bytes) -> int:
    """Characters start at every byte that does not continue one."""
    return len(b.translate(None, _CONTINUING))


@op("StringJoin", shape=inference_text.string_join, host=_HOST)
def string_join(xp: Any, inputs: list[Array], *, separator: str) -> Any:
    """Strings at the same places joined; scalars go with all."""
    shapes = {x.shape for x in inputs if x.ndim}
    if len(shapes) > 1:
        raise refuse("the strings to join differ in shape", found=sorted(shapes))
    glue, parts = separator.encode("utf-8", "surrogateescape"), np.broadcast_arrays(*inputs)
    return filled(map(glue.join, zip(*(p.ravel().tolist() for p in parts), strict=True)), parts[0].shape)


@op("ReduceJoin", shape=inference_math.reduce, host=_HOST)
def reduce_join(xp: Any, inputs: Array, reduction_indices: Array, *, keep_dims: bool, separator: str) -> Any:
    """Strings joined along dimensions; the first one named runs fastest."""
    axes = [int(a) for a in np.atleast_1d(reduction_indices)]
    if any(not -inputs.ndim <= a < inputs.ndim for a in axes):
        raise refuse("`reduction_indices`", expected=f"-{inputs.ndim} to {inputs.ndim - 1}", found=axes)
    axes = [a % inputs.ndim for a in axes]
    if len(set(axes)) != len(axes):
        raise refuse("`reduction_indices` repeats a dimension", found=axes)
    if not axes:
        return inputs
    kept = [a for a in range(inputs.ndim) if a not in axes]
    lines = np.transpose(inputs, kept + axes[::-1])
    shape = lines.shape[: len(kept)]
    rows = lines.reshape(int(np.prod(shape)), int(np.prod(lines.shape[len(kept) :])))
    glue = separator.encode("utf-8", "surrogateescape")
    wanted = [1 if a in axes else d for a, d in enumerate(inputs.shape)] if keep_dims else shape
    return filled(map(glue.join, rows.tolist()), wanted)


# --- numbers ----------------------------------------------------------------------------------------------------
_DIGITS = b"0123456789+-"
_LONGEST = 4300  # digits that Python reads as an integer
_INTEGER = re.compile(rb"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*")
_FLOAT = re.compile(
    rb"[+-]?([0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE
)


@op("StringToNumber", shape="x -> x", host=_HOST)
def string_to_number(xp: Any, string_tensor: Array, *, out_type: DType) -> Any:
    """The numbers that strings spell."""
    return filled(numbers(_items(string_tensor), out_type), string_tensor.shape, out_type.numpy)


def numbers(items: Sequence[bytes], dtype: DType) -> list[Any]:
    """Return the numbers that strings spell; those that `dtype` cannot hold are refused."""
    plain, read = (_DIGITS, int) if dtype.is_integer else (_DIGITS + b".eE", float)
    if not b"".join(items).translate(None, plain):  # Python reads these as C does, or not at all
        try:
            found: list[Any] = list(map(read, items))
        except ValueError:
            return [number(b, dtype) for b in items]
        if not dtype.is_integer or _held(items, found, dtype):
            return found
    return [number(b, dtype) for b in items]


def _held(items: Sequence[bytes], found: Sequence[int], dtype: DType) -> bool:
    info = np.iinfo(dtype.numpy)
    short = max(map(len, items), default=0) <= _LONGEST
    return short and info.min <= min(found, default=0) and max(found, default=0) <= info.max


def number(b: bytes, dtype: DType) -> int | float:
    """Return the number that a string spells; one that `dtype` cannot hold is refused."""
    return _integer(b, dtype.numpy) if dtype.is_integer else _float(b)


def _integer(b: bytes, kind: np.dtype[Any]) -> int:
    match, info = _INTEGER.fullmatch(b), np.iinfo(kind)
    if match is None or len(b) > _LONGEST or not info.min <= int(match[1]) <= info.max:
        raise refuse("a string is not a number", expected=f"{kind}", found=_text(b[:64]))
    return int(match[1])


def _float(b: bytes) -> float:
    stripped = b.strip(_SPACE)
    if _FLOAT.fullmatch(stripped) is None:
        raise refuse("a string is not a number", expected="a float", found=_text(b[:64]))
    return float(stripped)


@op("AsString", shape="x -> x", host=_HOST)
def as_string(
    xp: Any, input: Array, *, T: DType, precision: int, scientific: bool, shortest: bool, width: int, fill: str,
) -> Any:  # fmt: skip
    """Numbers spelled as C's printf does."""
    floating = T.is_float or T.is_complex
    if (precision >= 0 or scientific or shortest) and not floating:
        raise refuse("`precision`, `scientific` and `shortest` are for floats", found=T)
    if scientific and shortest:
        raise refuse("`scientific` and `shortest` exclude each other")
    if len(fill) > 1 or (fill and fill not in " +-0#"):
        raise refuse("`fill`", expected="one of ` `, `+`, `-`, `0`, `#`", found=fill)
    if width > 2**16 or precision > 2**16:
        raise refuse("`width` or `precision` is too large", found=[width, precision])
    spec = f"%{fill}{width if width >= 0 else ''}"
    if not floating:
        return _spelled_plain(input, T, spec)
    spec += f".{precision}" if precision >= 0 else ""
    spec += "e" if scientific else "g" if shortest else "f"
    spell, items = functools.partial(_spelled_float, spec, max(width, 0), fill), input.ravel().tolist()
    if T.is_complex:
        return filled((f"({spell(v.real)},{spell(v.imag)})".encode() for v in items), input.shape)
    if T in (dtypes.float32, dtypes.float64) and np.isfinite(input).all():
        return filled(map(spec.encode().__mod__, items), input.shape)
    return filled((spell(float(v)).encode() for v in items), input.shape)


def _spelled_float(spec: str, width: int, fill: str, v: float) -> str:
    if math.isfinite(v):
        return spec % v
    sign = "-" if math.copysign(1, v) < 0 else fill if fill in ("+", " ") else ""  # a NaN has one too
    text = sign + ("nan" if math.isnan(v) else "inf")
    return text.ljust(width) if fill == "-" else text.rjust(width)


def _spelled_plain(x: Array, kind: DType, spec: str) -> Array:
    items = x.ravel().tolist()
    if kind.name == "bool":
        items = [b"true" if v else b"false" for v in items]
    if kind.name in ("bool", "string"):
        pattern = (spec + "s").encode()
        return filled((pattern % v for v in items), x.shape)
    return filled(map((spec + "d").encode().__mod__, map(int, items)), x.shape)


# --- parts ------------------------------------------------------------------------------------------------------
@op("Substr", shape="x -> x", host=_HOST)
def substr(xp: Any, input: Array, pos: Array, len: Array, *, unit: str) -> Any:
    """Parts of strings from a position, counted from the end where negative, of at most a length."""
    if pos.shape != len.shape:
        raise refuse("`pos` and `len` differ in shape", expected=list(pos.shape), found=list(len.shape))
    try:
        shape = np.broadcast_shapes(input.shape, pos.shape)
    except ValueError:
        raise refuse("`input` and `pos` do not broadcast", expected=input.shape, found=pos.shape) from None
    whole, starts, lengths = (np.broadcast_to(v, shape).ravel().tolist() for v in (input, pos, len))
    part = _part if unit == "BYTE" else _characters_of
    return filled(map(part, whole, starts, lengths), shape)


def _begin(b: bytes, start: int, size: int) -> int:
    if not -size <= start <= size:
        raise refuse(f"`pos` {start} is out of range", expected=f"-{size} to {size}", found=_text(b[:64]))
    return start + size if start < 0 else start


def _part(b: bytes, start: int, n: int) -> bytes:
    begin = _begin(b, start, len(b))
    return b[begin : begin + max(n, 0)]


def _characters_of(b: bytes, start: int, n: int) -> bytes:
    if b.isascii():
        return _part(b, start, n)
    ends = [i for i, c in enumerate(b) if c & 0xC0 != 0x80]
    size = len(ends)
    begin = _begin(b, start, size)
    ends.append(len(b))
    return b[ends[begin] : ends[min(begin + max(n, 0), size)]]


def _cut(strings: Array, parts_of: Callable[[bytes], Iterable[bytes]]) -> tuple[Array, Array, Array]:
    """The sparse matrix of the parts of strings: indices, values and shape.

    No list outlives its row: Python would look for garbage among them, time and again.
    """
    values: list[bytes] = []
    ends = [0]
    for string in strings.tolist():
        values += parts_of(string)
        ends.append(len(values))
    lengths = np.diff(np.array(ends))
    where = np.empty((len(values), 2), np.int64)
    where[:, 0] = np.repeat(np.arange(len(lengths)), lengths)
    where[:, 1] = np.arange(len(values)) - np.repeat(ends[:-1], lengths)
    return where, filled(values, (len(values),)), np.array([len(lengths), lengths.max(initial=0)], np.int64)


def _vector(x: Array) -> None:
    if x.ndim != 1:
        raise refuse("`input` is not a vector", found=f"shape {list(x.shape)}")


@op("StringSplit", shape="[n] -> [?, 2] [?] [2]", host=_HOST)
def string_split(xp: Any, input: Array, delimiter: Array, *, skip_empty: bool) -> Any:
    """Strings split at any of the characters of the delimiter, into bytes where it is empty; a sparse matrix."""
    _vector(input)
    if delimiter.ndim:
        raise refuse("`delimiter` is not a scalar", found=f"shape {list(delimiter.shape)}")
    return _cut(input, _splitter(delimiter.item(), skip_empty))


def _splitter(marks: bytes, skip_empty: bool) -> Callable[[bytes], Iterable[bytes]]:
    """Return what splits a string at any of the characters of `marks`."""
    if not marks:
        return lambda b: (bytes([c]) for c in b)
    if len(marks) == 1:
        return lambda b: filter(None, b.split(marks)) if skip_empty else b.split(marks) if b else ()
    split = re.compile(b"[" + re.escape(marks) + b"]").split
    return lambda b: filter(None, split(b)) if skip_empty else split(b) if b else ()


@op("StringSplitV2", shape="[n] -> [?, 2] [?] [2]", host=_HOST)
def string_split_v2(xp: Any, input: Array, sep: Array, *, maxsplit: int) -> Any:
    """Strings split at a separator, or at runs of white space where it is empty; a sparse matrix."""
    _vector(input)
    if sep.ndim:
        raise refuse("`sep` is not a scalar", found=f"shape {list(sep.shape)}")
    mark: bytes = sep.item()
    if mark:
        return _cut(input, operator.methodcaller("split", mark, maxsplit))
    return _cut(input, bytes.split if maxsplit < 0 else lambda b: _words(b, maxsplit))


def _words(b: bytes, maxsplit: int) -> list[bytes]:
    """The words of `b`; after `maxsplit` of them comes what is left, even if nothing is."""
    words, end = [], 0
    for word in itertools.islice(re.finditer(rb"[^ \t\n\v\f\r]+", b), maxsplit):
        words.append(word.group())
        end = word.end()
    if len(words) < maxsplit:
        return words
    return [*words, b[end:].lstrip(_SPACE) if maxsplit else b]


# --- base64 and file names --------------------------------------------------------------------------------------
_STANDARD = bytes.maketrans(b"-_", b"+/")
_WEB_SAFE = re.compile(rb"[A-Za-z0-9_-]*")


@op("EncodeBase64", shape="x -> x", host=_HOST)
def encode_base64(xp: Any, input: Array, *, pad: bool) -> Any:
    """Web-safe base64, padded with ``=`` if asked."""
    return _each_string(
        input, lambda b: base64.urlsafe_b64encode(b) if pad else base64.urlsafe_b64encode(b).rstrip(b"=")
    )


@op("DecodeBase64", shape="x -> x", host=_HOST)
def decode_base64(xp: Any, input: Array) -> Any:
    """What web-safe base64 encodes, padded or not."""
    return _each_string(input, _decoded)


def _decoded(b: bytes) -> bytes:
    bare = b.rstrip(b"=")
    if _WEB_SAFE.fullmatch(bare) is None or len(b) - len(bare) > 2:
        raise refuse("a string is not web-safe base64", expected="letters, digits, - and _", found=_text(b[:64]))
    try:
        return binascii.a2b_base64(bare.translate(_STANDARD) + b"=" * (-len(bare) % 4))
    except binascii.Error as e:
        raise refuse("a string is not web-safe base64", found=str(e)) from e


@op("ShardedFilename", shape="-> []", host=_HOST)
def sharded_filename(xp: Any, basename: Array, shard: Array, num_shards: Array) -> Any:
    """The name of one of several files that belong together."""
    return np.array(basename.item() + b"-%05d-of-%05d" % (int(shard), int(num_shards)), object)


@op("ShardedFilespec", shape="-> []", host=_HOST)
def sharded_filespec(xp: Any, basename: Array, num_shards: Array) -> Any:
    """The pattern of the names of files that belong together."""
    return np.array(basename.item() + b"-?????-of-%05d" % int(num_shards), object)
