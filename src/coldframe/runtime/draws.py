"""Random numbers of compiled islands: drawn, or their place in the sequence reserved, before the island runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from coldframe.engines.base import Draw, EngineFailure
from coldframe.engines.reference import execute
from coldframe.runtime.state import RunState


@contextlib.contextmanager
def drawn(draws: Sequence[Draw], state: RunState) -> Iterator[list[Any]]:
    """Yield what an island is given; where the engine fails, the sequences are put back, for numpy to draw the same."""
    if not draws:
        yield []
        return
    from coldframe.ops.random import sequence  # here, since most islands draw nothing

    before = [(d, dict(sequence(state, d.bound.name))) for d in draws]
    try:
        yield [_given(d, state) for d in draws]
    except EngineFailure:
        for d, was in before:
            now = sequence(state, d.bound.name)
            now.clear()
            now.update(was)
        raise


def _given(draw: Draw, state: RunState) -> Any:
    state.node = draw.bound.name
    attrs = draw.bound.call.attrs
    if draw.count:
        from coldframe.ops.random import place

        return place(state, draw.count, seed=attrs["seed"], seed2=attrs["seed2"])
    return execute(draw.bound, draw.inputs, state)[0]
