"""Hold programs that run one thing after the other against TensorFlow: queues, staging areas, barriers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from coldframe.errors import CancelledError, EndOfInputError, ExecutionError
from coldframe.runtime.session import Session
from graph_oracle import same

v1 = tf.compat.v1
ERRORS = {
    tf.errors.OutOfRangeError: EndOfInputError, tf.errors.CancelledError: CancelledError,
    tf.errors.InvalidArgumentError: ExecutionError, tf.errors.InternalError: ExecutionError,
    tf.errors.ResourceExhaustedError: ExecutionError,
}  # fmt: skip


def outcome(run: Callable[[], Any]) -> Any:
    """Return the value of a run, or the class of its error in our terms."""
    try:
        return run()
    except tf.errors.OpError as e:
        return ERRORS[type(e)]
    except ExecutionError as e:
        return type(e)


def steps(build: Callable[[], list[Any]], repeat: int = 1) -> None:
    """Run the tensors and ops that `build` makes one after the other, here and in TensorFlow; the same happens."""
    with tf.Graph().as_default() as g:
        names = [o.name for o in build()] * repeat
        with v1.Session(graph=g) as session:
            run = [g.as_graph_element(name) for name in names]
            want = [outcome(lambda e=e: session.run(e)) for e in run]
    ours = Session(g.as_graph_def(), "auto")
    for k, (name, w) in enumerate(zip(names, want, strict=True)):
        found = outcome(lambda name=name: ours.run(name))
        if isinstance(w, type) or isinstance(found, type):
            assert found is w, f"step {k}, {name}"
        elif isinstance(w, list):
            assert len(found) == len(w)
        else:
            same(found, w, 0.0, f"step {k}, {name}")
