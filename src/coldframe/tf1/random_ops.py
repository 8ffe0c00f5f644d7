"""Random tensors. With given seeds they are the numbers of TensorFlow's CPU kernels (`coldframe.ops.philox`)."""

from __future__ import annotations

import weakref
from typing import Any, Final

from coldframe import dtypes
from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.functions import outermost
from coldframe.tf1.framework.graph import Graph, get_default_graph, name_scope
from coldframe.tf1.framework.shape import TensorShape

DEFAULT_GRAPH_SEED: Final = 87654321
_MAXINT32: Final = 2**31 - 1
_COUNTS: Final[weakref.WeakKeyDictionary[Graph, int]] = weakref.WeakKeyDictionary()


def set_random_seed(seed: int | None) -> None:
    """Set the seed of the default graph: ops without a seed of their own then repeat, run after run."""
    get_default_graph().seed = seed


def get_seed(op_seed: int | None) -> tuple[int | None, int | None]:
    """Return the two seeds of a random op in the default graph, from the graph's seed and the op's own.

    With a graph seed, ops without a seed of their own are numbered in the order they are made.
    """
    graph = get_default_graph()
    seed: int | None = outermost(graph).seed if graph.seed is None else graph.seed
    if seed is not None:
        if op_seed is None:
            op_seed = _COUNTS.get(graph, 0)
            _COUNTS[graph] = op_seed + 1
        seeds = (seed % _MAXINT32, op_seed % _MAXINT32)
    elif op_seed is not None:
        seeds = (DEFAULT_GRAPH_SEED, op_seed % _MAXINT32)
    else:
        return None, None
    return (0, _MAXINT32) if seeds == (0, 0) else seeds


def _seeds(op_seed: int | None) -> dict[str, int]:
    seed, seed2 = get_seed(op_seed)
    return {"seed": seed or 0, "seed2": seed2 or 0}


def _shape(shape: Any) -> Any:
    dtype = dtypes.int32 if isinstance(shape, (list, tuple, TensorShape)) and not _tensors(shape) else None
    return convert_to_tensor(shape, dtype, name="shape")


def _tensors(shape: Any) -> bool:
    return not isinstance(shape, TensorShape) and any(hasattr(s, "dtype") and hasattr(s, "op") for s in shape)


def random_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, seed: int | None = None,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return normally distributed numbers."""
    return _normal("RandomStandardNormal", "random_normal", shape, mean, stddev, dtype, seed, name)


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, seed: int | None = None,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return normally distributed numbers, those beyond two deviations drawn again."""
    return _normal("TruncatedNormal", "truncated_normal", shape, mean, stddev, dtype, seed, name)


def _normal(
    op: str, default: str, shape: Any, mean: Any, stddev: Any, dtype: Any, seed: int | None, name: str | None
) -> Any:
    kind = as_dtype(dtype)
    with name_scope(name, default, [shape, mean, stddev]) as scope:
        sizes = _shape(shape)
        mean = convert_to_tensor(mean, kind, name="mean")
        stddev = convert_to_tensor(stddev, kind, name="stddev")
        drawn = raw_op(op, [sizes], {"dtype": kind, **_seeds(seed)}, None)
        return raw_op("AddV2", [raw_op("Mul", [drawn, stddev], {}, "mul"), mean], {}, scope)


def random_uniform(
    shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = dtypes.float32, seed: int | None = None,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return numbers spread evenly over [minval, maxval)."""
    kind = as_dtype(dtype)
    if maxval is None:
        if kind.is_integer:
            raise ValueError("Must specify maxval for integer dtype")
        maxval = 1
    with name_scope(name, "random_uniform", [shape, minval, maxval]) as scope:
        sizes = _shape(shape)
        if kind.is_integer:
            low = convert_to_tensor(minval, kind, name="min")
            high = convert_to_tensor(maxval, kind, name="max")
            return raw_op("RandomUniformInt", [sizes, low, high], _seeds(seed), scope)
        from_zero = _is(minval, 0)
        if from_zero and _is(maxval, 1):
            return raw_op("RandomUniform", [sizes], {"dtype": kind, **_seeds(seed)}, None)
        low = convert_to_tensor(minval, kind, name="min")
        high = convert_to_tensor(maxval, kind, name="max")
        drawn = raw_op("RandomUniform", [sizes], {"dtype": kind, **_seeds(seed)}, None)
        if from_zero:
            return raw_op("Mul", [drawn, high], {}, None)
        span = raw_op("Sub", [high, low], {}, "sub")
        return raw_op("AddV2", [raw_op("Mul", [drawn, span], {}, "mul"), low], {}, scope)


def _is(value: Any, number: int) -> bool:
    return isinstance(value, int) and value == number


def random_shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Any:
    """Return `value` with its rows in random order."""
    return raw_op("RandomShuffle", [value], _seeds(seed), name)


def random_crop(value: Any, size: Any, seed: int | None = None, name: str | None = None) -> Any:
    """Return a part of `value`, of the shape `size`, at a random place."""
    from coldframe.tf1.array_ops import shape as shape_of
    from coldframe.tf1.check_ops import Assert
    from coldframe.tf1.dependencies import with_dependencies
    from coldframe.tf1.reduce_ops import reduce_all

    with name_scope(name, "random_crop", [value, size]) as scope:
        value = convert_to_tensor(value, name="value")
        size = convert_to_tensor(size, dtypes.int32, name="size")
        shape = shape_of(value)
        check = Assert(reduce_all(shape >= size), ["Need value.shape >= size, got ", shape, size], summarize=1000)
        shape = with_dependencies([check], shape)
        limit = shape - size + 1
        drawn = random_uniform(shape_of(shape), dtype=size.dtype, maxval=size.dtype.numpy.type(
            2**31 - 1), seed=seed)  # fmt: skip
        return raw_op("Slice", [value, drawn % limit, size], {}, scope)


def multinomial(
    logits: Any, num_samples: Any, seed: int | None = None, name: str | None = None, output_dtype: Any = None
) -> Any:
    """Return `num_samples` class numbers per row of `logits` (unnormalised log probabilities)."""
    with name_scope(name, "multinomial", [logits]):
        logits = convert_to_tensor(logits, name="logits")
        attrs = {**_seeds(seed), "output_dtype": output_dtype}
        return raw_op("Multinomial", [logits, num_samples], attrs, None)


def random_gamma(
    shape: Any, alpha: Any, beta: Any = None, dtype: Any = dtypes.float32, seed: int | None = None,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return Gamma(alpha, beta) distributed numbers: `shape` of them for each element of alpha and beta."""
    kind = as_dtype(dtype)
    with name_scope(name, "random_gamma", [shape, alpha, beta]):
        sizes = convert_to_tensor(shape, dtypes.int32, name="shape")
        alpha = convert_to_tensor(alpha, kind, name="alpha")
        beta = convert_to_tensor(1 if beta is None else beta, kind, name="beta")
        alpha = alpha + raw_op("ZerosLike", [beta], {}, None)
        drawn = raw_op("RandomGamma", [sizes, alpha], _seeds(seed), None)
        tiny = constant(float(_tiny(kind)), kind)
        return raw_op("Maximum", [tiny, drawn / beta], {}, None)


def _tiny(kind: Any) -> float:
    import numpy as np

    return float(np.finfo(kind.numpy).tiny)


def random_poisson(
    lam: Any, shape: Any, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None
) -> Any:
    """Return Poisson(lam) distributed numbers: `shape` of them for each element of `lam`."""
    with name_scope(name, "random_poisson", [lam, shape]):
        sizes = convert_to_tensor(shape, dtypes.int32, name="shape")
        return raw_op("RandomPoissonV2", [sizes, lam], {"dtype": as_dtype(dtype), **_seeds(seed)}, None)


__all__ = [
    "get_seed", "multinomial", "random_crop", "random_gamma", "random_normal", "random_poisson", "random_shuffle",
    "random_uniform", "set_random_seed", "truncated_normal",
]  # fmt: skip
