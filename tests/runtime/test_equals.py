"""Nodes on numpy that compute the same are one step: with TensorFlow's answers, and only where nobody can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as oracle

import coldframe as cf

v1 = oracle.compat.v1
WORDS = np.array([b"a", b"bc", b""])


def _model(folder: Path) -> cf.Model:
    """Return a graph in which strings are hashed, and what is made of that is made again, in two equal chains."""
    with oracle.Graph().as_default() as graph:
        words = v1.placeholder(oracle.string, [None], "words")
        for name, count in (("first", 7), ("second", 7), ("other", 5)):
            texts = oracle.strings.as_string(
                oracle.strings.to_hash_bucket_fast(words, count, name), name=f"{name}_text"
            )
            oracle.strings.join([texts, words], "-", name=f"{name}_out")
        with graph.control_dependencies([graph.get_operation_by_name("first")]):
            oracle.strings.to_hash_bucket_fast(words, 7, "after")
    path = folder / "graph.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return cf.load(path)


def _oracle(model: Path, fetches: list[str], feeds: dict[str, Any]) -> list[Any]:
    with oracle.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        oracle.graph_util.import_graph_def(v1.GraphDef.FromString(model.read_bytes()), name="")
        return list(session.run(fetches, feeds))


@pytest.mark.parametrize(
    ("fetches", "fed", "steps"),
    [
        (["first_out", "second_out", "other_out"], {}, 7),  # what is fetched stays
        (["first_out", "second", "second_text"], {}, 3),
        (["first_out", "second_out"], {"second_text": np.array([b"x", b"y", b"z"], object)}, 4),
        (["first", "after"], {}, 2),  # one waits for the other
    ],
)
def test_equal_nodes_are_one_step(tmp_path: Path, fetches: list[str], fed: dict[str, Any], steps: int) -> None:
    model = _model(tmp_path)
    names, feeds = [f"{f}:0" for f in fetches], {"words:0": WORDS, **{f"{k}:0": v for k, v in fed.items()}}
    for _ in range(2):
        found = model.run(feeds, names)
        for got, want in zip(found.values(), _oracle(tmp_path / "graph.pb", names, feeds), strict=True):
            np.testing.assert_array_equal(got, want)
    [plan] = model.engine_report()
    assert len(plan) == steps
