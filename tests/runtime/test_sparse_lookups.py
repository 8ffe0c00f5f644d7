"""Lookups by sparse ids as one step: TensorFlow's answers, numpy's refusals, and only where nobody looks inside."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as oracle

import coldframe as cf
import coldframe.tf1 as tf
from coldframe.errors import ExecutionError

v1 = oracle.compat.v1
TABLE = np.random.default_rng(0).normal(size=(9, 4)).astype("f")
SPARSE: dict[str, tuple[list[list[int]], list[int], list[int]]] = {
    "one each": ([[0, 0], [1, 0], [2, 0]], [3, 8, 3], [3, 1]),
    "several, and rows without": ([[0, 0], [0, 1], [2, 0], [2, 1], [2, 4]], [1, 5, 7, 7, 0], [4, 5]),
    "ids that are left out": ([[0, 0], [1, 0], [1, 1], [2, 0]], [-1, 2, -3, 4], [3, 2]),
    "nothing": ([], [], [2, 3]),
    "one example": ([[0, 0]], [6], [1, 1]),
    "many": ([[i // 3, i % 3] for i in range(60)], [i * 5 % 9 for i in range(60)], [20, 3]),
    "one each of many": ([[i, 0] for i in range(1500)], [i % 9 for i in range(1500)], [1500, 1]),
    "few of many": ([[1500, 0]], [2], [2000, 1]),
}
Write = Callable[..., Any]


def _safe(combiner: str, **more: Any) -> Write:
    return functools.partial(oracle.nn.safe_embedding_lookup_sparse, combiner=combiner, **more)


def _unchecked(table: Any, ids: Any) -> Any:
    """`tf.nn.embedding_lookup_sparse` of rows that were filled up, as programs write it themselves."""
    filled, _ = oracle.sparse.fill_empty_rows(ids, 2)
    return oracle.nn.embedding_lookup_sparse(table, filled, None, combiner="mean")


def _linear(table: Any, ids: Any) -> Any:
    """As feature columns do: coordinates are given the shape that they have, and so is the result."""
    count = oracle.cast(oracle.shape(ids, out_type=oracle.int64)[0], oracle.int32)
    flat = oracle.sparse.reshape(ids, oracle.stack([count, -1]))
    return oracle.nn.safe_embedding_lookup_sparse(table, flat, combiner="sum")


WAYS: dict[str, Write] = {
    **{c: _safe(c) for c in ("sum", "mean", "sqrtn")},
    "default": _safe("mean", default_id=3),
    "unchecked": _unchecked,
    "linear": _linear,
}


def _model(folder: Path, write: Write, engine: str = "auto", variable: bool = False) -> tuple[cf.Model, Path]:
    """Return what TensorFlow makes of `write` on a table and a sparse tensor, as ours, and its SavedModel."""
    path = folder / "model"
    with oracle.Graph().as_default(), v1.Session() as session:
        at, ids = v1.placeholder(oracle.int64, [None, 2], "at"), v1.placeholder(oracle.int64, [None], "ids")
        shape = v1.placeholder(oracle.int64, [2], "shape")
        table = v1.get_variable("table", initializer=TABLE, use_resource=True) if variable else oracle.constant(TABLE)
        out = oracle.identity(write(table, oracle.SparseTensor(at, ids, shape)), "out")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(path), {"at": at, "ids": ids, "shape": shape}, {"out": out})
    return cf.load(path, engine=engine), path


def _feeds(case: str) -> dict[str, Any]:
    at, ids, shape = SPARSE[case]
    return {
        "at:0": np.array(at, np.int64).reshape(-1, 2),
        "ids:0": np.array(ids, np.int64),
        "shape:0": np.array(shape, np.int64),
    }


def _theirs(path: Path, feeds: dict[str, Any], fetch: str = "out:0") -> Any:
    with oracle.Graph().as_default(), v1.Session() as session:
        v1.saved_model.loader.load(session, ["serve"], str(path))
        return session.run(fetch, feeds)


def _steps(model: cf.Model) -> list[dict[str, Any]]:
    return [step for plan in model.engine_report() for step in plan]


@pytest.mark.parametrize("variable", [False, True], ids=["constant", "variable"])
@pytest.mark.parametrize("way", WAYS)
def test_a_lookup_is_one_step_and_gives_tensorflows_rows(way: str, variable: bool, tmp_path: Path) -> None:
    model, path = _model(tmp_path, WAYS[way], variable=variable)
    with oracle.Graph().as_default(), v1.Session() as session:
        v1.saved_model.loader.load(session, ["serve"], str(path))
        for case in SPARSE:
            try:
                expected = session.run("out:0", _feeds(case))
            except oracle.errors.InvalidArgumentError:
                with pytest.raises(ExecutionError, match=r"negative|out of range"):
                    model.run(_feeds(case), ["out:0"])
                continue
            found = model.run(_feeds(case), ["out:0"])["out:0"]
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6, err_msg=case)
    steps = _steps(model)
    (joined,) = [s for s in steps if "SparseFillEmptyRows" in s["ops"]]
    assert joined["engine"] == "numpy"
    assert any(op.startswith("SparseSegment") for op in joined["ops"])
    assert {op for s in steps if s is not joined for op in s["ops"]} <= {"Identity"}


@pytest.mark.parametrize(
    ("feeds", "part"),
    [
        ({"ids:0": np.array([3, 9, 3])}, "9"),
        ({"at:0": np.array([[0, 0], [1, 0], [3, 0]])}, "3"),
        ({"shape:0": np.array([-1, 1])}, "-1"),
    ],
    ids=["an id too large", "a row too many", "a negative size"],
)
def test_what_is_wrong_is_said_by_the_node_at_fault(feeds: dict[str, Any], part: str, tmp_path: Path) -> None:
    given = _feeds("one each") | feeds
    messages = []
    for engine in ("auto", "reference"):
        model, _ = _model(tmp_path / engine, WAYS["sum"], engine)
        model.run(_feeds("one each"), ["out:0"])
        with pytest.raises(ExecutionError) as caught:
            model.run(given, ["out:0"])
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert part in messages[0]
    assert "at node" in messages[0]


def test_rows_out_of_order_are_looked_up_by_the_nodes(tmp_path: Path) -> None:
    model, path = _model(tmp_path, WAYS["mean"])
    feeds = {"at:0": np.array([[2, 0], [0, 0], [1, 0]]), "ids:0": np.array([1, 2, 3]), "shape:0": np.array([3, 1])}
    np.testing.assert_allclose(model.run(feeds, ["out:0"])["out:0"], _theirs(path, feeds), rtol=1e-6)


def test_nodes_that_somebody_looks_at_stay_apart(tmp_path: Path) -> None:
    model, path = _model(tmp_path, WAYS["mean"])
    feeds = _feeds("several, and rows without")
    inside = next(n.name for n in model.graph if n.op == "SparseFillEmptyRows") + ":1"
    found = model.run(feeds, ["out:0", inside])
    np.testing.assert_allclose(found["out:0"], _theirs(path, feeds), rtol=1e-6)
    np.testing.assert_array_equal(found[inside], _theirs(path, feeds, inside))
    assert not [s for s in _steps(model) if {"Where", "SparseFillEmptyRows"} <= s["ops"].keys()]


def test_a_fed_tensor_inside_is_taken(tmp_path: Path) -> None:
    model, path = _model(tmp_path, WAYS["sum"])
    inside = next(n.name for n in model.graph if n.op == "SparseFillEmptyRows") + ":1"
    feeds = _feeds("one each") | {inside: np.array([5, 5, 1])}
    np.testing.assert_allclose(model.run(feeds, ["out:0"])["out:0"], _theirs(path, feeds), rtol=1e-6)


def test_an_empty_batch_is_answered_as_numpy_answers_it(tmp_path: Path) -> None:
    feeds = {"at:0": np.zeros((0, 2), np.int64), "ids:0": np.zeros(0, np.int64), "shape:0": np.array([0, 1])}
    for way in ("sum", "default"):
        answers = [
            _model(tmp_path / way / engine, WAYS[way], engine)[0].run(feeds, ["out:0"])["out:0"]
            for engine in ("auto", "reference")
        ]
        np.testing.assert_array_equal(*answers)
        assert answers[0].shape == (0, 4)


def test_a_variable_that_changes_is_looked_up_anew(tmp_path: Path) -> None:
    _, path = _model(tmp_path, WAYS["sum"], variable=True)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.saved_model.loader.load(session, ["serve"], str(path))
        (variable,) = tf.global_variables()
        assert "SparseFillEmptyRows" in {op.type for op in session.graph.get_operations()}
        np.testing.assert_array_equal(session.run("out:0", _feeds("one example")), TABLE[[6]])
        variable.load(TABLE + 1, session)
        np.testing.assert_array_equal(session.run("out:0", _feeds("one example")), TABLE[[6]] + 1)
