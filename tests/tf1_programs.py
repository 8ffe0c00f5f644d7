"""Running one TF1 program with coldframe and with TensorFlow, and comparing what it builds, returns and raises."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

import coldframe.tf1 as tf1
from tf1_graphs import IGNORED, oracle, same_graph

Program = Callable[[Any], Any]
"""A program: gets `tf`, returns values to compare: arrays, numbers, strings, dtypes, shapes, tensors, nests of them."""


def run_both(program: Program, *, graph: bool = True, rtol: float = 1e-5, ignored: Collection[str] = IGNORED) -> Any:
    """Assert that `program` gives the same with both, and (`graph`) builds the same nodes; return our values."""
    ours, our_graph = _run(program, tf1)
    theirs, their_graph = _run(program, oracle)
    same_values("result", ours, theirs, rtol)
    if graph:
        same_graph(our_graph.as_graph_def(), their_graph.as_graph_def(), ignored)
    return ours


def _run(program: Program, tf: Any) -> tuple[Any, Any]:
    graph = tf.Graph()
    with graph.as_default():
        return seen(program(tf)), graph


def raised(program: Program, tf: Any = tf1) -> Exception:
    """Return what `program` raises; fail where it raises nothing."""
    with tf.Graph().as_default():
        try:
            result = program(tf)
        except Exception as error:
            return error
    raise AssertionError(f"nothing was raised; the result is {result!r}")


def same_error(program: Program, says: str = "") -> None:
    """Assert that `program` raises an error of the same class with both, and that ours tells `says`."""
    ours, theirs = raised(program), raised(program, oracle)
    kinds = {k.__name__ for k in type(theirs).__mro__ if k is not object}
    assert type(ours).__name__ in kinds or type(theirs).__name__ in {k.__name__ for k in type(ours).__mro__}, (
        f"{type(ours).__name__}: {ours}; TensorFlow has {type(theirs).__name__}: {theirs}"
    )
    assert says in str(ours), f"`{says}` is not in: {ours}"


def seen(value: Any) -> Any:
    """Return what can be compared of `value`."""
    if isinstance(value, dict):
        return {str(k): seen(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [seen(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic, bool, int, float, str, bytes, type(None))):
        return value
    if hasattr(value, "as_list") and hasattr(value, "ndims"):
        return None if value.ndims is None else value.as_list()
    if hasattr(value, "as_numpy_dtype"):
        return value.name
    if type(value).__name__ == "Dimension":
        return ("Dimension", value.value)
    with contextlib.suppress(AttributeError):
        return value.name
    return repr(value)


def same_values(where: str, ours: Any, theirs: Any, rtol: float) -> None:
    """Assert that two nests of values are equal, floats up to `rtol`."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), f"{where}: keys {list(ours)}, TensorFlow has {list(theirs)}"
        for k, v in theirs.items():
            same_values(f"{where}[{k!r}]", ours[k], v, rtol)
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), f"{where}: {ours!r}, TensorFlow has {theirs!r}"
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            same_values(f"{where}[{i}]", a, b, rtol)
    elif isinstance(theirs, (np.ndarray, np.generic)):
        assert isinstance(ours, (np.ndarray, np.generic)), f"{where}: {ours!r}, TensorFlow has {theirs!r}"
        assert ours.dtype == theirs.dtype, f"{where}: dtype {ours.dtype}, TensorFlow has {theirs.dtype}"
        assert ours.shape == theirs.shape, f"{where}: shape {ours.shape}, TensorFlow has {theirs.shape}"
        if theirs.dtype.kind in "fc":
            np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol, err_msg=where)
        else:
            np.testing.assert_array_equal(ours, theirs, err_msg=where)
    else:
        assert ours == theirs, f"{where}: {ours!r}, TensorFlow has {theirs!r}"
