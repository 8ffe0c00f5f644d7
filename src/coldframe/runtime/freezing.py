"""Freezing: a graph and the values of its variables become one graph of constants.

::

    open_source ─► outputs ─► inline ─► prune ─► bake variables ─► repair references ─► strip checks ─► FrozenGraph

Names in a frozen graph:

- Nodes keep their names. A variable ``w`` is a constant ``w``; what read it, ``w/read``, is an identity.
- An output of a TF1 graph keeps its node. One of a TF2 signature, which is the result of a call, gets a node with the
  name of its key in the signature: ``best``. Asked for as ``StatefulPartitionedCall:0``, it keeps that name.
- Inputs keep their placeholders: ``x:0``, ``serving_default_x:0``.
- Bodies of inlined functions are named after the call: ``StatefulPartitionedCall/dense/MatMul``.

Devices and colocations are cleared: a frozen graph runs where it is loaded.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.errors import GraphError, MisuseError, NotFoundError, UnsupportedError, near_names
from coldframe.formats import messages
from coldframe.formats.graph_def import write_graph_def
from coldframe.graph.convert import to_graph_def
from coldframe.graph.ir import Graph, Node
from coldframe.graph.names import TensorRef, find_node, parse_tensor
from coldframe.graph.signatures import known, signature
from coldframe.graph.traverse import needed
from coldframe.graph.values import AttrValue, TensorValue
from coldframe.ops import table
from coldframe.passes.bake_variables import BakeVariables
from coldframe.passes.base import Context, Pass, Pipeline, row_of
from coldframe.passes.clear_placement import ClearPlacement
from coldframe.passes.inline import InlineCalls
from coldframe.passes.moving_statistics import UseMovingStatistics
from coldframe.passes.prune import Prune
from coldframe.passes.repair_refs import RepairRefs
from coldframe.passes.set_training import SetTraining
from coldframe.passes.strip_training import StripChecks
from coldframe.passes.variables import handle_name, variable_type, variables_of
from coldframe.records import dataclass
from coldframe.runtime.ends import guess_outputs, inputs, output_dtypes, output_shape
from coldframe.runtime.source import Signature, Source, open_source, read_variable
from coldframe.shapes import Shape, TensorSpec

_PER_NODE: Final = 64  # bytes that a node takes at least, for an estimate


@dataclass(frozen=True, eq=False)
class FrozenGraph:
    """A graph whose weights are constants.

    Attributes:
        graph: the graph.
        inputs: what to feed: by key of the signature, or by tensor name where there was none.
        outputs: what to fetch, likewise. Each spec's `name` is the tensor's name.
        notes: what was changed or guessed, and why.
        init_ops: nodes to run once before anything else: they fill tables. Mostly none.
    """

    graph: Graph
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    notes: tuple[str, ...] = ()
    init_ops: tuple[str, ...] = ()

    @functools.cached_property
    def graph_def(self) -> Any:
        """The ``GraphDef`` message."""
        return to_graph_def(self.graph)

    @property
    def nbytes(self) -> int:
        """About how many bytes the file takes: those of the constants, and some for each node."""
        bodies = [f.body for f in self.graph.functions.values()]
        return sum(_constant_bytes(n) + _PER_NODE for g in (self.graph, *bodies) for n in g)

    def save(self, path: str | os.PathLike[str], *, as_text: bool | None = None) -> None:
        """Write the graph in one step.

        Args:
            path: the file: binary, or text where it ends in ``.pbtxt``.
            as_text: overrules what the name says.

        Raises:
            UnsupportedError: it takes more than the 2 GiB that protobuf allows; nothing has been written.
            NotFoundError: the folder does not exist.
        """
        if self.nbytes > messages.SIZE_LIMIT:
            raise UnsupportedError(
                "the frozen graph is too large for protobuf",
                where=f"for {path}",
                expected=f"at most {messages.SIZE_LIMIT} bytes",
                found=f"about {self.nbytes}",
                hint="keep the weights in a checkpoint or a SavedModel instead of in the graph",
            )
        write_graph_def(path, self.graph_def, as_text=as_text)


def _constant_bytes(node: Node) -> int:
    value = node.attrs.get("value")
    if not isinstance(value, TensorValue):
        return 0
    if value.source is not None:
        return int(value.source.ByteSize())
    return (value.shape.size or 0) * value.dtype.width


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a frozen graph is made for: tensors of the source's graph, by the key that users know them by."""

    graph: Graph
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorRef]
    notes: tuple[str, ...] = ()


def freeze(
    source: Any,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    outputs: str | Sequence[str] | None = None,
    inputs: str | Sequence[str] | None = None,
    signature: str | None = None,
    training: bool | None = None,
    tags: Iterable[str] | None = None,
) -> FrozenGraph:
    """Make a frozen graph: variables become constants, and only what the outputs need stays.

    Args:
        source: what `open_source` takes: a ``.meta`` file, a SavedModel's folder, a graph, or a `Source`.
        checkpoint: the variables' values, where `source` does not come with its own.
        outputs: tensor or node names, ``softmax``, ``softmax:0``; or keys of the signature's outputs. Left out: the
            signature's outputs, or a guess, which the notes explain.
        inputs: tensors at which to cut: they become placeholders. Left out: the graph's own placeholders.
        signature: the signature to freeze, where there are several.
        training: the value for switches between training and inference such as a placeholder ``is_training``; False
            leaves the inference form. None leaves them in the graph.
        tags: which meta graph of a SavedModel.

    Raises:
        NotFoundError: no such file, output, input or signature; or a variable has no value.
        UnsupportedError: an output needs a variable itself, not only its value.
        GraphError: the graph is not sound.
        CorruptError: a file is damaged.
    """
    opened = open_source(source, checkpoint=checkpoint, tags=tags)
    wanted = _wanted(opened, outputs, signature)
    wanted = _cut(wanted, [inputs] if isinstance(inputs, str) else inputs)
    init, graph = _initializers(opened, wanted)
    context = Context((*wanted.outputs.values(), *init), notes=list(wanted.notes))
    if training is False:  # before the updates of the averages are pruned
        graph = UseMovingStatistics().run(graph, context)
    graph = freezing(opened, training=training).run(graph, context)
    return _frozen(graph, wanted, init, context)


def freezing(source: Source, *, training: bool | None = None) -> Pipeline:
    """Return the pipeline that freezes the graph of `source`."""

    def value_of(node: Node) -> TensorValue:
        return TensorValue.of(read_variable(source, handle_name(node)), variable_type(node)[0])

    passes: list[Pass] = [InlineCalls(), Prune()]
    if training is not None:
        passes += [SetTraining(training), Prune(name="prune branches")]
    passes += [
        _FindValues(source),
        BakeVariables(value_of),
        RepairRefs(),
        StripChecks(),
        Prune(name="prune again"),
        ClearPlacement(),
    ]
    return Pipeline("freeze", passes)


@dataclass(frozen=True, slots=True)
class _FindValues:
    """Refuse a graph of which several variables have no value, and name them all at once."""

    source: Source
    name: str = "find values"

    def run(self, graph: Graph, context: Context, /) -> Graph:
        names = dict.fromkeys(handle_name(n) for n in variables_of(graph))
        missing = [n for n in names if n not in self.source.variables and n not in self.source.asset_variables]
        if self.source.checkpoint is None:
            missing = [n for n in names if n not in self.source.asset_variables]
        if len(missing) < 2:  # reading it says more
            return graph
        checkpoint = self.source.checkpoint
        shown = _listed(missing[:5]) + (", ..." if len(missing) > 5 else "")
        if checkpoint is None:
            hint = "pass the checkpoint that the graph belongs to: checkpoint=..."
        else:
            hint = near_names(missing[0], checkpoint.specs) or "does the checkpoint belong to this graph?"
        raise NotFoundError(
            f"{len(missing)} variables have no value",
            where=self.source.where if checkpoint is None else f"in checkpoint `{checkpoint.prefix}`",
            expected=shown,
            found="no checkpoint" if checkpoint is None else f"{len(checkpoint)} other tensors",
            hint=hint,
        )


# --- what is wanted ---------------------------------------------------------------------------------------------
def _wanted(source: Source, outputs: str | Sequence[str] | None, signature: str | None) -> _Wanted:
    names = [outputs] if isinstance(outputs, str) else outputs
    sig = source.signature(signature) if signature is not None else _default(source, required=names is None)
    if names is None and sig is not None:
        note = f"outputs are those of signature `{sig.name}`: {_listed(s.name for s in sig.outputs.values())}"
        refs = {k: _tensor(source.graph, s.name) for k, s in sig.outputs.items()}
        return _named_outputs(source, sig, refs, (note,))
    if names is None:
        return _guessed(source)
    if not names:
        raise MisuseError("no outputs to freeze for", expected="at least one name")
    found: dict[str, TensorRef] = {}
    for name in names:
        if sig is not None and name in sig.outputs:
            found[name] = _tensor(source.graph, sig.outputs[name].name)
        else:
            found[name] = _tensor(source.graph, name, sig)
    return _named_outputs(source, sig, found, ())


def _default(source: Source, *, required: bool) -> Signature | None:
    """Return the default signature, or None where there is none; that is an error where one must be chosen."""
    has_default = "serving_default" in source.signatures or len(source.signatures) == 1
    return source.signature() if has_default or (required and source.signatures) else None


def _tensor(graph: Graph, name: str, sig: Signature | None = None) -> TensorRef:
    ref = parse_tensor(name)
    try:
        return TensorRef(find_node(ref.node, graph.nodes), ref.slot)
    except NotFoundError as e:
        keys = near_names(name, sig.outputs) if sig is not None else ""
        if not keys:
            raise
        raise NotFoundError(f"neither a node nor an output is called `{name}`", hint=keys) from e


def _guessed(source: Source) -> _Wanted:
    ends = [e for e in guess_outputs(source.graph) if e.ref.node not in _machinery(source)]
    if not ends:
        raise MisuseError("no outputs could be guessed", where=source.where, hint="name them: outputs=[...]")
    notes = [f"guessed output `{e.ref}`: {e.reason}" for e in ends]
    return _Wanted(source.graph, _own_inputs(source.graph), {e.ref.node: e.ref for e in ends}, tuple(notes))


def _machinery(source: Source) -> set[str]:
    """Return the nodes that save, restore and initialize, as the source names them."""
    names = set(source.init_ops)
    if source.saver is not None:
        names |= {n.partition(":")[0] for n in (source.saver.restore_op_name, source.saver.save_tensor_name)}
    readers = {n.name for n in source.graph if n.controls and names & set(n.controls)}
    waited = {c for name in names if name in source.graph.nodes for c in source.graph.nodes[name].controls}
    return names | readers | waited


def _named_outputs(
    source: Source, sig: Signature | None, refs: Mapping[str, TensorRef], notes: tuple[str, ...]
) -> _Wanted:
    """Return the wanted outputs; results of calls under keys of a signature get nodes of that name."""
    graph = source.graph
    keys = {} if sig is None else {k: s for k, s in sig.outputs.items() if k in refs}
    added: list[Node] = []
    out: dict[str, TensorRef] = {}
    for key, ref in refs.items():
        if key not in keys or not _is_call(graph, graph.nodes[ref.node]):
            out[key] = ref
            continue
        node = Node(_free(graph, key, added), table().named_role("identity").name, [ref], [], {"T": keys[key].dtype})
        added.append(node)
        out[key] = node.out()
    if added:
        graph = graph.with_nodes([*graph, *added])
    feeds = _own_inputs(graph) if sig is None else dict(sig.inputs)
    return _Wanted(graph, feeds, out, notes)


def _free(graph: Graph, key: str, added: Sequence[Node]) -> str:
    name, k = key, 0
    while name in graph.nodes or any(n.name == name for n in added):
        k += 1
        name = f"{key}_{k}"
    return name


def _is_call(graph: Graph, node: Node) -> bool:
    row = row_of(node)
    return node.op in graph.functions or (row is not None and row.role == "call")


def _own_inputs(graph: Graph) -> dict[str, TensorSpec]:
    found: dict[str, TensorSpec] = {}
    for end in inputs(graph):
        node = graph.nodes[end.ref.node]
        types = output_dtypes(graph, node)
        if types:
            found[node.name] = TensorSpec(str(end.ref), types[0], output_shape(node, 0))
    return found


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)


def _cut(wanted: _Wanted, names: Sequence[str] | None) -> _Wanted:
    """Make placeholders of the tensors `names`, so that nothing behind them is needed.

    A node with one output keeps its name. Output 3 of ``next``, which has several, is read from ``next_3`` then.
    """
    if names is None:
        return wanted
    graph, moved = wanted.graph.copy(), {}
    feeds: dict[str, TensorSpec] = {}
    for name in names:
        spec = wanted.inputs.get(name)
        ref = _tensor(graph, spec.name if spec is not None else name)
        types = output_dtypes(graph, graph.nodes[ref.node])
        if types is None or ref.slot >= len(types):
            raise NotFoundError(f"`{ref}` cannot be an input", found=f"op `{graph.nodes[ref.node].op}`")
        shape = output_shape(graph.nodes[ref.node], ref.slot)
        placeholder = _placeholder(graph, ref, types, shape if spec is None else spec.shape)
        if placeholder != ref:
            moved[ref] = placeholder
        feeds[name] = TensorSpec(str(placeholder), types[ref.slot], shape)
    for node in graph:
        node.inputs = [moved.get(r, r) for r in node.inputs]
    notes = tuple(f"`{old}` is fed as `{new}` now" for old, new in moved.items())
    return dataclasses.replace(wanted, graph=graph, inputs=feeds, notes=(*wanted.notes, *notes))


def _placeholder(graph: Graph, ref: TensorRef, types: Sequence[dtypes.DType], shape: Shape) -> TensorRef:
    """Put a placeholder in the place of a tensor and return what to feed."""
    row = row_of(graph.nodes[ref.node])
    if row is not None and row.placeholder:
        return ref
    attrs: dict[str, AttrValue] = {"dtype": types[ref.slot], "shape": shape}
    op = table().named_role("placeholder").name
    if len(types) == 1:
        graph.nodes[ref.node] = Node(ref.node, op, [], [], attrs)
        return ref
    return graph.add(Node(graph.unique_name(f"{ref.node}_{ref.slot}"), op, [], [], attrs)).out()


# --- tables -----------------------------------------------------------------------------------------------------
def _initializers(source: Source, wanted: _Wanted) -> tuple[tuple[str, ...], Graph]:
    """Return the nodes that fill the tables which the outputs need, and the graph they are in: calls are inlined."""
    graph = _with_assets(source, wanted.graph)
    present = [n for n in source.init_ops if n in graph.nodes]
    if not present:
        return (), graph
    outputs = list(wanted.outputs.values())
    whole = InlineCalls().run(graph, Context((*outputs, *present)))
    tables = {name for name in needed(whole, [r.node for r in outputs]) if _makes_resource(whole.nodes[name])}
    fills = [n.name for n in whole if _fills(whole, n) and not tables.isdisjoint(needed(whole, [n.name]))]
    return tuple(fills), whole


def _makes_resource(node: Node) -> bool:
    row = row_of(node)
    if row is not None and row.variable:
        return False
    if not known(node.op):
        return False
    sig = signature(node.op)
    types = {dtypes.resource, dtypes.string}
    made = bool(sig.outputs) and (sig.outputs[0].type is dtypes.resource or sig.outputs[0].is_ref)
    return sig.is_stateful and made and not sig.inputs and sig.outputs[0].type in types


def _fills(graph: Graph, node: Node) -> bool:
    """Whether `node` has no outputs and takes a resource that is no variable."""
    if not known(node.op) or signature(node.op).outputs:
        return False
    return any(_makes_resource(graph.nodes[r.node]) for r in node.inputs if r.node in graph.nodes)


def _with_assets(source: Source, graph: Graph) -> Graph:
    """Give the constants that stand for files the paths that these have now."""
    if not source.assets:
        return graph
    out = graph.copy()
    for tensor, path in source.assets.items():
        node = out.nodes.get(parse_tensor(tensor).node)
        if node is None or node.inputs:
            continue
        value = TensorValue.of(np.array(os.fsencode(path.absolute()), object), dtypes.string)
        const = table().named_role("const").name
        out.nodes[node.name] = Node(node.name, const, [], [], {"dtype": dtypes.string, "value": value})
    return out


# --- the result -------------------------------------------------------------------------------------------------
def _frozen(graph: Graph, wanted: _Wanted, init: tuple[str, ...], context: Context) -> FrozenGraph:
    outputs: dict[str, TensorSpec] = {}
    for key, ref in wanted.outputs.items():
        node = graph.nodes[ref.node]
        types = output_dtypes(graph, node)
        if types is None or ref.slot >= len(types):
            raise GraphError(f"node `{node.name}` ({node.op}) has no output {ref.slot}", hint="name another output")
        outputs[key] = TensorSpec(str(ref), types[ref.slot], output_shape(node, ref.slot))
    feeds = {k: s for k, s in wanted.inputs.items() if parse_tensor(s.name).node in graph.nodes}
    unused = [k for k in wanted.inputs if k not in feeds]
    if unused and len(unused) < 10:
        context.note(f"inputs {_listed(unused)} are not needed by the outputs")
    if init:
        context.note(f"run {_listed(init)} once before anything else: tables must be filled")
    feeds.update(_missing_inputs(graph, feeds))
    return FrozenGraph(graph, feeds, outputs, tuple(context.notes), init)


def _missing_inputs(graph: Graph, feeds: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
    """Return placeholders that outputs need, though no signature names them."""
    there = {parse_tensor(s.name).node for s in feeds.values()}
    return {k: s for k, s in _own_inputs(graph).items() if k not in there}


__all__ = ["FrozenGraph", "freeze", "freezing"]
