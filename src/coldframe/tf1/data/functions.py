"""Functions of elements, traced into functions of the graph; and seeds as datasets take them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.graph.values import FuncRef
from coldframe.records import dataclass
from coldframe.tf1.data.structure import (
    Structure,
    components,
    flatten,
    normalized,
    rebuilt,
    structure_of,
)  # fmt: skip
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.functions import FuncGraph
from coldframe.tf1.framework.graph import get_default_graph, name_scope
from coldframe.tf1.framework.tensor import Operation, Tensor
from coldframe.tf1.random_ops import get_seed


@dataclass(frozen=True, slots=True)
class Traced:
    """A function of the graph's library.

    Attributes:
        ref: the reference to it.
        captured: tensors from outside that it reads: the caller passes them behind its arguments.
        structure: of what it returns.
    """

    ref: FuncRef
    captured: list[Tensor]
    structure: Structure


def traced(
    label: str, fn: Callable[..., Any], arguments: Structure, *, unpack: bool = True,
    finish: Callable[[Any], Any] = lambda result: result,
) -> Traced:  # fmt: skip
    """Trace `fn` over stand-ins for an element.

    Args:
        label: what it is for, a part of its name.
        fn: gets the element; a tuple's items as arguments of their own.
        arguments: the structure of the element.
        unpack: whether to do that.
        finish: applied, inside, to what `fn` returns.
    """
    name = re.sub(r"\W", "", getattr(fn, "__name__", type(fn).__name__).replace("<lambda>", "lambda")) or "fn"
    graph = FuncGraph(f"__inference_Dataset_{label}_{name}")
    with graph.as_default():
        kinds = [leaf.component for leaf in flatten(arguments)]
        given = rebuilt(arguments, [graph.argument(f"args_{i}", d, s) for i, (d, s) in enumerate(kinds)])
        result = fn(*given) if unpack and type(given) is tuple else fn(given)
        if isinstance(result, list):
            result = tuple(result)
        if result is None or isinstance(result, Operation):
            raise TypeError(f"A function of a dataset's elements must return tensors or datasets, not {result!r}")
        element = normalized(finish(result))
        outputs = [raw.Identity(t) for t in components(element)]
        return Traced(graph.finish(outputs), graph.captured, structure_of(element))


def python_call(
    function: Callable[..., Any], inputs: Sequence[Any], types: Sequence[Any], *, stateful: bool = True,
    name: str | None = None, op: str = "",
) -> Any:  # fmt: skip
    """Return a node that calls a Python function, and make the function known to the graph.

    Args:
        function: gets arrays and returns arrays.
        inputs: tensors.
        types: of what it returns.
        stateful: whether it may return something else for equal inputs.
        name, op: of the node.

    Returns:
        A list of tensors.
    """
    registry = get_default_graph().registry
    token = f"pyfunc_{sum(k.startswith('pyfunc_') for k in registry)}"
    registry[token] = function
    build = getattr(raw, op or ("PyFunc" if stateful else "PyFuncStateless"))
    return build(list(inputs), token=token, Tout=list(types), name=name)


def seeds(seed: Any) -> tuple[Tensor, Tensor]:
    """Return the two seeds of a dataset, int64 scalars."""
    first, second = get_seed(seed)
    one = convert_to_tensor(0 if first is None else first, dtypes.int64, name="seed")
    if second is None:
        return one, constant(0, dtypes.int64, name="seed2")
    with name_scope(None, "seed2") as scope:
        two = convert_to_tensor(second, dtypes.int64)
        zero = np.int64(0)
        none = raw.LogicalAnd(raw.Equal(one, zero), raw.Equal(two, zero))
        return one, raw.SelectV2(none, constant(2**31 - 1, dtypes.int64), two, name=scope)
