"""Elementwise mathematics: arithmetic, powers, exponentials, trigonometry, rounding."""

from __future__ import annotations

from coldframe.ops.families import binary, unary

UNARY = [
    unary("Neg", lambda xp, x: xp.neg(x), "-x"),
    unary("Exp", lambda xp, x: xp.exp(x), "e to the power of x"),
]

BINARY = [
    binary("Add", lambda xp, x, y: xp.add(x, y), "x + y; strings are joined"),
    binary("AddV2", lambda xp, x, y: xp.add(x, y), "x + y"),
]
