"""The shortest way from the arrays of a user to a session of ONNX Runtime and back; see `Runner.short`.

Between two runs of a tiny model, what Python needs has left the processor's caches: each function called, each tuple
made takes half a microsecond, of some twenty. So all that must be looked at is in one loop over what is fed, by the
caller's names, and sizes are left to the session, which checks them by itself. That all inputs are there, its part in
Python would look at first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from coldframe.engines.base import Short
from coldframe.primitives.onnx_origins import FEW, Conditions

Kind = np.dtype[Any]


def short(
    session: Any,
    inputs: Sequence[tuple[str, str, Kind]],
    conditions: Conditions,
    outputs: Mapping[str, str],
    scalars: bool,
) -> Short:
    """Return what runs a session.

    Args:
        session: ONNX Runtime's.
        inputs: of each the name that the caller has for it, its own, and its dtype.
        conditions: what must be true of them.
        outputs: the names of those wanted, by the caller's.
        scalars: whether some of these are.
    """
    run, array, few, count = getattr(session, "_sess", session).run, np.ndarray, FEW, len(inputs)
    looked_at = [
        (fed, name, kind, kind.itemsize if name in conditions.natural else 0, name in conditions.filled)
        for fed, name, kind in inputs
    ]
    keys, names = list(outputs), list(outputs.values())
    first, several = keys[0], len(keys) > 1

    def call(feeds: Mapping[str, Any]) -> dict[str, Any] | None:
        if len(feeds) != count:
            return None
        values = {}
        for fed, name, dtype, width, some in looked_at:
            v = feeds.get(fed)
            if type(v) is not array or (v.dtype is not dtype and v.dtype != dtype):
                return None
            # (See `negative`. To call it would take longer.)
            if width and (v.size > few or not v.tobytes()[width - 1 :: width].isascii()) and v.min() < 0:
                return None
            if some and not v.size:
                return None
            values[name] = v
        try:
            got: list[Any] = run(names, values, None)
        except Exception:  # sizes that do not fit, or what the longer way says
            return None
        if scalars:
            got = [v if v.ndim else v[()] for v in got]
        return dict(zip(keys, got)) if several else {first: got[0]}  # noqa: B905 - strict takes as long as the rest

    return call
