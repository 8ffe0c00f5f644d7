"""Where an iterator stands, as bytes and back: what `SerializeIterator` hands out and a checkpoint keeps.

::

    variant 0    type name, metadata: JSON, which says of the tensors by number where they belong
    variant k    type name, tensor k - 1

All are serialized ``VariantTensorDataProto``. The JSON is data alone: numbers, text, and objects with one of the keys
below. Nothing in it names a class, a function or a file.

| key | stands for |
|---|---|
| `place` | a `Saved`: kind of iterator, and its parts by name |
| `list`, `by` | values; values by integers |
| `element` | a tuple of components |
| `rows` | several elements, their components stacked |
| `tensor` | a tensor |
| `items` | an array of what is no string: its shape and values |
| `boxed`, `ragged`, `dataset` | variants: a tensor; a ragged tensor; a dataset that is a list of elements |
| `failed` | an element that could not be made: why |
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.errors import ColdframeError, CorruptError, ExecutionError, UnsupportedError
from coldframe.formats import messages, tensor_proto
from coldframe.ops.dataset_core import Dataset, Row, Saved, given, stacked
from coldframe.ops.ragged import Ragged
from coldframe.ops.serialized import Boxed
from coldframe.primitives.base import refuse

_TYPE: Final = "coldframe::IteratorState"
_VERSION: Final = 1
_WHERE: Final = "in the saved place of an iterator"


# --- to bytes ---------------------------------------------------------------------------------------------------
def encoded(saved: Saved) -> list[bytes]:
    """Return where an iterator stands as serialized variants.

    Raises:
        UnsupportedError: an element in a buffer is of a kind that cannot be written.
    """
    tensors: list[Any] = []
    try:
        told = json.dumps({"version": _VERSION, "saved": _told(saved, tensors)}, separators=(",", ":"))
    except RecursionError:
        raise UnsupportedError("a place in datasets that are nested so deep cannot be saved") from None
    return [_variant(metadata=told.encode()), *(_variant(tensor=t) for t in tensors)]


def _variant(metadata: bytes = b"", tensor: Any = None) -> bytes:
    proto = messages.VariantTensorDataProto(type_name=_TYPE, metadata=metadata)
    if tensor is not None:
        proto.tensors.append(tensor_proto.from_array(tensor))
    return messages.serialize(proto, where="for the place of an iterator")


def _told(value: Any, tensors: list[Any]) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Saved):
        return {"place": value.kind, "parts": {k: _told(v, tensors) for k, v in value.parts.items()}}
    if isinstance(value, list):
        rows = _rows(value)
        if rows is not None:
            return {"rows": len(value), "columns": [_told(c, tensors) for c in rows]}
        return {"list": [_told(v, tensors) for v in value]}
    if isinstance(value, dict):
        return {"by": [[k, _told(v, tensors)] for k, v in value.items()]}
    if isinstance(value, (tuple, Row)):
        return {"element": [_told(c, tensors) for c in value]}
    if isinstance(value, BaseException):
        return {"failed": value.what if isinstance(value, ColdframeError) else str(value) or type(value).__name__}
    return _component(value, tensors)


def _component(value: Any, tensors: list[Any]) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        if array.dtype.kind == "O" and not _strings(array):
            return {"items": [_told(v, tensors) for v in array.ravel().tolist()], "shape": list(array.shape)}
        tensors.append(array)
        return {"tensor": len(tensors) - 1}
    if isinstance(value, Boxed):
        return {"boxed": _told(value.value, tensors)}
    if isinstance(value, Ragged):
        return {"ragged": [_told(s, tensors) for s in (*value.splits, value.values)]}
    if isinstance(value, Dataset) and value.held is not None:
        return {"dataset": _told(value.held, tensors)}
    raise UnsupportedError(
        "an iterator that holds such elements cannot be saved",
        expected="tensors, sparse and ragged tensors, windows", found=type(value).__name__,
        hint="move what buffers elements (shuffle, prefetch, batch) before what makes these",
    )  # fmt: skip


def _rows(elements: list[Any]) -> tuple[Any, ...] | None:
    """Return the components of elements stacked, where they are tensors of one dtype and shape each."""
    if len(elements) < 2 or not all(isinstance(e, (tuple, Row)) for e in elements):
        return None
    columns = list(zip(*elements, strict=False))
    alike = len({len(e) for e in elements}) == 1 and all(map(_alike, columns))
    return stacked(elements) if alike and columns else None


def _alike(values: tuple[Any, ...]) -> bool:
    kinds = {(v.shape, v.dtype) if isinstance(v, np.ndarray) else None for v in values}
    plain = values[0].dtype.kind != "O" if isinstance(values[0], np.ndarray) else False
    return len(kinds) == 1 and (plain or (None not in kinds and all(map(_strings, values))))


def _strings(array: Any) -> bool:
    return all(isinstance(v, bytes) for v in array.ravel().tolist())


# --- and back ---------------------------------------------------------------------------------------------------
def decoded(variants: Any) -> Saved:
    """Return what `encoded` was given.

    Raises:
        ExecutionError: the variants were made by something else.
        CorruptError: they are damaged.
    """
    items = np.ravel(np.asarray(variants, object)).tolist()
    if not items or not all(isinstance(i, bytes) for i in items):
        raise refuse("not the place of an iterator", expected="variants of `SerializeIterator`")
    protos = [messages.parse("VariantTensorDataProto", i, where=_WHERE) for i in items]
    kinds = {p.type_name for p in protos}
    if kinds != {_TYPE}:
        raise refuse(
            "the place of the iterator was saved by another program", expected=f"`{_TYPE}`",
            found=", ".join(f"`{k}`" for k in sorted(kinds - {_TYPE})),
            hint="what TensorFlow saves of an iterator tells of its own classes, and only the version that wrote it "
            "reads it; restore the variables alone, and start the input anew",
        )  # fmt: skip
    try:
        told = json.loads(bytes(protos[0].metadata))
        if not isinstance(told, dict) or told.get("version") != _VERSION:
            found = told.get("version") if isinstance(told, dict) else None
            raise CorruptError("the saved place has another layout", where=_WHERE, expected=_VERSION, found=found)
        tensors = [tensor_proto.to_array(_only(p.tensors), where=_WHERE) for p in protos[1:]]
        saved = _Reader(tensors).value(told.get("saved"))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as e:
        raise CorruptError("damaged", where=_WHERE, found=str(e) or type(e).__name__) from e
    if not isinstance(saved, Saved):
        raise CorruptError("damaged", where=_WHERE, expected="a place")
    return saved


def _only(items: Any) -> Any:
    [only] = items
    return only


class _Reader:
    """Makes values of JSON and tensors. Raises what Python raises where something is not as it should be."""

    def __init__(self, tensors: list[Any]) -> None:
        self._tensors = tensors
        self._readers: dict[str, Callable[[Any], Any]] = {
            "place": lambda v: Saved(_text(v["place"]), {_text(k): self.value(p) for k, p in v["parts"].items()}),
            "list": lambda v: [self.value(i) for i in v["list"]],
            "by": lambda v: {_number(k): self.value(i) for k, i in v["by"]},
            "element": lambda v: tuple(self.value(c) for c in v["element"]),
            "rows": self._elements,
            "tensor": lambda v: self._tensors[_number(v["tensor"])],
            "items": self._items,
            "boxed": lambda v: Boxed(_array(self.value(v["boxed"]))),
            "ragged": self._ragged,
            "dataset": lambda v: given(self.value(v["dataset"])),
            "failed": lambda v: ExecutionError(_text(v["failed"])),
        }

    def value(self, told: Any) -> Any:
        """Return what `told` stands for."""
        if not isinstance(told, dict):
            if told is not None and not isinstance(told, (bool, int, str)):
                raise ValueError(f"{type(told).__name__} where a value should be")
            return told
        return self._readers[next(iter(told), "")](told)

    def _elements(self, told: Any) -> list[Any]:
        count, columns = _number(told["rows"]), [_array(self.value(c)) for c in told["columns"]]
        if not columns or any(c.shape[:1] != (count,) for c in columns):
            raise ValueError("stacked elements of several sizes")
        return [tuple(c[i, ...] for c in columns) for i in range(count)]

    def _items(self, told: Any) -> Any:
        out = np.empty(len(told["items"]), object)
        for k, item in enumerate(told["items"]):
            out[k] = self.value(item)
        return out.reshape([_number(d) for d in told["shape"]])

    def _ragged(self, told: Any) -> Ragged:
        *splits, values = [_array(self.value(part)) for part in told["ragged"]]
        return Ragged(tuple(splits), values)


def _array(value: Any) -> Any:
    if not isinstance(value, np.ndarray) or dtypes.from_numpy(value.dtype) is dtypes.variant:
        raise ValueError("no tensor where one should be")
    return value


def _number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("no number where one should be")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text where some should be")
    return value
