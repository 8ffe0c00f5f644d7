"""The average of several checkpoints of a run: uniform, weighted, or exponential.

Chunk by chunk: of each checkpoint one chunk of one tensor is in memory, and one sum, in float64 unless told otherwise.
So memory grows neither with the tensors nor with the number of checkpoints. Floating-point and complex tensors are
averaged; integers, strings and everything else, the global step among them, are the last checkpoint's.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from coldframe.checkpoint.reader import Checkpoint, open_checkpoint
from coldframe.checkpoint.rewrite import Output, Piece, Written, copied, write
from coldframe.checkpoint.select import Selection
from coldframe.checkpoint.stream import Array, dims, part_chunks
from coldframe.errors import MisuseError, near_names
from coldframe.formats.slices import TensorSlice
from coldframe.records import dataclass

Accumulation: TypeAlias = Literal["float32", "float64"]
_SUMS: Final[Mapping[tuple[str, bool], np.dtype[Any]]] = {
    ("float32", False): np.dtype(np.float32),
    ("float32", True): np.dtype(np.complex64),
    ("float64", False): np.dtype(np.float64),
    ("float64", True): np.dtype(np.complex128),
}


@dataclass(frozen=True, slots=True)
class Averaging:
    """How to average.

    Attributes:
        weights: one per checkpoint; they need not sum to 1. None weighs all alike.
        decay: for an exponential average, from the first checkpoint to the last: ``decay * average + (1 - decay) * x``.
        accumulate: in which precision sums are kept; the result has the tensors' own dtype.
        last: patterns of tensors that are not averaged but taken from the last checkpoint (see `Selection`).
    """

    weights: tuple[float, ...] | None = None
    decay: float | None = None
    accumulate: Accumulation = "float64"
    last: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Averaged:
    """What `average` did.

    Attributes:
        averaged: the tensors that were averaged.
        from_last: the tensors taken from the last checkpoint.
        weights: the share of each checkpoint, summing to 1.
        written: what was written.
    """

    averaged: tuple[str, ...]
    from_last: tuple[str, ...]
    weights: tuple[float, ...]
    written: Written


def average(
    sources: Sequence[str | os.PathLike[str]],
    destination: str | os.PathLike[str],
    averaging: Averaging | None = None,
    *,
    shards: int = 1,
) -> Averaged:
    """Write the average of checkpoints.

    Args:
        sources: the checkpoints, by any path that `open_checkpoint` takes. What is not averaged is the last one's.
        destination: the prefix of the new one.
        averaging: weights and precision; left out, all checkpoints weigh alike.
        shards: how many data files to write.

    Raises:
        NotFoundError: there is no such checkpoint.
        MisuseError: the checkpoints differ in names, shapes or dtypes; weights do not fit; `destination` is a source.
        CorruptError: a checkpoint is damaged; nothing has been written.
    """
    averaging = averaging or Averaging()
    if not sources:
        raise MisuseError("nothing to average", expected="at least one checkpoint")
    shares = shares_of(averaging, len(sources))
    with ExitStack() as stack:
        opened = [stack.enter_context(open_checkpoint(s)) for s in sources]
        last = opened[-1]
        for other in opened[:-1]:
            _require_alike(last, other)
        kept = _from_last(last, averaging)
        outputs = [copied(last, n) if n in kept else _mean(opened, n, shares, averaging.accumulate) for n in last.specs]
        written = write(destination, outputs, sources=opened, shards=shards, meta_of=last)
        averaged = tuple(n for n in last if n not in kept)
    return Averaged(averaged, tuple(sorted(kept)), shares, written)


def shares_of(averaging: Averaging, count: int) -> tuple[float, ...]:
    """Return the weight of each of `count` checkpoints, summing to 1; raise `MisuseError`."""
    if averaging.decay is not None:
        if averaging.weights is not None:
            raise MisuseError("an exponential average has no weights", hint="give weights or a decay")
        if not 0 <= averaging.decay < 1:
            raise MisuseError("no decay", expected="0 or more, below 1", found=averaging.decay)
        d = averaging.decay
        return tuple(d ** (count - 1) if i == 0 else (1 - d) * d ** (count - 1 - i) for i in range(count))
    weights = averaging.weights if averaging.weights is not None else (1.0,) * count
    total = sum(weights)
    if len(weights) != count or any(not w >= 0 for w in weights) or not 0 < total < float("inf"):
        raise MisuseError(
            "weights do not fit",
            expected=f"{count} numbers, none negative, some positive",
            found=", ".join(f"{w:g}" for w in weights),
        )
    return tuple(w / total for w in weights)


def _from_last(last: Checkpoint, averaging: Averaging) -> set[str]:
    kept = {n for n, s in last.specs.items() if not (s.dtype.is_float or s.dtype.is_complex)}
    if averaging.last:
        kept |= set(Selection.of(averaging.last).pick(last, where=f"in `{last.prefix}`"))
    return kept


def _require_alike(last: Checkpoint, other: Checkpoint) -> None:
    for name in sorted(last.specs.keys() ^ other.specs.keys()):
        has, lacks = (last, other) if name in last else (other, last)
        raise MisuseError(
            f"only one of the checkpoints holds `{name}`",
            found=f"in `{has.prefix}`, not in `{lacks.prefix}`",
            hint=near_names(name, lacks.specs) or "strip what not all of them hold",
        )
    for name, spec in last.specs.items():
        if spec != other.specs[name]:
            raise MisuseError(
                f"tensor `{name}` differs in kind",
                where=f"in `{other.prefix}`",
                expected=f"{spec.dtype}{list(spec.shape)} as in `{last.prefix}`",
                found=f"{other.specs[name].dtype}{list(other.specs[name].shape)}",
            )


def _mean(opened: Sequence[Checkpoint], name: str, shares: tuple[float, ...], accumulate: Accumulation) -> Output:
    spec = opened[-1].specs[name]
    dtype = _SUMS[accumulate, spec.dtype.is_complex]
    alike = len(set(shares)) == 1
    pieces = copied(opened[-1], name).pieces

    def read(part: TensorSlice | None) -> Iterator[Array]:
        for parts in zip(*(part_chunks(c, name, part) for c in opened), strict=True):
            total = np.zeros(parts[0].shape, dtype)
            for values, share in zip(parts, shares, strict=True):
                if share:  # what does not count may be infinite
                    total += values.astype(dtype) if alike else values.astype(dtype) * dtype.type(share)
            if alike:  # divided once: a product with 1/n would round every element
                total /= dtype.type(len(parts))
            with np.errstate(over="ignore"):
                yield total.astype(spec.dtype.numpy)

    return Output(name, spec.dtype, dims(spec), tuple(Piece(p.part, functools.partial(read, p.part)) for p in pieces))
