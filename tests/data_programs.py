"""Programs with `tf.data` that run on coldframe and on TensorFlow, and what they give compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow

import coldframe.tf1 as OURS  # noqa: N812 - beside TensorFlow's

v1 = tensorflow.compat.v1
_MOST = 30


def flat(x: Any) -> list[Any]:
    """Return the arrays of a fetched element, with marks of how it is nested."""
    if isinstance(x, dict):
        return ["dict", *(v for k in sorted(x) for v in (k, *flat(x[k])))]
    if isinstance(x, tuple):
        return [type(x).__name__, *(v for p in x for v in flat(p))]
    return [x]


def elements(tf: Any, make: Callable[[Any], Any], one_shot: bool) -> list[Any]:
    """Return the static shapes and then all elements of two passes over the dataset that `make` makes."""
    with tf.Graph().as_default():
        tf.set_random_seed(7)
        dataset = make(tf)
        if one_shot:
            iterator = tf.data.make_one_shot_iterator(dataset)
        else:
            iterator = tf.data.make_initializable_iterator(dataset)
        element = iterator.get_next()
        found: list[Any] = [str(v) for v in flat(tf.data.get_output_shapes(dataset))]
        found = [f.replace("None", "?") for f in found]
        with tf.Session() as sess:
            for _ in range(1 if one_shot else 2):
                if not one_shot:
                    sess.run(iterator.initializer)
                for _ in range(_MOST):
                    try:
                        found.append(sess.run(element))
                    except tf.errors.OutOfRangeError:
                        found.append("end")
                        break
                    except tf.errors.OpError:
                        found.append("error")
    return found


def compare(make: Callable[[Any], Any], one_shot: bool = False) -> None:
    ours, theirs = elements(OURS, make, one_shot), elements(v1, make, one_shot)
    assert len(ours) == len(theirs), (ours, theirs)
    for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        x, y = flat(a), flat(b)
        assert len(x) == len(y), f"element {k}: {a}, expected {b}"
        for m, n in zip(x, y, strict=True):
            if isinstance(n, str):
                assert m == n, f"element {k}: {a}, expected {b}"
            else:
                assert np.asarray(m).dtype == np.asarray(n).dtype, f"element {k}"
                np.testing.assert_array_equal(m, n, err_msg=f"element {k}")
