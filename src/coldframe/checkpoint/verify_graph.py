"""Whether a checkpoint agrees with what describes it: the meta graph beside it, and the object graph inside.

What a meta graph wants is told by its saver: the nodes that take the saver's file name, and then a constant vector of
names, read those tensors. Without a saver, it is the collection of variables. Shapes come from the slices that are
asked for, and from the variables' nodes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from coldframe import dtypes
from coldframe.checkpoint.report import Findings, told
from coldframe.dtypes import DType
from coldframe.errors import ColdframeError, near_names
from coldframe.formats import tensor_proto
from coldframe.formats.meta_graph import read_meta_graph, variables
from coldframe.formats.object_graph import OBJECT_GRAPH_KEY, ObjectGraph
from coldframe.formats.slices import parse_shape_and_slice
from coldframe.formats.stores import Store, fetched
from coldframe.records import dataclass

Specs: TypeAlias = Mapping[str, tuple[DType | None, tuple[int, ...]]]
"""Dtype (None where unknown) and shape of each tensor of a checkpoint."""

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """A tensor that a meta graph restores; None is what it does not tell."""

    dtype: DType | None
    shape: tuple[int | None, ...] | None


def check_meta_graph(store: Store, path: str, specs: Specs, full_names: Mapping[str, str], findings: Findings) -> None:
    """Note where a checkpoint lacks what the meta graph at `path` restores, or has it otherwise.

    Args:
        store: where it is.
        path: the ``.meta`` file.
        specs: the checkpoint's tensors.
        full_names: tensor by TF1 name, of a checkpoint by objects.
        findings: where problems go.
    """
    try:
        with fetched(store, path) as local:
            wanted = wanted_tensors(read_meta_graph(local), where=f"in {path}")
    except ColdframeError as e:
        findings.add("error", told(e), file=path)
        return
    for name, want in wanted.items():
        key = name if name in specs else full_names.get(name, name)
        if key not in specs:
            hint = near_names(name, specs)
            text = "the graph restores it, but it is not in the checkpoint" + (f"; {hint}" if hint else "")
            findings.add("error", text, file=path, tensor=name)
            continue
        dtype, shape = specs[key]
        if want.dtype is not None and dtype is not None and want.dtype is not dtype:
            text = f"another dtype than in the graph: expected {want.dtype}, found {dtype}"
            findings.add("error", text, file=path, tensor=name)
        if want.shape is not None and not _fits(want.shape, shape):
            expected = ["?" if d is None else d for d in want.shape]
            text = f"another shape than in the graph: expected {expected}, found {list(shape)}"
            findings.add("error", text, file=path, tensor=name)
    known = wanted.keys() | {full_names.get(n, n) for n in wanted} | {OBJECT_GRAPH_KEY}
    if wanted and (others := sorted(specs.keys() - known)):
        shown = ", ".join(f"`{n}`" for n in others[:_SHOWN]) + (", ..." if len(others) > _SHOWN else "")
        findings.add("note", f"not restored by the graph: {shown}", file=path)


def wanted_tensors(meta_graph: Any, *, where: str) -> dict[str, Wanted]:
    """Return what a meta graph restores from a checkpoint, by the names in the checkpoint.

    Raises:
        CorruptError: a constant or a variable's definition is damaged.
    """
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    shapes: dict[str, tuple[int | None, ...]] = {}
    for v in variables(meta_graph, where=where):
        node = nodes.get(v.node)
        if v.part is not None:
            shapes[v.checkpoint_name] = v.part.full_shape
        elif node is not None and "shape" in node.attr and not node.attr["shape"].shape.unknown_rank:
            dims = node.attr["shape"].shape.dim
            shapes[v.checkpoint_name] = tuple(None if d.size < 0 else int(d.size) for d in dims)
    found: dict[str, Wanted] = {}
    filename = meta_graph.saver_def.filename_tensor_name.split(":")[0]
    for node in nodes.values():
        if filename and len(node.input) >= 2 and node.input[0].split(":")[0] == filename:
            for name, dtype, piece in _named(node, nodes, where):
                spec = parse_shape_and_slice(piece)
                found[name] = Wanted(dtype, spec[0] if spec else shapes.get(name))
    if not found:
        found = {name: Wanted(None, shape) for name, shape in shapes.items()}
    return found


def _named(node: Any, nodes: Mapping[str, Any], where: str) -> Iterator[tuple[str, DType | None, str]]:
    """Yield name, dtype and slice of the tensors that a node saves or restores."""
    names = _strings(nodes, node.input[1], where)
    pieces = _strings(nodes, node.input[2], where) if len(node.input) > 2 else []
    listed = [*node.attr["dtypes"].list.type] if "dtypes" in node.attr else []
    if "dt" in node.attr:
        listed = [node.attr["dt"].type]
    for i, name in enumerate(names):
        dtype = dtypes.from_enum(listed[i]) if i < len(listed) else None
        yield name, dtype, pieces[i] if i < len(pieces) else ""


def _strings(nodes: Mapping[str, Any], tensor: str, where: str) -> list[str]:
    node = nodes.get(tensor.split(":")[0])
    if node is None or "value" not in node.attr:
        return []
    array = tensor_proto.to_array(node.attr["value"].tensor, where=f"of node `{node.name}` {where}")
    if array.dtype != object:
        return []
    return [s.decode("utf-8", "surrogateescape") for s in array.reshape(-1).tolist()]


def _fits(wanted: tuple[int | None, ...], found: tuple[int, ...]) -> bool:
    return len(wanted) == len(found) and all(w in (None, f) for w, f in zip(wanted, found, strict=True))


def check_object_graph(graph: ObjectGraph, specs: Specs, findings: Findings) -> None:
    """Note where the object graph names tensors that are not there, and where tensors belong to no object."""
    keys = set()
    for a in graph.attributes:
        keys.add(a.key)
        if a.key not in specs:
            what = graph.paths.get(a.node) or a.full_name or f"object {a.node}"
            text = f"the object graph names it, for `{what}`, but it is not in the checkpoint"
            findings.add("warning", text, tensor=a.key)
    named = {node.registered_saver.object_name for node in graph.message.nodes if node.registered_saver.name}
    if named:  # savers of their own keep tensors under keys that only they know
        return
    others = sorted(specs.keys() - keys - {OBJECT_GRAPH_KEY})
    if others:
        shown = ", ".join(f"`{n}`" for n in others[:_SHOWN]) + (", ..." if len(others) > _SHOWN else "")
        findings.add("warning", f"tensors of no object: {shown}")


def meta_path(prefix: str) -> str | None:
    """Return the meta graph beside a checkpoint, or None."""
    path = prefix + ".meta"
    return path if os.path.isfile(path) else None
