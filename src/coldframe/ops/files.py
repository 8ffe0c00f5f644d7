"""Ops that read and write files.

A graph is data, and data may not touch files: the ops of checkpoints are known, so that passes find the variables of a
checkpoint, but running one is refused. `coldframe.open_checkpoint` and `coldframe.save_checkpoint` do their work. Only
the files that the session allows, a model's own assets, can be read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe.errors import UnsupportedError
from coldframe.ops.state import State
from coldframe.ops.table import Op, op
from coldframe.primitives.base import refuse

_HOST = "it touches files"


def _refusing(name: str, role: str, inputs: str) -> Op:
    def run(xp: Any, *inputs: Any) -> Any:
        raise UnsupportedError(
            "graphs may not touch files",
            found=f"the op `{name}`",
            hint="read checkpoints with coldframe.open_checkpoint, write them with coldframe.save_checkpoint",
        )

    run.__doc__ = f"Refused: it would touch files ({inputs})."
    return Op(name, run, effect=True, host=_HOST, role=role, ignores=("preferred_shard", *_IGNORED))


_IGNORED = ("delete_old_dirs", "allow_missing_files")

FILES = [
    _refusing("SaveV2", "save", "prefix, tensor_names, shape_and_slices, tensors"),
    _refusing("SaveSlices", "save", "filename, tensor_names, shapes_and_slices, data"),
    _refusing("Save", "save", "filename, tensor_names, data"),
    _refusing("RestoreV2", "restore", "prefix, tensor_names, shape_and_slices"),
    _refusing("RestoreSlice", "restore", "file_pattern, tensor_name, shape_and_slice"),
    _refusing("Restore", "restore", "file_pattern, tensor_name"),
    _refusing("MergeV2Checkpoints", "save", "checkpoint_prefixes, destination_prefix"),
]


@op("ReadFile", shape="-> []", stateful=True)
def read_file(xp: Any, state: State, filename: Any) -> Any:
    """The bytes of a file that the session allows."""
    name = np.asarray(filename, object)
    if name.ndim:
        raise refuse("`filename`", expected="a scalar", found=f"shape {list(name.shape)}")
    return np.array(state.read_file(name.item()), object)
