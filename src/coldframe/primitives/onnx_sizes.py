"""What is known of sizes and integers before their values are: a size by its name, a number never negative, a count.

The first dimension of a graph's input is open, and graphs ask for it again and again: of each layer, to reshape what it
makes; to count its examples, and to look up each of them. Nodes for that take microseconds each and are hundreds. But a
convolution makes as many examples as it gets. So it is noted of each node which sizes of its result are which of its
inputs', and of integers which of them are sizes::

    x [a, 9]   Conv   y [a, 4]   Shape   (a, 4)   Gather 0   a   Range   (0, 1, .. a - 1)

What asks for a size then reads it off the tensor where it comes from, once; what a size is compared with, or whether it
is negative, is often known; and to look up all rows in order is to have them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.primitives.onnx_builder import Dims, OnnxValue
from coldframe.primitives.onnx_layout import LayoutOnnx
from coldframe.primitives.onnx_nodes import op_types
from coldframe.records import dataclass

_MOST: Final = (1 << 31) - 1
_FEW: Final = 64  # integers of a constant that are looked at


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a dimension that is open: that of the tensor of this name, along an axis."""

    name: str
    axis: int


Term = int | Size | None
"""What is known of an integer."""
Terms = tuple[Term, ...]


def integers(terms: Terms | None) -> tuple[int | None, ...] | None:
    """Return `terms` without the names of sizes."""
    return None if terms is None else tuple(t if isinstance(t, int) else None for t in terms)


_ALIKE: Final = op_types(
    "Abs BatchNormalization Cast Ceil Clip CumSum Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity IsInf IsNaN"
    " LayerNormalization LeakyRelu Log LogSoftmax Mish Neg Not Reciprocal Relu Round ScatterElements ScatterND Selu"
    " Sigmoid Sign Softmax Softplus Softsign Sqrt Tanh"
)
"""Results have the sizes of the first input."""
_SPREAD: Final = op_types(
    "Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mod Mul Or PRelu Pow Sub Where Xor"
)
"""Inputs are broadcast."""
_EXAMPLES: Final = op_types("AveragePool Conv ConvTranspose GlobalAveragePool GlobalMaxPool MaxPool")
"""As many examples come out as go in."""
_REDUCES: Final = op_types("ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare")
_NATURAL: Final = op_types("ArgMax ArgMin NonMaxSuppression NonZero Shape Size")
_MOVES: Final = op_types("Expand Flatten Gather Identity Reshape Slice Split Squeeze Tile Transpose Unsqueeze")
_KEEPS: Final = op_types("Cast Identity Reshape Squeeze Unsqueeze")
"""Of few integers, the same ones come out."""


class SizesOnnx(LayoutOnnx):
    """A builder that notes of what it emits where sizes come from."""

    def __init__(self) -> None:
        super().__init__()
        self._axes: dict[str, Terms] = {}
        self._terms: dict[str, Terms] = {}
        self._parts: dict[str, tuple[OnnxValue, ...]] = {}  # of concatenated vectors: those, of one element each
        self._naturals: dict[str, int] = {}  # see `_natural`
        self._flags: set[str] = set()  # integers that are 0 or 1
        self._counts: dict[str, Term] = {}
        self._sources: dict[str, OnnxValue] = {}  # the tensors that sizes are named after
        self._sized: dict[Size, OnnxValue] = {}

    # --- what is known --------------------------------------------------------------------------------------------
    def axes(self, x: OnnxValue) -> Terms:
        """Return the sizes of `x`, all of them known or named."""
        if None not in x.dims:
            return x.dims
        if not x.name and x.turned is not None:
            source, perm = x.turned
            found = self.axes(source)
            return tuple(found[p] if d is None else d for d, p in zip(x.dims, perm, strict=True))
        known = self._axes.get(x.name) or (None,) * x.ndim
        self._sources.setdefault(x.name, x)
        own = (k if isinstance(k, Size) else Size(x.name, i) for i, k in enumerate(known))
        return tuple(o if d is None else d for d, o in zip(x.dims, own, strict=True))

    def terms(self, x: OnnxValue) -> Terms | None:
        """Return what is known of the elements of an integer scalar or vector; None where that is nothing."""
        if x.ndim > 1 or not x.dtype.is_integer:
            return None
        if x.const is not None:
            return tuple(int(v) for v in x.const.ravel()) if x.const.size <= _FEW else None
        found = self._terms.get(x.name)
        if found is None or x.partial is None:
            return x.partial if found is None else found
        return tuple(f if p is None else p for f, p in zip(found, x.partial, strict=True))

    def natural(self, x: OnnxValue) -> bool:
        """Whether no element of `x`, integers, is negative."""
        return self._natural(x) > 0

    def _natural(self, x: OnnxValue) -> int:
        """Return 0 where elements may be negative, 2 where none is and none is beyond 31 bits, as of sizes; else 1."""
        if x.const is not None:
            if x.const.dtype.kind not in "iub" or (x.const < 0).any():
                return 0
            return 2 if not x.const.size or x.const.max() <= _MOST else 1
        if x.dtype.kind == "u":
            return 1
        if x.name in self._naturals:
            return self._naturals[x.name]
        known = self.terms(x)
        return 2 if known and all(isinstance(t, Size) or (t is not None and 0 <= t <= _MOST) for t in known) else 0

    def counts(self, x: OnnxValue) -> Term:
        """Return n where `x` is 0, 1, ... n - 1."""
        if x.const is None:
            return self._counts.get(x.name)
        return len(x.const) if x.ndim == 1 and np.array_equal(x.const, np.arange(len(x.const))) else None

    def part(self, x: OnnxValue, index: int) -> OnnxValue | None:
        """Return an element of a vector, itself a vector, where it was there before."""
        parts = self._parts.get(x.name, ()) if x.name else ()
        return self.cast(parts[index], x.dtype) if -len(parts) <= index < len(parts) else None

    def size_of(self, size: Size) -> OnnxValue:
        """Return a size as an int64 vector of one element."""
        if size not in self._sized:
            given = [self._sources[size.name]]
            kind = [(dtypes.int64, (1,))]
            (self._sized[size],) = self.nodes_out("Shape", given, kind, start=size.axis, end=size.axis + 1)
        return self._sized[size]

    def told(self, terms: Terms | None, dims: Dims, dtype: DType) -> OnnxValue | None:
        """A constant where all elements of a shape vector are known, or one size: so that it is read once."""
        if terms is None or None in terms or None in dims:
            return None
        if len(terms) == 1 and isinstance(terms[0], Size) and dtype in (dtypes.int32, dtypes.int64):
            found = self.size_of(terms[0])
            if not dims:
                axis = self.constant(np.zeros(1, np.int64))
                found = self.node("Squeeze", [found, axis], dims=())
            return dataclasses.replace(self.cast(found, dtype), partial=(None,))
        if any(isinstance(t, Size) for t in terms):
            return None
        return self.constant(np.array(terms, dtype.numpy).reshape([d or 0 for d in dims]), dtype)

    def named(self, name: str) -> OnnxValue | None:
        """Return the tensor of a name: a small constant, or what a node made or was fed."""
        if (a := self.inline.get(name)) is not None:
            return self.constant(a)
        return OnnxValue(self, *self.facts[name], name) if name in self.facts else None

    def count(self, names: Sequence[str]) -> None:
        """Note loop variables that are never negative."""
        self._naturals.update(dict.fromkeys(names, 2))

    def same_size(self, x: OnnxValue, axis: int, size: Term) -> OnnxValue:
        """Note that `x` has a size along an axis, and return it."""
        if isinstance(size, Size):
            known = list(self.axes(x))
            known[axis] = size
            self._axes[x.name] = tuple(known)
        return x

    def forget(self, gone: Collection[str]) -> None:
        """Forget shared nodes that made the tensors `gone`."""
        super().forget(gone)
        self._sized = {k: v for k, v in self._sized.items() if v.name not in gone}

    # --- what nodes make of it -------------------------------------------------------------------------------------
    def nodes_out(
        self,
        op_type: str,
        inputs: Sequence[OnnxValue | None],
        outputs: Sequence[tuple[DType, Dims]],
        *,
        domain: str = "",
        **attrs: Any,
    ) -> list[OnnxValue]:
        """Emit a node, and note what is known of its results."""
        out = super().nodes_out(op_type, inputs, outputs, domain=domain, **attrs)
        given = [i for i in inputs if i is not None]
        if not given or domain:
            return out
        rule = _AXES.get(op_type)
        for k, o in enumerate(out):
            if rule is not None and None in o.dims and (k == 0 or op_type == "Split"):
                found = rule(self, given, o, attrs)
                if found is not None and len(found) == o.ndim and any(isinstance(t, Size) for t in found):
                    self._axes[o.name] = tuple(found)
            if o.dtype in (dtypes.int32, dtypes.int64):
                self._note(op_type, given, o, attrs)
        return out

    def _note(self, op_type: str, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]) -> None:
        """Note what is known of integers."""
        if natural := self._stays_natural(op_type, given, out):
            self._naturals[out.name] = natural
        x = given[0]
        if op_type == "Cast" and x.dtype is dtypes.bool_:
            self._flags.add(out.name)
        if op_type == "Range" and _is(x, 0) and _is(given[2], 1):
            limit = self.terms(given[1])
            if limit is not None:
                self._counts[out.name] = limit[0]
        elif op_type == "Cast" and x.dtype.is_integer and x.name in self._counts:
            self._counts[out.name] = self._counts[x.name]
        if out.ndim > 1:
            return
        found: Terms | None = None
        if op_type == "Shape":
            found = self.axes(x)[attrs.get("start", 0) : attrs.get("end")]
        elif op_type in _KEEPS and x.dtype.is_integer:
            found = self.terms(x)
            if x.name in self._parts and op_type == "Cast":
                self._parts[out.name] = self._parts[x.name]
        elif op_type == "Concat":
            found = self._joined(given)
            if all(p.dims == (1,) for p in given):
                self._parts[out.name] = tuple(given)
        elif op_type == "Gather" and given[1].const is not None and (known := self.terms(x)) is not None:
            at = [int(i) for i in given[1].const.ravel()]
            found = tuple(known[i] for i in at) if all(-len(known) <= i < len(known) for i in at) else None
        if found is not None and any(t is not None for t in found):
            self._terms[out.name] = found

    def _joined(self, given: Sequence[OnnxValue]) -> Terms | None:
        out: list[Term] = []
        for x in given:
            if x.ndim != 1 or x.dims[0] is None:
                return None
            out.extend(self.terms(x) or (None,) * x.dims[0])
        return tuple(out)

    def _stays_natural(self, op_type: str, given: Sequence[OnnxValue], out: OnnxValue) -> int:
        """Return what `_natural` is to say of a result."""
        x, known = given[0], self._natural
        if op_type in _NATURAL or (op_type == "TopK" and out.dtype is not x.dtype):
            return 2
        if op_type == "ReduceSum":
            return 2 if x.name in self._flags else 0
        if op_type == "Cast":
            if x.dtype is dtypes.bool_ or not x.dtype.is_integer:
                return 2 if x.dtype is dtypes.bool_ else 0
            wider = (out.dtype.width or 0) > (x.dtype.width or 0)
            return known(x) if wider or known(x) == 2 else 0
        if op_type in _MOVES:
            return known(x)
        if op_type == "Range" and given[2].const is not None and (given[2].const > 0).all():
            return min(known(x), 1 + (known(given[1]) == 2))
        if op_type == "Max":
            every = [known(i) for i in given]
            return min(max(every), 1 + (min(every) == 2))
        if op_type in ("Where", "Concat"):
            return min(known(i) for i in given[op_type == "Where" :])
        if op_type == "Min":
            every = [known(i) for i in given]
            return max(every) if all(every) else 0
        return 0


def _is(x: OnnxValue, value: int) -> bool:
    return x.const is not None and x.const.size == 1 and bool(x.const == value)


def _positions(axes: OnnxValue, rank: int) -> set[int]:
    assert axes.const is not None
    return {int(a) % rank for a in axes.const.ravel()}


_Rule = Callable[[SizesOnnx, Sequence[OnnxValue], OnnxValue, Mapping[str, Any]], Sequence[Term] | None]


def _alike(b: SizesOnnx, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]) -> Sequence[Term]:
    return b.axes(given[0])


def _examples(b: SizesOnnx, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]) -> Sequence[Term]:
    return (b.axes(given[0])[0], *out.dims[1:])


def _spread(b: SizesOnnx, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]) -> Sequence[Term]:
    found: list[Term] = []
    for k in range(-out.ndim, 0):
        along = {b.axes(x)[k] for x in given if x.ndim >= -k} - {1}
        found.append(along.pop() if len(along) == 1 else None)
    return found


def _transposed(b: SizesOnnx, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]) -> Sequence[Term]:
    found = b.axes(given[0])
    return [found[p] for p in attrs["perm"]]


def _unsqueezed(
    b: SizesOnnx, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]
) -> Sequence[Term] | None:
    if len(given) < 2 or given[1].const is None:
        return None
    found: list[Term] = list(b.axes(given[0]))
    for a in sorted(int(a) % out.ndim for a in given[1].const.ravel()):
        found.insert(a, 1)
    return found


def _squeezed(
    b: SizesOnnx, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]
) -> Sequence[Term] | None:
    if len(given) < 2 or given[1].const is None:
        return None
    gone = _positions(given[1], given[0].ndim)
    return [t for i, t in enumerate(b.axes(given[0])) if i not in gone]


def _gathered(b: SizesOnnx, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]) -> Sequence[Term]:
    found, at = b.axes(given[0]), attrs.get("axis", 0) % given[0].ndim
    return (*found[:at], *b.axes(given[1]), *found[at + 1 :])


def _but_one(b: SizesOnnx, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]) -> Sequence[Term]:
    """Concat and Split: all sizes but one stay."""
    at = attrs.get("axis", 0) % out.ndim
    return [None if i == at else t for i, t in enumerate(b.axes(given[0]))]


def _sliced(
    b: SizesOnnx, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]
) -> Sequence[Term] | None:
    if len(given) < 4 or given[3].const is None:
        return None
    cut = _positions(given[3], out.ndim)
    return [None if i in cut else t for i, t in enumerate(b.axes(given[0]))]


def _reduced(
    b: SizesOnnx, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]
) -> Sequence[Term] | None:
    if len(given) < 2 or given[1].const is None:
        return None
    gone = _positions(given[1], given[0].ndim)
    kept = [1 if i in gone else t for i, t in enumerate(b.axes(given[0]))]
    return kept if attrs.get("keepdims", 1) else [t for i, t in enumerate(kept) if i not in gone]


def _multiplied(b: SizesOnnx, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]) -> Sequence[Term]:
    x = b.axes(given[0])
    return (*x[:-1], None) if given[1].ndim == 2 or x == () else [None] * out.ndim


def _shaped(
    b: SizesOnnx, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]
) -> Sequence[Term] | None:
    found = b.terms(given[1])
    return None if found is None else [t if isinstance(t, Size) else None for t in found]


def _expanded(
    b: SizesOnnx, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]
) -> Sequence[Term] | None:
    wanted = b.terms(given[1])
    if wanted is None:
        return None
    x = (1,) * (out.ndim - given[0].ndim) + b.axes(given[0])
    return [w if a in (1, w) else None for a, w in zip(x, wanted, strict=False)]


def _tiled(b: SizesOnnx, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]) -> Sequence[Term] | None:
    times = b.terms(given[1])
    if times is None:
        return None
    return [t if a == 1 else a if t == 1 else None for a, t in zip(b.axes(given[0]), times, strict=True)]


def _counted(b: SizesOnnx, given: Sequence[OnnxValue], out: OnnxValue, attrs: Mapping[str, Any]) -> Sequence[Term]:
    limit = b.terms(given[1])
    return [limit[0] if limit and _is(given[0], 0) and _is(given[2], 1) else None]


_AXES: Final[Mapping[str, _Rule]] = {
    **dict.fromkeys(_ALIKE, _alike),
    **dict.fromkeys(_SPREAD, _spread),
    **dict.fromkeys(_EXAMPLES, _examples),
    **dict.fromkeys(_REDUCES, _reduced),
    "Transpose": _transposed,
    "Unsqueeze": _unsqueezed,
    "Squeeze": _squeezed,
    "Gather": _gathered,
    "Concat": _but_one,
    "Split": _but_one,
    "Slice": _sliced,
    "Resize": _shaped,  # by all its sizes
    "MatMul": _multiplied,
    "Reshape": _shaped,
    "Expand": _expanded,
    "Tile": _tiled,
    "Range": _counted,
}
"""How nodes carry sizes on."""
