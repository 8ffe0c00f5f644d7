"""Building nodes from op signatures: ``raw.MatMul(a, b, transpose_a=True)``.

Inputs become tensors, attributes are deduced from them and completed by their defaults, the node gets TensorFlow's
name, and what is known of its outputs is worked out.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.errors import ColdframeError, GraphError, MisuseError
from coldframe.graph.ir import Node
from coldframe.graph.signatures import ArgDef, AttrDef, OpSignature, expand, signature
from coldframe.graph.values import FuncRef, TensorValue
from coldframe.ops import table
from coldframe.ops.call import Call, bind, complete
from coldframe.ops.inference import Known, infer
from coldframe.shapes import Shape
from coldframe.tf1.framework import convert
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import Graph, graph_of
from coldframe.tf1.framework.shape import as_static
from coldframe.tf1.framework.tensor import Operation, Tensor


class InvalidNode(GraphError, ValueError):  # noqa: N818 - it is a GraphError
    """A node's shapes or attributes do not fit."""


class InvalidInput(GraphError, TypeError):  # noqa: N818 - it is a GraphError
    """A node's inputs have dtypes that do not fit."""


def raw_op(op: str, inputs: Sequence[Any], attrs: Mapping[str, Any], name: str | None = None) -> Any:
    """Add a node and return its outputs.

    Args:
        op: TensorFlow's op name.
        inputs: one value per argument of its signature; a list for a list argument.
        attrs: attributes that the inputs do not tell, as Python values.
        name: the node's name in the current scope; the op's name otherwise. A name that ends with ``/`` is taken as
            it is.

    Returns:
        A tensor for one output, a list for one list output, a tuple of these for several, the operation for none.

    Raises:
        GraphError: dtypes (then it is a `TypeError` too) or shapes (a `ValueError`) do not fit; the message names the
            node.
        TypeError, ValueError: an input cannot become a tensor of the dtype that is needed.
    """
    sig = signature(op)
    if len(inputs) != len(sig.inputs):
        names = ", ".join(a.name for a in sig.inputs)
        raise GraphError(f"{op} takes {len(sig.inputs)} inputs ({names})", found=len(inputs))
    flat: list[Any] = []
    for value in inputs:
        flat.extend(value) if isinstance(value, (list, tuple)) else flat.append(value)
    graph = graph_of(flat)
    with graph.as_default(), graph.name_scope(name or op) as scope:
        given = {k: _attr(sig, k, v) for k, v in attrs.items() if v is not None}
        tensors = _convert(sig, inputs, given)
        with _beside_references(graph, sig, tensors):
            return grouped(sig, add_node(graph, sig, tensors, given, scope))


@contextlib.contextmanager
def _beside_references(graph: Graph, sig: OpSignature, tensors: Sequence[Tensor]) -> Iterator[None]:
    """Place what changes a variable by reference where the variable is."""
    with contextlib.ExitStack() as places:
        if any(a.is_ref for a in sig.inputs):
            for arg, t in zip(sig.inputs, tensors, strict=False):  # lists of references are never long
                if arg.is_ref and t.is_ref:
                    places.enter_context(graph.colocate_with(t.op))
        yield


def add_node(graph: Graph, sig: OpSignature, tensors: list[Tensor], given: dict[str, Any], name: str) -> Operation:
    """Add a node of known inputs and attributes to `graph`, under exactly this name."""
    node_name = name.rstrip("/") if name.endswith("/") else graph.unique_name(name)
    try:
        attrs = complete(sig, given)
        attrs.update({k: TensorValue.of(v) for k, v in attrs.items() if isinstance(v, np.ndarray)})
        attrs.update({k: v for k, v in given.items() if k not in attrs})
        call = _call(sig, attrs)
        known = _known(sig, call, attrs, tensors)
    except ColdframeError as e:
        kind = type(e) if not isinstance(e, MisuseError) or isinstance(e, InvalidInput) else InvalidNode
        raise kind(
            e.what, where=f"for `{node_name}` ({sig.name})", expected=e.expected, found=e.found, hint=e.hint
        ) from None
    op = graph.add(Node(node_name, sig.name, [t.ref for t in tensors], [], attrs), tensors)
    refs = [arg.is_ref for arg, _ in (call.outputs if call is not None else expand(sig.outputs, attrs))]
    op.outputs = [Tensor(op, i, k, r) for i, (k, r) in enumerate(zip(known, refs, strict=True))]
    return op


def _call(sig: OpSignature, attrs: Mapping[str, Any]) -> Call | None:
    ops = table()
    if sig.name not in ops:
        return None
    try:
        return bind(ops[sig.name], attrs)
    except (GraphError, MisuseError):
        raise
    except ColdframeError:
        return None  # a value that cannot run: the run says so


def _known(sig: OpSignature, call: Call | None, attrs: Mapping[str, Any], tensors: Sequence[Tensor]) -> list[Known]:
    if call is None:
        return [Known(d, Shape.unknown()) for _, d in expand(sig.outputs, attrs)]
    for (arg, dtype), t in zip(call.inputs, tensors, strict=True):
        if t.dtype is not dtype:
            raise InvalidInput(f"input `{arg.name}` has the wrong dtype", expected=dtype, found=t.dtype)
        if arg.is_ref and not t.is_ref:
            raise GraphError(
                f"input `{arg.name}` is a reference to a variable", expected="a variable", found=f"tensor `{t.name}`"
            )
    return infer(call, [t.known for t in tensors])


def grouped(sig: OpSignature, op: Operation) -> Any:
    """Return an operation's outputs as callers get them, grouped by the arguments of its signature."""
    if not sig.outputs:
        return op
    results: list[Any] = []
    at = 0
    for arg in sig.outputs:
        if arg.is_list:
            n = len(expand((arg,), op.node.attrs))
            results.append(op.outputs[at : at + n])
            at += n
        else:
            results.append(op.outputs[at])
            at += 1
    return results[0] if len(results) == 1 else tuple(results)


# --- inputs -----------------------------------------------------------------------------------------------------
def _convert(sig: OpSignature, inputs: Sequence[Any], attrs: dict[str, Any]) -> list[Tensor]:
    """Return the input tensors, flat, and note in `attrs` what they tell."""
    for arg, value in zip(sig.inputs, inputs, strict=True):  # a tensor decides before a number does
        if arg.type_attr is not None and arg.type_attr not in attrs:
            found = convert._dtype_in(value)
            if found is not None:
                attrs[arg.type_attr] = found
    tensors: list[Tensor] = []
    for arg, value in zip(sig.inputs, inputs, strict=True):
        made = _list_input(sig, arg, value, attrs) if arg.is_list else [_input(sig, arg, value, attrs)]
        tensors += made
    return tensors


def _input(sig: OpSignature, arg: ArgDef, value: Any, attrs: dict[str, Any]) -> Tensor:
    dtype = arg.type or attrs.get(arg.type_attr or "")
    preferred = None
    if dtype is None and arg.type_attr is not None:
        preferred = _preferred(sig.attrs[arg.type_attr], value)
    try:
        by_handle = arg.is_ref or arg.type is dtypes.resource
        tensor = convert.convert_to_tensor(value, dtype, arg.name, preferred, as_ref=by_handle)
    except (TypeError, ValueError) as e:
        kind = TypeError if convert.is_tensor_like(value) else type(e)
        raise kind(f"Input '{arg.name}' of '{sig.name}' Op: {e}") from None
    if arg.type_attr is not None:
        attrs.setdefault(arg.type_attr, tensor.dtype)
    return tensor


def _preferred(spec: AttrDef, value: Any) -> Any:
    """Return the dtype a constant should get: the default, unless what it is by itself is one of those allowed."""
    if not spec.has_default or not spec.allowed:
        return spec.default if spec.has_default else None
    try:
        natural = dtypes.from_numpy(convert.as_array(value).dtype)
    except (ColdframeError, TypeError, ValueError):
        return spec.default
    return None if natural in spec.allowed else spec.default


def _list_input(sig: OpSignature, arg: ArgDef, value: Any, attrs: dict[str, Any]) -> list[Tensor]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"Input '{arg.name}' of '{sig.name}' Op is a list of tensors, not {value!r}")
    if arg.type_list_attr is not None:
        dtypes = attrs.get(arg.type_list_attr) or (None,) * len(value)
        if len(dtypes) != len(value):
            raise ValueError(f"Input '{arg.name}' of '{sig.name}' Op: expected {len(dtypes)} tensors, got {len(value)}")
        made = [
            convert.convert_to_tensor(v, d, f"{arg.name}_{i}")
            for i, (v, d) in enumerate(zip(value, dtypes, strict=True))
        ]
        attrs[arg.type_list_attr] = tuple(t.dtype for t in made)
        return made
    dtype = arg.type or attrs.get(arg.type_attr or "")
    made = []
    for i, v in enumerate(value):
        made.append(convert.convert_to_tensor(v, dtype, f"{arg.name}_{i}", as_ref=arg.is_ref))
        dtype = dtype or made[0].dtype
    if arg.type_attr is not None and dtype is not None:
        attrs.setdefault(arg.type_attr, dtype)
    if arg.number_attr is not None:
        attrs[arg.number_attr] = len(made)
    return made


# --- attributes -------------------------------------------------------------------------------------------------
def _attr(sig: OpSignature, name: str, value: Any) -> Any:
    if name.startswith("_"):
        return value
    spec = sig.attrs.get(name)
    if spec is None:
        raise GraphError(f"{sig.name} has no attribute `{name}`", expected=", ".join(sig.attrs) or "none")
    return attr_value(spec, value)


def attr_value(spec: AttrDef, value: Any) -> Any:
    """Return a Python value as the graph's IR holds an attribute of that kind."""
    if spec.type.startswith("list("):
        return tuple(_single(spec.type[5:-1], v) for v in value)
    return _single(spec.type, value)


def _single(kind: str, value: Any) -> Any:
    match kind:
        case "int":
            return int(value)
        case "float":
            return float(value)
        case "bool":
            return bool(value)
        case "string":
            return value.encode() if isinstance(value, str) else value
        case "type":
            return as_dtype(value)
        case "shape":
            return as_static(value)
        case "tensor":
            return value if isinstance(value, TensorValue) else TensorValue.of(convert.as_array(value))
        case "func":
            return value if isinstance(value, FuncRef) else FuncRef(str(getattr(value, "name", value)), {})
        case _:
            return value


class Raw:
    """Every TensorFlow op as a function: ``raw.MatMul(a, b, transpose_a=True, name=None)``.

    Inputs go by position in the signature's order, or by name; attributes go by name.
    """

    constant = staticmethod(convert.constant)
    IndexedSlices = convert.IndexedSlices

    def __getattr__(self, op: str) -> Callable[..., Any]:
        if op.startswith("_"):
            raise AttributeError(op)
        try:
            signature(op)
        except ColdframeError as e:
            raise AttributeError(str(e)) from None
        return functools.partial(self._apply, op)

    @staticmethod
    def _apply(op: str, *inputs: Any, name: str | None = None, **attrs: Any) -> Any:
        values = list(inputs)
        values += [attrs.pop(a.name) for a in signature(op).inputs[len(values) :] if a.name in attrs]
        return raw_op(op, values, attrs, name)


raw = Raw()
