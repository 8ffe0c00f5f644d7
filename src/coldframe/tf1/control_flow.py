"""Conditions and loops."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.framework.build import raw


def zeros_like_output(op: Any, index: int) -> Any:
    """Return zeros of the shape of an output that no gradient reached."""
    return raw.ZerosLike(op.outputs[index], name="zeros_like")
