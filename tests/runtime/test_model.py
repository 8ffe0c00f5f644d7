"""Models: every golden graph and SavedModel gives TensorFlow's answers, by tensor name and by signature."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import coldframe as cf
import coldframe.tf1 as tf
from coldframe.runtime.session import ENGINES
from coldframe.runtime.steps import IslandStep
from fixtures_data import Fixture, Run, fixture, fixtures
from graphs import same

DIGITS = Path(__file__).parents[2] / "examples" / "digits"


def _runs() -> list[Any]:
    kinds = ("graph", "saved_model")
    return [
        pytest.param(f, run, id=f"{f.name}-{run.signature or k}")
        for kind in kinds
        for f in fixtures(kind=kind)
        for k, run in enumerate(f.runs())
        if not f.refused
    ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("f", "run"), _runs())
def test_gives_tensorflows_answers(f: Fixture, run: Run, engine: str) -> None:
    model = cf.load(f.path, engine=engine)
    got = model.run(dict(run.feeds), list(run.expected), signature=run.signature)
    assert list(got) == list(run.expected)
    same(got.values(), run.expected.values())


def test_a_meta_graph_with_its_checkpoint_is_a_model() -> None:
    model = cf.load(DIGITS / "model.ckpt-460.meta")
    answers = json.loads((DIGITS / "answers.json").read_text())
    with np.load(DIGITS / "test.npz") as data:
        images, wanted = data["images"].astype(np.float32), data["probabilities"]
    name = answers["output"] if ":" in answers["output"] else f"{answers['output']}:0"
    source = answers["input"] if ":" in answers["input"] else f"{answers['input']}:0"
    got = model.run({source: images}, [name])
    np.testing.assert_allclose(got[name], wanted, atol=1e-5)


def test_signatures_are_called_like_functions() -> None:
    f = fixture("saved_model_tf2")
    model = cf.load(f.path)
    assert set(model.signatures) == {r.signature for r in f.runs()}
    for run in f.runs():
        wanted = next(iter(run.expected.values())) if len(run.expected) == 1 else run.expected
        got = model(signature=run.signature, **run.feeds)
        if isinstance(wanted, dict):
            assert got.keys() == wanted.keys()
            same(got.values(), wanted.values())
        else:
            same([got], [wanted])
        order = list(model.signatures[str(run.signature)].inputs)
        positional = model(*(run.feeds[k] for k in order if k in run.feeds), signature=run.signature)
        same(positional.values() if isinstance(positional, dict) else [positional], run.expected.values())


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda m: m(signature="serving_defualt"), cf.NotFoundError, "no signature is called `serving_defualt`"),
        (lambda m: m(no_such=1), cf.NotFoundError, "has no input `no_such`"),
        (lambda m: m(*range(9)), cf.FeedError, r"takes \d inputs?: found 9"),
        (lambda m: m.run({}, ["nothing:0"]), cf.NotFoundError, "no node called `nothing`"),
        (lambda m: m.run({}, "nothing"), cf.NotFoundError, "no node called `nothing`"),
        (lambda m: m.run(["y:0"], {"x:0": 1.0}), cf.MisuseError, r"by name: found list\nhint: .*feeds, fetches"),
        (lambda m: m.run(np.ones(2)), cf.MisuseError, "dict of values by name: found ndarray"),
        (lambda m: m.run({}, 5), cf.MisuseError, "a list of names of outputs or tensors: found 5"),
        (lambda m: m.run({}, [["y:0"]]), cf.MisuseError, r"names of outputs or tensors: found \[\['y:0'\]\]"),
        (lambda m: m.run({5: 1.0}), cf.MisuseError, r"is fed by name: expected \['x'\], found 5"),
    ],
)
def test_refusals(call: Any, error: type[Exception], text: str) -> None:
    model = cf.load(fixture("saved_model_tf1").path)
    with pytest.raises(error, match=text):
        call(model)


def test_a_single_fetch_needs_no_list() -> None:
    run = fixture("saved_model_tf1").runs()[0]
    model = cf.load(fixture("saved_model_tf1").path)
    name, wanted = next(iter(run.expected.items()))
    for _ in range(3):  # the later ones go the short way
        got = model.run(run.feeds, name, signature=run.signature)
        assert list(got) == [name]
        same(got.values(), [wanted])
        same(model.run(run.feeds, (n for n in [name]), signature=run.signature).values(), [wanted])
    with pytest.raises(cf.MisuseError, match="dict of values by name: found list"):
        model.run(list(run.feeds), [name], signature=run.signature)


def test_variables_are_compiled_in_until_somebody_assigns_them() -> None:
    f = fixture("saved_model_tf1")
    [run] = [r for r in f.runs() if r.signature == "serving_default"] or f.runs()[:1]
    model = cf.load(f.path, engine="onnxruntime")
    before = model.run(dict(run.feeds), list(run.expected), signature=run.signature)
    same(before.values(), run.expected.values())
    name, value = max(model.session.state.variables.items(), key=lambda kv: kv[1].size)
    model.session.set_variables({name: value * 2 + 1})
    after = model.run(dict(run.feeds), list(run.expected), signature=run.signature)
    fresh = cf.load(f.path, engine="reference")
    fresh.session.set_variables({name: value * 2 + 1})
    same(after.values(), fresh.run(dict(run.feeds), list(run.expected), signature=run.signature).values())
    assert any(not np.array_equal(a, b) for a, b in zip(after.values(), before.values(), strict=True))


@pytest.mark.parametrize(
    ("spin", "version", "expected"),
    [
        (True, "1.32.0", {"session.force_spinning_stop": "1"}),
        (False, "1.32.0", {"session.intra_op.spin_duration_us": "20", "session.force_spinning_stop": "1"}),
        (False, "1.26.2", {"session.intra_op.allow_spinning": "0", "session.force_spinning_stop": "1"}),
    ],
)
def test_threads_spin_unless_told_otherwise(
    spin: bool, version: str, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entries: dict[str, str] = {}

    class Recording(onnxruntime.SessionOptions):
        def add_session_config_entry(self, key: str, value: str) -> None:
            entries[key] = value
            super().add_session_config_entry(key, value)

    monkeypatch.setattr(onnxruntime, "SessionOptions", Recording)
    monkeypatch.setattr(onnxruntime, "__version__", version)
    cf.load(DIGITS / "model.ckpt-460.meta", engine="onnxruntime", spin=spin).run(
        {"image": np.zeros((1, 8, 8, 1), np.float32)}
    )
    assert {k: v for k, v in entries.items() if "spin" in k} == expected


@pytest.mark.parametrize("branch", [False, True], ids=["plain", "in a branch"])
def test_runs_that_write_variables_lose_no_updates(tmp_path: Path, branch: bool) -> None:
    with tf.Graph().as_default(), tf.Session() as sess:
        count = tf.get_variable("count", initializer=0, use_resource=branch)
        if branch:
            more = tf.cond(count >= 0, lambda: tf.identity(count.assign_add(1)), lambda: tf.identity(count))
        else:
            more = count.assign_add(1)
        tf.identity(more, name="more")
        tf.identity(count, name="now")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "model"))
    model = cf.load(tmp_path / "model.meta", engine="reference")

    def work() -> None:
        for _ in range(100):
            model.run({}, ["more:0"])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert model.run({}, ["now:0"])["now:0"] == 800
    assert (model.session.writes(["more:0"]), model.session.writes(["now:0"])) == (True, False)


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
def test_a_variable_that_each_run_changes_is_not_compiled_in(tmp_path: Path, resource: bool) -> None:
    """The state of a random generator, say: with its values compiled in, no run would find a form that fits."""
    with tf.Graph().as_default(), tf.Session() as sess:
        count = tf.get_variable("count", initializer=1, use_resource=resource)
        weights = tf.get_variable("weights", initializer=np.ones((3, 2), np.float32), use_resource=resource)
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        now = tf.identity(count.read_value() if resource else count)
        with tf.control_dependencies([now]):
            more = count.assign_add(2)
        with tf.control_dependencies([more]):
            tf.identity(tf.matmul(x, weights) * tf.cast(now, tf.float32), name="y")
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "model"))
    model = cf.load(tmp_path / "model.meta", engine="onnxruntime")
    for expected in (3.0, 9.0, 15.0, 21.0):
        got = model.run({"x": np.ones((1, 3), np.float32)}, ["y"])["y"]
        np.testing.assert_array_equal(got, [[expected, expected]])
    (plan,) = model.session._program.plans()
    islands = [s for s in plan.steps if isinstance(s, IslandStep)]
    assert islands
    assert not any(s.tries for s in islands)
    pinned = {g.ref.node for s in islands for c in s.variants for g in c.inputs if g.pinned is not None}
    assert pinned <= {"weights", "weights/read", "MatMul/ReadVariableOp"}
