"""Dtypes by whatever name a program gives them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import ColdframeError

_PYTHON: Final = {float: dtypes.float32, bool: dtypes.bool_, object: dtypes.string, str: dtypes.string,
                  bytes: dtypes.string}  # fmt: skip


def as_dtype(type_value: Any) -> DType:
    """Return the dtype meant by a dtype, a name, a DataType number, a numpy or a Python type.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(type_value, DType):
        return type_value
    if isinstance(type_value, type) and type_value in _PYTHON:
        return _PYTHON[type_value]
    try:
        if isinstance(type_value, str):
            return dtypes.from_name(type_value.removesuffix("_ref"))
        if isinstance(type_value, int):
            return dtypes.from_enum(type_value)
        return dtypes.from_numpy(np.dtype(type_value))
    except (ColdframeError, TypeError) as e:
        raise TypeError(f"Cannot convert {type_value!r} to a TensorFlow DType. {e}") from None
