"""Ops that read files.

A graph is data, and data may not touch files: only those that the session allows, a model's own assets, can be read.
`checkpoints` has the ops of checkpoints, `readers` what reads and writes records.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from coldframe.dtypes import DType
from coldframe.errors import UnsupportedError
from coldframe.ops.known import Attrs
from coldframe.ops.state import State
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.shapes import Shape

_PACKAGE: Final = "memmapped_package://"


@op("ReadFile", shape="-> []", stateful=True)
def read_file(xp: Any, state: State, filename: Any) -> Any:
    """The bytes of a file that the session allows."""
    name = np.asarray(filename, object)
    if name.ndim:
        raise refuse("`filename`", expected="a scalar", found=f"shape {list(name.shape)}")
    return np.array(state.read_file(name.item()), object)


def _as_told(a: Attrs) -> Any:
    """ImmutableConst."""
    return a["shape"].dims


@op("ImmutableConst", shape=_as_told, stateful=True)
def immutable_const(xp: Any, state: State, *, dtype: DType, shape: Shape, memory_region_name: str) -> Any:
    """The numbers that a file holds, one after the other, where the session allows reading it."""
    if memory_region_name.startswith(_PACKAGE):
        raise UnsupportedError(
            "constants in a memory-mapped package", found=memory_region_name,
            hint="feed the tensor, or keep the graph as it was before its constants were taken out",
        )  # fmt: skip
    if dtype.numpy.kind == "O" or shape.dims is None or None in shape.dims:
        raise refuse("a constant in a file", expected="numbers of a known shape", found=f"{dtype}, {shape}")
    data = state.read_file(memory_region_name.encode())
    dims = tuple(d or 0 for d in shape.dims)
    size = math.prod(dims) * dtype.numpy.itemsize
    if len(data) < size:
        raise refuse(f"`{memory_region_name}` holds too little", expected=f"{size} bytes", found=len(data))
    return np.frombuffer(data[:size], dtype.numpy).reshape(dims)
