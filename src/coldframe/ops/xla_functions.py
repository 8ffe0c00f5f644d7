"""XLA's ops that take a function of scalars: reductions, windows, scatters, sorts; and its branches and loops.

The function is called with whole arrays: what combines two scalars combines arrays of them element by element, so that
a reduction over n elements takes log n calls. XLA leaves open in which order elements are combined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from coldframe.ops import flow
from coldframe.ops.state import State
from coldframe.ops.table import op
from coldframe.ops.xla_numbers import index_numbers, rest, within
from coldframe.primitives.base import refuse

Function = Callable[..., list[Any]]
Array = np.ndarray[Any, Any]


# --- reductions ---------------------------------------------------------------------------------------------------
def _combined(state: State, f: Function, operands: Sequence[Array], starts: Sequence[Any]) -> list[Array]:
    """Reduce the first dimension of each of `operands`, together, by `f`, beginning with `starts`."""
    values = list(operands)
    while (n := len(values[0])) > 1:
        half = n // 2
        made = _call(state, f, [v[:half] for v in values] + [v[half : 2 * half] for v in values])
        values = [np.concatenate([m, v[2 * half :]]) for m, v in zip(made, values, strict=True)]
    begin = [np.broadcast_to(s, v.shape[1:]) for s, v in zip(starts, values, strict=True)]
    if not len(values[0]):
        return [b.astype(v.dtype) for b, v in zip(begin, values, strict=True)]
    return _call(state, f, begin + [v[0] for v in values])


def _call(state: State, f: Function, args: Sequence[Array]) -> list[Array]:
    made = [np.asarray(r) for r in f(state, *(np.asarray(a, order="C") for a in args))]
    shape = args[0].shape
    if any(m.shape != shape for m in made):  # a function that does not look at its arguments gives a scalar
        made = [np.broadcast_to(m, shape) for m in made]
    return made


def _reduced(state: State, f: Function, inputs: Sequence[Any], starts: Sequence[Any], dims: Sequence[int]) -> list[Any]:
    shape = np.shape(inputs[0])
    within("dimensions_to_reduce", tuple(dims), len(shape))
    if any(np.shape(x) != shape for x in inputs) or any(np.ndim(s) for s in starts):
        raise refuse(
            "inputs of a reduction", expected="one shape, and scalars to begin with", found=[*map(np.shape, inputs)]
        )
    if not dims:
        return [np.asarray(x) for x in inputs]
    kept = rest(len(shape), tuple(dims))
    rows = [np.transpose(x, [*dims, *kept]).reshape([-1, *(shape[d] for d in kept)]) for x in inputs]
    return _combined(state, f, rows, starts)


@op("XlaReduce", stateful=True)
def xla_reduce(
    xp: Any, state: State, input: Any, init_value: Any, *, dimensions_to_reduce: tuple[int, ...], reducer: Function
) -> Any:
    """`input` without `dimensions_to_reduce`, whose elements `reducer` combines."""
    return _reduced(state, reducer, [input], [init_value], dimensions_to_reduce)


@op("XlaVariadicReduce", stateful=True, no_gradient=True)
def xla_variadic_reduce(
    xp: Any, state: State, input: list[Any], init_value: list[Any],
    *, dimensions_to_reduce: tuple[int, ...], reducer: Function,
) -> Any:  # fmt: skip
    """Several inputs reduced together: `reducer` takes what was combined of each, then an element of each."""
    return _reduced(state, reducer, input, init_value, dimensions_to_reduce)


@op("XlaVariadicReduceV2", stateful=True)
def xla_variadic_reduce_v2(
    xp: Any, state: State, inputs: list[Any], init_values: list[Any],
    *, dimensions_to_reduce: tuple[int, ...], reducer: Function,
) -> Any:  # fmt: skip
    """`XlaVariadicReduce` of inputs that may differ in dtype."""
    return _reduced(state, reducer, inputs, init_values, dimensions_to_reduce)


# --- windows ------------------------------------------------------------------------------------------------------
def _spread(x: Array, value: Any, step: Sequence[int], pads: Sequence[Sequence[int]]) -> Array:
    """`x` with its elements `step` apart and `pads` around, `value` between and around; negative padding cuts."""
    sizes = [(n - 1) * s + 1 if n else 0 for n, s in zip(x.shape, step, strict=True)]
    full = np.full([max(n + max(a, 0) + max(b, 0), 0) for n, (a, b) in zip(sizes, pads, strict=True)], value, x.dtype)
    inside = tuple(slice(max(a, 0), max(a, 0) + n, s) for (a, _), n, s in zip(pads, sizes, step, strict=True))
    full[inside] = x
    return full[tuple(slice(max(-a, 0), full.shape[i] + min(b, 0)) for i, (a, b) in enumerate(pads))]


def _windows(
    x: Array, window: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[tuple[slice, ...]]]:
    """How many windows there are along each dimension, and for each tap of the window where its elements are."""
    covers = [(w - 1) * d + 1 for w, d in zip(window, dilations, strict=True)]
    out = [max((n - c) // s + 1, 0) if n >= c else 0 for n, c, s in zip(x.shape, covers, strides, strict=True)]
    taps = [
        tuple(slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in zip(tap, dilations, out, strides, strict=True))
        for tap in np.ndindex(*window)
    ]
    return out, taps


def _settings(rank: int, *given: Any) -> list[list[Any]]:
    values = [np.asarray(g).astype(int).tolist() for g in given]
    if any(len(v) != rank for v in values):
        raise refuse("the settings of the windows", expected=f"{rank} numbers each", found=values)
    return values


@op("XlaReduceWindow", stateful=True)
def xla_reduce_window(
    xp: Any, state: State, input: Any, init_value: Any, window_dimensions: Any, window_strides: Any,
    base_dilations: Any, window_dilations: Any, padding: Any, *, computation: Function,
) -> Any:  # fmt: skip
    """What `computation` makes of the elements of each window that slides over `input`."""
    given = (window_dimensions, window_strides, base_dilations, window_dilations, padding)
    window, strides, base, dilations, pads = _settings(np.ndim(input), *given)
    if min([*window, *strides, *base, *dilations], default=1) < 1:
        raise refuse("windows, strides and dilations", expected="1 or more", found=[window, strides, base, dilations])
    full = _spread(np.asarray(input), init_value, base, pads)
    out, taps = _windows(full, window, strides, dilations)
    if 0 in out:
        return np.zeros(out, full.dtype)
    return _combined(state, computation, [np.stack([full[t] for t in taps])], [init_value])


@op("XlaSelectAndScatter", stateful=True)
def xla_select_and_scatter(
    xp: Any, state: State, operand: Any, window_dimensions: Any, window_strides: Any, padding: Any, source: Any,
    init_value: Any, *, select: Function, scatter: Function,
) -> Any:  # fmt: skip
    """`source`, an element for each window over `operand`, put where `select` prefers an element of the window.

    What comes to lie on one another `scatter` combines. It is the gradient of a pooling.
    """
    x = np.asarray(operand)
    window, strides, pads = _settings(x.ndim, window_dimensions, window_strides, padding)
    ones = [1] * x.ndim
    full = _spread(x, np.zeros((), x.dtype), ones, pads)
    real = _spread(np.ones(x.shape, bool), False, ones, pads)
    out, taps = _windows(full, window, strides, ones)
    if tuple(out) != np.shape(source):
        raise refuse("the shape of `source`", expected=out, found=list(np.shape(source)))
    best, where = full[taps[0]].copy(), np.where(real[taps[0]], 0, -1)
    for i, tap in enumerate(taps[1:], 1):
        keep = _call(state, select, [best, full[tap]])[0].astype(bool) & (where >= 0)
        take = real[tap] & ~keep
        best, where = np.where(take, full[tap], best), np.where(take, i, where)
    made = np.full(full.shape, init_value, x.dtype)
    for i, tap in enumerate(taps):
        mine = where == i
        view = made[tap]
        view[mine] = _call(state, scatter, [view[mine], np.asarray(source)[mine]])[0]
    inside = tuple(slice(max(a, 0), max(a, 0) + n) for (a, _), n in zip(pads, x.shape, strict=True))
    if any(p < 0 for pair in pads for p in pair):
        raise refuse("the padding", expected="0 or more", found=pads)
    return made[inside]


# --- scatter ------------------------------------------------------------------------------------------------------
@op("XlaScatter", stateful=True, ignores=("indices_are_sorted",))
def xla_scatter(
    xp: Any, state: State, operand: Any, scatter_indices: Any, updates: Any,
    *, update_computation: Function, dimension_numbers: str,
) -> Any:  # fmt: skip
    """`operand` with windows of `updates` combined into it; windows that do not fit are left out."""
    x, at, new = np.array(operand), np.asarray(scatter_indices), np.asarray(updates)
    n = index_numbers(dimension_numbers)
    within("update_window_dims", n.window, new.ndim)
    gone = n.dropped + n.batch
    within("inserted_window_dims", gone, x.ndim)
    at = at[..., None] if n.vector == at.ndim else np.moveaxis(at, n.vector, -1)
    lead = rest(new.ndim, n.window)
    new = new.transpose([*lead, *n.window])
    count, sizes = new.shape[: len(lead)], list(new.shape[len(lead) :])
    window = [1 if d in gone else sizes.pop(0) for d in range(x.ndim)]
    if count != at.shape[:-1] or at.shape[-1] != len(n.to_operand) or sizes:
        raise refuse("updates and indices do not fit", expected=list(at.shape[:-1]), found=list(count))
    starts = np.zeros((*count, x.ndim), np.int64)
    starts[..., list(n.to_operand)] = at
    for d, axis in zip(n.batch, n.indices_batch, strict=True):
        axis -= axis > n.vector
        starts[..., d] = np.arange(count[axis]).reshape([-1 if i == axis else 1 for i in range(len(count))])
    starts, new = starts.reshape(-1, x.ndim), new.reshape(-1, *window)
    fits = ((starts >= 0) & (starts + window <= x.shape)).all(axis=1)
    places = [starts[fits][:, d].reshape([-1] + [1] * x.ndim) for d in range(x.ndim)]
    grid = [
        p + np.arange(w).reshape([-1 if i == d else 1 for i in range(x.ndim)])
        for d, (p, w) in enumerate(zip(places, window, strict=True))
    ]
    flat = (
        np.broadcast_to(np.ravel_multi_index(grid, x.shape), new[fits].shape).ravel()
        if x.ndim
        else np.zeros(fits.sum(), int)
    )
    return _scattered(state, update_computation, x, flat, new[fits].ravel())


def _scattered(state: State, f: Function, x: Array, at: Array, new: Array) -> Array:
    """Combine `new` into `x` at flat places `at`: those that come first at their places, then the second ones, ..."""
    out = x.ravel()
    order = np.argsort(at, kind="stable")
    ranked = at[order]
    first = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if at.size else np.zeros(0, int)
    turn = np.empty(at.size, int)
    turn[order] = np.arange(at.size) - np.repeat(first, np.diff([*first, at.size]))
    for k in range(int(turn.max()) + 1 if at.size else 0):
        now = turn == k
        out[at[now]] = _call(state, f, [out[at[now]], new[now]])[0]
    return out.reshape(x.shape)


# --- sorts --------------------------------------------------------------------------------------------------------
_SORTS = "ONNX sorts by picking the largest, and no keys of some dtypes"


@op("XlaSort", host=_SORTS)
def xla_sort(xp: Any, input: Array) -> Any:
    """The elements along the last dimension in rising order, NaN last."""
    return np.sort(input, axis=-1) if input.ndim else input


@op("XlaKeyValueSort", host=_SORTS)
def xla_key_value_sort(xp: Any, keys: Array, values: Array) -> tuple[Any, Any]:
    """`keys` in rising order along the last dimension, and `values` moved alike."""
    if keys.shape != values.shape:
        raise refuse("keys and values differ in shape", expected=list(keys.shape), found=list(values.shape))
    if not keys.ndim:
        return keys, values
    order = np.argsort(keys, axis=-1, kind="stable")
    return np.take_along_axis(keys, order, -1), np.take_along_axis(values, order, -1)


@op("XlaVariadicSort", stateful=True, ignores=("is_stable",))
def xla_variadic_sort(xp: Any, state: State, inputs: list[Any], dimension: Any, *, comparator: Function) -> list[Any]:
    """Inputs of one shape sorted together along a dimension, so that `comparator` holds of neighbours; stable.

    `comparator` takes two elements of the first input, then two of the second, and so on.
    """
    shape, axis = np.shape(inputs[0]), int(dimension)
    if any(np.shape(x) != shape for x in inputs) or not -len(shape) <= axis < len(shape):
        raise refuse("what is sorted together", expected="one shape", found=[list(np.shape(x)) for x in inputs])
    n = shape[axis]
    rows = [np.moveaxis(np.asarray(x), axis, -1).reshape(-1, n) for x in inputs]

    def less(p: Array, q: Array) -> Array:
        """Whether the elements numbered `p` go before those numbered `q`, row by row."""
        real = np.minimum(p, n - 1), np.minimum(q, n - 1)
        a = [np.take_along_axis(r, real[0], 1) for r in rows]
        b = [np.take_along_axis(r, real[1], 1) for r in rows]
        before = _call(state, comparator, [v for pair in zip(a, b, strict=True) for v in pair])[0].astype(bool)
        after = _call(state, comparator, [v for pair in zip(b, a, strict=True) for v in pair])[0].astype(bool)
        return np.where((p >= n) | (q >= n), p < q, before | (~after & (p < q)))

    order = _network(len(rows[0]), n, less) if n > 1 and rows[0].size else np.broadcast_to(np.arange(n), rows[0].shape)
    moved = [np.take_along_axis(r, order, 1).reshape(*np.moveaxis(np.empty(shape, bool), axis, -1).shape) for r in rows]
    return [np.moveaxis(m, -1, axis) for m in moved]


def _network(rows: int, n: int, less: Callable[[Array, Array], Array]) -> Array:
    """Return the order that sorts each row, by a bitonic network: log² n comparisons of whole arrays.

    Numbers from n on fill the rows up to a power of two, and go last.
    """
    size = 1 << (n - 1).bit_length()
    order = np.tile(np.arange(size), (rows, 1))
    places = np.arange(size)
    block = 2
    while block <= size:
        step = block // 2
        while step:
            low = places[(places & step) == 0]
            up = (low & block) == 0
            a, b = order[:, low], order[:, low + step]
            swap = np.where(up, less(b, a), less(a, b))
            order[:, low], order[:, low + step] = np.where(swap, b, a), np.where(swap, a, b)
            step //= 2
        block *= 2
    return order[:, :n]


# --- numbers ------------------------------------------------------------------------------------------------------
# bits of the mantissa and of the exponent
_FLOATS = {"bfloat16": (7, 8), "float16": (10, 5), "float32": (23, 8), "float64": (52, 11)}


@op("XlaReducePrecision", host="bits are cut off")
def xla_reduce_precision(xp: Any, operand: Array, *, exponent_bits: int, mantissa_bits: int) -> Any:
    """`operand` rounded, to even, to what a format of fewer bits could hold; what is too large becomes infinite."""
    if exponent_bits < 1 or mantissa_bits < 0:
        raise refuse("bits of a float", expected="1 or more for exponents", found=[exponent_bits, mantissa_bits])
    mantissa, exponent = _FLOATS[operand.dtype.name]
    kind = np.dtype(f"u{operand.dtype.itemsize}")
    bits = operand.view(kind)
    drop = mantissa - mantissa_bits
    if drop > 0:
        odd = (bits >> kind.type(drop)) & kind.type(1)
        kept = bits + (kind.type((1 << (drop - 1)) - 1) + odd)
        kept &= kind.type(~((1 << drop) - 1) & ((1 << (8 * kind.itemsize)) - 1))
        bits = np.where(np.isnan(operand), bits, kept)
    out = bits.view(operand.dtype)
    if exponent_bits < exponent:
        top = (1 << (exponent_bits - 1)) - 1
        size = np.abs(out.astype(np.float64))
        sign = np.copysign(1.0, operand.astype(np.float64))
        out = np.where(size >= 2.0 ** (top + 1), (sign * np.inf).astype(operand.dtype), out)
        out = np.where(size < 2.0 ** (1 - top), (sign * 0.0).astype(operand.dtype), out)
    return out


# --- control flow -------------------------------------------------------------------------------------------------
@op("XlaIf", stateful=True)
def xla_if(
    xp: Any, state: State, cond: Any, inputs: list[Any], *, then_branch: Function, else_branch: Function
) -> list[Any]:
    """One of two functions of the inputs."""
    return flow.if_.body(xp, state, cond, inputs, then_branch=then_branch, else_branch=else_branch)  # type: ignore[no-any-return]


@op("XlaWhile", stateful=True)
def xla_while(xp: Any, state: State, input: list[Any], *, cond: Function, body: Function) -> list[Any]:
    """`body` applied to the loop variables as long as `cond` holds for them."""
    return flow.while_.body(xp, state, input, cond=cond, body=body)  # type: ignore[no-any-return]
