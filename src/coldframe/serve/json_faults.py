"""What is wrong with a request's JSON, in the words of TensorFlow Serving.

Clients look for those words, so they are part of its protocol: of RapidJSON's parser, and of ``util/json_tensor.cc``,
which fills a tensor like this::

    shape    the lengths of the value, of its first element, of the first of that, ...
    filling  every list in the tensor must have the length of its level, every value lie below the last level
    rows     every row must give as many values as the first, in the same shape

All of this is only looked at when something is wrong.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

import numpy as np

from coldframe.dtypes import DType
from coldframe.serve.status import RequestError, invalid

MAX_RANK: Final = 64  # numpy's
_SHOWN: Final = 256  # characters of a JSON value that an error quotes
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_LOOKED_AT: Final = 1 << 16  # characters before a mistake
_BOM: Final = b"\xef\xbb\xbf"
_NAMES: Final = {"float32": "float", "float64": "double"}  # of dtypes, where TensorFlow's are others

# What Python's parser says, and what RapidJSON says instead; the first that fits.
_SYNTAX: Final = (
    ("Expecting value", "Invalid value."),
    ("Expecting ':'", "Missing a colon after a name of object member."),
    ("Expecting property name", "Missing a name for object member."),
    ("Illegal trailing comma before end of object", "Missing a name for object member."),
    ("Illegal trailing comma", "Invalid value."),
    ("Unterminated string", "Missing a closing quotation mark in string."),
    ("Invalid control character", "Invalid encoding in string."),
    ("Invalid \\uXXXX", "Incorrect hex digit after \\u escape in string."),
    ("Invalid \\escape", "Invalid escape character in string."),
)


def _finite(text: str) -> float:
    found = float(text)
    if math.isinf(found):
        raise ValueError("beyond a double")
    return found


_PARSER: Final = json.JSONDecoder(parse_float=_finite)


def parse(body: bytes) -> Any:
    """Return what a body says that a strict parser refused, but RapidJSON as TensorFlow Serving sets it takes.

    That is NaN and Infinity, a byte order mark, and anything at all after the value.

    Raises:
        RequestError: RapidJSON would refuse it, too (INVALID_ARGUMENT).
    """
    try:
        text = body.removeprefix(_BOM).decode()
    except UnicodeDecodeError as e:
        raise _refused("Invalid encoding in string.", e.start) from None
    start = len(text) - len(text.lstrip(" \t\r\n"))
    if start == len(text):
        raise _refused("The document is empty.", start)
    try:
        found, _ = _PARSER.raw_decode(text, start)
    except json.JSONDecodeError as e:
        raise _refused(_syntax(e), e.pos) from None
    except RecursionError:
        raise _refused("Too many levels of lists and objects.", start) from None
    except ValueError:  # of too many digits, or too great
        raise _refused("Number too big to be stored in double.", start) from None
    if _SURROGATE.search(body):
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except ValueError:  # half a character
            raise _refused("The surrogate pair in string is invalid.", start) from None
    return found


def _syntax(error: json.JSONDecodeError) -> str:
    if error.msg.startswith("Expecting ','"):
        opened = _open_before(error.doc[: error.pos])
        return f"Missing a comma or {'}' if opened == '{' else ']'} after an " + (
            "object member." if opened == "{" else "array element."
        )
    return next((told for said, told in _SYNTAX if error.msg.startswith(said)), f"{error.msg}.")


def _open_before(text: str) -> str:
    """Return the bracket that is open at the end of a text: ``{`` or ``[``."""
    depth = 0
    for found in reversed(re.findall(r'"(?:[^"\\]|\\.)*"|[][{}]', text[-_LOOKED_AT:])):
        if found in "]}":
            depth += 1
        elif found in "[{":
            if not depth:
                return str(found)
            depth -= 1
    return "["


def _refused(why: str, at: int) -> RequestError:
    return invalid(f"JSON Parse error: {why} at offset: {at}")


def shown(value: Any) -> str:
    """Return the beginning of a JSON value, as an error quotes it."""
    text = json.dumps(_clipped(value, 4))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _clipped(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        return {k[:64]: _clipped(v, depth - 1) for k, v in list(value.items())[:8]} if depth else {}
    if isinstance(value, list):
        return [_clipped(v, depth - 1) for v in value[:8]] if depth else []
    return value[:_SHOWN] if isinstance(value, str) else value


def kind(value: Any) -> str:
    """Return the type of a JSON value, as errors name it."""
    if value is None:
        return "Null"
    names = {bool: str(value), dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}
    return names[type(value)]


def mistyped(value: Any, dtype: DType) -> str:
    """Say that a value cannot be an element of a tensor."""
    return (
        f"JSON Value: {shown(value)} Type: {kind(value)} is not of expected type: {_NAMES.get(dtype.name, dtype.name)}"
    )


def no_tensor(value: Any, dtype: DType, name: str) -> RequestError:
    """Return the error of a value that is no tensor.

    Args:
        value: the value.
        dtype: what its elements should be.
        name: the input.
    """
    fault, _, _ = _filled(value, dtype)
    return invalid(fault or f"JSON Value: {shown(value)} is no tensor", found=f"in input `{name}`")


def no_rows(rows: list[Any], dtype: DType, name: str) -> RequestError:
    """Return the error of rows that are no tensor.

    Args:
        rows: a value for each row.
        dtype: what their elements should be.
        name: the input, or nothing where rows are plain values.
    """
    first: tuple[int, list[int]] | None = None
    for i, row in enumerate(rows):
        fault, count, shape = _filled(row, dtype)
        if first is None:
            first = count, shape
        if not fault and count != first[0]:
            fault = f"Expecting tensor size: {first[0]} but got: {count}"
        if not fault and shape != first[1]:
            fault = f"Expecting shape {_listed(first[1])} but got: {_listed(shape)}"
        if fault:
            return in_row(i, name, fault)
    return no_tensor(rows, dtype, name)


def in_row(at: int, name: str, fault: str, *, hint: str = "") -> RequestError:
    """Return the error of a fault in row number `at`; `name` is the input, or nothing where rows are plain values."""
    key = f" key: {name}" if name else ""
    return invalid(
        f"Failed to process element: {at}{key} of 'instances' list. Error: INVALID_ARGUMENT: {fault}", hint=hint
    )


def _listed(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _filled(value: Any, dtype: DType) -> tuple[str, int, list[int]]:
    """Return what is wrong with a tensor, if anything, how many values it has, and its shape."""
    shape, at = [], value
    while isinstance(at, list):
        shape.append(len(at))
        if not at:
            break
        at = at[0]
    if len(shape) > MAX_RANK:
        return f"lists of {len(shape)} levels, expected at most {MAX_RANK}", 0, shape
    count = 0

    def fill(at: Any, level: int) -> str:
        nonlocal count
        if not isinstance(at, list):
            if level != len(shape):
                return (
                    f"JSON Value: {shown(at)} found at incorrect level: {level + 1} in the JSON DOM. "
                    f"Expected at level: {len(shape)}"
                )
            count += 1
            return "" if fits(at, dtype) else mistyped(at, dtype)
        if level >= len(shape):
            return f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        if len(at) != shape[level]:
            return f"Encountered list at unexpected size: {len(at)} at level: {level} expected size: {shape[level]}"
        for each in at:
            fault = fill(each, level + 1)
            if fault:
                return fault
        return ""

    return fill(value, 0), count, shape


def fits(value: Any, dtype: DType) -> bool:
    """Whether a JSON value that is no list can be an element of a tensor."""
    if dtype.kind == "s":
        return isinstance(value, (str, dict))
    if isinstance(value, bool) or dtype.kind == "b":
        return isinstance(value, bool) and dtype.kind == "b"
    if isinstance(value, int) and dtype.kind in "iu":
        limits = np.iinfo(dtype.numpy)
        return bool(limits.min <= value <= limits.max)
    return isinstance(value, (int, float)) and dtype.kind in "fc"
