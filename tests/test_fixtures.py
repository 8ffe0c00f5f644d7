"""The golden fixtures are complete, and TensorFlow still gives the answers beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from fixtures_data import ROOT, Fixture, Run, crc32, fixture, fixtures, manifest

v1 = tf.compat.v1
OP_ONLY = {"v1_partitioned", "v1_dtypes"}  # TensorFlow reads them by the Restore op, not by its reader
DIGITS = ROOT.parents[1] / "examples" / "digits"
CHECKPOINTS, GRAPHS, SAVED_MODELS = (fixtures(kind=k) for k in ("checkpoint", "graph", "saved_model"))


def _names(path: Path) -> set[str]:
    return {p.relative_to(ROOT).as_posix() for p in path.rglob("*") if p.is_file()}


def test_the_manifest_lists_every_file() -> None:
    listed = {p.relative_to(ROOT).as_posix() for f in fixtures() for p in f.files}
    assert _names(ROOT) == listed | {"manifest.json"}


def test_there_are_fixtures_of_every_kind_and_format() -> None:
    kinds = {(f.kind, f.format) for f in fixtures()}
    assert kinds >= {("checkpoint", f) for f in ("v1", "v2", "object")}
    assert kinds >= {(k, f) for k in ("saved_model", "graph") for f in ("binary", "text")}
    assert len({f.name for f in fixtures()}) == len(fixtures()) == len(manifest()["fixtures"])


def test_the_fixtures_are_small() -> None:
    assert sum(p.stat().st_size for f in fixtures() for p in f.files) < 3_000_000


@pytest.mark.parametrize("item", fixtures(), ids=repr)
def test_every_fixture_has_answers(item: Fixture) -> None:
    assert item.about
    if item.kind == "checkpoint":
        assert item.tensors()
        assert all(len(f.shape) < 8 and f.dtype for f in item.tensors().values())
    else:
        assert item.path.exists()
        assert item.runs()
    for run in item.runs():
        assert run.expected
        assert not any(a.dtype.kind in "SU" for a in [*run.feeds.values(), *run.expected.values()])


def test_names_and_filters() -> None:
    assert fixture("v2_adam").meta == ROOT / "v2_adam" / "model.ckpt-3.meta"
    assert [f.name for f in fixtures(kind="graph", format="text")] == ["graph_text"]
    assert {r.signature for r in fixture("saved_model_tf2").runs()} == {"serving_default", "loop", "lookup"}
    assert "float_ref" in fixture("frozen_broken_batch_norm").refused


def test_every_dtype_is_covered() -> None:
    dtypes = {f.dtype for f in fixture("v2_dtypes").tensors().values()}
    assert len(dtypes) == 31, "33 dtypes less resource and variant"


@pytest.mark.parametrize("item", [f for f in CHECKPOINTS if f.name not in OP_ONLY], ids=repr)
def test_tensorflow_still_reads_the_checkpoints(item: Fixture) -> None:
    reader = tf.train.load_checkpoint(str(item.path))
    facts = item.tensors()
    assert reader.get_variable_to_shape_map() == {n: list(f.shape) for n, f in facts.items()}
    for name in list(facts)[:50]:
        if facts[name].crc32 is not None:
            assert crc32(np.asarray(reader.get_tensor(name))) == facts[name].crc32, name


@pytest.mark.parametrize("item", [f for f in GRAPHS if not f.refused], ids=repr)
def test_tensorflow_still_answers_the_graphs(item: Fixture) -> None:
    graph_def = v1.GraphDef()
    if item.format == "text":
        text_format.Parse(item.path.read_text(), graph_def)
    else:
        graph_def.ParseFromString(item.path.read_bytes())
    assert set(item.outputs) <= {n.name for n in graph_def.node}
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        with v1.Session(graph=graph) as session:
            for run in item.runs():
                _check(session.run({k: k for k in run.expected}, dict(run.feeds)), run)


def test_tensorflow_refuses_the_broken_graph() -> None:
    item = fixture("frozen_broken_batch_norm")
    with pytest.raises(ValueError, match="incompatible with expected float_ref"), tf.Graph().as_default():
        tf.import_graph_def(v1.GraphDef.FromString(item.path.read_bytes()), name="")


@pytest.mark.parametrize("item", SAVED_MODELS, ids=repr)
def test_tensorflow_still_answers_the_saved_models(item: Fixture) -> None:
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        signatures = v1.saved_model.load(session, ["serve"], str(item.path)).signature_def
        for run in item.runs():
            sig = signatures[run.signature]
            feeds = {sig.inputs[k].name: a for k, a in run.feeds.items()}
            _check(session.run({k: sig.outputs[k].name for k in run.expected}, feeds), run)


def test_tensorflow_still_answers_the_meta_graph() -> None:
    item = fixture("v2_adam")
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        v1.train.import_meta_graph(str(item.meta)).restore(session, str(item.path))
        (run,) = item.runs()
        _check(session.run({k: k for k in run.expected}, dict(run.feeds)), run)


def test_tensorflow_still_answers_the_digits() -> None:
    answers = json.loads((DIGITS / "answers.json").read_text())
    test = np.load(DIGITS / "test.npz")
    prefix = str(DIGITS / answers["checkpoint"])
    assert tf.train.latest_checkpoint(str(DIGITS)) == prefix
    assert answers["test_accuracy"] > 0.97
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        v1.train.import_meta_graph(prefix + ".meta").restore(session, prefix)
        found = session.run(answers["output"], {answers["input"]: test["images"]})
    np.testing.assert_allclose(found, test["probabilities"], rtol=1e-4, atol=1e-6)
    assert np.mean(found.argmax(1) == test["labels"]) == pytest.approx(answers["test_accuracy"])


def _check(found: dict[str, Any], run: Run) -> None:
    for name, expected in run.expected.items():
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], expected, err_msg=name)
