"""A tensor's shape as a tensor: a constant where it is known already, as TensorFlow makes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.convert import SparseTensor, constant, convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope


def shape_of(input: Any, name: str | None = None, out_type: Any = dtypes.int32, optimize: bool = True) -> Any:
    """Return the shape of `input`, a vector of `out_type`."""
    kind = as_dtype(out_type)
    with name_scope(name, "Shape", [input]) as scope:
        if isinstance(input, SparseTensor):
            return raw_op("Cast", [input.dense_shape], {"DstT": kind}, None)
        tensor = convert_to_tensor(input)
        dims = tensor.static_shape.dims
        if optimize and dims is not None and None not in dims:
            return constant(np.array(dims, kind.numpy), kind, name=scope)
        return raw_op("Shape", [tensor], {"out_type": kind}, scope)
