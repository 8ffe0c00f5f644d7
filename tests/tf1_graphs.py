"""Comparing graphs that coldframe.tf1 builds with those of TensorFlow, node by node."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import tensorflow as tensorflow_package

from coldframe.runtime.session import Session

oracle = tensorflow_package.compat.v1  # tests/tf1/conftest.py makes it behave as version 1

IGNORED = frozenset({"_has_manual_control_dependencies", "_output_shapes", "debug_name"})


def differences(ours: Any, theirs: Any, ignored_attrs: Collection[str] = IGNORED) -> list[str]:
    """Return one line per difference between two GraphDefs (messages of any pool, or bytes): nodes are matched by name.

    Their order, and the order of a node's control inputs, do not count; constants are compared by value.
    """
    a, b = _nodes(ours), _nodes(theirs)
    lines = [f"  missing  {_described(n)}" for name, n in b.items() if name not in a]
    lines += [f"  surplus  {_described(n)}" for name, n in a.items() if name not in b]
    for name, node in a.items():
        if name in b:
            lines += _between(node, b[name], ignored_attrs)
    return lines


def same_graph(ours: Any, theirs: Any, ignored_attrs: Collection[str] = IGNORED) -> None:
    """Assert that two GraphDefs have the same nodes; see `differences`."""
    lines = differences(ours, theirs, ignored_attrs)
    assert not lines, "graphs differ from TensorFlow's:\n" + "\n".join(lines)


def _nodes(graph: Any) -> dict[str, Any]:
    data = graph if isinstance(graph, bytes) else graph.SerializeToString()
    return {n.name: n for n in oracle.GraphDef.FromString(data).node}


def _described(node: Any) -> str:
    return f"{node.name} = {node.op}({', '.join(node.input)})"


def _between(a: Any, b: Any, ignored: Collection[str]) -> list[str]:
    lines = []
    for what, x, y in (
        ("op", a.op, b.op),
        ("inputs", _data(a), _data(b)),
        ("controls", _controls(a), _controls(b)),
        ("device", a.device, b.device),
    ):
        if x != y:
            lines.append(f"  {a.name}: {what} {x!r}, TensorFlow has {y!r}")
    for key in sorted((set(a.attr) | set(b.attr)) - set(ignored)):
        x, y = (_value(n.attr[key]) if key in n.attr else "nothing" for n in (a, b))
        if x != y:
            lines.append(f"  {a.name} ({a.op}): attr {key} = {x}, TensorFlow has {y}")
    return lines


def _data(node: Any) -> list[str]:
    return [i for i in node.input if not i.startswith("^")]


def _controls(node: Any) -> list[str]:
    return sorted(i for i in node.input if i.startswith("^"))


def _value(attr: Any) -> str:
    if attr.HasField("tensor"):
        array = oracle.make_ndarray(attr.tensor)
        return f"{array.dtype}{list(array.shape)} {np.array2string(array, threshold=2000)}"
    return str(attr).strip().replace("\n", " ")


# --- calls --------------------------------------------------------------------------------------------------------
Call = Callable[[Any], Any]
"""A row of a table: builds nodes with the namespace it is given (TensorFlow's or ours), returns its results."""


def check_call(
    call: Call, ours: Any, run: bool = True, feeds: dict[str, Any] | None = None, nodes: bool = True
) -> None:
    """Assert that `call` builds the same graph with both, static shapes no less known, and the same values.

    Args:
        ours: our namespace.
        run: compare values too; placeholders get numbers from 0.1 up, or what `feeds` has.
        nodes: compare the graphs.
    """
    graph, results = build(call, ours)
    oracle_graph, oracle_results = build(call, oracle)
    if nodes:
        same_graph(graph.as_graph_def(), oracle_graph.as_graph_def())
    tensors, expected = flat(results), flat(oracle_results)
    told = [(t.name, t.dtype.name) for t in tensors]
    wanted = [(t.name, t.dtype.base_dtype.name) for t in expected]
    assert told == wanted, f"results {told}, TensorFlow has {wanted}"
    for t, e in zip(tensors, expected, strict=True):
        assert _knows(_dims(t), _dims(e)), f"{t.name} has shape {_dims(t)}, TensorFlow knows {_dims(e)}"
    if not run:
        return
    values = {f"{n.name}:0": _value_for(n, feeds or {}) for n in oracle_graph.as_graph_def().node
              if n.op == "Placeholder"}  # fmt: skip
    names = [t.name for t in tensors]
    with oracle.Session(graph=oracle_graph) as session:
        want = session.run(names, values)
    got = Session(graph.ir, engine="reference").run(names, values)
    for name, x, y in zip(names, got, want, strict=True):
        _same_value(name, np.asarray(x), np.asarray(y))


def check_values(call: Call, ours: Any, rtol: float, atol: float) -> None:
    """Assert that `call` gives the same dtypes, shapes that fit, and values with both, whatever nodes they are made of.

    Args:
        ours: our namespace.
        rtol, atol: of the values, as shares of the largest.
    """
    graph, results = build(call, ours)
    oracle_graph, oracle_results = build(call, oracle)
    tensors, expected = flat(results), flat(oracle_results)
    with ours.Session(graph=graph) as session:
        got = session.run(tensors)
    with oracle.Session(graph=oracle_graph) as session:
        want = session.run(expected)
    for a, b, x, y in zip(tensors, expected, got, want, strict=True):
        assert a.dtype.name == b.dtype.name
        assert b.shape.rank is None or (a.shape.ndims == b.shape.rank and b.shape.is_compatible_with(a.shape.as_list()))
        scale = max(np.abs(np.asarray(y, np.complex128)).max(initial=0), 1e-6)
        np.testing.assert_allclose(x / scale, y / scale, rtol=rtol, atol=atol)


def build(call: Call, tf: Any) -> tuple[Any, Any]:
    """Return the graph that `call` builds in `tf`, and what it returns."""
    graph = tf.Graph()
    with graph.as_default():
        return graph, call(tf)


def flat(results: Any) -> list[Any]:
    """Return the tensors in nested tuples, lists, sparse tensors and slices, in order."""
    if isinstance(results, (list, tuple)):
        return [t for r in results for t in flat(r)]
    if hasattr(results, "indices") and hasattr(results, "dense_shape"):
        return [results.indices, results.values, results.dense_shape]
    return [results] if hasattr(results, "value_index") else []


def _dims(tensor: Any) -> Any:
    shape = tensor.get_shape()
    return None if shape.ndims is None else shape.as_list()


def _knows(ours: list[int | None] | None, theirs: list[int | None] | None) -> bool:
    """Whether we know at least what TensorFlow does: small constants are worked out, which may tell more."""
    if theirs is None or ours is None:
        return theirs is None
    return len(ours) == len(theirs) and all(b is None or a == b for a, b in zip(ours, theirs, strict=True))


def _value_for(node: Any, feeds: dict[str, Any]) -> Any:
    if node.name in feeds:
        return feeds[node.name]
    dtype = oracle.as_dtype(node.attr["dtype"].type)
    proto = node.attr["shape"].shape
    dims = [2] if proto.unknown_rank else [2 if d.size < 0 else d.size for d in proto.dim]
    count = int(np.prod(dims))
    if dtype == oracle.string:
        return np.array([b"s%d" % i for i in range(count)], object).reshape(dims)
    if dtype == oracle.bool:
        return np.arange(count).reshape(dims) % 2 == 0
    if dtype.is_integer:
        return np.arange(1, count + 1).astype(dtype.as_numpy_dtype).reshape(dims)
    numbers = 0.1 + 0.8 * np.arange(count) / max(count, 1)
    if dtype.is_complex:
        numbers = numbers + 1j * numbers[::-1]
    return numbers.astype(dtype.as_numpy_dtype).reshape(dims)


def _same_value(name: str, x: Any, y: Any) -> None:
    assert x.shape == y.shape, f"{name}: shape {x.shape}, TensorFlow's is {y.shape}"
    if y.dtype.kind in "fcV":
        wide = np.complex128 if y.dtype.kind == "c" else np.float64
        np.testing.assert_allclose(x.astype(wide), y.astype(wide), rtol=2e-5, atol=1e-6, err_msg=name)
    else:
        np.testing.assert_array_equal(x, y, err_msg=name)
