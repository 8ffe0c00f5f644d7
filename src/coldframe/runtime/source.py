"""Opening whatever holds a graph, with the checkpoint that belongs to it.

::

    graph.pb, graph.pbtxt               GraphDef                      checkpoint= only where it has variables
    model.ckpt.meta                     MetaGraphDef                  checkpoint: the one beside it, or checkpoint=
    saved_model.pb, its folder          SavedModel, one meta graph    checkpoint: variables/variables

Nothing of the checkpoint is read before a variable is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.errors import CorruptError, MisuseError, NotFoundError, WrongFileError, near_names
from coldframe.formats import content, graph_def, messages, sniff, tensor_proto
from coldframe.formats.content import Kind
from coldframe.formats.graph_weights import Contents
from coldframe.formats.slices import Box
from coldframe.graph.convert import from_graph_def
from coldframe.graph.ir import Graph, Node
from coldframe.passes.inline import inline_calls
from coldframe.passes.variables import (
    Binding,
    Refills,
    assignments,
    handle_name,
    match_names,
    restore_bindings,
    restored_tables,
    variable_type,
    variables_of,
)
from coldframe.records import dataclass
from coldframe.shapes import Shape, TensorSpec

if TYPE_CHECKING:
    from coldframe.checkpoint.reader import Checkpoint
    from coldframe.formats.saved_model import SavedModel

Array = npt.NDArray[Any]
_KINDS: Final = (Kind.GRAPH_DEF, Kind.META_GRAPH, Kind.SAVED_MODEL)
_ASSETS: Final = "saved_model_assets"
_INIT_SIGNATURE: Final = "__saved_model_init_op"
_INIT_COLLECTIONS: Final = ("saved_model_main_op", "legacy_init_op")


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature of a SavedModel or meta graph.

    Attributes:
        name: its key, such as ``serving_default``.
        inputs, outputs: by key; each spec's `name` is the tensor's name in the graph. A sparse or ragged tensor is
            several keys: ``key/indices``, ``key/values``, ``key/dense_shape``; ``key/values``, ``key/row_splits``.
        method: such as ``tensorflow/serving/predict``.
        defaults: values of inputs that may be left out, by key.
    """

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method: str = ""
    defaults: Mapping[str, Array] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Source:
    """A graph and what belongs to it.

    Attributes:
        path: where it came from; None for a graph in memory.
        kind: ``graph``, ``meta_graph`` or ``saved_model``.
        graph: the graph.
        meta: the MetaGraphDef, or None.
        signatures: by key, without TensorFlow's internal ones.
        saver: the SaverDef, or None.
        checkpoint_path: where the values of variables are, or None.
        assets: the file that each asset tensor stands for, by tensor name.
        init_ops: names of the nodes to run once after variables have their values: they fill tables.
        where: the place, as errors name it.
    """

    path: Path | None
    kind: str
    graph: Graph
    meta: Any = None
    signatures: Mapping[str, Signature] = dataclasses.field(default_factory=dict)
    saver: Any = None
    checkpoint_path: str | None = None
    assets: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    init_ops: tuple[str, ...] = ()
    where: str = "in the graph"

    @functools.cached_property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint, opened when first asked for; None where the source has none.

        Raises:
            NotFoundError, CorruptError: as `coldframe.open_checkpoint`.
        """
        if self.checkpoint_path is None:
            return None
        from coldframe.checkpoint.reader import open_checkpoint  # here, since frozen graphs have no use for it

        return open_checkpoint(self.checkpoint_path)

    @functools.cached_property
    def variable_nodes(self) -> Mapping[str, Node]:
        """The node that makes each variable, by handle name; the first where several do."""
        found: dict[str, Node] = {}
        for node in variables_of(self.graph):
            found.setdefault(handle_name(node), node)
        return found

    @functools.cached_property
    def variables(self) -> Mapping[str, Binding]:
        """Where the value of each variable of the graph is kept, by handle name; those without a value are missing.

        The restore op tells; for variables that it does not restore, the graph's own list of variables, and at last
        the names in the checkpoint.
        """
        names = self.variable_nodes.keys()
        found: dict[str, Binding] = {}
        if self.saver is not None and self.saver.restore_op_name:
            found = restore_bindings(self.graph, self.saver.restore_op_name)
        for name, binding in self._listed().items():
            found.setdefault(name, binding)
        if self.checkpoint is not None:
            keys = self.checkpoint.by_full_name
            found = {n: b for n, b in found.items() if b.key in self.checkpoint}
            for name, binding in match_names(names - found.keys(), keys).items():
                found[name] = binding
        return {n: b for n, b in found.items() if n in names}

    @functools.cached_property
    def tables(self) -> Refills | None:
        """How the tables that the program changes get what the checkpoint has of them; None where there are none."""
        if self.checkpoint_path is None or self.saver is None or not self.saver.restore_op_name:
            return None
        return restored_tables(self.graph, self.saver.restore_op_name)

    @functools.cached_property
    def asset_variables(self) -> Mapping[str, Path]:
        """The files whose paths the init ops assign to variables, by handle name; TF2 keeps assets so."""
        present = [n for n in self.init_ops if n in self.graph.nodes]
        if not self.assets or not present:
            return {}
        inlined = inline_calls(self.graph, present).graph
        assigned = assignments(inlined)
        return {name: self.assets[str(ref)] for name, ref in assigned if str(ref) in self.assets}

    def _listed(self) -> dict[str, Binding]:
        """Return what the collection of variables tells of partitions."""
        if self.meta is None or self.kind == "saved_model":
            return {}
        from coldframe.formats import meta_graph

        parts = meta_graph.variables(self.meta, where=self.where)
        return {
            v.node: Binding(v.part.full_name, v.part.full_shape, Box(v.part.offset, v.part.shape))
            for v in parts
            if v.part is not None
        }

    def signature(self, name: str | None = None) -> Signature:
        """Return the signature called `name`; left out, ``serving_default`` or the only one.

        Raises:
            NotFoundError: there is none of that name, or several to choose from.
        """
        known = sorted(self.signatures)
        if name is None:
            if "serving_default" in self.signatures:
                return self.signatures["serving_default"]
            if len(known) == 1:
                return self.signatures[known[0]]
        elif name in self.signatures:
            return self.signatures[name]
        what = f"no signature is called `{name}`" if name is not None else "no signature is the default one"
        listed = ", ".join(f"`{k}`" for k in known)
        raise NotFoundError(
            what,
            where=self.where,
            expected=f"one of {listed}" if known else "a graph with signatures",
            hint=near_names(name or "", known),
        )


def open_source(
    source: str | os.PathLike[str] | bytes | Graph | Any,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    tags: Iterable[str] | None = None,
    mapped: bool = False,
) -> Source:
    """Open a graph, wherever it is.

    Args:
        source: a path (GraphDef or MetaGraphDef, binary or text; a SavedModel's folder or file), the bytes of a
            GraphDef or MetaGraphDef, a `Graph`, or a GraphDef or MetaGraphDef message of coldframe's.
        checkpoint: the checkpoint with the variables' values. Left out: that of the SavedModel, or the one with the
            same prefix beside a ``.meta`` file, if it exists.
        tags: which meta graph of a SavedModel.
        mapped: whether large constants of a graph's file stay where it is mapped.

    Raises:
        NotFoundError: there is no such file, or no meta graph with these tags.
        WrongFileError: the file is of another kind; the error says what to pass instead.
        CorruptError: it is damaged.
        MisuseError: `source` is nothing of the kind.
    """
    given = None if checkpoint is None else os.fspath(checkpoint)
    if isinstance(source, Source):
        return source if given is None else dataclasses.replace(source, checkpoint_path=given)
    if isinstance(source, Graph):
        return Source(None, "graph", source, checkpoint_path=given)
    if isinstance(source, (bytes, bytearray, memoryview)):
        source = _parse(bytes(source))
    if isinstance(source, (str, os.PathLike)):
        return _open_path(Path(source), given, tags, mapped=mapped)
    full_name = getattr(getattr(source, "DESCRIPTOR", None), "full_name", "")
    if full_name in ("tensorflow.GraphDef", "tensorflow.MetaGraphDef"):
        return _of_message(_ours(source, full_name), None, given)
    raise MisuseError(
        "not a graph", expected="a path, bytes, a Graph, or a GraphDef message", found=type(source).__name__
    )


def _ours(message: Any, full_name: str) -> Any:
    """Return a message of TensorFlow's own classes as one of ours; ours as it is."""
    cls = messages.message_class(full_name)
    return message if isinstance(message, cls) else messages.parse(cls, message.SerializeToString(), where="in memory")


def _parse(data: bytes) -> Any:
    told = content.tell(memoryview(data))
    names = {Kind.GRAPH_DEF: "GraphDef", Kind.META_GRAPH: "MetaGraphDef"}
    if told.kind not in names:
        raise WrongFileError(
            "the bytes are of the wrong kind", expected="GraphDef or MetaGraphDef", found=told.kind.value
        )
    parse = messages.parse_text if told.is_text else messages.parse
    return parse(names[told.kind], data, where="in memory")


def _open_path(path: Path, checkpoint: str | None, tags: Iterable[str] | None, *, mapped: bool) -> Source:
    found = sniff.sniff(path)
    if found.kind is Kind.SAVED_MODEL_CPB or found.kind is Kind.SAVED_MODEL:
        from coldframe.formats.saved_model import read_saved_model  # each where it is read: most graphs are frozen

        return _of_saved_model(read_saved_model(path), path, checkpoint, tags)
    if found.kind is Kind.META_GRAPH:
        from coldframe.formats import meta_graph

        beside = sniff.prefix_of(path)
        if checkpoint is None and path.suffix == ".meta" and beside != path and _is_checkpoint(beside):
            checkpoint = os.fspath(beside)
        return _of_message(meta_graph.read_meta_graph(path), path, checkpoint)
    if found.kind not in _KINDS and found.kind is not Kind.UNKNOWN:
        sniff.expect(path, *_KINDS)
    message, contents = graph_def.read_graph_apart(path, mapped=mapped)
    return _of_message(message, path, checkpoint, contents)


def _is_checkpoint(prefix: Path) -> bool:
    try:
        return sniff.sniff(prefix).kind in (Kind.CHECKPOINT, Kind.CHECKPOINT_V1)
    except NotFoundError:
        return False


def _of_message(message: Any, path: Path | None, checkpoint: str | None, contents: Contents | None = None) -> Source:
    where = f"in {path}" if path is not None else "in the graph"
    if message.DESCRIPTOR.full_name == "tensorflow.GraphDef":
        graph = from_graph_def(message, where=where, contents=contents)
        return Source(path, "graph", graph, checkpoint_path=checkpoint, where=where)
    return Source(
        path,
        "meta_graph",
        from_graph_def(message.graph_def, where=where),
        message,
        _signatures(message, where),
        message.saver_def if message.HasField("saver_def") else None,
        checkpoint,
        init_ops=_init_ops(message),
        where=where,
    )


def _of_saved_model(model: SavedModel, path: Path, checkpoint: str | None, tags: Iterable[str] | None) -> Source:
    meta = model.meta_graph(tags)
    where = f"in {path}"
    prefix = model.variables_prefix
    if checkpoint is None and prefix is not None:
        checkpoint = os.fspath(prefix)
    return Source(
        path,
        "saved_model",
        from_graph_def(meta.graph_def, where=where),
        meta,
        _signatures(meta, where),
        meta.saver_def if meta.HasField("saver_def") else None,
        checkpoint,
        asset_files(model, meta),
        _init_ops(meta),
        where,
    )


def asset_files(model: SavedModel, meta: Any) -> dict[str, Path]:
    """Return the files of asset tensors: TF2 lists them in a field, TF1's builder in a collection."""
    if not meta.asset_file_def and _ASSETS in meta.collection_def:
        where = f"in collection `{_ASSETS}` in {model.folder}"
        packed = meta.collection_def[_ASSETS].any_list.value
        listed = [messages.unpack_any(a, where=where) for a in packed]
        return model.assets(messages.MetaGraphDef(asset_file_def=listed))
    return model.assets(meta)


def _signatures(meta: Any, where: str) -> dict[str, Signature]:
    found: dict[str, Signature] = {}
    for key in sorted(meta.signature_def):
        if key == _INIT_SIGNATURE:
            continue
        proto = meta.signature_def[key]
        here = f"of signature `{key}` {where}"
        defaults = {k: tensor_proto.to_array(v, where=f"default `{k}` {here}") for k, v in proto.defaults.items()}
        found[key] = Signature(
            key, _specs(proto.inputs, here), _specs(proto.outputs, here), proto.method_name, defaults
        )
    return found


def _specs(infos: Any, where: str) -> dict[str, TensorSpec]:
    return {name: spec for key in sorted(infos) for name, spec in _tensors(key, infos[key], where)}


def _tensors(key: str, info: Any, where: str) -> Iterator[tuple[str, TensorSpec]]:
    """Yield the tensors under a key: one, or the parts of a sparse, ragged or other composite tensor, ``key/part``."""
    kind = info.WhichOneof("encoding")
    if kind == "composite_tensor":
        parts = info.composite_tensor.components
        for part, component in zip(_parts(info.composite_tensor.type_spec, len(parts)), parts, strict=True):
            yield from _tensors(f"{key}/{part}", component, where)
        return
    if not info.dtype:
        raise CorruptError("tensor without a dtype", where=f"`{key}` {where}", expected="a dtype")
    dtype = dtypes.from_enum(info.dtype)
    shape = tensor_proto.shape_of(info.tensor_shape) if info.HasField("tensor_shape") else Shape.unknown()
    if kind == "coo_sparse":
        coo, rank = info.coo_sparse, None if shape.dims is None else len(shape.dims)
        yield f"{key}/indices", TensorSpec(coo.indices_tensor_name, dtypes.int64, Shape.of([None, rank]))
        yield f"{key}/values", TensorSpec(coo.values_tensor_name, dtype, Shape.of([None]))
        yield f"{key}/dense_shape", TensorSpec(coo.dense_shape_tensor_name, dtypes.int64, Shape.of([rank]))
    elif kind == "name":
        yield key, TensorSpec(info.name, dtype, shape)


_SPARSE_SPEC: Final = 1
_RAGGED_SPEC: Final = 3


def _parts(type_spec: Any, count: int) -> list[str]:
    """What the components of a composite tensor are called."""
    if type_spec.type_spec_class == _SPARSE_SPEC and count == 3:
        return ["indices", "values", "dense_shape"]
    if type_spec.type_spec_class == _RAGGED_SPEC and count > 1:
        return ["values", *(["row_splits"] if count == 2 else [f"row_splits_{i}" for i in range(count - 1)])]
    return [str(i) for i in range(count)]


def _init_ops(meta: Any) -> tuple[str, ...]:
    names: list[str] = []
    if _INIT_SIGNATURE in meta.signature_def:
        names += [i.name.partition(":")[0] for i in meta.signature_def[_INIT_SIGNATURE].outputs.values()]
    for key in _INIT_COLLECTIONS:
        if key in meta.collection_def:
            names += [n.partition(":")[0] for n in meta.collection_def[key].node_list.value]
    return tuple(dict.fromkeys(n for n in names if n))


class Stored(Mapping[str, Any]):
    """The values of a source's variables, read when asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getitem__(self, name: str) -> Any:
        return read_variable(self._source, name)

    def __contains__(self, name: object) -> bool:
        return self._source.checkpoint is not None and name in self._source.variables

    def __iter__(self) -> Iterator[str]:
        return iter(self._source.variables)

    def __len__(self) -> int:
        return len(self._source.variables)


def read_tables(source: Source, tables: Refills) -> dict[str, Array]:
    """Return what the tables of a source are filled with, by tensor name in the graph of `tables`.

    Raises:
        NotFoundError: the checkpoint does not hold it.
        CorruptError: its bytes are damaged.
    """
    checkpoint = source.checkpoint
    assert checkpoint is not None, "tables are restored from a checkpoint"
    return {str(ref): checkpoint.read(binding.key) for ref, binding in tables.bindings.items()}


def read_variable(source: Source, name: str) -> Array:
    """Return the value of a variable.

    Args:
        source: the source that has it.
        name: its handle name: its shared name, else its node's name.

    Raises:
        NotFoundError: the source has no checkpoint, or that does not hold the variable.
        CorruptError: its bytes are damaged.
        MisuseError: the checkpoint's tensor is of another shape or dtype than the graph's variable.
    """
    if name in source.asset_variables:
        return np.array(os.fsencode(source.asset_variables[name].absolute()), object)
    checkpoint = source.checkpoint
    if checkpoint is None:
        raise NotFoundError(
            f"variable `{name}` has no value",
            where=source.where,
            hint="pass the checkpoint that the graph belongs to: checkpoint=...",
        )
    binding = source.variables.get(name)
    if binding is None:
        raise NotFoundError(
            f"variable `{name}` is not in the checkpoint",
            where=f"`{checkpoint.prefix}`",
            hint=near_names(name, checkpoint.specs) or f"the checkpoint holds {len(checkpoint)} other tensors",
        )
    value = (
        checkpoint.read(binding.key)
        if binding.part is None
        else checkpoint.read_slice(binding.key, binding.part.starts, binding.part.sizes)
    )
    _require_fit(source, checkpoint, name, binding, value)
    return value


def _require_fit(source: Source, checkpoint: Checkpoint, name: str, binding: Binding, value: Array) -> None:
    node = source.variable_nodes.get(name)
    if node is None:
        return
    dtype, shape = variable_type(node)
    stored = checkpoint.specs[binding.key].dtype
    if dtype != stored or not shape.accepts(value.shape):
        raise MisuseError(
            f"variable `{name}` does not fit its checkpoint",
            where=f"tensor `{binding.key}` in `{checkpoint.prefix}`",
            expected=f"{getattr(dtype, 'name', dtype)}{shape}",
            found=f"{stored.name}{Shape(value.shape)}",
            hint="the checkpoint belongs to another graph",
        )
