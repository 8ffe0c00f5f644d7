"""The JSON of inference requests: parsed, and remembered, as clients send the same again and again.

What differs from request to request of a client that sends raw tensors are the bytes after it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.records import dataclass
from coldframe.serve import json_tensors
from coldframe.serve.infer_tensors import by_name, count_of, dtype_of, from_raw, refuse_extensions
from coldframe.serve.status import invalid
from coldframe.shapes import Shape, TensorSpec

Array = npt.NDArray[Any]
_SHORT: Final = 1 << 12  # bytes of JSON that may be remembered
_REMEMBERED: Final = 64


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor of a request.

    Attributes:
        name: its name.
        dtype: its dtype.
        dims: its shape.
        size: bytes that it has after the JSON; None where it is in `data`.
        data: its elements, flat.
    """

    name: str
    dtype: dtypes.DType
    dims: tuple[int, ...]
    size: int | None = None
    data: list[Any] = dataclasses.field(default_factory=list)

    def array(self, raw: _Raw) -> Array:
        """Return it; `raw` is what follows the JSON."""
        if self.size is not None:
            return from_raw(raw.take(self.size, self.name), self.dtype, self.dims, self.name)
        kind = dtypes.float64 if self.dtype.kind == "f" else self.dtype
        with np.errstate(over="ignore"):
            wide = json_tensors.to_array(self.data, TensorSpec(self.name, kind, Shape.unknown()), self.name)
            return wide.astype(self.dtype.numpy).reshape(self.dims)


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What a request's JSON says.

    Attributes:
        inputs: the tensors.
        wanted: names of outputs; none for all.
        signature: the signature's name; None for the default one.
        number: the request's id; None where it has none.
        all_raw: whether outputs follow the reply's JSON as raw bytes.
        raw: what is said of single outputs.
    """

    inputs: tuple[Input, ...]
    wanted: tuple[str, ...]
    signature: str | None
    number: str | None
    all_raw: bool
    raw: Mapping[str, bool]

    def arrays(self, body: bytes | memoryview, end: int) -> dict[str, Array]:
        """Return the inputs by name.

        Args:
            body: the whole body.
            end: where the JSON ends in it.

        Raises:
            RequestError: bytes are missing or left, or elements do not fit (INVALID_ARGUMENT).
        """
        raw = _Raw(body, end)
        found = by_name((t.name, t.array(raw)) for t in self.inputs)
        raw.expect_end()
        return found

    def is_raw(self, output: str) -> bool:
        """Whether an output is wanted as raw bytes."""
        return self.raw.get(output, self.all_raw)


def parse(head: bytes | memoryview) -> InferRequest:
    """Return what the JSON of a request says.

    Raises:
        RequestError: it is malformed (INVALID_ARGUMENT).
    """
    return _remembered(bytes(head)) if len(head) <= _SHORT else _parsed(head)


@functools.lru_cache(_REMEMBERED)
def _remembered(head: bytes) -> InferRequest:
    return _parsed(head)


def _parsed(head: bytes | memoryview) -> InferRequest:
    request = json_tensors.parse_object(head)
    inputs = tuple(_input(t) for t in _list(request, "inputs", True))
    outputs = _list(request, "outputs", False)
    for tensor in outputs:
        refuse_extensions(_name(tensor), _parameters(tensor))
    said = {_name(t): _parameter(t, "binary_data") for t in outputs}
    return InferRequest(
        inputs,
        tuple(_name(t) for t in outputs),
        _signature(request),
        str(request["id"]) if "id" in request else None,
        _parameter(request, "binary_data_output") is True,
        {name: value is True for name, value in said.items() if value is not None},
    )


class _Raw:
    """What follows the JSON of a request."""

    def __init__(self, body: bytes | memoryview, at: int) -> None:
        self._body, self._at = memoryview(body), at

    def take(self, size: int, name: str) -> memoryview:
        if size < 0 or size > len(self._body) - self._at:
            raise invalid(
                f"input `{name}` claims more bytes than follow", expected=size, found=len(self._body) - self._at
            )
        found = self._body[self._at : self._at + size]
        self._at += size
        return found

    def expect_end(self) -> None:
        if self._at != len(self._body):
            raise invalid("bytes that no input claims follow the JSON", found=len(self._body) - self._at)


def _list(request: Mapping[str, Any], key: str, needed: bool) -> list[dict[str, Any]]:
    found = request.get(key, [])
    if not isinstance(found, list) or not all(isinstance(t, dict) for t in found) or (needed and not found):
        raise invalid(f"`{key}` must be a list of tensors")
    return found


def _name(tensor: Mapping[str, Any]) -> str:
    name = tensor.get("name")
    if not isinstance(name, str):
        raise invalid("a tensor without a name")
    return name


def _parameters(holder: Mapping[str, Any]) -> dict[str, Any]:
    found = holder.get("parameters", {})
    if not isinstance(found, dict):
        raise invalid("`parameters` must be an object")
    return found


def _parameter(holder: Mapping[str, Any], key: str) -> Any:
    return _parameters(holder).get(key)


def _signature(request: Mapping[str, Any]) -> str | None:
    name = _parameter(request, "signature_name")
    if name is not None and not isinstance(name, str):
        raise invalid("`signature_name` must be a string")
    return name


def _input(tensor: Mapping[str, Any]) -> Input:
    name, dims = _name(tensor), tensor.get("shape")
    if not isinstance(dims, list) or not all(type(d) is int and d >= 0 for d in dims):
        raise invalid(f"input `{name}` needs a shape of whole numbers", found=dims)
    refuse_extensions(name, _parameters(tensor))
    dtype, count = dtype_of(str(tensor.get("datatype"))), count_of(dims, name)
    size = _parameter(tensor, "binary_data_size")
    if size is not None:
        if type(size) is not int:
            raise invalid(f"binary_data_size of input `{name}` must be a whole number")
        return Input(name, dtype, tuple(dims), size)
    data = _flat(tensor.get("data"))
    if len(data) != count:
        raise invalid(f"input `{name}` has another number of elements", expected=count, found=len(data))
    return Input(name, dtype, tuple(dims), None, data)


def _flat(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise invalid("a tensor needs `data`, a list", found=type(data).__name__)
    if not any(isinstance(v, list) for v in data):
        return data
    flat: list[Any] = []
    waiting = [iter(data)]
    while waiting:  # each element is looked at once, however deep the lists are
        for value in waiting[-1]:
            if isinstance(value, list):
                waiting.append(iter(value))
                break
            flat.append(value)
        else:
            waiting.pop()
    return flat
