"""The nodes of a Saver, named as TensorFlow names them, so that its programs find them in an exported meta graph.

::

    save/filename, save/Const ─► save/SaveV2 ─► save/control_dependency                      fetched to save
                             └─► save/RestoreV2 ─► save/Assign, ... ─► save/restore_all      run to restore

    sharded: save/ShardedFilename, ... ─► save/SaveV2, save/SaveV2_1 ─► save/MergeV2Checkpoints ─► save/Identity
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

from coldframe.formats import messages
from coldframe.records import dataclass
from coldframe.tf1.dependencies import group, with_dependencies
from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.convert import constant
from coldframe.tf1.framework.device import merge_devices
from coldframe.tf1.framework.graph import control_dependencies, device, name_scope
from coldframe.tf1.framework.tensor import Operation, Tensor
from coldframe.tf1.train.saveables import SaveableObject, static_shape

V1: Final = 1  # SaverDef.V1
V2: Final = 2  # SaverDef.V2


@dataclass(frozen=True, slots=True)
class Options:
    """How the nodes are to be made.

    Attributes:
        name: of the scope; None for ``save``.
        filename: the default value of the tensor that tells the path.
        reshape: whether values are brought into the variables' shapes.
        sharded: whether each device writes a data file of its own.
        version: of the checkpoint's format.
    """

    name: str | None
    filename: str
    reshape: bool
    sharded: bool
    version: int


def build(saveables: Sequence[SaveableObject], options: Options) -> tuple[str, str, str]:
    """Add the nodes to the default graph; return the names that a ``SaverDef`` tells: filename, save, restore."""
    with name_scope(options.name, "save", [s.op for s in saveables if hasattr(s.op, "graph")]):
        default = raw_op("PlaceholderWithDefault", [options.filename or "model"], {"shape": []}, "filename")
        filename = raw_op("PlaceholderWithDefault", [default], {"shape": []}, "Const")
        if options.sharded:
            groups = _by_device(saveables)
            saved = _sharded_save(filename, groups, options.version)
            restored = _sharded_restore(filename, groups, options)
        else:
            saved = _saved(filename, saveables, options.version)
            restored = _restored(filename, saveables, options, "restore_all")
    return filename.name, saved.name, restored.name


# --- saving -----------------------------------------------------------------------------------------------------
def _saved(filename: Tensor, saveables: Sequence[SaveableObject], version: int) -> Tensor:
    specs = [spec for s in saveables for spec in s.specs]
    tensors = [spec.tensor for spec in specs]
    names, parts = [spec.name for spec in specs], [spec.slice_spec for spec in specs]
    if version == V1:
        save = raw_op("SaveSlices", [filename, names, parts, tensors], {}, "save")
    else:
        save = raw_op("SaveV2", [filename, names, parts, tensors], {}, None)
    result: Tensor = with_dependencies([save], filename)
    return result


def _by_device(saveables: Sequence[SaveableObject]) -> list[tuple[str, list[SaveableObject]]]:
    found: dict[str, list[SaveableObject]] = {}
    for s in saveables:
        found.setdefault(merge_devices("", s.device), []).append(s)
    return sorted(found.items())


def _on_cpu(place: str) -> str:
    return merge_devices(place, "/device:CPU:0")


def _sharded_save(filename: Tensor, groups: Sequence[tuple[str, list[SaveableObject]]], version: int) -> Tensor:
    if version == V1:
        return _sharded_save_v1(filename, groups)
    with device("/device:CPU:*"):
        on_s3 = raw_op("StaticRegexFullMatch", [filename], {"pattern": "^s3://.*"}, None)
        suffixes = constant(".part"), constant("_temp/part")
        suffix = raw_op("Select", [on_s3, *suffixes], {}, None)
        temporary = raw_op("StringJoin", [[filename, suffix]], {}, None)
    count = constant(len(groups), name="num_shards")
    shards, saved, place = [], [], ""
    for i, (where, saveables) in enumerate(groups):
        place = _on_cpu(where)
        with device(place):
            shards.append(raw_op("ShardedFilename", [temporary, i, count], {}, None))
            saved.append(_saved(shards[-1], saveables, version))
    with control_dependencies([t.op for t in saved]), device(place):
        with name_scope("MergeV2Checkpoints", None) as scope:
            prefixes = raw_op("Pack", [shards], {"axis": 0}, "checkpoint_prefixes")
            merge = raw_op("MergeV2Checkpoints", [prefixes, filename], {"delete_old_dirs": True}, scope)
        with control_dependencies([merge]):
            done: Tensor = raw_op("Identity", [filename], {}, None)
    return done


def _sharded_save_v1(filename: Tensor, groups: Sequence[tuple[str, list[SaveableObject]]]) -> Tensor:
    count = constant(len(groups), name="num_shards")
    saved = []
    for i, (where, saveables) in enumerate(groups):
        with device(where or None):
            shard = raw_op("ShardedFilename", [filename, i, count], {}, None)
            saved.append(_saved(shard, saveables, V1))
    with control_dependencies([t.op for t in saved]):
        pattern: Tensor = raw_op("ShardedFilespec", [filename, count], {}, None)
    return pattern


# --- restoring --------------------------------------------------------------------------------------------------
def _restored(filename: Tensor, saveables: Sequence[SaveableObject], options: Options, name: str) -> Operation:
    specs = [spec for s in saveables for spec in s.specs]
    with device("/device:CPU:0"):
        names, parts = [spec.name for spec in specs], [spec.slice_spec for spec in specs]
        read = raw_op("RestoreV2", [filename, names, parts], {"dtypes": [s.dtype for s in specs]}, None)
    values = iter(read)
    assigned = []
    for s in saveables:
        shapes = [static_shape(s)] if options.reshape else None
        assigned.append(s.restore(list(itertools.islice(values, len(s.specs))), shapes))
    return group(*assigned, name=name)


def _sharded_restore(
    filename: Tensor, groups: Sequence[tuple[str, list[SaveableObject]]], options: Options
) -> Operation:
    shards = []
    for where, saveables in groups:
        with device(where or None):
            shards.append(_restored(filename, saveables, options, "restore_shard"))
    return group(*shards, name="restore_all")


def saver_def(names: tuple[str, str, str], **fields: Any) -> Any:
    """Return the ``SaverDef`` of a Saver whose nodes have these names."""
    filename, save, restore = names
    return messages.SaverDef(filename_tensor_name=filename, save_tensor_name=save, restore_op_name=restore, **fields)


__all__ = ["V1", "V2", "Options", "build", "saver_def"]
