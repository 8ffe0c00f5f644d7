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
from coldframe.runtime.direct import way

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
    return [known is not None for known in model._short.values()]


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


@pytest.mark.parametrize("wider", [False, True])  # one form, whose sizes the engine checks, or two
def test_arrays_of_all_kinds_and_orders(tmp_path: Path, wider: bool) -> None:
    def build() -> None:
        x = tf1.placeholder(tf.float32, [None, None], name="x")
        tf.add(tf.reduce_sum(x), tf.reduce_max(x), name="scalar")
        tf.multiply(x, 2.0, name="twice")

    model = cf.load(_write(tmp_path / "kinds.pb", build), engine="onnxruntime")
    fetches = ["twice", "scalar"]
    for x in (X, X[:, :3])[: 1 + wider]:
        model.run({"x": x}, fetches)
    swapped = X.astype(">f4")
    unaligned = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(X.shape)
    same = X.astype(np.dtype(np.float32, metadata={"unit": "m"}))
    frozen = X.copy()
    frozen.flags.writeable = False
    kinds = (
        X,
        X.T,
        X[::-1],
        X[:, ::2],
        np.asfortranarray(X),
        swapped,
        unaligned,
        same,
        frozen,
        X[:0],
        X.tolist(),
        X[:1],
    )
    for x in kinds:
        if np.size(x):
            out = model.run({"x": x}, fetches)
            np.testing.assert_array_equal(out["twice"], np.asarray(x) * 2)
            assert out["scalar"] == pytest.approx(np.sum(x) + np.max(x), rel=1e-5)
            assert isinstance(out["scalar"], np.float32)
            assert out["twice"].flags.writeable
        assert model.run({"x": x}, ["twice"])["twice"].shape == np.shape(x)
    with pytest.raises(FeedError, match="has the wrong shape"):
        model.run({"x": X[0]}, fetches)


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


def test_what_was_asked_for_the_last_time_is_not_mistaken_for_something_else(model: cf.Model) -> None:
    """The short way that was taken last is tried first."""
    product, total = X @ Y, (X @ Y).sum()
    names = ["product"]
    for fetches in (names, ("product",), ["total"], names, np.array(["product", "total"]), {"total": 0}) * 2:
        for feeds in ({"x": X, "y": Y}, {"y:0": Y, "x:0": X}, {"y": Y, "x": X}):
            got = model.run(feeds, fetches)  # type: ignore[arg-type]
            assert list(got) == list(fetches)
            for name, value in got.items():
                np.testing.assert_allclose(value, product if name == "product" else total, rtol=1e-5)
    names[0] = "total"  # the caller's list: what is remembered is what it was
    assert list(model.run({"x": X, "y": Y}, names)) == ["total"]
    with pytest.raises(FeedError, match="must be fed"):
        model.run({"x": X}, ["total"])
    with pytest.raises(cf.NotFoundError, match="z"):
        model.run({"x": X, "y": Y, "z": Y}, ["total"])


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


def _lookups() -> None:
    wide, narrow = (tf1.placeholder(d, [None, 3], name=n) for d, n in ((tf.int64, "wide"), (tf.int32, "narrow")))
    rows = tf.constant(np.arange(20, dtype=np.float32).reshape(10, 2))
    tf.gather(rows, tf.reshape(tf.transpose(wide), [-1]), name="moved")
    tf.add(tf.gather(rows, wide), tf.gather(rows, narrow), name="both")
    tf.cast(tf.reduce_sum(tf.gather_nd(rows, narrow[..., None])), tf.int64, name="total")
    absolute = tf.abs(wide)
    tf.identity(tf.gather(rows, absolute), name="absolute")
    found = tf.cond(tf.reduce_all(wide >= 0), lambda: tf.gather(rows, wide), lambda: tf.gather(rows, -wide))
    tf.identity(found, name="branches")


@pytest.mark.parametrize("count", [1, 1000])  # few are looked at in another way than many
def test_indices_that_are_fed_are_looked_at(tmp_path: Path, count: int) -> None:
    """ONNX counts negative indices from the end."""
    model = cf.load(_write(tmp_path / "lookups.pb", _lookups), engine="onnxruntime")
    rows = np.arange(20, dtype=np.float32).reshape(10, 2)
    wide = np.tile(np.array([[9, 0, 4]]), (count, 1))
    narrow = wide.astype(np.int32)
    for _ in range(2):
        both = model.run({"wide": wide, "narrow": narrow}, ["both"])["both"]
        np.testing.assert_array_equal(both, rows[wide] + rows[narrow])
        np.testing.assert_array_equal(model.run({"wide": wide}, ["moved"])["moved"], rows[wide.T.ravel()])
        assert model.run({"narrow": narrow}, ["total"])["total"] == rows[narrow].sum()
        assert model.run({"wide": wide[:0], "narrow": narrow[:0]}, ["both"])["both"].shape == (0, 3, 2)
    for bad in (-1, -10, np.iinfo(np.int64).min, np.iinfo(np.int64).min + 1, 10, np.iinfo(np.int64).max):
        wrong = wide.copy()
        wrong[count // 2, 1] = bad
        small = np.clip(wrong, -(1 << 31), (1 << 31) - 1).astype(np.int32)
        for feeds, fetch in (
            ({"wide": wrong, "narrow": narrow}, "both"),
            ({"wide": wide, "narrow": small}, "both"),
            ({"wide": wrong}, "moved"),
            ({"narrow": small}, "total"),
        ):
            for _ in range(2):
                with pytest.raises(cf.ExecutionError, match=r"out of range .*\(Gather"):
                    model.run(feeds, [fetch])
        if -10 < bad < 0:
            np.testing.assert_array_equal(model.run({"wide": wrong}, ["absolute"])["absolute"], rows[np.abs(wrong)])


def test_a_branch_not_taken_refuses_no_index(tmp_path: Path) -> None:
    model = cf.load(_write(tmp_path / "branches.pb", _lookups), engine="onnxruntime")
    rows = np.arange(20, dtype=np.float32).reshape(10, 2)
    for sign in (1, -1, 1, -1):
        wide = np.array([[9, 0, 4]]) * sign
        np.testing.assert_array_equal(model.run({"wide": wide}, ["branches"])["branches"], rows[abs(wide)])
    (report,) = model.engine_report()
    assert [step["engine"] for step in report] == ["onnxruntime"]
    (plan,) = model.session._program.plans()
    step: Any = plan.steps[0]
    assert step.failure == ""


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
    # (Two forms: of one, the engine looks at sizes by itself.)
    forms = [Compiled([], {}, (guard,), (ref,), {}, lambda values: values, fresh=True)] * 2
    run = way(forms, {"fed": ref}, {"got": ref})
    for shape in (*fits, *others):
        value = np.zeros(shape, np.float32)
        assert (run({"fed": value}) is not None) == guard.accepts(value) == (shape in fits)
        assert run({"fed": value.astype(np.float64)}) is None
        assert run({"fed": value, "more": value}) is run({"other": value}) is None
