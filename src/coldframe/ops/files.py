"""Ops that read files.

A graph is data, and data may not touch files: only those that the session allows, a model's own assets, can be read.
`checkpoints` has the ops of checkpoints, `readers` what reads and writes records.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe.ops.state import State
from coldframe.ops.table import op
from coldframe.primitives.base import refuse


@op("ReadFile", shape="-> []", stateful=True)
def read_file(xp: Any, state: State, filename: Any) -> Any:
    """The bytes of a file that the session allows."""
    name = np.asarray(filename, object)
    if name.ndim:
        raise refuse("`filename`", expected="a scalar", found=f"shape {list(name.shape)}")
    return np.array(state.read_file(name.item()), object)
