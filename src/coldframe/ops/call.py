"""Calling an op: from a node's flat inputs and raw attributes to its body's arguments, and back to flat outputs."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coldframe.dtypes import DType, resource
from coldframe.errors import GraphError, UnsupportedAttributeError
from coldframe.graph.signatures import ArgDef, AttrDef, OpSignature, expand, signature
from coldframe.graph.values import FuncRef, TensorValue, base_type
from coldframe.ops.table import Body, Op
from coldframe.records import dataclass
from coldframe.shapes import Shape

Bind = Callable[[FuncRef], Callable[..., list[Any]]]
Flow = tuple[tuple[ArgDef, DType], ...]


@dataclass(slots=True, eq=False)
class Call:
    """An op with one node's attributes bound: ``call.run(xp, inputs)`` gives the flat outputs.

    Attributes:
        op: its row of the op table.
        attrs: all attributes by name, defaults filled in, as Python values.
        inputs, outputs: what flows, in order: the op's argument and the dtype.
        groups: the position of each argument in the flat inputs; of a list input, where it begins and ends.
    """

    op: Op
    attrs: Mapping[str, Any]
    inputs: Flow
    outputs: Flow
    kwargs: dict[str, Any]
    groups: tuple[tuple[int, int] | int, ...]
    _rule_kwargs: dict[str, dict[str, Any]]
    _static: tuple[int, ...] | None = dataclasses.field(default=None, init=False)  # not another op's, in a copy

    def run(self, xp: Any, inputs: Sequence[Any], *, aspect: str = "", state: Any = None) -> list[Any]:
        """Run the body, or the rule called `aspect` where the op has one, and return its outputs in order."""
        fn = self.op.rules.get(aspect)
        kwargs = self.kwargs if fn is None else self._rule_kwargs[aspect]
        args = [inputs[g] if isinstance(g, int) else list(inputs[g[0] : g[1]]) for g in self.groups]
        if self.op.stateful:
            args.insert(0, state)
        return self._flat((fn or self.op.body)(xp, *args, **kwargs))

    def _flat(self, result: Any) -> list[Any]:
        if len(self.outputs) == 1 and not isinstance(result, (list, tuple)):
            return [result]
        if result is None:
            return []
        if isinstance(result, list):
            return result
        flat: list[Any] = []
        for r in result:
            flat.extend(r) if isinstance(r, list) else flat.append(r)
        return flat

    def handles(self) -> tuple[int, ...]:
        """Return the positions of the inputs that are variables or other resources."""
        return tuple(i for i, (arg, dtype) in enumerate(self.inputs) if arg.is_ref or dtype is resource)

    def on_values(self, dtypes: Sequence[DType]) -> Call | None:
        """Return the call with values, of `dtypes`, in the places of its handles; None where the op has no such aspect.

        Its outputs are what it hands out (handles left out), then the new values of the variables that it changes.
        """
        body = self.op.rules.get("values")
        at = self.handles()
        if body is None or len(dtypes) != len(at):
            return None
        values = {i: (self.inputs[i][0], dtype) for i, dtype in zip(at, dtypes, strict=True)}
        skipped = values if self.op.role == "assign" else {}
        inputs = tuple(values.get(i, own) for i, own in enumerate(self.inputs) if i not in skipped)
        outputs = tuple(o for o in self.outputs if not o[0].is_ref and o[1] is not resource)
        if self.op.role != "read":
            outputs += tuple(values.values())
        op = dataclasses.replace(self.op, body=body, rules={}, stateful=False, role="", value_op="")
        return Call(op, self.attrs, inputs, outputs, self._rule_kwargs["values"], tuple(range(len(inputs))), {})

    def on_distinct(self, inputs: Flow | None = None, outputs: Flow | None = None) -> Call | None:
        """Return the call of the op's aspect ``distinct``, None where it has none (see `coldframe.runtime.rows`).

        `inputs` and `outputs` are what flows then, where that is not what flows now.
        """
        body = self.op.rules.get("distinct")
        if body is None:
            return None
        kept = {name: rule for name, rule in self.op.rules.items() if name.startswith("padded")}
        op = dataclasses.replace(self.op, body=body, rules=kept)
        groups = self.groups if inputs is None else tuple(range(len(inputs)))
        kwargs = self._rule_kwargs["distinct"]
        more = {name: self._rule_kwargs[name] for name in kept}
        return Call(op, self.attrs, inputs or self.inputs, outputs or self.outputs, kwargs, groups, more)

    def on_padded(self) -> Call | None:
        """Return what a call of the aspect ``distinct`` is where rows are padded, None where there is no such aspect.

        Its rules are those called ``padded values`` and ``padded jax``.
        """
        body = self.op.rules.get("padded")
        if body is None:
            return None
        more = {n.removeprefix("padded "): n for n in self.op.rules if n.startswith("padded ")}
        rules = {name: self.op.rules[n] for name, n in more.items()}
        op = dataclasses.replace(self.op, body=body, rules=rules, role="update" if self.op.role == "update" else "")
        kwargs = {name: self._rule_kwargs[n] for name, n in more.items()}
        return Call(op, self.attrs, self.inputs, self.outputs, self._rule_kwargs["padded"], self.groups, kwargs)

    def given(self, tensors: Mapping[str, TensorValue]) -> Call:
        """Return the call with other values of attributes that are tensors."""
        kwargs, *rules = (
            {**k, **{name: tensors[name] for name in tensors if name in k}}
            for k in (self.kwargs, *self._rule_kwargs.values())
        )
        of_rules = dict(zip(self._rule_kwargs, rules, strict=True))
        return Call(self.op, {**self.attrs, **tensors}, self.inputs, self.outputs, kwargs, self.groups, of_rules)

    def static_inputs(self) -> tuple[int, ...]:
        """Return the flat positions of the inputs that must be known when compiling."""
        if self._static is None:
            self._static = tuple(i for i, (arg, _) in enumerate(self.inputs) if arg.name in self.op.static)
        return self._static


def bind(op: Op, attrs: Mapping[str, Any], *, functions: Bind | None = None) -> Call:
    """Bind a node's attributes to `op`.

    Raises:
        UnsupportedAttributeError: an attribute has a value that the op's body does not understand.
        GraphError: an attribute that has no default is missing or of a wrong kind.
    """
    told: list[Any] = []
    tensors: dict[str, TensorValue] = {}
    for name in sorted(attrs):  # files have them in any order
        if name.startswith("_"):  # of TensorFlow's own, such as `_class`; no op declares one
            continue
        value = attrs[name]
        kind = type(value)
        if kind in _PLAIN:
            told += (name, kind, value)
        elif kind is TensorValue:
            tensors[name] = value
        elif kind is float:
            told += (name, kind, value.hex())  # zeros of either sign are equal
        elif kind is tuple and len(value) <= _SHORT and _PLAIN.issuperset(map(type, value)):
            told += (name, tuple(map(type, value)), value)
        else:
            return _bound(op, attrs, functions)
    shared = _shared(op, tuple(told), tuple(tensors))
    if shared is None:
        return _bound(op, attrs, functions)
    return shared.given(tensors) if tensors else shared


_PLAIN = frozenset({bool, int, bytes, DType, Shape})  # values that are equal where nothing tells them apart
_SHORT = 64  # elements of a list that is compared with others
_ANY = TensorValue(resource, Shape(()), list)  # type: ignore[arg-type] # stands for tensors, whose values are not looked at


@functools.lru_cache(maxsize=1 << 13)
def _shared(op: Op, told: tuple[Any, ...], tensors: tuple[str, ...]) -> Call | None:
    """Return what all nodes of an op have that have these attributes, which are most of a large graph's.

    Args:
        op: the op.
        told: the attributes, each as name, type and value.
        tensors: the names of those that are tensors, which every node has of its own.

    Returns:
        None where a tensor decides whether the node can be bound.
    """
    if not {*_keywords(op.body), *op.ignores}.issuperset(tensors):
        return None
    values = (float.fromhex(v) if k is float else v for k, v in zip(told[1::3], told[2::3], strict=True))
    return _bound(op, dict(zip(told[::3], values, strict=True)) | dict.fromkeys(tensors, _ANY), None)


def _bound(op: Op, attrs: Mapping[str, Any], functions: Bind | None) -> Call:
    sig = signature(op.name)
    full = complete(sig, attrs)
    inputs, outputs = tuple(expand(sig.inputs, full)), tuple(expand(sig.outputs, full))
    makes = functools.partial(_arguments, op, sig, attrs, full, functions)
    rules = {name: makes(fn) for name, fn in op.rules.items() if name != "gradient"}
    return Call(op, full, inputs, outputs, makes(op.body), _group(sig.inputs, full), rules)


def complete(sig: OpSignature, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return `attrs` with defaults filled in, references as their base dtypes, internal (``_x``) ones left out.

    Raises:
        GraphError: an attribute without a default is missing, or has a kind that the signature does not allow.
    """
    full: dict[str, Any] = {}
    for name, spec in sig.attrs.items():
        if name in attrs:
            value = base_type(attrs[name])
            _check(sig, spec, value)
            full[name] = value
        elif spec.has_default:
            full[name] = spec.default
        else:
            raise GraphError(f"{sig.name} lacks its attribute `{name}`", expected=f"a value of type {spec.type}")
    return full


_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,), "float": (float, int), "bool": (bool,), "string": (bytes,), "type": (DType,), "func": (FuncRef,),
    "tensor": (TensorValue,), "shape": (Shape,),
}  # fmt: skip


def _check(sig: OpSignature, spec: AttrDef, value: Any) -> None:
    element = spec.type.removeprefix("list(").removesuffix(")")
    values = value if spec.type.startswith("list(") else (value,)
    if spec.type.startswith("list(") and not isinstance(value, tuple):
        raise GraphError(f"{sig.name}: attribute `{spec.name}`", expected=spec.type, found=repr(value))
    kinds = _KINDS.get(element)
    for v in values:
        if kinds is not None and not isinstance(v, kinds):
            raise GraphError(f"{sig.name}: attribute `{spec.name}`", expected=spec.type, found=repr(v))
        if spec.allowed and (v.decode("latin-1") if isinstance(v, bytes) else v) not in spec.allowed:
            some = ", ".join(str(a) for a in spec.allowed)
            raise GraphError(f"{sig.name}: attribute `{spec.name}`", expected=f"one of {some}", found=repr(v))
    least = spec.minimum
    if least is not None and (len(value) if isinstance(value, tuple) else value) < least:
        raise GraphError(f"{sig.name}: attribute `{spec.name}`", expected=f"at least {least}", found=repr(value))


def _arguments(
    op: Op, sig: OpSignature, given: Mapping[str, Any], full: Mapping[str, Any], functions: Bind | None, fn: Body
) -> dict[str, Any]:
    takes = _keywords(fn)
    for name in given:
        if name in takes or name.startswith("_") or name in op.ignores:
            continue
        spec = sig.attrs.get(name)
        if spec is None:  # TensorFlow passes it over, in files of whatever version; `coldframe inspect` tells
            continue
        if name not in _deduced(op.name) and not (spec.has_default and full[name] == spec.default):
            raise UnsupportedAttributeError(
                f"{op.name}: attribute `{name}` is not supported", expected=spec.default, found=full[name]
            )
    return {name: _argument(full[name], functions) for name in takes if name in full}


@functools.cache
def _keywords(fn: Body) -> tuple[str, ...]:
    return tuple(p.name for p in inspect.signature(fn).parameters.values() if p.kind is p.KEYWORD_ONLY)


@functools.cache
def _deduced(name: str) -> frozenset[str]:
    """Attributes that the inputs and outputs themselves tell: their dtypes and the lengths of lists."""
    args = signature(name).inputs + signature(name).outputs
    return frozenset(n for a in args for n in (a.type_attr, a.number_attr, a.type_list_attr) if n is not None)


def _argument(value: Any, functions: Bind | None) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, FuncRef):
        return functions(value) if functions is not None else value
    if isinstance(value, tuple):
        return tuple(_argument(v, functions) for v in value)
    return value


def _group(args: Sequence[ArgDef], attrs: Mapping[str, Any]) -> tuple[tuple[int, int] | int, ...]:
    groups: list[tuple[int, int] | int] = []
    at = 0
    for a in args:
        if a.number_attr is None and a.type_list_attr is None:
            groups.append(at)
            at += 1
        else:
            n = attrs[a.number_attr] if a.number_attr is not None else len(attrs[a.type_list_attr or ""])
            groups.append((at, at + n))
            at += n
    return tuple(groups)
