"""TensorFlow as the judge of frozen graphs: it must import what was written, and compute the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


def run_in_tensorflow(
    path: Path, feeds: Mapping[str, Any], fetches: Sequence[str], init: Sequence[str] = ()
) -> dict[str, Any]:
    """Import a GraphDef file into an empty graph and run it."""
    proto = tf.compat.v1.GraphDef()
    if path.suffix == ".pbtxt":
        from google.protobuf import text_format

        text_format.Parse(path.read_text(), proto)
    else:
        proto.ParseFromString(path.read_bytes())
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(proto, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            for name in init:
                session.run(graph.get_operation_by_name(name))
            return dict(zip(fetches, session.run(list(fetches), dict(feeds)), strict=True))


def assert_same(found: Mapping[str, Any], expected: Mapping[str, Any], rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Hold arrays by name against each other."""
    for name, value in expected.items():
        got = np.asarray(found[name])
        assert got.shape == np.shape(value), name
        if np.asarray(value).dtype.kind in "OSUb":
            np.testing.assert_array_equal(got.astype(object), np.asarray(value).astype(object), err_msg=name)
        else:
            np.testing.assert_allclose(got, value, rtol=rtol, atol=atol, err_msg=name)
