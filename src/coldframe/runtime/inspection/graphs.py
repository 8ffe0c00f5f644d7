"""Reports on graphs: GraphDefs, meta graphs and SavedModels. Weights are counted, not decoded."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator
from typing import Any, Final

from coldframe import dtypes
from coldframe.formats import graph_def, meta_graph
from coldframe.formats.bundle import index_path
from coldframe.formats.content import Kind
from coldframe.formats.saved_model import SavedModel, read_saved_model
from coldframe.formats.sniff import FileKind, prefix_of
from coldframe.graph.convert import from_graph_def
from coldframe.graph.ir import Graph, Node
from coldframe.graph.signatures import known, signature
from coldframe.graph.values import TensorValue
from coldframe.ops import table
from coldframe.runtime import ends
from coldframe.runtime.inspection.checkpoints import checkpoint_fact, file_fact
from coldframe.runtime.inspection.report import EndFact, FileFact, GraphFact, Report, SignatureFact
from coldframe.shapes import Shape, TensorSpec

_NAMED: Final = 5  # attributes that a note names
GRAPHS = frozenset({Kind.GRAPH_DEF, Kind.META_GRAPH, Kind.SAVED_MODEL})


def report_graph(found: FileKind) -> Report:
    """Report on a GraphDef file, a meta graph file, or a SavedModel."""
    if found.kind is Kind.SAVED_MODEL:
        return _saved_model(found)
    files: tuple[FileFact, ...] = (file_fact(found.target),)
    where = f"in {found.path}"
    if found.kind is Kind.GRAPH_DEF:
        graph = _graph_fact(graph_def.read_graph_def(found.target), None, where=where)
        notes: tuple[str, ...] = ()
    else:
        meta = meta_graph.read_meta_graph(found.target)
        graph = _graph_fact(meta.graph_def, meta, where=where)
        prefix = prefix_of(found.path)
        is_there = index_path(prefix).is_file()
        notes = (f"its checkpoint is {prefix}",) if is_there else ("its checkpoint is not beside it",)
    return Report(found.path, found.kind.name.lower(), str(found), files, graphs=(graph,), notes=notes + _todo(graph))


def _saved_model(found: FileKind) -> Report:
    model = read_saved_model(found.path)
    where = f"in {found.path}"
    graphs = tuple(_graph_fact(m.graph_def, m, where=where, model=model) for m in model.message.meta_graphs)
    files: tuple[FileFact, ...] = (file_fact(found.target),)
    checkpoint = None
    if model.variables_prefix is not None:
        checkpoint, more = checkpoint_fact(model.variables_prefix)
        files += more
    notes = [n for g in graphs for n in _todo(g)]
    notes += [f"missing: {f.path}" for f in files if f.size is None]
    notes += [f"missing: {a.path}" for g in graphs for a in g.assets if a.size is None]
    return Report(found.path, found.kind.name.lower(), str(found), files, checkpoint, graphs, notes=tuple(notes))


def _todo(graph: GraphFact) -> tuple[str, ...]:
    if graph.unsupported:
        kinds = len(graph.unsupported)
        notes = [f"coldframe lacks {kinds} of its {len(graph.ops)} ops; what does not need them runs"]
    else:
        notes = ["coldframe runs all of its ops"]
    if graph.unknown_attributes:
        names = list(graph.unknown_attributes)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        notes.append(
            f"passed over, as TensorFlow does: attributes that the ops lack: {', '.join(names[:_NAMED])}{more}"
        )
    return tuple(notes)


def _graph_fact(proto: Any, meta: Any, *, where: str, model: SavedModel | None = None) -> GraphFact:
    graph = from_graph_def(proto, where=where)
    ops = _histogram(proto)
    supported = table()
    signatures = () if meta is None else tuple(_signature(k, meta.signature_def[k]) for k in sorted(meta.signature_def))
    inputs, outputs = _ends(graph, signatures)
    info = None if meta is None else meta.meta_info_def
    return GraphFact(
        tags=tuple(sorted(info.tags)) if info else (),
        tensorflow=info.tensorflow_version if info else "",
        producer=graph.producer,
        nodes=len(graph),
        inputs=inputs,
        outputs=outputs,
        signatures=signatures,
        variables=_variables(graph),
        ops=ops,
        unsupported={o: n for o, n in ops.items() if o not in supported and o not in graph.functions},
        unknown_attributes=_unknown_attributes(proto),
        functions={f.signature.name: len(f.node_def) for f in proto.library.function},
        constants=sum(_weight(n) for n in graph),
        collections={} if meta is None else {k: _length(v) for k, v in sorted(meta.collection_def.items())},
        saver={} if meta is None or not meta.HasField("saver_def") else _saver(meta.saver_def),
        assets=() if model is None else tuple(file_fact(p) for p in model.assets(meta).values()),
    )


def _ends(graph: Graph, signatures: tuple[SignatureFact, ...]) -> tuple[tuple[EndFact, ...], tuple[EndFact, ...]]:
    """Return inputs and outputs; signatures, where there are any, say more than a guess, so it is not made."""
    inputs = [_end_fact(graph, e) for e in ends.inputs(graph)]
    outputs = [] if signatures else [_end_fact(graph, e) for e in ends.guess_outputs(graph)]
    return tuple(inputs), tuple(outputs)


def _end_fact(graph: Graph, end: ends.End) -> EndFact:
    node = graph[end.ref.node]
    specs = ends.output_specs(graph, node)
    spec = specs[end.ref.slot] if end.ref.slot < len(specs) else None
    if spec is None:
        spec = TensorSpec(str(end.ref), dtypes.variant, Shape.unknown())
    return EndFact(spec, node.op, end.reason)


def _histogram(proto: Any) -> dict[str, int]:
    """Count ops, in functions too; most frequent first."""
    return _most_frequent(collections.Counter(n.op for n in _nodes(proto)))


def _unknown_attributes(proto: Any) -> dict[str, int]:
    """Count attributes that are not of their node's op, nor internal (``_x``), where the op is one of TensorFlow's."""
    count: collections.Counter[str] = collections.Counter()
    for n in _nodes(proto):
        if known(n.op):
            own = signature(n.op).attrs
            count.update(f"{n.op}.{name}" for name in n.attr if name not in own and not name.startswith("_"))
    return _most_frequent(count)


def _nodes(proto: Any) -> Iterator[Any]:
    yield from proto.node
    for f in proto.library.function:
        yield from f.node_def


def _most_frequent(count: collections.Counter[str]) -> dict[str, int]:
    return dict(sorted(count.items(), key=lambda item: (-item[1], item[0])))


def _variables(graph: Graph) -> tuple[TensorSpec, ...]:
    found = []
    supported = table()
    for node in graph:
        op = supported[node.op] if node.op in supported else None  # noqa: SIM401 (a miss raises)
        if op is not None and op.variable:
            shape, dtype = node.attrs.get("shape"), node.attrs.get("dtype")
            known_shape = shape if isinstance(shape, Shape) else Shape.unknown()
            if isinstance(dtype, dtypes.DType):
                found.append(TensorSpec(_shared_name(node), dtype, known_shape))
    return tuple(found)


def _shared_name(node: Node) -> str:
    shared = node.attrs.get("shared_name")
    return shared.decode(errors="replace") if isinstance(shared, bytes) and shared else node.name


def _weight(node: Node) -> int:
    value = node.attrs.get("value")
    if not isinstance(value, TensorValue) or value.shape.dims is None:
        return 0
    return math.prod(d or 0 for d in value.shape.dims) * value.dtype.width


def _signature(key: str, proto: Any) -> SignatureFact:
    return SignatureFact(key, proto.method_name, _tensor_infos(proto.inputs), _tensor_infos(proto.outputs))


def _tensor_infos(infos: Any) -> dict[str, TensorSpec]:
    found = {}
    for key in sorted(infos):
        info = infos[key]
        if info.dtype == 0:
            continue  # an op to run, as in TensorFlow's own `__saved_model_init_op`
        dims = None if info.tensor_shape.unknown_rank else [d.size for d in info.tensor_shape.dim]
        found[key] = TensorSpec.of(info.name or "(composite)", dtypes.from_enum(info.dtype), dims)
    return found


def _length(collection: Any) -> int:
    kind = collection.WhichOneof("kind")
    return len(getattr(collection, kind).value) if kind else 0


def _saver(proto: Any) -> dict[str, str]:
    return {
        "filename": proto.filename_tensor_name,
        "save": proto.save_tensor_name,
        "restore": proto.restore_op_name,
        "format": {0: "LEGACY", 1: "V1", 2: "V2"}.get(proto.version, str(proto.version)),
    }
