"""The signatures of all TensorFlow ops: inputs, outputs, attributes and their defaults. An op needs no body to be here.

The facts are TensorFlow's own registry without its prose, in ``signatures.json``, which ``tools/dump_op_signatures.py``
writes. What it had once, in its core or in ``tf.contrib``, and graphs of TensorFlow 1 still have, is in
``former_signatures.json``, written by hand. Either file is one JSON object with one op per line, so that a line can be
decoded without the others: opening both costs about a millisecond, and a signature some ten microseconds on its first
use::

    "Name":[[input, ...], [output, ...], [attribute, ...], "flags", deprecated]     the empty tail is left out

    input, output   [name, type, number attribute, is reference]                    the empty tail is left out
        type        a DataType number | the name of a type attribute | "*" and the name of a list(type) attribute
    attribute       [name, type] or [name, type, {"d": default, "a": allowed values, "m": minimum}]
    flags           s stateful, c commutative, a aggregate, u takes uninitialized references
    deprecated      the GraphDef version from which TensorFlow refuses the op in new graphs, or 0

Values in the file: strings are latin-1, floats are the shortest decimals of their float32, a shape is a list or null
(unknown rank), a tensor is ``[DataType, shape, flat values]``, a function is its name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import GraphError, UnsupportedOpError, near_names
from coldframe.records import dataclass
from coldframe.shapes import Shape

MAX_LIST: Final = 1 << 20
"""The longest list of inputs or outputs `expand` makes: a length is an attribute that a file merely claims."""


@dataclass(frozen=True, slots=True)
class ArgDef:
    """One input or output of an op, as declared: a tensor, or a list of tensors.

    Attributes:
        name: the argument's name.
        type: its dtype where the op fixes it.
        type_attr: else the attribute that holds its dtype.
        number_attr: for a list of tensors of one dtype, the attribute that holds the length.
        type_list_attr: for a list of tensors of several dtypes, the attribute that holds them.
        is_ref: whether it is a reference, as ref variables (``VariableV2``) hand out.
    """

    name: str
    type: DType | None
    type_attr: str | None
    number_attr: str | None
    type_list_attr: str | None
    is_ref: bool

    @property
    def is_list(self) -> bool:
        """Whether the argument stands for any number of tensors."""
        return self.number_attr is not None or self.type_list_attr is not None


@dataclass(frozen=True, slots=True)
class AttrDef:
    """One attribute of an op, as declared.

    Attributes:
        name: the attribute's name.
        type: ``int``, ``float``, ``bool``, ``string``, ``type``, ``shape``, ``tensor``, ``func``, or ``list(...)``
            of one of these.
        default: the value where a node leaves it out; see `has_default`.
        has_default: whether nodes may leave it out.
        allowed: the dtypes or strings it may be (each item of, for a list); empty where any will do.
        minimum: the least value of an int, or the least length of a list.
    """

    name: str
    type: str
    default: Any
    has_default: bool
    allowed: tuple[DType | str, ...]
    minimum: int | None


@dataclass(frozen=True, slots=True)
class OpSignature:
    """What TensorFlow's registry knows of an op.

    Attributes:
        name: the op's name.
        inputs: its data inputs, in order.
        outputs: its outputs, in order.
        attrs: its attributes by name, in the order of declaration.
        is_stateful: whether it has state or side effects, so that it is neither merged nor dropped nor folded.
        is_commutative: whether its two inputs may be swapped.
        is_aggregate: whether it is a sum of a list, which may be regrouped.
        allows_uninitialized_input: whether its reference input may be uninitialized (``Assign``).
        deprecated: the GraphDef version from which TensorFlow refuses it in new graphs, or None.
    """

    name: str
    inputs: tuple[ArgDef, ...]
    outputs: tuple[ArgDef, ...]
    attrs: Mapping[str, AttrDef] = field(hash=False)
    is_stateful: bool
    is_commutative: bool
    is_aggregate: bool
    allows_uninitialized_input: bool
    deprecated: int | None


def known(name: str) -> bool:
    """Whether TensorFlow has an op called `name`."""
    return name in _lines()


@lru_cache(maxsize=1)
def all_names() -> tuple[str, ...]:
    """The names of all ops, sorted."""
    return tuple(sorted(_lines()))


@cache
def signature(name: str) -> OpSignature:
    """Return the signature of the op called `name`.

    Raises:
        UnsupportedOpError: TensorFlow has no such op; the message suggests near names.
    """
    line = _lines().get(name)
    if line is None:
        raise UnsupportedOpError(f"TensorFlow has no op called `{name}`", hint=near_names(name, all_names()))
    inputs, outputs, attrs, flags, deprecated = (json.loads(b"{" + line + b"}")[name] + ["", 0])[:5]
    return OpSignature(
        name,
        tuple(_arg(*row) for row in inputs),
        tuple(_arg(*row) for row in outputs),
        MappingProxyType({row[0]: _attr(*row) for row in attrs}),
        is_stateful="s" in flags,
        is_commutative="c" in flags,
        is_aggregate="a" in flags,
        allows_uninitialized_input="u" in flags,
        deprecated=deprecated or None,
    )


def fill_defaults(sig: OpSignature, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return `attrs` and the defaults of the attributes that it leaves out; those without default stay out."""
    return {a.name: a.default for a in sig.attrs.values() if a.has_default} | dict(attrs)


def expand(args: tuple[ArgDef, ...], attrs: Mapping[str, Any]) -> list[tuple[ArgDef, DType]]:
    """Return the single tensors that `args` stand for in a node with `attrs`, in order, with their dtypes.

    Args:
        args: the inputs or outputs of a signature.
        attrs: the node's attributes as Python values, with defaults filled in (`fill_defaults`).

    Raises:
        GraphError: an attribute that gives a dtype or a length is missing, or is no dtype or length.
    """
    tensors: list[tuple[ArgDef, DType]] = []
    for arg in args:
        if arg.type_list_attr is not None:
            tensors += [(arg, d) for d in _dtypes(arg, attrs, arg.type_list_attr)]
            continue
        dtype = arg.type
        if arg.type_attr is not None:
            dtype = _checked(arg, attrs, arg.type_attr, DType, "a dtype")
        assert dtype is not None, "the registry gives each argument a dtype or an attribute"
        count = 1
        if arg.number_attr is not None:
            count = _checked(arg, attrs, arg.number_attr, int, "a length")
            if not 0 <= count <= MAX_LIST:
                raise GraphError(
                    f"attribute `{arg.number_attr}` gives argument `{arg.name}` an impossible length",
                    expected=f"0 to {MAX_LIST}",
                    found=count,
                )
        tensors += [(arg, dtype)] * count
    return tensors


def _dtypes(arg: ArgDef, attrs: Mapping[str, Any], name: str) -> tuple[DType, ...]:
    listed: tuple[Any, ...] = _checked(arg, attrs, name, tuple, "a list of dtypes")
    wrong = next((d for d in listed if not isinstance(d, DType)), None)
    if wrong is not None:
        raise GraphError(f"attribute `{name}` of argument `{arg.name}`", expected="a list of dtypes", found=repr(wrong))
    return listed


def _checked(arg: ArgDef, attrs: Mapping[str, Any], name: str, kind: type, expected: str) -> Any:
    value = attrs.get(name)
    if not isinstance(value, kind):
        found = "no such attribute" if name not in attrs else repr(value)
        raise GraphError(f"attribute `{name}` of argument `{arg.name}`", expected=expected, found=found)
    return value


@lru_cache(maxsize=1)
def _lines() -> dict[str, bytes]:
    """The undecoded line of each op, by name."""
    files = [Path(__file__).with_name(name).read_bytes() for name in ("signatures.json", "former_signatures.json")]
    # Between the brace with the version's line, and the closing brace.
    lines = [line for text in files for line in text.split(b"\n")[2:-2]]
    return {line[1 : line.index(b'"', 1)].decode(): line.rstrip(b",") for line in lines}


def _arg(name: str, kind: int | str, number: str = "", is_ref: int = 0) -> ArgDef:
    fixed = type_attr = list_attr = None
    if isinstance(kind, int):
        fixed = dtypes.from_enum(kind)
    elif kind.startswith("*"):
        list_attr = kind[1:]
    else:
        type_attr = kind
    return ArgDef(name, fixed, type_attr, number or None, list_attr, bool(is_ref))


def _attr(name: str, kind: str, facts: Mapping[str, Any] = MappingProxyType({})) -> AttrDef:
    item = kind.removeprefix("list(").removesuffix(")")
    allowed = tuple(dtypes.from_enum(v) if item == "type" else v for v in facts.get("a", ()))
    default = _value(facts["d"], kind) if "d" in facts else None
    return AttrDef(name, kind, default, "d" in facts, allowed, facts.get("m"))


def _value(raw: Any, kind: str) -> Any:
    """An attribute value of type `kind` from its form in the file."""
    if kind.startswith("list("):
        return tuple(_value(v, kind[5:-1]) for v in raw)
    match kind:
        case "float":
            return float(np.float32(raw))
        case "string":
            return raw.encode("latin-1")
        case "type":
            return dtypes.from_enum(raw)
        case "shape":
            return Shape.of(raw)
        case "tensor":
            number, shape, flat = raw
            array = np.array(flat, dtypes.from_enum(number).numpy).reshape(shape)
            array.setflags(write=False)
            return array
        case _:  # int, bool, and the name of a func
            return raw
