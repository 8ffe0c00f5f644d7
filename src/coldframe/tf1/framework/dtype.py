"""Dtypes by whatever name a program gives them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import ColdframeError

_PYTHON: Final = {float: dtypes.float32, bool: dtypes.bool_, object: dtypes.string, str: dtypes.string,
                  bytes: dtypes.string}  # fmt: skip


def as_dtype(value: Any) -> DType:
    """Return the dtype meant by a dtype, a name, a DataType number, a numpy or a Python type.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, type) and value in _PYTHON:
        return _PYTHON[value]
    try:
        if isinstance(value, str):
            return dtypes.from_name(value.removesuffix("_ref"))
        if isinstance(value, int):
            return dtypes.from_enum(value)
        return dtypes.from_numpy(np.dtype(value))
    except (ColdframeError, TypeError) as e:
        raise TypeError(f"Cannot convert {value!r} to a TensorFlow DType. {e}") from None
