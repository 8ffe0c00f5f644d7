"""What OpenVINO may be given of an ONNX model: nodes of which it gives the right numbers, and how much work they are.

OpenVINO's CPU plugin computes in 32 bits: 64-bit integers are cut, float64 becomes float32, small integers are widened,
and integers are compared, and their bounds taken, as float32. Where an index is out of range it answers zeros. So it
gets float32 computations, what moves elements about, and integers that are sizes, or are moved, or compared with a
small constant; the rest is told with its reason. Not among them is rounding, where the last bit of a product decides.
`Lookup` says of an index what remains to be checked when it is known.

Tensors without elements end some of its kernels by dividing by zero, and no axes are taken for one axis; so what it
gets must not come to have any but by the batch, which is looked at before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.primitives.onnx_nodes import op_types
from coldframe.records import dataclass

Dims = tuple[int | None, ...]
Facts = Mapping[str, tuple[DType, Dims]]
"""Dtype and dimensions of the tensors of a model, by name."""


_COMPUTES: Final = op_types(
    "Add Sub Mul Div Pow Sqrt Reciprocal Exp Log Erf Abs Neg Max Min Clip Relu LeakyRelu Elu Selu Sigmoid Tanh Softplus"
    " Softsign HardSigmoid HardSwish Gelu Mish Conv MatMul Gemm FusedMatMul BatchNormalization LayerNormalization"
    " Softmax LogSoftmax AveragePool GlobalAveragePool MaxPool ReduceMean ReduceSum ReduceMax ReduceMin ReduceSumSquare"
    " ReduceL2"
)
"""On float32."""
_MOVES: Final = op_types(
    "Identity Transpose Reshape Flatten Squeeze Unsqueeze Concat Split Slice Pad Expand Tile Where Gather"
)
_MOVED: Final = frozenset(("float32", "int32", "int64", "bool"))
_SAME: Final = op_types("Identity Transpose Reshape Flatten Squeeze Unsqueeze")
"""Those that make as many elements as they are given."""
_WINDOWS: Final = frozenset(("Conv", "MaxPool", "AveragePool"))
_RESIZES: Final = frozenset(("Slice", "Pad", "Tile", "Expand", "Split"))
_SUMS: Final = op_types("ReduceSum ReduceMean ReduceSumSquare ReduceL2")
_MANY: Final = 1024
_COMPARES: Final = op_types("Equal Less LessOrEqual Greater GreaterOrEqual")
_TRUTHS: Final = op_types("And Or Not Xor")
_SIZES: Final = frozenset(("Shape", "Size"))
_CASTS: Final = frozenset(
    (a, b) for a in ("bool", "int32", "int64") for b in ("float32", "int32", "int64", "bool") if b != "bool" or a == b
)
_MOST: Final = (1 << 31) - 1  # of 32 bits
_EXACT: Final = 1 << 24  # float32 holds all integers up to here
_PRODUCTS: Final = frozenset(("MatMul", "Gemm", "FusedMatMul"))


@dataclass(frozen=True, slots=True)
class Lookup:
    """An index into `size` rows, to be checked: ``0 <= index < size``. (Negative ones are for ONNX Runtime.)"""

    index: str
    size: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What OpenVINO would make of a model.

    Attributes:
        reason: why it is not to get it; empty where it may.
        lookups: the indices that it would not check.
        work: multiplications of an example in convolutions and products of matrices.
    """

    reason: str
    lookups: tuple[Lookup, ...]
    work: int


def survey(
    nodes: Sequence[Any], facts: Facts, known: Mapping[str, npt.NDArray[Any] | None], results: Iterable[str]
) -> Survey:
    """Return what OpenVINO would make of `nodes`.

    Args:
        nodes: of an ONNX model, in order.
        facts: of all tensors.
        known: the constants; the values of small ones.
        results: what the model returns.
    """
    sizes: set[str] = set(known)
    lookups: dict[Lookup, None] = {}
    beyond: set[str] = set()  # indices that stand for none: too large for 32 bits, and to be looked at before use
    each: dict[str, int] = {}  # elements per example, of what nodes make
    reason, work = "", 0
    for n in nodes:
        names = [i for i in n.input if i]
        missing = next((i for i in (*names, *n.output) if i and i not in facts), None)
        if missing is not None:
            return Survey(f"{n.op_type} is not among what it gets", (), 0)
        plain = n.op_type not in _COMPUTES or all(facts[o][0].is_integer for o in n.output if o)
        if n.op_type in _SIZES or (plain and all(i in sizes for i in names)):
            sizes.update(n.output)
        reason = reason or _unfit(n, facts, sizes, known)
        wide = n.op_type != "Slice" and any(_is_wide(known.get(i)) for i in names)
        read = names[:1] if n.op_type == "Gather" else names
        if (wide and n.op_type != "Where") or not beyond.isdisjoint(read):
            reason = reason or "integers of 64 bits"
        if wide:
            beyond.update(n.output)
        if n.op_type == "Gather":
            size = facts[n.input[0]][1][_axis(n)]
            if size is None or size > _EXACT:
                reason = reason or "an index into what is of no known size"
            elif n.input[1] not in known:
                lookups[Lookup(n.input[1], size)] = None
        weighs = n.op_type == "Conv" or n.op_type in _PRODUCTS
        if weighs and (n.input[1] in known or n.input[1] in each):  # else: weights that are fed
            work += _work(n, facts, each)
        _count(n, facts, each)
    if not beyond.isdisjoint(results):
        reason = reason or "integers of 64 bits"
    return Survey(reason, tuple(lookups), work)


def has_depthwise(nodes: Iterable[Any]) -> bool:
    """Whether there are convolutions of single channels, or of groups of them."""
    return any(n.op_type == "Conv" and _attr(n, "group", 1) > 1 for n in nodes)


def _unfit(n: Any, facts: Facts, sizes: set[str], known: Mapping[str, npt.NDArray[Any] | None]) -> str:
    """Return why a node is not for OpenVINO."""
    op = n.op_type
    if any(0 in _dims(i, facts) for i in (*n.input, *n.output) if i):
        return "a tensor without elements"
    if _is_open(n, facts, known):
        return f"{op} of a size that is not known"
    if op in _SUMS and _summed(n, facts) > _MANY:
        return "sums of many numbers, which it adds one after the other"
    kinds = {facts[i][0].name for i in (*n.input, *n.output) if i}
    small = kinds <= {"int32", "int64", "bool"} and all(o in sizes for o in n.output)
    if op in _SIZES or (small and op in _COMPUTES | _COMPARES):
        return ""
    if op in _COMPUTES and kinds - {"int64"} == {"float32"}:  # 64-bit integers are axes
        return ""
    if op in _MOVES and kinds <= _MOVED:
        return "" if op != "Pad" or _mode(n) == b"constant" else "Pad in another mode than constant"
    if op in _COMPARES and (kinds <= {"float32", "bool"} or any(_is_small(known.get(i)) for i in n.input)):
        return ""
    if op in _TRUTHS and kinds == {"bool"}:
        return ""
    if op == "Cast":
        pair = facts[n.input[0]][0].name, facts[n.output[0]][0].name
        return "" if pair in _CASTS else f"it casts {pair[0]} to {pair[1]} in its own way"
    if op in _COMPUTES | _MOVES | _COMPARES:
        return f"{op} on {', '.join(sorted(kinds - {'float32', 'bool'}))} is not among what it gets"
    return f"{op} is not among what it gets"


def _summed(n: Any, facts: Facts) -> float:
    """Return how many numbers become one; infinity where that is not known."""
    x, y = _dims(n.input[0], facts), _dims(n.output[0], facts)
    return math.inf if x.count(None) > y.count(None) else _known(n.input[0], facts) / max(_known(n.output[0], facts), 1)


def _is_wide(a: npt.NDArray[Any] | None) -> bool:
    return a is not None and a.dtype == np.int64 and bool(np.any((a > _MOST) | (a < ~_MOST)))


def _is_open(n: Any, facts: Facts, known: Mapping[str, npt.NDArray[Any] | None]) -> bool:
    """Whether a node might make a tensor without elements of one with elements, or read beyond one."""
    if n.op_type in _PRODUCTS:  # which constant weights go unchecked
        return _dims(n.input[0], facts)[-1] is None
    if n.op_type in _WINDOWS:
        return None in _dims(n.output[0], facts)[1:]
    if n.op_type in _RESIZES and any(i and i not in known for i in n.input[1:]):
        return True
    if n.op_type != "Slice":
        return False
    x, y = _dims(n.input[0], facts), _dims(n.output[0], facts)
    axes = known[n.input[3]] if len(n.input) > 3 and n.input[3] else np.arange(len(x))
    return axes is None or any(x[a] is None or y[a] is None for a in axes.tolist())


def _is_small(a: npt.NDArray[Any] | None) -> bool:
    """Whether comparing an integer with `a` tells the same where both become float32."""
    return a is not None and a.dtype in (np.int32, np.int64) and bool(np.all((a > -_EXACT) & (a < _EXACT)))


def _work(n: Any, facts: Facts, each: Mapping[str, int]) -> int:
    """Return the multiplications of a node for an example, as far as sizes are known."""
    x, y, out = n.input[0], n.input[1], n.output[0]
    if n.op_type in _PRODUCTS:
        return max(
            each.get(x, _known(x, facts)) * (_dims(y, facts)[-1] or 1), _known(out, facts) * (_dims(x, facts)[-1] or 1)
        )
    return math.prod(d or 0 for d in (*_dims(y, facts)[1:], *_dims(out, facts)[1:]))


def _count(n: Any, facts: Facts, each: dict[str, int]) -> None:
    """Note how many elements the results of a node have for an example: rows may be those of many examples."""
    for out in n.output:
        count = _known(out, facts)
        same = [each[i] for i in n.input if i in each and len(_dims(i, facts)) == len(_dims(out, facts))]
        if n.op_type in _SAME:
            count = max(count, each.get(n.input[0], _known(n.input[0], facts)))
        elif n.op_type in _PRODUCTS:
            deep, wide = _dims(n.input[0], facts)[-1] or 1, _dims(n.input[1], facts)[-1] or 1
            count = max(count, each.get(n.input[0], _known(n.input[0], facts)) // deep * wide)
        elif n.op_type in _COMPUTES:
            count = max(count, *same, 0)
        each[out] = count


def _known(name: str, facts: Facts) -> int:
    return math.prod(d for d in _dims(name, facts) if d is not None)


def _dims(name: str, facts: Facts) -> Dims:
    return facts[name][1]


def _axis(n: Any) -> int:
    return int(_attr(n, "axis", 0))


def _attr(n: Any, name: str, default: int) -> int:
    return next((int(a.i) for a in n.attribute if a.name == name), default)


def _mode(n: Any) -> bytes:
    return next((bytes(a.s) for a in n.attribute if a.name == "mode"), b"constant")
