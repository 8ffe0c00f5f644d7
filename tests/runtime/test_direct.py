"""The short way of a run: as the long way in all that callers see, and taken only where it may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe import dtypes
from coldframe.engines.base import Compiled, Guard
from coldframe.errors import FeedError
from coldframe.graph.names import TensorRef
from coldframe.runtime.direct import _Form

tf1 = tf.compat.v1
X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def _write(path: Path, build: Any) -> Path:
    with tf.Graph().as_default() as graph:
        build()
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def _product() -> None:
    x = tf1.placeholder(tf.float32, [None, 4], name="x")
    y = tf1.placeholder(tf.float32, [4, 2], name="y")
    tf.matmul(x, y, name="product")
    tf.reduce_sum(tf.matmul(x, y), name="total")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("direct") / "product.pb", _product)


@pytest.fixture
def model(path: Path) -> cf.Model:
    return cf.load(path, engine="onnxruntime")


def _short(model: cf.Model) -> list[bool]:
    return [direct is not None for direct, _ in model._short.values()]


Y = np.arange(8, dtype=np.float32).reshape(4, 2)


def test_a_repeated_run_gives_the_same(model: cf.Model) -> None:
    runs = [model.run({"x": X, "y": Y}, ["product", "total:0"]) for _ in range(3)]
    assert _short(model) == [True]
    for out in runs:
        assert list(out) == ["product", "total:0"]
        np.testing.assert_allclose(out["product"], X @ Y, rtol=1e-5)
        assert isinstance(out["total:0"], np.float32)
        assert out["total:0"] == pytest.approx((X @ Y).sum(), rel=1e-5)


def test_results_are_the_callers_own(model: cf.Model) -> None:
    first, second, third = (model.run({"x": X, "y": Y}, ["product"])["product"] for _ in range(3))
    kept = second.copy()
    second[:] = 0
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(third, kept)


def test_results_of_xla_are_the_callers_own(path: Path) -> None:
    pytest.importorskip("jax")
    model = cf.load(path, engine="xla")
    first, second, third = (model.run({"x": X, "y": Y}, ["product"])["product"] for _ in range(3))
    second[:] = 0
    np.testing.assert_array_equal(first, third)


def test_what_does_not_fit_takes_the_long_way(model: cf.Model) -> None:
    for _ in range(2):
        model.run({"x": X, "y": Y}, ["product"])
    for x in (X[:1], X[::2], np.asfortranarray(X), X.astype(np.float16), X.tolist(), (X > 0).astype(np.int8)):
        got = model.run({"x": x, "y": Y}, ["product"])["product"]
        np.testing.assert_allclose(got, np.asarray(x, np.float32) @ Y, rtol=1e-5)
    got = model.run({"y": Y, "x": X}, ["product"])["product"]  # the other way round
    np.testing.assert_allclose(got, X @ Y, rtol=1e-5)
    with pytest.raises(FeedError, match="has the wrong shape"):
        model.run({"x": X, "y": Y.T}, ["product"])
    with pytest.raises(FeedError, match="has the wrong dtype"):
        model.run({"x": X.astype(complex), "y": Y}, ["product"])


def test_a_feed_that_nothing_reads_is_checked_each_time(model: cf.Model) -> None:
    fetch = ["x"]
    for _ in range(2):
        assert model.run({"x": X, "y": Y}, fetch)["x"] is not X
    with pytest.raises(FeedError, match="has the wrong shape"):
        model.run({"x": X, "y": Y.T}, fetch)


def test_few_ways_are_remembered(model: cf.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coldframe.runtime.model._REMEMBERED", 2)
    for fetches in (["product"], ["total"], ["product", "total"], ["product"], ["product"]):
        assert list(model.run({"x": X, "y": Y}, fetches)) == fetches
        assert len(model._short) <= 2
    assert (None, ("product",), ("x", "y")) in model._short


def test_random_numbers_differ_from_run_to_run(tmp_path: Path) -> None:
    def build() -> None:
        x = tf1.placeholder(tf.float32, [None, 4], name="x")
        tf.matmul(x, tf1.random_normal([4, 100]), name="out")

    model = cf.load(_write(tmp_path / "random.pb", build), engine="onnxruntime")
    first, second, third = (model.run({"x": X}, ["out"])["out"] for _ in range(3))
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


def test_sizes_that_placeholders_fix_are_compiled_in(model: cf.Model) -> None:
    model.run({"x": X, "y": Y}, ["product"])
    (plan,) = model.session._program.plans()
    step: Any = plan.steps[0]
    assert {g.ref.node: g.dims for g in step.variants[0].inputs} == {"x": (None, 4), "y": (4, 2)}


@pytest.mark.parametrize(
    ("dims", "fits", "others"),
    [
        ((None, 4), [(0, 4), (3, 4)], [(3, 5), (4,), (3, 4, 1)]),
        ((2, None, 4), [(2, 3, 4)], [(3, 3, 4), (2, 3, 5), (2, 4)]),
        ((None, None), [(1, 2)], [(1,), (1, 2, 3)]),
        ((3,), [(3,)], [(2,), (), (3, 1)]),
        ((), [()], [(1,)]),
    ],
)
def test_sizes_are_checked(dims: tuple[int | None, ...], fits: list[Any], others: list[Any]) -> None:
    ref = TensorRef("x")
    guard = Guard(ref, dtypes.float32, dims)
    form = _Form(Compiled([], {}, (guard,), (ref,), {}, lambda values: values, fresh=True), [ref], [ref])
    for shape in (*fits, *others):
        value = np.zeros(shape, np.float32)
        assert form.accepts([value]) == guard.accepts(value) == (shape in fits)
        assert not form.accepts([value.astype(np.float64)])
