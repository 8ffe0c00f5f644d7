"""Whether a checkpoint has what a graph wants, before anything is restored.

The graph tells which tensor each of its variables is restored from: its restore op, its list of variables, or at last
the variables' own names (see `source`). Held against the names in the checkpoint, that gives what is missing, what is
of another dtype or shape, and what nobody asks for; with near names, since most often a scope or a number differs.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from coldframe import dtypes
from coldframe.checkpoint.reader import Checkpoint, open_checkpoint
from coldframe.checkpoint.roles import Role, roles
from coldframe.errors import NotFoundError, near_names
from coldframe.formats import sniff
from coldframe.formats.content import Kind
from coldframe.graph.ir import Graph, Node
from coldframe.graph.signatures import known, signature
from coldframe.passes.base import row_of
from coldframe.passes.variables import Binding, handle_name, source_of, variable_type
from coldframe.records import dataclass
from coldframe.runtime.source import Source, open_source
from coldframe.shapes import Shape, TensorSpec

_GRAPHS = frozenset({Kind.GRAPH_DEF, Kind.META_GRAPH, Kind.SAVED_MODEL})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A tensor that the graph wants.

    Attributes:
        spec: the tensor's name in a checkpoint, with the dtype and shape that the graph declares.
        hint: near names in the checkpoint, where it is missing.
    """

    spec: TensorSpec
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A tensor of another dtype or shape than the graph declares."""

    wanted: TensorSpec
    stored: TensorSpec


@dataclass(frozen=True, slots=True)
class Fit:
    """How a checkpoint fits a graph.

    Attributes:
        matched: how many tensors fit.
        missing: what the checkpoint lacks.
        misfits: what is of another kind there.
        unused: what the graph has no use for, without an object graph and its bookkeeping.
    """

    matched: int
    missing: tuple[Wanted, ...]
    misfits: tuple[Misfit, ...]
    unused: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether the graph can be restored from the checkpoint, and all of the checkpoint is used."""
        return not (self.missing or self.misfits or self.unused)

    def to_json(self) -> dict[str, Any]:
        def kind(spec: TensorSpec) -> dict[str, Any]:
            dims = spec.shape.dims
            return {"name": spec.name, "dtype": spec.dtype.name, "shape": None if dims is None else list(dims)}

        return {
            "fits": self.fits,
            "matched": self.matched,
            "missing": [kind(w.spec) | {"hint": w.hint} for w in self.missing],
            "misfits": [{"wanted": kind(m.wanted), "stored": kind(m.stored)} for m in self.misfits],
            "unused": list(self.unused),
        }


def is_graph(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a graph's rather than a checkpoint's: a ``.meta``, ``.pb`` or SavedModel."""
    try:
        return sniff.sniff(path).kind in _GRAPHS
    except NotFoundError:
        return False


def fit(checkpoint: str | os.PathLike[str], graph: str | os.PathLike[str] | Graph) -> Fit:
    """Hold a checkpoint against the variables of a graph. No tensor bytes are read.

    Args:
        checkpoint: by any path that `open_checkpoint` takes.
        graph: a ``.meta``, ``.pb`` or SavedModel, or a graph in memory.

    Raises:
        NotFoundError: there is no such checkpoint or graph.
        WrongFileError: `graph` is something else.
        CorruptError: one of them is damaged.
    """
    source = _without_checkpoint(graph)
    with open_checkpoint(checkpoint) as ckpt:
        names = ckpt.by_full_name
        asked = wanted_tensors(source, names)
        # As TensorFlow's Saver does with an object-based checkpoint: its object graph knows the names, too.
        wanted = {key if key in ckpt else names.get(key, key): spec for key, spec in asked.items()}
        unused = tuple(n for n in _values(ckpt) if n not in wanted)
        missing, misfits = [], []
        for key, spec in wanted.items():
            stored = ckpt.specs.get(key)
            if stored is None:
                missing.append(Wanted(spec, _hint(spec, ckpt, unused)))
            elif stored.dtype is not spec.dtype or not spec.shape.accepts(_dims(stored)):
                misfits.append(Misfit(spec, stored))
        return Fit(len(wanted) - len(missing) - len(misfits), tuple(missing), tuple(misfits), unused)


def _hint(spec: TensorSpec, ckpt: Checkpoint, unused: Sequence[str]) -> str:
    """Return near names among the tensors that nobody asks for, those of the right kind first."""
    alike = [n for n in unused if ckpt.specs[n].dtype is spec.dtype and spec.shape.accepts(_dims(ckpt.specs[n]))]
    return near_names(spec.name, alike) or near_names(spec.name, unused)


def _without_checkpoint(graph: str | os.PathLike[str] | Graph) -> Source:
    """Open a graph so that nothing is looked up in a checkpoint that may lie beside it."""
    return dataclasses.replace(open_source(graph), checkpoint_path=None)


def _values(ckpt: Checkpoint) -> list[str]:
    return [n for n, part in roles(ckpt.specs, ckpt.object_graph).items() if part.role is not Role.BOOKKEEPING]


def _dims(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(d for d in spec.shape if d is not None)


def wanted_tensors(source: Source, names: Mapping[str, str]) -> dict[str, TensorSpec]:
    """Return the tensors that restoring a graph reads, by their names in a checkpoint.

    Args:
        source: the graph.
        names: tensor name by variable name, for variables that no restore op names.
    """
    found: dict[str, TensorSpec] = {}
    restored = source.variables
    told = source.saver is not None and bool(source.saver.restore_op_name)
    for name, node in source.variable_nodes.items():
        if told and name not in restored:
            continue  # local variables, paths of assets, and others that its Saver leaves alone
        binding = restored.get(name) or Binding(names.get(name, name))
        dtype, shape = variable_type(node)
        if binding.full_shape is not None:
            shape = Shape(binding.full_shape)
        if isinstance(dtype, dtypes.DType):
            found[binding.key] = TensorSpec(binding.key, dtype, shape)
    return found


def optimizer_keys(graph: str | os.PathLike[str] | Graph) -> frozenset[str]:
    """Return the names in a checkpoint of the variables that only a graph's optimizers use: their slots.

    An op that trains takes the variable that it changes, and behind it, as variables too, what it keeps for it.

    Raises:
        NotFoundError, WrongFileError, CorruptError: as `fit`.
    """
    source = _without_checkpoint(graph)
    slots: set[str] = set()
    for node in source.graph:
        slots |= set(_variable_arguments(source.graph, node)[1:])
    bindings = source.variables
    return frozenset(bindings[s].key if s in bindings else s for s in slots)


def _variable_arguments(graph: Graph, node: Node) -> list[str]:
    """Return the handle names of the variables that an op takes as such, not as values."""
    row = row_of(node)
    if row is None or not row.stateful or row.control or not known(node.op):
        return []
    arguments = signature(node.op).inputs
    if any(a.number_attr or a.type_list_attr for a in arguments):
        return []  # calls and the like hand on what they get
    found = []
    for argument, ref in zip(arguments, node.inputs, strict=False):
        if not (argument.is_ref or argument.type is dtypes.resource):
            continue
        origin = source_of(graph, ref)
        owner = graph.nodes[origin.node] if origin is not None else None
        owner_row = row_of(owner) if owner is not None else None
        if owner is not None and owner_row is not None and owner_row.variable:
            found.append(handle_name(owner))
    return found
