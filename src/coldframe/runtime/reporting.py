"""Telling what runs where: the report of a plan, for people.

A plan's report is a list of its steps in order, a dict each:

- ``engine``: ``onnxruntime``, ``openvino``, ``xla`` or ``numpy``;
- ``nodes``: the names of its nodes;
- ``ops``: how many nodes of each op these are;
- ``reason``: why numpy runs it, or another engine than the one that was asked for, or what the engine refused in the
  last run; empty where all is well;
- ``op``: of a single node on numpy, its op.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from coldframe.engines.base import NOT_COMPILED

LITTLE: Final = "too little work to compile"
VARYING: Final = "its size depends on the data, and the engine compiles for one size"
_SHOWN: Final = 5  # ops of a part
_HINTS: Final = (
    (LITTLE, '`engine="onnxruntime"` compiles it nevertheless'),
    (NOT_COMPILED, "text and tables stay on numpy; feed the numbers behind them where you have these"),
    ("known when compiling", "feed a constant, or freeze the graph with fixed shapes"),
    ("random", "random numbers are drawn outside, so that they are TensorFlow's"),
    ("state", "freeze the graph: `cf.freeze` makes constants of variables"),
)


def described(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each part of a plan's report: neighbours of one engine and reason are one part.

    A line tells the engine, the number of nodes, the ops that it has most of, the reason, and what could be done.
    """
    parts = [(key, list(group)) for key, group in itertools.groupby(steps, lambda s: (s["engine"], s["reason"]))]
    return [_line(engine, reason, group) for (engine, reason), group in parts]


def _line(engine: str, reason: str, steps: Iterable[Mapping[str, Any]]) -> str:
    ops: Counter[str] = Counter()
    for step in steps:
        ops.update(step["ops"])
    count = ops.total()
    shown = ", ".join(op if n == 1 else f"{op} {n}" for op, n in ops.most_common(_SHOWN))
    more = ", ..." if len(ops) > _SHOWN else ""
    hint = next((hint for part, hint in _HINTS if part in reason), "")
    why = f": {reason}" + (f" ({hint})" if hint else "") if reason else ""
    return f"{engine:<12} {count:>5} node{'s' if count != 1 else ' '}  {shown}{more}{why}"
