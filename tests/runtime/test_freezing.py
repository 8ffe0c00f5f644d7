"""Frozen graphs, held against TensorFlow: it imports what coldframe wrote and gives the answers it gave before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coldframe.runtime.freezing import FrozenGraph, freeze
from fixtures_data import Fixture, fixtures
from frozen_oracle import assert_same, run_in_tensorflow
from shared_data import model_files, model_path


def _check(frozen: FrozenGraph, path: Path, feeds: dict[str, Any], expected: dict[str, Any]) -> None:
    frozen.save(path)
    assert_same(run_in_tensorflow(path, feeds, list(expected), frozen.init_ops), expected)


@pytest.mark.parametrize("fixture", fixtures(kind="saved_model"), ids=repr)
def test_a_saved_model_frozen_by_signature(fixture: Fixture, tmp_path: Path) -> None:
    for i, run in enumerate(fixture.runs()):
        frozen = freeze(fixture.path, signature=run.signature)
        assert not any(n.op.startswith(("Var", "ReadVar", "Partitioned", "Stateful")) for n in frozen.graph)
        feeds = {frozen.inputs[k].name: v for k, v in run.feeds.items()}
        expected = {frozen.outputs[k].name: v for k, v in run.expected.items()}
        _check(frozen, tmp_path / f"{i}.pb", feeds, expected)


@pytest.mark.parametrize("fixture", [f for f in fixtures(kind="checkpoint") if f.meta], ids=repr)
def test_a_meta_graph_with_its_checkpoint(fixture: Fixture, tmp_path: Path) -> None:
    assert fixture.meta is not None
    for i, run in enumerate(fixture.runs()):
        frozen = freeze(fixture.meta, outputs=list(run.expected))
        _check(frozen, tmp_path / f"{i}.pb", dict(run.feeds), dict(run.expected))


@pytest.mark.parametrize("fixture", fixtures(kind="graph"), ids=repr)
def test_a_frozen_graph_frozen_again(fixture: Fixture, tmp_path: Path) -> None:
    frozen = freeze(fixture.path, outputs=fixture.outputs)
    for i, run in enumerate(fixture.runs()):
        _check(frozen, tmp_path / f"{i}.pb", dict(run.feeds), dict(run.expected))


_REAL = (
    "basic-pitch",
    "guesslang/model",
    "tf-java/saved_model_using_python/model",
    "tf-rust/test_resources/regression-model",
    "tf-core-testdata/cc/saved_model/testdata/*",
    "tf-core-testdata/cc/saved_model/testdata/half_plus_two_pbtxt/*",
    "tf-core-testdata/c/experimental/saved_model/internal/testdata/*",
    "tf-core-testdata/lite/python/testdata/*",
    "tf-serving/batching/testdata/matrix_half_plus_two/1",
    "tf-serving/servables/tensorflow/testdata/saved_model_counter/*",
    "tf-serving/servables/tensorflow/testdata/saved_model_half_plus_two_tf2_cpu/*",
)
# Their answers depend on what was run before: incremented counters, a training step.
_STATEFUL = ("expected.incr_counter", "regression_savedmodel")
_ANSWERS = [
    p
    for pattern in _REAL
    for p in model_files(f"{pattern}/expected*.npz")
    if list(p.parent.glob("saved_model.pb*")) and not any(s in str(p) for s in _STATEFUL)
]


@pytest.mark.parametrize("answers", _ANSWERS, ids=lambda p: "/".join(p.parts[-4:]))
def test_a_real_saved_model_frozen_by_tensor_names(answers: Path, tmp_path: Path) -> None:
    expected, feeds = _npz(answers), _npz(answers.with_name(answers.name.replace("expected", "inputs")))
    frozen = freeze(answers.parent, outputs=list(expected))
    feeds = {k: v for k, v in feeds.items() if k.partition(":")[0] in frozen.graph}
    _check(frozen, tmp_path / "frozen.pb", feeds, expected)


def test_a_real_meta_graph_cut_at_its_iterator(tmp_path: Path) -> None:
    folder = model_path("glassy-gnn-ckpt")
    feeds, expected = _npz(folder / "fwd.frozen.pb.inputs.npz"), _npz(folder / "fwd.frozen.pb.expected.npz")
    frozen = freeze(folder / "t044_s09.ckpt.meta", inputs=list(feeds), outputs=list(expected))
    fed = {frozen.inputs[k].name: v for k, v in feeds.items() if k in frozen.inputs}
    _check(frozen, tmp_path / "frozen.pb", fed, expected)


def _npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as stored:
        return {k: v.astype(object) if v.dtype.kind == "S" else v for k, v in stored.items()}
