"""Floats of another width: half the size for serving, with a report of what the rounding cost.

Only floating-point tensors are cast; counters, strings and quantized values stay to the byte. A graph restores
variables of the dtype that it declares, so a cast checkpoint is for loading by name, not for the graph it came from.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.checkpoint.reader import Checkpoint, open_checkpoint
from coldframe.checkpoint.rewrite import Output, Piece, Written, copied, write
from coldframe.checkpoint.select import Selection
from coldframe.checkpoint.stream import Array
from coldframe.dtypes import DType
from coldframe.errors import MisuseError
from coldframe.records import dataclass

TARGETS: Final = (dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64)


@dataclass(slots=True)
class Rounding:
    """What casting cost one tensor.

    Attributes:
        name: the tensor.
        before: its dtype in the source.
        after: its new dtype.
        size: how many elements it has.
        overflow: finite values that became infinite.
        underflow: values that became 0.
        max_relative: the greatest relative error of the values that stayed finite and did not vanish.
    """

    name: str
    before: DType
    after: DType
    size: int = 0
    overflow: int = 0
    underflow: int = 0
    max_relative: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"before": self.before.name, "after": self.after.name}


def cast(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str] | None,
    dtype: DType | str,
    selection: Selection | None = None,
    *,
    shards: int = 1,
) -> tuple[list[Rounding], Written | None]:
    """Write a checkpoint whose floating-point tensors have another dtype.

    Args:
        source: the checkpoint, by any path that `open_checkpoint` takes. It is not changed.
        destination: the prefix of the new one; None only reports what casting would cost.
        dtype: ``float16``, ``bfloat16``, ``float32`` or ``float64``.
        selection: which tensors; left out, all that are floating-point.
        shards: how many data files to write.

    Returns:
        What it cost each tensor that was cast, by name, and what was written.

    Raises:
        NotFoundError: there is no such checkpoint, or a pattern fits no tensor.
        MisuseError: another dtype; `destination` is the source.
        CorruptError: the checkpoint is damaged; nothing has been written.
    """
    target = dtypes.as_dtype(dtype)
    if target not in TARGETS:
        raise MisuseError(
            f"tensors are not cast to {target}", expected=" or ".join(f"`{t}`" for t in TARGETS), found=f"`{target}`"
        )
    with open_checkpoint(source) as ckpt:
        meant = set((selection or Selection()).pick(ckpt, where=f"in `{ckpt.prefix}`"))
        costs: dict[str, Rounding] = {}
        outputs = []
        for name, spec in ckpt.specs.items():
            if name in meant and spec.dtype.is_float and spec.dtype is not target:
                costs[name] = Rounding(name, spec.dtype, target)
                outputs.append(_cast(ckpt, costs[name]))
            else:
                outputs.append(copied(ckpt, name))
        if destination is not None:
            written = write(destination, outputs, sources=[ckpt], shards=shards, meta_of=ckpt)
            return list(costs.values()), written
        for output in outputs:
            for piece in output.pieces if output.name in costs else ():
                for _ in piece.read():
                    pass
    return list(costs.values()), None


def _cast(ckpt: Checkpoint, cost: Rounding) -> Output:
    old = copied(ckpt, cost.name)
    pieces = tuple(Piece(p.part, lambda p=p: _rounded(p, cost)) for p in old.pieces)  # type: ignore[misc]
    return Output(old.name, cost.after, old.shape, pieces)


def _rounded(piece: Piece, cost: Rounding) -> Iterator[Array]:
    for chunk in piece.read():
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            new = chunk.astype(cost.after.numpy)
        _count(chunk, new, cost)
        yield new


def _count(old: Array, new: Array, cost: Rounding) -> None:
    a, b = old.astype(np.float64), new.astype(np.float64)
    finite = np.isfinite(a)
    lost = (b == 0) & (a != 0)
    cost.size += a.size
    cost.overflow += int(np.count_nonzero(finite & ~np.isfinite(b)))
    cost.underflow += int(np.count_nonzero(lost))
    measured = finite & np.isfinite(b) & (a != 0) & ~lost
    if measured.any():
        a, b = a[measured], b[measured]
        with np.errstate(over="ignore", invalid="ignore"):
            error = float(np.max(np.abs(b / a - 1)))
        cost.max_relative = max(cost.max_relative, error if math.isfinite(error) else 0.0)
