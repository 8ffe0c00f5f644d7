"""The XLA interpreter: the same verbs as numpy's, what is known stays known, broken promises are told."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coldframe import dtypes
from coldframe.engines.xla import exact
from coldframe.ops import table
from coldframe.ops.call import bind
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.jax_base import traced
from coldframe.primitives.jax_xp import JaxPrimitives
from coldframe.primitives.numpy_xp import NumpyPrimitives
from xla_harness import Held, all_tests

VERBS = sorted(n for n, _ in inspect.getmembers(NumpyPrimitives, callable) if not n.startswith("_"))
TESTS = list(all_tests())


@pytest.mark.parametrize("verb", VERBS)
def test_it_has_all_verbs_with_the_same_arguments(verb: str) -> None:
    mine = inspect.signature(getattr(NumpyPrimitives, verb))
    assert list(mine.parameters) == list(inspect.signature(getattr(JaxPrimitives, verb)).parameters)


@pytest.mark.parametrize("test", TESTS[:: max(len(TESTS) // 120, 1)], ids=str)
def test_a_sample_of_ops_is_right_or_refused(test: Held) -> None:
    test.run(test.row)


@pytest.mark.slow
@pytest.mark.parametrize("test", TESTS, ids=str)
def test_every_op_is_right_or_refused(test: Held) -> None:
    test.run(test.row)


def traces(fn: Callable[[JaxPrimitives, Any], Any], x: Any) -> tuple[Any, bool]:
    """Run `fn` compiled; return its result and whether its promises were kept."""

    def program(a: Any) -> Any:
        xp = JaxPrimitives()
        out = fn(xp, a)
        return out, jnp.all(jnp.asarray([True, *xp.promises]))

    with exact(), jax.numpy_dtype_promotion("strict"):
        out, ok = jax.jit(program)(x)
        return np.asarray(out), bool(ok)


def call(name: str, xp: Any, *inputs: Any, **attrs: Any) -> Any:
    out = bind(table()[name], attrs).run(xp, list(inputs), aspect="jax")
    return out[0] if len(out) == 1 else out


def test_shape_arithmetic_stays_known() -> None:
    """Reshape(x, Pack(StridedSlice(Shape(x), 0), 12)): the idiom by which graphs flatten a batch."""
    i = dtypes.int32

    def flatten(xp: Any, x: Any) -> Any:
        shape = call("Shape", xp, x, T=dtypes.float32, out_type=i)
        at = [np.array([v], np.int32) for v in (0, 1, 1)]
        batch = call("StridedSlice", xp, shape, *at, T=i, Index=i, shrink_axis_mask=1)
        packed = call("Pack", xp, batch, np.int32(12), N=2, T=i, axis=0)
        assert not traced(packed)
        return call("Reshape", xp, x, packed, T=dtypes.float32, Tshape=i)

    assert traces(flatten, np.zeros((2, 3, 4), "f"))[0].shape == (2, 12)


@pytest.mark.parametrize(
    ("verb", "value", "kept"),
    [
        (lambda xp, v: xp.gather(np.arange(3.0), v), [0, 2], True),
        (lambda xp, v: xp.gather(np.arange(3.0), v), [0, 3], False),
        (lambda xp, v: xp.gather(np.arange(3.0), v), [-1, 0], False),
        (lambda xp, v: xp.pick(np.arange(3.0), v[0], 0), [-3], True),
        (lambda xp, v: xp.pick(np.arange(3.0), v[0], 0), [-4], False),
        (lambda xp, v: xp.slice(np.arange(5.0), v, [2]), [3], True),
        (lambda xp, v: xp.slice(np.arange(5.0), v, [2]), [4], False),
        (lambda xp, v: xp.floor_divide(np.arange(2), v), [1, 2], True),
        (lambda xp, v: xp.floor_divide(np.arange(2), v), [1, 0], False),
        (lambda xp, v: xp.trunc_mod(np.arange(2), v), [1, 0], False),
        (lambda xp, v: xp.power(np.arange(2), v), [1, -1], False),
        (lambda xp, v: xp.require(v, v > 0, "positive"), [1, 0], False),
        (lambda xp, v: xp.segments(np.ones(2, "f"), v, 2, "add", 0), [-1, 1], True),
        (lambda xp, v: xp.segments(np.ones(2, "f"), v, 2, "add", 0), [0, 2], False),
    ],
)
def test_what_numpy_refuses_by_value_is_a_promise(verb: Any, value: list[int], kept: bool) -> None:
    assert traces(verb, np.array(value))[1] is kept


def test_64_bits_stay_64_bits_and_other_code_is_left_alone() -> None:
    big = np.array([2**40 + 1], np.int64)
    out, _ = traces(lambda xp, x: xp.add(x, x), big)
    assert out.dtype == np.int64
    assert out[0] == 2**41 + 2
    fine = np.array([1 + 1e-12])
    assert traces(lambda xp, x: xp.multiply(x, x), fine)[0][0] == fine[0] ** 2
    assert jnp.asarray(big[:0]).dtype == np.int32, "JAX's own default"


def test_dtypes_are_not_promoted() -> None:
    def mixed(xp: Any, x: Any) -> Any:
        return xp.add(x, np.float64(1))

    with pytest.raises(Exception, match="promotion"):
        traces(mixed, np.ones(2, "f"))


@pytest.mark.parametrize(
    ("source", "target", "value", "want"),
    [
        ("float32", "int32", 3e9, -(2**31)), ("float32", "int32", np.nan, -(2**31)),
        ("float64", "int64", 1e30, -(2**63)),
        ("float32", "uint8", 257.5, 1), ("float32", "int8", -129.0, 127), ("int32", "int8", 300, 44),
        ("float32", "uint64", 2.0**63, 2**63), ("float32", "bool", 0.5, True),
    ],
)  # fmt: skip
def test_casts_are_those_of_processors(source: str, target: str, value: float, want: Any) -> None:
    x = np.array([value], source)
    assert traces(lambda xp, v: xp.cast(v, dtypes.from_name(target)), x)[0][0] == want


@pytest.mark.parametrize(
    "verb",
    [
        lambda xp, v: xp.reshape(np.arange(6), v),
        lambda xp, v: xp.nonzero(v),
        lambda xp, v: xp.arange(np.int64(0), v[0], np.int64(1)),
        lambda xp, v: xp.full(v, np.float32(1)),
        lambda xp, v: xp.static(v, "the axis"),
        lambda xp, v: xp.strided(np.arange(6), [(v[0], None, 1)]),
    ],
)
def test_shapes_that_depend_on_values_are_refused(verb: Any) -> None:
    with pytest.raises(Unlowerable, match=r"known when compiling|depends on values"):
        traces(verb, np.array([2, 3]))


def test_large_tensors_of_one_value_are_made_when_running() -> None:
    def check(xp: Any, x: Any) -> Any:
        assert isinstance(xp.zeros_like(x[:3]), np.ndarray)
        assert isinstance(xp.zeros_like(x), jax.Array)
        return x

    traces(check, np.ones(10_000, "f"))


def test_truth_values_as_numbers_pass_on_nan() -> None:
    x = np.array([-1, 1, np.nan], "f")
    out, _ = traces(lambda xp, v: xp.multiply(xp.divide(v, np.zeros(3, "f")), xp.cast(v > 9, dtypes.float32)), x)
    np.testing.assert_array_equal(out, np.full(3, np.nan, "f"))


def test_convolutions_of_integers_are_refused() -> None:
    options = {"strides": [1], "padding": "VALID", "dilations": [1]}
    with pytest.raises(Unlowerable, match="truth values"):
        traces(lambda xp, v: xp.conv(v, np.ones((1, 1, 1), np.int32), **options), np.ones((1, 1, 3), np.int32))


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 1), (0, 3))], ids=str)
@pytest.mark.parametrize(
    ("groups", "per_group", "filters", "kernel", "strides", "dilations"),
    [
        (1, 5, 4, (1, 1), (1, 1), (1, 1)),  # a product of matrices
        (1, 5, 4, (1, 1), (2, 1), (1, 1)),
        (1, 3, 6, (3, 2), (2, 1), (1, 2)),  # few channels
        (1, 40, 4, (3, 3), (1, 1), (1, 1)),  # XLA's own
        (4, 1, 4, (3, 3), (2, 2), (1, 1)),  # a filter per channel
        (4, 1, 12, (2, 3), (1, 1), (2, 1)),  # three of them
        (2, 3, 4, (2, 2), (1, 1), (1, 1)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolutions_and_their_gradients(
    groups: int, per_group: int, filters: int, kernel: Any, strides: Any, dilations: Any, padding: Any, dtype: str
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, groups * per_group, 7, 8)).astype(dtype)
    w = rng.normal(size=(filters, per_group, *kernel)).astype(dtype)
    how = {"strides": strides, "dilations": dilations, "padding": padding, "groups": groups}
    here, there = NumpyPrimitives(), JaxPrimitives()
    y = here.conv(x, w, **how)
    dy = rng.normal(size=y.shape).astype(dtype)
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        got = [
            jax.jit(lambda x, w: there.conv(x, w, **how))(x, w),
            jax.jit(lambda dy, w: there.conv_transpose(dy, w, [7, 8], **how))(dy, w),
            jax.jit(lambda x, dy: there.conv_filter(x, dy, kernel, **how))(x, dy),
        ]
    want = [y, here.conv_transpose(dy, w, [7, 8], **how), here.conv_filter(x, dy, kernel, **how)]
    for a, b in zip(got, want, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize(("ksize", "strides"), [((2, 2), (2, 2)), ((2, 3), (2, 3)), ((3, 2), (1, 2)), ((2, 2), (3, 1))])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_the_gradient_of_a_pool_goes_to_the_first_largest_cell(ksize: Any, strides: Any, padding: str) -> None:
    x = np.random.default_rng(0).integers(0, 3, (2, 3, 6, 9)).astype("f")
    here, there = NumpyPrimitives(), JaxPrimitives()
    where = here.max_pool_where(x, ksize, strides=strides, padding=padding)
    dy = np.arange(1, where.size + 1, dtype="f").reshape(where.shape)
    got = jax.jit(lambda x, dy: there.max_pool_grad(x, dy, ksize, strides=strides, padding=padding))(x, dy)
    np.testing.assert_array_equal(got, here.plane_scatter(dy, where, [6, 9]))
