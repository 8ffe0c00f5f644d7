"""Meta graphs: ``.meta`` files, a graph with the collections and the saver that belong to a checkpoint.

::

    MetaGraphDef{ meta_info_def, graph_def, saver_def,
                  collection_def: name -> node_list | bytes_list | int64_list | float_list | any_list,
                  signature_def, asset_file_def, object_graph_def }

The collections ``variables`` and ``trainable_variables`` hold serialized VariableDefs: they tell which tensor of the
checkpoint belongs to which variable of the graph. After tensorflow/core/protobuf/meta_graph.proto.
"""

from __future__ import annotations

from typing import Any

from coldframe.errors import CorruptError, NotFoundError, near_names
from coldframe.formats import messages
from coldframe.formats.content import Kind
from coldframe.formats.files import PathLike
from coldframe.formats.graph_def import read_message, write_message
from coldframe.records import dataclass


@dataclass(frozen=True, slots=True)
class VariableSlice:
    """The part that one variable is of a partitioned one: its offset and shape inside `full_shape`."""

    full_name: str
    full_shape: tuple[int, ...]
    offset: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a TF1 graph, from its VariableDef.

    Attributes:
        name: the variable's tensor, ``scope/w:0``.
        initializer: the op that assigns its initial value, or an empty string.
        snapshot: the tensor that reads it.
        initial_value: the tensor of its initial value, or an empty string.
        is_resource: whether it is a resource variable (VarHandleOp) rather than a reference (VariableV2).
        is_trainable: whether optimizers change it.
        part: what it is a part of, where it is partitioned.
    """

    name: str
    initializer: str
    snapshot: str
    initial_value: str
    is_resource: bool
    is_trainable: bool
    part: VariableSlice | None

    @property
    def node(self) -> str:
        """The node that holds the variable."""
        return self.name.rsplit(":", 1)[0]

    @property
    def checkpoint_name(self) -> str:
        """The name under which a Saver keeps it: parts are kept under the name of the whole."""
        return self.part.full_name if self.part else self.node


def read_meta_graph(path: PathLike) -> Any:
    """Read a ``MetaGraphDef`` from a binary or text file.

    Raises:
        NotFoundError: there is no such file.
        WrongFileError: the file is of another kind; the error says what to pass instead.
        CorruptError: it is damaged, or ends too early (`TruncatedError`).
    """
    return read_message(path, Kind.META_GRAPH, "MetaGraphDef")


def write_meta_graph(path: PathLike, meta_graph: Any, *, as_text: bool | None = None, sync: bool = True) -> None:
    """Write a ``MetaGraphDef`` in one step, as text where asked for or where the name ends in ``.pbtxt``.

    Raises:
        UnsupportedError: it takes more than 2 GiB; the file has not been touched.
        NotFoundError: the folder does not exist.
    """
    write_message(path, meta_graph, as_text=as_text, sync=sync)


def variable_defs(meta_graph: Any, collection: str = "variables", *, where: str) -> list[Any]:
    """Return the VariableDef messages of a collection; none where the graph has no such collection.

    Raises:
        CorruptError: an entry is damaged.
    """
    if collection not in meta_graph.collection_def:
        return []
    entries = meta_graph.collection_def[collection].bytes_list.value
    return [
        messages.parse("VariableDef", raw, where=f"in entry {i} of collection `{collection}` {where}")
        for i, raw in enumerate(entries)
    ]


def variables(meta_graph: Any, collection: str = "variables", *, where: str) -> list[Variable]:
    """Return the variables of a collection (``variables``, ``trainable_variables``, ``local_variables``), in order.

    Args:
        meta_graph: the MetaGraphDef.
        collection: the collection's name.
        where: the place, as errors name it: ``in model.meta``.

    Raises:
        CorruptError: an entry is damaged, or a part does not lie inside its whole.
    """
    return [_variable(d, where) for d in variable_defs(meta_graph, collection, where=where)]


def _variable(d: Any, where: str) -> Variable:
    return Variable(
        name=d.variable_name,
        initializer=d.initializer_name,
        snapshot=d.snapshot_name,
        initial_value=d.initial_value_name,
        is_resource=d.is_resource,
        is_trainable=d.trainable,
        part=_part(d, where) if d.HasField("save_slice_info_def") else None,
    )


def _part(d: Any, where: str) -> VariableSlice | None:
    s = d.save_slice_info_def
    if not s.full_name:
        return None  # TensorFlow writes an empty one for a variable that is whole
    full, offset, shape = tuple(s.full_shape), tuple(s.var_offset), tuple(s.var_shape)
    fits = len(full) == len(offset) == len(shape) and all(
        min(o, n) >= 0 and o + n <= f for f, o, n in zip(full, offset, shape, strict=True)
    )
    if not fits:
        raise CorruptError(
            f"part `{d.variable_name}` lies outside its variable",
            where=where,
            expected=f"within `{s.full_name}` {list(full)}",
            found=f"offset {list(offset)}, shape {list(shape)}",
        )
    return VariableSlice(s.full_name, full, offset, shape)


def signature(meta_graph: Any, key: str, *, where: str) -> Any:
    """Return the SignatureDef called `key`.

    Raises:
        NotFoundError: there is none; the others are listed.
    """
    if key not in meta_graph.signature_def:
        known = sorted(meta_graph.signature_def)
        raise NotFoundError(
            f"no signature is called `{key}`",
            where=where,
            expected=f"one of {', '.join(f'`{k}`' for k in known)}" if known else None,
            hint=near_names(key, known),
        )
    return meta_graph.signature_def[key]
