"""Conditions: ``tf.cond`` and ``tf.case``, as Switch and Merge nodes.

While a branch is built, a context is active: what a node reads from outside goes through a Switch, which lets it pass
only when the branch is taken. So a branch may also assign variables, reference variables among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.dependencies import no_op
from coldframe.tf1.flow_contexts import CondContext
from coldframe.tf1.framework import nest
from coldframe.tf1.framework.build import raw, raw_op
from coldframe.tf1.framework.convert import IndexedSlices, convert_to_tensor, is_tensor_like
from coldframe.tf1.framework.graph import Graph, control_dependencies, get_default_graph, name_scope
from coldframe.tf1.framework.tensor import Tensor


def merge(inputs: Sequence[Any], name: str | None = None) -> tuple[Any, Any]:
    """Return the one of `inputs` that is alive, and its index."""
    if all(t.is_ref for t in inputs):
        result: tuple[Any, Any] = raw_op("RefMerge", [list(inputs)], {}, name)
    else:
        result = raw_op("Merge", [list(inputs)], {}, name)
    return result


def cond(
    pred: Any, true_fn: Callable[[], Any] | None = None, false_fn: Callable[[], Any] | None = None,
    strict: bool = False, name: str | None = None, fn1: Any = None, fn2: Any = None,
) -> Any:  # fmt: skip
    """Return what `true_fn` returns where the scalar `pred` holds, else what `false_fn` returns.

    Only nodes made inside the functions depend on the condition; what they read from outside is computed either way.

    Args:
        strict: return a list of one as a list.
        fn1, fn2: older names of the functions.

    Raises:
        TypeError: a function is missing, `pred` is a Python bool, or the results do not match.
        ValueError: the results have different structures.
    """
    true_fn, false_fn = true_fn or fn1, false_fn or fn2
    if not callable(true_fn):
        raise TypeError("true_fn must be callable.")
    if not callable(false_fn):
        raise TypeError("false_fn must be callable.")
    if isinstance(pred, (bool, np.bool_)):
        raise TypeError("pred must not be a Python bool")
    graph = get_default_graph()
    with name_scope(name, "cond", [pred]):
        pred = convert_to_tensor(pred, dtypes.bool_)
        p_false, p_true = raw_op("Switch", [pred, pred], {}, None)  # not colocated: it moves no data
        pivots = [raw_op("Identity", [p_false], {}, "switch_f"), raw_op("Identity", [p_true], {}, "switch_t")]
        pred_id = raw_op("Identity", [pred], {}, "pred_id")
        for t in (p_false, p_true, *pivots, pred_id):
            graph.prevent_fetching(t.op)
        true_context, original_true, true = _branch(graph, pred_id, pivots[1], 1, true_fn)
        false_context, original_false, false = _branch(graph, pred_id, pivots[0], 0, false_fn)
        true_context.register()
        false_context.register()
        if (original_true is None) != (original_false is None):
            raise TypeError("Incompatible return values of true_fn and false_fn: only one of them is None")
        if original_true is None:
            return merge([false[0], true[0]])[0].op
        nest.assert_same_structure(original_true, original_false)
        merged = [_merged(f, t) for f, t in zip(false, true, strict=True)]
        packed = nest.pack_sequence_as(original_true, merged)
        if not strict and isinstance(packed, (list, tuple)) and len(packed) == 1 and not hasattr(packed, "_fields"):
            return packed[0]
        return packed


def _branch(
    graph: Graph, pred: Tensor, pivot: Tensor, branch: int, fn: Callable[[], Any]
) -> tuple[CondContext, Any, list[Any]]:
    context = CondContext(pred, pivot, branch, graph.control_flow_context)
    context.claim(pivot.op)
    with context.active(graph):
        value = fn()
        if value is None:
            return context, None, [context.result(no_op())]
        return context, value, [context.result(_flow_of(v)) for v in nest.flatten(value)]


def _flow_of(value: Any) -> Any:
    return value.flow if hasattr(value, "flow") and hasattr(value, "stack") else value


def _merged(false: Any, true: Any) -> Any:
    if isinstance(false, IndexedSlices) and isinstance(true, IndexedSlices):
        shape = None
        if false.dense_shape is not None and true.dense_shape is not None:
            shape = merge([false.dense_shape, true.dense_shape])[0]
        return IndexedSlices(merge([false.values, true.values])[0], merge([false.indices, true.indices])[0], shape)
    if false.dtype is not true.dtype:
        raise ValueError(
            f"Outputs of true_fn and false_fn must have the same type: {true.dtype.name}, {false.dtype.name}"
        )
    return merge([false, true])[0]


def smart_cond(
    pred: Any, true_fn: Callable[[], Any] | None = None, false_fn: Callable[[], Any] | None = None,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return `cond`, but call just one of the functions where `pred` is known already."""
    assert true_fn is not None
    assert false_fn is not None
    known = constant_bool(pred)
    if known is None:
        return cond(pred, true_fn, false_fn, name=name)
    return true_fn() if known else false_fn()


def constant_bool(pred: Any) -> bool | None:
    """Return the value of a condition where it is known: a Python bool, 0, 1, or a constant tensor."""
    if isinstance(pred, (bool, np.bool_)):
        return bool(pred)
    if isinstance(pred, int) and pred in (0, 1):
        return bool(pred)
    if is_tensor_like(pred):
        value = convert_to_tensor(pred).known.value
        return None if value is None else bool(value)
    raise TypeError(f"`pred` must be a Tensor, a Python bool, or 1 or 0, not {pred!r}")


def case(
    pred_fn_pairs: Any, default: Callable[[], Any] | None = None, exclusive: bool = False, strict: bool = False,
    name: str = "case",
) -> Any:  # fmt: skip
    """Return what the function of the first condition that holds returns.

    Args:
        pred_fn_pairs: pairs (condition, function), or a dict of them.
        default: the function where none holds; without one the run then fails.
        exclusive: fail where more than one holds.
    """
    pairs = list(pred_fn_pairs.items() if isinstance(pred_fn_pairs, dict) else pred_fn_pairs)
    if not pairs:
        raise ValueError("pred_fn_pairs must not be empty")
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2 or not callable(pair[1]):
            raise TypeError("Each entry in pred_fn_pairs must be a tuple of a condition and a callable.")
    if default is not None and not callable(default):
        raise TypeError("default must be callable.")
    with name_scope(name, None):
        preds = [p for p, _ in pairs]
        checks = []
        if exclusive and len(pairs) > 1:
            held = raw.Sum(raw.Cast(raw.Pack(preds), DstT=dtypes.int32), [0])
            checks.append(raw.Assert(held <= 1, ["more than one condition of an exclusive case holds: ", *preds]))
        if default is None:
            default = pairs.pop()[1]
            if not exclusive or not checks:
                any_holds = raw.Any(raw.Pack(preds), [0])
                checks.append(raw.Assert(any_holds, ["no condition of a case without default holds: ", *preds]))
        with control_dependencies(checks):
            chosen = default
            for pred, fn in reversed(pairs):
                chosen = _chain(pred, fn, chosen, strict)
            return chosen()


def _chain(pred: Any, fn: Callable[[], Any], otherwise: Callable[[], Any], strict: bool) -> Callable[[], Any]:
    return lambda: cond(pred, fn, otherwise, strict=strict)


def switch_case(
    branch_index: Any, branch_fns: Any, default: Callable[[], Any] | None = None, name: str = "switch_case"
) -> Any:
    """Return what the function of a number returns.

    Args:
        branch_index: an int32 scalar.
        branch_fns: functions, or a dict or pairs from number to function; numbers from 0 up.
        default: the function for other numbers; the last one where left out.

    Raises:
        ValueError: there are no functions, or numbers are left out.
    """
    numbered = isinstance(branch_fns, dict) or all(isinstance(f, tuple) for f in branch_fns)
    pairs = sorted(dict(branch_fns).items()) if numbered else list(enumerate(branch_fns))
    if not pairs:
        raise ValueError("Must provide at least one item in 'branch_fns'")
    if [n for n, _ in pairs] != list(range(len(pairs))):
        raise ValueError(f"branch indices must be the numbers from 0 to {len(pairs) - 1}, not {[n for n, _ in pairs]}")
    with name_scope(name, None):
        index = convert_to_tensor(branch_index, name="branch_index")
        default = pairs[-1][1] if default is None else default
        return case([(raw.Equal(index, number), fn) for number, fn in pairs], default)


__all__ = ["case", "cond", "smart_cond", "switch_case"]
