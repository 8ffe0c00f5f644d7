"""Dimension numbers: which dimension of an operand plays which part in an op of XLA.

XLA's ops carry them as a serialised message in a string attribute (``xla/xla_data.proto``): repeated fields are packed
varints, fields that are 0 are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from coldframe.formats import wire
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

Dims = tuple[int, ...]


def _read(message: str) -> Mapping[int, Dims]:
    """Return the integers of each field of a message that holds nothing else."""
    found: dict[int, list[int]] = {}
    data = message.encode("utf-8", "surrogateescape")
    try:
        for number, payload in wire.fields(data):
            values = found.setdefault(number, [])
            if isinstance(payload, int):
                values.append(wire.signed(payload))
                continue
            at = 0
            while at < len(payload):
                value, at = wire.decode_varint(payload, at, len(payload))
                values.append(wire.signed(value))
    except ValueError as e:
        raise refuse("`dimension_numbers` is no message of dimension numbers", found=data[:40]) from e
    return {number: tuple(values) for number, values in found.items()}


def within(name: str, dims: Dims, rank: int) -> None:
    """Refuse `dims` that are not distinct dimensions of a tensor of `rank`."""
    if len(set(dims)) != len(dims) or any(not 0 <= d < rank for d in dims):
        raise refuse(f"dimension numbers `{name}`", expected=f"distinct numbers from 0 to {rank - 1}", found=list(dims))


def rest(rank: int, *taken: Dims) -> Dims:
    """Return the dimensions of a tensor of `rank` that are not among `taken`, in order."""
    used = {d for dims in taken for d in dims}
    return tuple(d for d in range(rank) if d not in used)


@dataclass(frozen=True, slots=True)
class DotNumbers:
    """Of a product: the dimensions summed over and those that the operands share, of each operand."""

    lhs_contracting: Dims
    rhs_contracting: Dims
    lhs_batch: Dims
    rhs_batch: Dims


def dot_numbers(message: str) -> DotNumbers:
    """Read ``xla.DotDimensionNumbers``."""
    f = _read(message)
    return DotNumbers(*(f.get(i, ()) for i in (1, 2, 3, 4)))


@dataclass(frozen=True, slots=True)
class ConvNumbers:
    """Of a convolution: which dimensions are batch, feature and spatial ones, in this order.

    Those of the kernel are output feature, input feature and spatial ones.
    """

    input: Dims
    kernel: Dims
    output: Dims


def conv_numbers(message: str) -> ConvNumbers:
    """Read ``xla.ConvolutionDimensionNumbers``."""
    f = _read(message)

    def one(number: int) -> int:
        return f.get(number, (0,))[-1]

    return ConvNumbers(
        (one(7), one(8), *f.get(11, ())), (one(4), one(3), *f.get(6, ())), (one(9), one(10), *f.get(12, ()))
    )


@dataclass(frozen=True, slots=True)
class IndexNumbers:
    """Of a gather or scatter: how windows of an operand lie in what is gathered (or what updates it).

    Attributes:
        window: dimensions of the result (the updates) that go along a window.
        dropped: dimensions of the operand, of size 1 in the window, that the result lacks.
        to_operand: the operand's dimension that each number of an index vector is about.
        vector: the dimension of the indices that holds index vectors; their rank where indices are scalars.
        batch, indices_batch: dimensions of the operand and of the indices that go together.
    """

    window: Dims
    dropped: Dims
    to_operand: Dims
    vector: int
    batch: Dims
    indices_batch: Dims


def index_numbers(message: str) -> IndexNumbers:
    """Read ``xla.GatherDimensionNumbers`` or ``xla.ScatterDimensionNumbers``, which agree field by field."""
    f = _read(message)
    return IndexNumbers(
        f.get(1, ()), f.get(2, ()), f.get(3, ()), f.get(4, (0,))[-1], f.get(5, ()), f.get(6, ())
    )  # fmt: skip
