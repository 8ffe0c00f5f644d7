"""Conditions and loops, by the names that programs use."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.cond import case, cond, merge, smart_cond
from coldframe.tf1.flow_contexts import switch
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.tensor import Operation
from coldframe.tf1.functional_ops import foldl, foldr, map_fn, scan
from coldframe.tf1.tensor_array import TensorArray
from coldframe.tf1.while_loop import while_loop

__all__ = [
    "TensorArray", "case", "cond", "foldl", "foldr", "map_fn", "merge", "scan", "smart_cond", "switch", "while_loop",
    "zeros_like_output",
]  # fmt: skip


def zeros_like_output(op: Operation, index: int) -> Any:
    """Return zeros in place of the gradient of an output that none reached."""
    return raw.ZerosLike(op.outputs[index], name="zeros_like")
