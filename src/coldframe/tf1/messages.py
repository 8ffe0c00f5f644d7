"""The protocol buffer messages that programs make and read, and arrays as TensorProto."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe.formats import messages as _messages
from coldframe.formats.tensor_proto import from_array, to_array
from coldframe.tf1.framework.convert import as_array
from coldframe.tf1.framework.dtype import as_dtype


def make_tensor_proto(
    values: Any, dtype: Any = None, shape: Any = None, verify_shape: bool = False, allow_broadcast: bool = False
) -> Any:
    """Return `values` as a TensorProto, of the dtype and shape given."""
    kind = None if dtype is None else as_dtype(dtype)
    array = as_array(values, kind)
    if shape is not None:
        dims = [int(d) for d in shape]
        array = np.broadcast_to(array, dims) if array.size == 1 else array.reshape(dims)
    return from_array(array, kind)


def make_ndarray(tensor: Any) -> Any:
    """Return a TensorProto's values as an array."""
    return to_array(tensor, where="in the TensorProto")


def __getattr__(name: str) -> Any:
    return getattr(_messages, name)
