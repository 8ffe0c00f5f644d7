"""Tensors in JSON, as TensorFlow Serving's REST API writes them.

::

    {"instances": [v, v, ...]}                       row: a value for each row, of the only input
    {"instances": [{"x": v, "y": v}, ...]}           row: an object for each row
    {"inputs": v}    {"inputs": {"x": v, "y": v}}    columnar: whole tensors
    {"predictions": [...]}    {"outputs": ...}       the replies

Bytes are ``{"b64": "..."}``; of outputs, those whose name ends in ``_bytes``, and any that are no UTF-8. Numbers may be
``NaN``, ``Infinity`` and ``-Infinity``, in both directions. After ``tensorflow_serving/g3doc/api_rest.md`` and
``util/json_tensor.cc``; what that refuses is refused here.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from coldframe.dtypes import DType, from_numpy, string
from coldframe.errors import near_names
from coldframe.formats import messages
from coldframe.serve import json_faults
from coldframe.serve.examples import merged
from coldframe.serve.json_faults import MAX_RANK, kind, shown
from coldframe.serve.status import RequestError, invalid
from coldframe.shapes import TensorSpec

Array = npt.NDArray[Any]
_ROW_KEY: Final = "instances"
_COLUMN_KEY: Final = "inputs"
_REAL: Final = (frozenset((int, float)), np.dtype(np.float64))
# By a dtype's kind: what its elements are in JSON, and the numpy type that holds all of those.
_NUMBERS: Final[Mapping[str, tuple[frozenset[type], np.dtype[Any]]]] = {
    "f": _REAL,
    "c": _REAL,
    "i": (frozenset((int,)), np.dtype(np.int64)),
    "u": (frozenset((int,)), np.dtype(np.uint64)),
    "b": (frozenset((bool,)), np.dtype(np.bool_)),
}


def parse_object(body: bytes | memoryview) -> dict[str, Any]:
    """Return the JSON object that a request's body is.

    Raises:
        RequestError: it is none (INVALID_ARGUMENT).
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = json_faults.parse(bytes(body))
    if not isinstance(found, dict):
        raise invalid(f"JSON Value: {shown(found)} Is not object")
    return found


def signature_name(request: Mapping[str, Any]) -> str | None:
    """Return the signature that a request asks for, or None.

    Raises:
        RequestError: it is no string.
    """
    name = request.get("signature_name")
    if name is not None and not isinstance(name, str):
        raise invalid(
            f"JSON Value: {shown(request)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name or None


def read_predict(
    request: Mapping[str, Any], specs: Mapping[str, TensorSpec], optional: Collection[str]
) -> tuple[dict[str, Array], bool]:
    """Return the inputs of a predict request, and whether they came, and the reply goes, row by row.

    Args:
        request: the body.
        specs: the signature's inputs, by key.
        optional: inputs that may be left out.

    Raises:
        RequestError: the request is malformed, or does not fit the specs (INVALID_ARGUMENT).
    """
    rows = request.get(_ROW_KEY)
    if _ROW_KEY in request and _COLUMN_KEY in request:
        raise invalid(
            f"JSON Value: {shown(request)} Not formatted correctly expecting only one of '{_COLUMN_KEY}' or "
            f"'{_ROW_KEY}' keys to exist "
        )
    if _ROW_KEY in request:
        if not isinstance(rows, list):
            raise invalid(f"JSON Value: {shown(request)} Expecting '{_ROW_KEY}' to be an list/array")
        if not rows:
            raise invalid(f"JSON Value: {shown(request)} No values in '{_ROW_KEY}' array")
        return _rows(rows, specs, optional), True
    if _COLUMN_KEY in request:
        return _columns(request[_COLUMN_KEY], specs, optional), False
    raise invalid(f"Missing '{_COLUMN_KEY}' or '{_ROW_KEY}' key")


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_bytes(value)


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _rows(rows: list[Any], specs: Mapping[str, TensorSpec], optional: Collection[str]) -> dict[str, Array]:
    if not _is_object(rows[0]):
        needed = [k for k in specs if k not in optional] or list(specs)
        if len(needed) != 1:
            raise invalid(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                "tensorinfo_map",
                expected=f"objects with the keys {', '.join(specs)}",
            )
        for i, row in enumerate(rows):
            if _is_object(row):
                raise invalid(f"Expecting value/list but got object at item {i} of input list")
        return {needed[0]: to_array(rows, specs[needed[0]], needed[0], by_row=True, named=False)}
    keys = rows[0].keys()
    _check_keys(rows[0], specs, optional, 0)
    for i, row in enumerate(rows):
        if not _is_object(row):
            raise invalid(f"Expecting object but got list at item {i} of input list")
        if row.keys() != keys:
            _check_keys(row, specs, optional, i)
            raise invalid(f"element {i} of 'instances' list has other keys than the first", found=", ".join(row))
    return {k: to_array([row[k] for row in rows], specs[k], k, by_row=True) for k in keys}


def _check_keys(row: Mapping[str, Any], specs: Mapping[str, TensorSpec], optional: Collection[str], at: int) -> None:
    for key in row:
        if key not in specs:
            told = f"JSON object: does not have named input: {key}"
            raise json_faults.in_row(at, key, told, hint=near_names(key, specs))
    if any(k not in row and k not in optional for k in specs):
        raise invalid(
            f"Failed to process element: {at} of 'instances' list. JSON object: {shown(row)} "
            f"keys must be equal to: {','.join(sorted(specs))}"
        )


def _columns(value: Any, specs: Mapping[str, TensorSpec], optional: Collection[str]) -> dict[str, Array]:
    if not _is_object(value):
        needed = [k for k in specs if k not in optional] or list(specs)
        if len(needed) != 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map",
                expected=f"an object with the keys {', '.join(specs)}",
            )
        return {needed[0]: to_array(value, specs[needed[0]], needed[0])}
    missing = [k for k in specs if k not in value and k not in optional]
    if missing:
        raise invalid(f"Missing named input: {missing[0]} in 'inputs' object.", found=", ".join(value))
    return {k: to_array(value[k], spec, k) for k, spec in specs.items() if k in value}


def to_array(value: Any, spec: TensorSpec, name: str, *, by_row: bool = False, named: bool = True) -> Array:
    """Return the array that a JSON value is.

    Args:
        value: numbers, truth values or strings, or lists of them, nested.
        spec: its dtype counts.
        name: the input, as errors name it.
        by_row: whether errors name the row that they are in.
        named: whether rows are objects, so that errors name the input as well.

    Raises:
        RequestError: the lists are ragged, or elements are of another type (INVALID_ARGUMENT).
    """
    dtype = spec.dtype
    if dtype.kind != "s" and (dtype.kind not in _NUMBERS or dtype.width < 1):
        raise invalid(f"{dtype} tensors have no form in JSON", expected=name)
    try:
        return _string_array(value, name) if dtype.kind == "s" else _number_array(value, dtype)
    except _NoTensorError:
        if by_row:
            raise json_faults.no_rows(value, dtype, name if named else "") from None
        raise json_faults.no_tensor(value, dtype, name) from None
    except RequestError:  # of a string
        if by_row:
            raise _string_fault(value, name, named=named) from None
        raise


class _NoTensorError(Exception):
    """A value that is no tensor; what is wrong with it is looked for afterwards."""


def _number_array(value: Any, dtype: DType) -> Array:
    elements, widest = _NUMBERS[dtype.kind]
    # Not left to numpy, which takes truth for 1 and 0, null for NaN, and large numbers of 64 bits for floats.
    if not _types(value) <= elements:
        raise _NoTensorError
    try:
        found = np.array(value, widest)
    except (ValueError, OverflowError):  # ragged, or a number that it cannot hold
        raise _NoTensorError from None
    if dtype.kind in "iu" and found.size:
        limits = np.iinfo(dtype.numpy)
        if found.min() < limits.min or found.max() > limits.max:
            raise _NoTensorError
    with np.errstate(over="ignore"):
        return found.astype(dtype.numpy)


def _types(value: Any, level: int = 0) -> set[type]:
    """Return the types of the elements in nested lists."""
    if not isinstance(value, list):
        return {type(value)}
    found = set(map(type, value))
    if list not in found:
        return found
    if len(found) > 1 or level >= MAX_RANK:
        raise _NoTensorError
    return set().union(*(_types(v, level + 1) for v in value))


def _string_fault(rows: list[Any], name: str, *, named: bool) -> RequestError:
    """Return the error of the first row that is no tensor of strings."""
    for i, row in enumerate(rows):
        try:
            _string_array(row, name)
        except _NoTensorError:
            break
        except RequestError as e:
            return json_faults.in_row(i, name if named else "", str(e))
    return json_faults.no_rows(rows, string, name if named else "")


def _string_array(value: Any, name: str) -> Array:
    shape, at = [], value
    while isinstance(at, list):
        shape.append(len(at))
        if not at:
            break
        at = at[0]
    if len(shape) > MAX_RANK:
        raise _NoTensorError
    flat: list[bytes] = []
    _collect(value, shape, 0, name, flat)
    out = np.empty(len(flat), object)
    out[:] = flat
    return out.reshape(shape)


def _collect(value: Any, shape: Sequence[int], level: int, name: str, out: list[bytes]) -> None:
    if isinstance(value, list):
        if level >= len(shape) or len(value) != shape[level]:
            raise _NoTensorError
        for v in value:
            _collect(v, shape, level + 1, name, out)
        return
    if level != len(shape):
        raise _NoTensorError
    out.append(to_bytes(value, name))


def to_bytes(value: Any, name: str) -> bytes:
    """Return the bytes that a JSON string, or an object ``{"b64": ...}``, stands for.

    Raises:
        RequestError: it is neither, or not base64 (INVALID_ARGUMENT).
    """
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if _is_bytes(value):
        text = value["b64"]
        try:
            if "-" in text or "_" in text:
                return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise invalid("Unable to base64 decode", found=f"in `{name}`") from None
    if isinstance(value, dict):
        raise invalid(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    raise invalid(json_faults.mistyped(value, string))


# Replies


def write_predict(outputs: Mapping[str, Array], by_row: bool) -> bytes:
    """Return the reply of a predict request.

    Args:
        outputs: arrays by key.
        by_row: whether the request was row by row.

    Raises:
        RequestError: row by row, but an output has no rows, or the outputs have different numbers of them.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    parts = {k: plain(v, as_bytes=k.endswith("_bytes")) for k, v in outputs.items()}
    if not by_row:
        only = len(parts) == 1
        return dump({"outputs": next(iter(parts.values())) if only else parts})
    rows = None
    for key, value in outputs.items():
        if not value.ndim:
            raise invalid(f"Tensor name: {key} has no shape information ")
        if rows not in (None, len(value)):
            raise invalid(f"Tensor name: {key} has inconsistent batch size: {len(value)} expecting: {rows}")
        rows = len(value)
    if len(parts) == 1:
        return dump({"predictions": next(iter(parts.values()))})
    return dump({"predictions": [{k: v[i] for k, v in parts.items()} for i in range(rows or 0)]})


def plain(value: Array, *, as_bytes: bool = False) -> Any:
    """Return an array as `dump` takes it: an array of a kind that orjson knows, or lists; strings as base64 on demand.

    Raises:
        RequestError: it has no form in JSON: complex numbers.
    """
    if value.dtype == object:
        return _texts(value.tolist(), as_bytes)
    if value.dtype.kind == "c":
        raise invalid("Failed to write JSON value for tensor type: complex")
    if value.dtype.kind not in "fiub":  # ml_dtypes' own
        value = value.astype(np.float32 if from_numpy(value.dtype).kind == "f" else np.int32)
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        return _odd_floats(value)
    return np.ascontiguousarray(value) if value.ndim else value[()]


def _texts(value: Any, as_bytes: bool) -> Any:
    if isinstance(value, list):
        return [_texts(v, as_bytes) for v in value]
    if not as_bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass  # as JSON it has no form but base64
    return {"b64": base64.b64encode(value).decode()}


def _odd_floats(value: Array) -> Any:
    """Return floats as lists: shortest decimals that mean the same number in the array's own precision."""
    if value.ndim:
        return [_odd_floats(v) for v in value]
    return float(str(value))


def dump(value: Any) -> bytes:
    """Return JSON; floats that JSON has no name for are written as TensorFlow Serving does: NaN, Infinity."""
    if _has_lists(value):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_as_list).encode(
            "utf-8", "surrogatepass"
        )
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _has_lists(value: Any) -> bool:
    """Whether there may be NaN or Infinity in it, for which orjson would write null."""
    if isinstance(value, dict):
        return any(map(_has_lists, value.values()))
    if isinstance(value, list):
        return any(map(_has_lists, value))
    return isinstance(value, (float, np.floating)) and not np.isfinite(value)


def _as_list(value: Any) -> Any:
    return _odd_floats(value) if value.dtype.kind == "f" else value.tolist()


# Examples


def read_examples(request: Mapping[str, Any]) -> list[bytes]:
    """Return the serialized Examples of a classify or regress request, each with the context's features in it.

    Raises:
        RequestError: they are malformed (INVALID_ARGUMENT).
    """
    context = _example(request["context"]) if "context" in request else None
    if "examples" not in request:
        raise invalid(
            f"JSON Value: {shown(request)} When method is classify, key 'examples' is expected and was not found"
        )
    given = request["examples"]
    if not isinstance(given, list):
        raise invalid(f"JSON Value: {shown(request)} Expecting 'examples' value to be an list/array")
    if not given:
        raise invalid(f"JSON Value: {shown(request)} 'examples' value is an empty array")
    found = [_example(e) for e in given]
    return [merged(e, context) for e in found]


def _example(value: Any) -> Any:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {kind(value)}")
    out = messages.Example()
    for name, content in value.items():
        feature = out.features.feature[name]
        for v in content if isinstance(content, list) else [content]:
            _add(feature, name, v)
    return out


def _add(feature: Any, name: str, value: Any) -> None:
    if isinstance(value, str) or _is_bytes(value):
        _list_of(feature, name, "bytes_list").append(to_bytes(value, name))
    elif isinstance(value, float):
        _list_of(feature, name, "float_list").append(value)
    elif isinstance(value, (bool, int)):
        if not -(2**63) <= value < 2**63:
            raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
        _list_of(feature, name, "int64_list").append(int(value))
    else:
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {kind(value)}")


def _list_of(feature: Any, name: str, kind: str) -> Any:
    now = feature.WhichOneof("kind")
    if now not in (None, kind):
        expected = now.removesuffix("_list")
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {expected}")
    return getattr(feature, kind).value
