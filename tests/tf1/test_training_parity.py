"""Training with coldframe and with TensorFlow goes the same way, step by step, and can change hands in the middle.

Each program of `training_models` is built with both, by the same code. Both start from one checkpoint that TensorFlow
wrote, and take the same 50 batches; at half time each writes a checkpoint, which the other one restores to take the
second half.

Losses are to agree within 1e-4 of their size in float32; they are held to a tenth of it. They differ because sums are
taken in another order: after 50 steps of these programs by less than 1e-6. In float64 the differences shrink as much as
the rounding does, so that no small error of a rule can hide behind it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import coldframe
import coldframe.tf1 as ours
from tf1_graphs import oracle as theirs
from training_models import MODELS, OPTIMIZERS, Batch, Model, mlp_batch, mlp_with_dropout

STEPS = 50
HALF = STEPS // 2

CURVE = {"float32": 1e-5, "float64": 1e-12}
"""How far losses may differ, relative to their size."""
VALUES = {"float32": 1e-4, "float64": 1e-11}
"""How far variables and slots may differ, relative to the largest number in each."""
TINY = 1e-3  # variables that hold nothing larger are compared with this instead

SAMPLE = {
    *zip(list(MODELS) * 3, OPTIMIZERS, strict=False),  # each optimizer with a model
    *((model, "adam") for model in MODELS),
}
FLOAT32_ONLY = ("proximal adagrad", "proximal gradient descent")
"""TensorFlow gives the ops of these float32 learning rates whatever the variables are, and the ops refuse them."""


def cases(sample: Collection[tuple[str, str]], without: Collection[str] = ()) -> list[Any]:
    every = [(model, optimizer) for model in MODELS for optimizer in OPTIMIZERS if optimizer not in without]
    return [pytest.param(*c, marks=[] if c in sample else [pytest.mark.slow], id=" + ".join(c)) for c in every]


class Program:
    """A program built with `tf`, in a session of its own."""

    def __init__(self, tf: Any, model: Model, optimizer: str, dtype: str, engine: str = "") -> None:
        self.graph: Any = tf.Graph()
        self.dtype = np.dtype(dtype)
        with self.graph.as_default():
            tf.set_random_seed(1)
            self.loss = model.build(tf, getattr(tf, dtype))
            with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
                step = tf.train.get_or_create_global_step()
                self.train = OPTIMIZERS[optimizer](tf, model.pace).minimize(self.loss, global_step=step)
            self.initialize = tf.global_variables_initializer()
            self.variables = {v.op.name: v for v in tf.global_variables()}
            self.saver = tf.train.Saver()
        self.session = session_of(tf, self.graph, engine or model.engine)

    def steps(self, batches: list[Batch]) -> np.ndarray:
        """Train, and return the losses."""
        losses = []
        for batch in batches:
            feeds = {f"{k}:0": v.astype(self.dtype) if v.dtype.kind == "f" else v for k, v in batch.items()}
            losses.append(self.session.run([self.loss, self.train], feeds)[0])
        return np.array(losses)

    def values(self) -> dict[str, Any]:
        return dict(self.session.run(self.variables))

    @classmethod
    def imported(cls, tf: Any, prefix: str, names: tuple[str, str], engine: str) -> Program:
        """Make a program of a checkpoint and its meta graph alone; `names`: of the loss and of the training op."""
        program = cls.__new__(cls)
        program.graph, program.dtype = tf.Graph(), np.dtype("float32")
        with program.graph.as_default():
            program.saver = tf.train.import_meta_graph(f"{prefix}.meta")
            program.loss, program.train = map(program.graph.as_graph_element, names)
            program.variables = {v.op.name: v for v in tf.global_variables()}
        program.session = session_of(tf, program.graph, engine)
        program.restore(prefix)
        return program

    @property
    def names(self) -> tuple[str, str]:
        return self.loss.name, self.train.name

    def save(self, prefix: Path) -> str:
        with self.graph.as_default():  # elsewhere TensorFlow is eager
            return str(self.saver.save(self.session, str(prefix)))

    def restore(self, prefix: str) -> None:
        with self.graph.as_default():
            self.saver.restore(self.session, prefix)


def session_of(tf: Any, graph: Any, engine: str) -> Any:
    return tf.Session(graph=graph, engine=engine) if tf is ours else tf.Session(graph=graph)


def batches(model: Model, count: int = STEPS) -> list[Batch]:
    random = np.random.default_rng(5)
    return [model.batch(random) for _ in range(count)]


def check_curve(what: str, losses: np.ndarray, expected: np.ndarray, dtype: str) -> None:
    assert np.isfinite(expected).all()
    far = np.abs(losses / expected - 1)
    at = int(far.argmax())
    assert far[at] <= CURVE[dtype], f"{what}: the loss of step {at} is {losses[at]}, TensorFlow's {expected[at]}"


def check_values(ours: dict[str, Any], theirs: dict[str, Any], dtype: str) -> None:
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert ours[name].dtype == expected.dtype
        scale = max(float(np.abs(expected).max()), TINY)
        far = float(np.abs(ours[name] - expected).max()) / scale
        assert far <= VALUES[dtype], f"{name} differs by {far:.1e} of its size"


def contents(prefix: str) -> dict[str, Any]:
    """Return name, dtype, shape and parts of all that a checkpoint holds, as TensorFlow tells and as coldframe does."""
    told = theirs.train.list_variables(prefix)
    assert sorted(ours.train.list_variables(prefix)) == sorted(told)
    checkpoint = coldframe.open_checkpoint(prefix)
    assert sorted(checkpoint.specs) == sorted(n for n, _ in told)
    return {n: (str(s.dtype), str(s.shape)) for n, s in checkpoint.specs.items()}


def check_training(model: Model, optimizer: str, dtype: str, folder: Path) -> None:
    fed = batches(model)
    a, b = Program(ours, model, optimizer, dtype), Program(theirs, model, optimizer, dtype)
    b.session.run(b.initialize)
    start = b.save(folder / "start")
    a.restore(start)

    expected, losses = b.steps(fed[:HALF]), a.steps(fed[:HALF])
    half_way = {"coldframe": a.save(folder / "coldframe"), "TensorFlow": b.save(folder / "TensorFlow")}
    assert contents(half_way["coldframe"]) == contents(half_way["TensorFlow"])
    expected, losses = np.append(expected, b.steps(fed[HALF:])), np.append(losses, a.steps(fed[HALF:]))
    assert expected[-5:].mean() < expected[:5].mean()  # it learns
    check_curve("coldframe", losses, expected, dtype)
    final = b.values()
    check_values(a.values(), final, dtype)

    a.restore(half_way["TensorFlow"])
    check_curve("coldframe, going on after TensorFlow", a.steps(fed[HALF:]), expected[HALF:], dtype)
    check_values(a.values(), final, dtype)
    b.restore(half_way["coldframe"])
    check_curve("TensorFlow, going on after coldframe", b.steps(fed[HALF:]), expected[HALF:], dtype)
    check_values(b.values(), final, dtype)


@pytest.mark.parametrize(("model", "optimizer"), cases(SAMPLE))
def test_training_agrees_and_changes_hands(model: str, optimizer: str, tmp_path: Path) -> None:
    check_training(MODELS[model], optimizer, "float32", tmp_path)


@pytest.mark.parametrize(("model", "optimizer"), cases({(m, "adam") for m in MODELS}, FLOAT32_ONLY))
def test_training_agrees_in_float64(model: str, optimizer: str, tmp_path: Path) -> None:
    check_training(MODELS[model], optimizer, "float64", tmp_path)


@pytest.mark.parametrize("model", MODELS)
def test_training_goes_on_without_the_program(model: str, tmp_path: Path) -> None:
    """A checkpoint and its meta graph, gradients and update ops in it, are enough for the other side to train on."""
    fed = batches(MODELS[model])
    half_way, expected, final = {}, {}, {}
    for tf, name in ((ours, "coldframe"), (theirs, "TensorFlow")):
        program = Program(tf, MODELS[model], "adam", "float32")
        program.session.run(program.initialize)
        program.steps(fed[:HALF])
        half_way[name] = program.save(tmp_path / name), program.names
        expected[name], final[name] = program.steps(fed[HALF:]), program.values()
    for tf, name in ((ours, "TensorFlow"), (theirs, "coldframe")):
        program = Program.imported(tf, *half_way[name], MODELS[model].engine)
        check_curve(f"going on from {name}'s meta graph", program.steps(fed[HALF:]), expected[name], "float32")
        check_values(program.values(), final[name], "float32")


SLOW_TO_COMPILE = {("seq2seq", "xla"), ("recommender", "xla")}  # for each number of rows that a step updates anew
ENGINES = [
    pytest.param(model, engine, marks=[pytest.mark.slow] if (model, engine) in SLOW_TO_COMPILE else [])
    for model in MODELS
    for engine in ("reference", "onnxruntime", "xla")
]


@pytest.mark.parametrize(("model", "engine"), ENGINES)
def test_every_engine_goes_the_same_way(model: str, engine: str, started: Callable[[str], Path]) -> None:
    fed = batches(MODELS[model])
    folder = started(model)
    program = Program(ours, MODELS[model], "adam", "float32", engine=engine)
    program.restore(str(folder / "start"))
    check_curve(f"coldframe on {engine}", program.steps(fed), np.load(folder / "losses.npy"), "float32")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function of a model that gives a folder: where TensorFlow started, and its losses from there."""

    @functools.cache
    def train(model: str) -> Path:
        folder = tmp_path_factory.mktemp(model)
        program = Program(theirs, MODELS[model], "adam", "float32")
        program.session.run(program.initialize)
        program.save(folder / "start")
        np.save(folder / "losses.npy", program.steps(batches(MODELS[model])))
        return folder

    return train


def test_dropout_drops_what_tensorflow_drops(tmp_path: Path) -> None:
    """Random numbers are TensorFlow's; in a session that goes on with a checkpoint of coldframe, they go on too."""
    model = Model(mlp_with_dropout, mlp_batch)
    fed = batches(model)
    a, b = Program(ours, model, "adam", "float32"), Program(theirs, model, "adam", "float32")
    b.session.run(b.initialize)
    a.restore(b.save(tmp_path / "start"))
    check_curve("coldframe", a.steps(fed[:HALF]), b.steps(fed[:HALF]), "float32")
    mine, its = a.save(tmp_path / "coldframe"), b.save(tmp_path / "TensorFlow")
    losses = a.steps(fed[HALF:])
    check_curve("coldframe", losses, b.steps(fed[HALF:]), "float32")

    again = Program(ours, model, "adam", "float32")
    again.restore(mine)
    np.testing.assert_array_equal(again.steps(fed[HALF:]), losses)

    anew = [Program(tf, model, "adam", "float32") for tf in (ours, theirs)]
    for program in anew:  # TensorFlow does not save where it is in a sequence
        program.restore(its)
    losses, expected = (program.steps(fed[HALF:]) for program in anew)
    check_curve("coldframe, going on after TensorFlow", losses, expected, "float32")
    b.restore(mine)
    assert np.isfinite(b.steps(fed[HALF:])).all()  # TensorFlow leaves aside what it does not know


@pytest.mark.parametrize("model", MODELS)
def test_initial_values_are_those_of_tensorflow(model: str) -> None:
    """Initializers give the same numbers, to the bit."""
    values = []
    for tf in (ours, theirs):
        program = Program(tf, MODELS[model], "adam", "float32")
        program.session.run(program.initialize)
        values.append(program.values())
    assert values[0].keys() == values[1].keys()
    for name, value in values[0].items():
        np.testing.assert_array_equal(value, values[1][name], err_msg=name)
