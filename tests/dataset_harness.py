"""Hold datasets against TensorFlow, element by element, in two passes of an iterator."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ColdframeError, EndOfInputError
from coldframe.runtime.files import AnyFile
from coldframe.runtime.session import Session
from graph_oracle import same

v1 = tf.compat.v1
D = v1.data.Dataset
X = v1.data.experimental
Make = Callable[[], Any]
_MOST = 60  # elements that are compared
_LEFT = 8  # elements that are compared after an iterator was restored


def elements(run: Callable[[], Any]) -> list[Any]:
    """Return what runs give until the end, or an error."""
    found: list[Any] = []
    for _ in range(_MOST):
        try:
            found.append(run())
        except (tf.errors.OutOfRangeError, EndOfInputError):
            found.append("end")
            return found
        except (tf.errors.OpError, ColdframeError):
            found.append("error")
    return found


def compare(make: Make, *, one_shot: bool = False) -> list[Any]:
    """Compare the elements of the dataset that `make` makes, in two passes of an initializable iterator."""
    with tf.Graph().as_default() as g:
        v1.set_random_seed(7)
        dataset = make()
        iterator = v1.data.make_one_shot_iterator(dataset) if one_shot else v1.data.make_initializable_iterator(dataset)
        flat = tf.nest.flatten(iterator.get_next(), expand_composites=True)
        names = [t.name for t in flat]
        init = "" if one_shot else iterator.initializer.name
        passes = 1 if one_shot else 2
        want = []
        with v1.Session(graph=g) as session:
            for _ in range(passes):
                if init:
                    session.run(g.get_operation_by_name(init))
                want += elements(lambda: session.run(names))
    ours = Session(g.as_graph_def(), files=AnyFile())
    found: list[Any] = []
    for _ in range(passes):
        if init:
            ours.run(init)
        found += elements(lambda: ours.run(names))
    ours.state.close()
    first = found[: found.index("end") + 1] if "end" in found else found[:_MOST]
    resume(g.as_graph_def(), iterator._iterator_resource.op.name, names, init, first)
    assert len(found) == len(want), f"{len(found)} elements, expected {len(want)}"
    for k, (f, w) in enumerate(zip(found, want, strict=True)):
        if isinstance(f, str) or isinstance(w, str):
            assert f is w or f == w, f"element {k}: {f}, expected {w}"
            continue
        for name, a, b in zip(names, f, w, strict=True):
            same(a, b, 0.0, f"element {k}, {name}")
    return found


def resume(graph: Any, iterator: str, names: list[str], init: str, whole: list[Any]) -> None:
    """Check that an iterator, saved at several places and restored in another session, gives what is left of `whole`.

    `whole` is what it gives from its beginning on.
    """
    add_saving(graph, iterator)
    ends = "end" in whole
    size = len(whole) - 1 if ends else len(whole) - _LEFT
    for at in sorted({0, 1, 2, size // 2, size - 1, size, size + ends} & set(range(len(whole) + 1))):
        sessions = [Session(graph, files=AnyFile()) for _ in range(2)]
        one, other = sessions
        if init:
            one.run(init)
            other.run(init)
        for _ in range(min(at, size)):
            step(one, names)
        if at > size:
            with pytest.raises(EndOfInputError):
                one.run(names)
        saved = one.run("saved:0")
        with contextlib.suppress(EndOfInputError):
            step(other, names)
        other.run("restored", {"place:0": saved})
        left = whole[at : at + _LEFT]
        for k, w in enumerate(left):
            if isinstance(w, str) and w == "end":
                break
            f = step(other, names)
            if isinstance(w, str):
                assert f == w, f"element {at + k} after it was restored at {at}: {f}, expected {w}"
                continue
            for name, a, b in zip(names, f, w, strict=True):
                same(a, b, 0.0, f"element {at + k} after it was restored at {at}, {name}")
        if len(left) < _LEFT:
            with pytest.raises(EndOfInputError):
                other.run(names)
        for session in sessions:
            session.state.close()


def add_saving(graph: Any, iterator: str) -> None:
    """Add to a GraphDef what saves the iterator, ``saved``, and what restores it from ``place``, ``restored``."""
    graph.node.add(name="saved", op="SerializeIterator", input=[iterator])
    place = graph.node.add(name="place", op="Placeholder")
    place.attr["dtype"].type = tf.variant.as_datatype_enum
    graph.node.add(name="restored", op="DeserializeIterator", input=[iterator, "place"])


def step(session: Session, names: list[str]) -> Any:
    """Return what a run gives, or that it fails."""
    try:
        return session.run(names)
    except EndOfInputError:
        raise
    except ColdframeError:
        return "error"


def pairs() -> Any:
    """A dataset of ten numbers, each with a word."""
    return D.from_tensor_slices((np.arange(10, dtype=np.float32), [f"s{i}" for i in range(10)]))
