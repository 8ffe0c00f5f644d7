"""Nodes that no sane program makes: each op of the table with odd inputs and attributes, the same ones each time.

Sizes of zero, negative strides, kernels larger than what they slide over, indices out of range, divisions by zero,
shapes of a terabyte. About half of the cases are sane enough to run.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.graph.ir import Graph, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.signatures import ArgDef, AttrDef, signature
from coldframe.graph.values import TensorValue
from coldframe.ops import table
from coldframe.shapes import Shape

_SHAPES: tuple[tuple[int, ...], ...] = (
    (), (0,), (1,), (2,), (3,), (4,), (2, 3), (0, 3), (3, 0), (3, 3), (4, 2), (2, 0, 3), (2, 3, 4), (1, 4, 4, 1),
    (2, 5, 4, 3), (3, 3, 3, 2), (1, 1, 1, 1), (0, 4, 4, 1), (2, 0, 4, 3), (2, 2, 2, 2, 2), (1, 1, 2, 1, 1, 3),
)  # fmt: skip
_INTS = (0, 0, 1, 1, 2, 2, 3, 4, -1, -1, -2, 5, 7, 2**15, 10**9, 2**31 - 1, -(2**31), 2**40, 2**62, -(2**63), 2**63 - 1)
_FLOATS = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.0,
    3.7,
    -2.5,
    1e-30,
    1e30,
    -1e38,
    3e38,
    float("inf"),
    float("-inf"),
    float("nan"),
)
_TEXTS = (
    b"",
    b"a",
    b"abc",
    b"1",
    b"-2.5",
    b"\xff\xfe",
    b"%d %s",
    b"a,b,,c",
    b"(",
    b"\\1",
    b"[" * 300,
    b"(a*)*b",
    b"x" * 999,
)
_LISTS = (
    (1, 1, 1, 1), (1, 1, 1, 1), (1, 2, 2, 1), (1, 3, 3, 1), (1, 1, 2, 2), (1, 5, 5, 1), (0, 0, 0, 0), (1, 0, 0, 1),
    (1, -1, -1, 1), (1, 2**31 - 1, 2**31 - 1, 1), (1, 2**62, 1, 1), (2, 1, 1, 2), (1, 2, 1), (), (0,), (-1,), (0, 0),
    (7,), (1, 1, 1, 1, 1), (0, 0, 1, 1, 1, 1, 0, 0), (0, 0, -1, 5, 2**40, 0, 0, 0), (1, 1, 2, 3),
)  # fmt: skip
Case = tuple[Graph, dict[str, Any], list[str]]


def names() -> list[str]:
    """The ops that can be tried on their own: those without functions, frames and state."""
    return sorted(n for n, op in table().items() if not (op.control or op.placeholder or _has_parts(n)))


def _has_parts(name: str) -> bool:
    sig = signature(name)
    opaque = [a for a in (*sig.inputs, *sig.outputs) if a.is_ref or (a.type is not None and a.type.kind == "o")]
    return bool(opaque) or name.startswith("TensorArray") or any("func" in a.type for a in sig.attrs.values())


def case(name: str, number: int) -> Case:
    """A graph of one node, its feeds, and what to fetch."""
    rng = random.Random(f"{name}:{number}")
    sig = signature(name)
    attrs = {a.name: _attr(a, rng) for a in sig.attrs.values() if not (a.has_default and rng.random() < 0.7)}
    common = rng.choice(_SHAPES)
    graph, refs = Graph(producer=1482), list[TensorRef]()
    feeds: dict[str, Any] = {}
    for arg, dtype in _inputs(sig.inputs, attrs):
        value = _tensor(dtype, common if rng.random() < 0.6 else rng.choice(_SHAPES), rng)
        node = Node(f"in_{len(refs)}", "Placeholder", attrs={"dtype": dtype, "shape": Shape.unknown()})
        if rng.random() < 0.4 or arg.name in table()[name].static:
            node = Node(node.name, "Const", attrs={"dtype": dtype, "value": TensorValue.of(value, dtype)})
        else:
            feeds[f"{node.name}:0"] = value
        refs.append(graph.add(node).out())
    graph.add(Node("odd", name, refs, attrs=attrs))
    count = len(_inputs(sig.outputs, attrs | {a.name: a.default for a in sig.attrs.values() if a.name not in attrs}))
    return graph, feeds, [str(TensorRef("odd", i)) for i in range(count)] or ["odd"]


def _inputs(args: Sequence[ArgDef], attrs: dict[str, Any]) -> list[tuple[ArgDef, DType]]:
    found: list[tuple[ArgDef, DType]] = []
    for arg in args:
        if arg.type_list_attr is not None:
            found += [(arg, d) for d in attrs.get(arg.type_list_attr, ())]
            continue
        dtype = arg.type or attrs.get(arg.type_attr or "") or dtypes.float32
        count = attrs.get(arg.number_attr, 1) if arg.number_attr is not None else 1
        found += [(arg, dtype)] * (count if 0 <= count < 9 else 1)
    return found


def _attr(a: AttrDef, rng: random.Random) -> Any:
    kind = a.type.removeprefix("list(").removesuffix(")")
    if a.type == "list(int)":
        return rng.choice(_LISTS)
    if a.type.startswith("list("):
        return tuple(_one(a, kind, rng) for _ in range(rng.choice((0, 1, 1, 2, 3))))
    return _one(a, kind, rng)


def _one(a: AttrDef, kind: str, rng: random.Random) -> Any:
    if kind == "type":
        usual = [d for d in (dtypes.float32, dtypes.int32) if not a.allowed or d in a.allowed]
        allowed = [d for d in a.allowed or _DTYPES if isinstance(d, DType) and d.kind != "o"]
        return rng.choice([*usual, *usual, *allowed])
    if kind == "string":
        return rng.choice([v.encode() for v in a.allowed if isinstance(v, str)] or _TEXTS)
    if kind == "shape":
        return rng.choice((Shape.unknown(), Shape.of((None, 2)), *(Shape.of(s) for s in _SHAPES), Shape.of((2**40,))))
    if kind == "tensor":
        return TensorValue.of(_tensor(dtypes.float32, rng.choice(_SHAPES), rng))
    if kind == "bool":
        return rng.random() < 0.5
    if kind == "float":
        return rng.choice(_FLOATS)
    if a.name in ("N", "num_split", "num") and rng.random() < 0.9:
        return rng.choice((1, 1, 2, 3, 0, 10**9))
    return rng.choice((*_INTS, 0, 1, 2, 3))


_DTYPES = [dtypes.from_enum(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 17, 18, 19, 22, 23)]


def _tensor(dtype: DType, shape: tuple[int, ...], rng: random.Random) -> Any:
    size = int(np.prod(shape))
    if dtype is dtypes.string:
        out = np.empty(size, object)
        out[:] = [rng.choice(_TEXTS) for _ in range(size)]
        return out.reshape(shape)
    kind = rng.random()
    if dtype.kind in "iu" or dtype.kind == "q":
        pool = _INTS if kind < 0.5 else (0, 1, 2, 3) if kind < 0.8 else (1, 2)
    else:
        pool = _FLOATS if kind < 0.4 else (0.0, 1.0, 2.0, -1.0, 0.25)  # type: ignore[assignment]
    values: Any = np.array([rng.choice(pool) for _ in range(size)], np.int64 if dtype.kind in "iuq" else np.float64)
    with np.errstate(all="ignore"):
        return values.astype(dtype.numpy).reshape(shape)
