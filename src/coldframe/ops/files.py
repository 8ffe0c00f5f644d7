"""Ops that read and write checkpoints.

A graph is data, and data may not touch files: these ops are known, so that passes find the variables of a checkpoint,
but running one is refused. `coldframe.open_checkpoint` and `coldframe.save_checkpoint` do their work.
"""

from __future__ import annotations

from typing import Any

from coldframe.ops.table import Op
from coldframe.primitives.base import refuse

_HOST = "it touches files"


def _refusing(name: str, role: str, inputs: str) -> Op:
    def run(xp: Any, *inputs: Any) -> Any:
        raise refuse(
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
