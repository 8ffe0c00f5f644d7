"""Ops that touch files: a graph reads what the session allows, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import coldframe as cf
from graphs import case, tf1


def graph(path: Path) -> Any:
    def build() -> Any:
        return [tf.io.read_file(tf1.placeholder_with_default(str(path), [], name="path"))]

    return case(build, {})


def test_an_allowed_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "asset.txt"
    path.write_bytes(b"one\n\xff\x00two")
    c = graph(path)
    assert cf.Session(c.graph, files=[path]).run(c.fetches) == c.answers[0]


@pytest.mark.parametrize("other", ["secret.txt", "../secret.txt", "asset.txt/../secret.txt"])
def test_any_other_file_is_refused(tmp_path: Path, other: str) -> None:
    path = tmp_path / "asset.txt"
    path.write_bytes(b"fine")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    c = graph(path)
    session = cf.Session(c.graph, files=[path])
    with pytest.raises(cf.UnsupportedError, match=r"graphs may read only the files that belong to their model at node"):
        session.run(c.fetches, {"path:0": str(tmp_path / other)})


def test_an_allowed_file_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "asset.txt"
    path.write_bytes(b"fine")
    c = graph(path)
    path.unlink()
    with pytest.raises(cf.ExecutionError, match=r"cannot read .*asset.txt.* at node `ReadFile`.*: found No such file"):
        cf.Session(c.graph, files=[path]).run(c.fetches)


def test_checkpoint_ops_never_run(tmp_path: Path) -> None:
    target = tmp_path / "stolen"

    def build() -> Any:
        x = tf1.placeholder(tf.float32, [], name="x")
        save = tf.raw_ops.SaveV2(prefix=str(target), tensor_names=["x"], shape_and_slices=[""], tensors=[x])
        with tf.control_dependencies([save]):
            return [tf.identity(x, name="y")]

    c = case(build, {"x:0": 1.0})
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(cf.UnsupportedError, match=r"graphs of a model may not write files at node `SaveV2`"):
        cf.Session(c.graph).run("y:0", {"x:0": 1.0})
    assert not list(tmp_path.iterdir())
