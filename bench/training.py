"""``python bench/training.py``: training steps, coldframe against TensorFlow's V1 session, in pairs.

coldframe builds each graph with `coldframe.tf1` and writes its .meta and checkpoint. Then two processes, one for each
side, go on training from them, in turns of some steps each: A B A B ... Loops are built in two ways, since TensorFlow 1
makes V1 loops where coldframe makes functions: there a side may run a graph that TensorFlow built. Prints a table of
medians and ratios, asserts nothing about time.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

Feeds = dict[str, Any]
BATCH = 64
DEFAULT = "without-jax"
"""What stands for ``auto`` where the extra `xla` is not installed."""
TURN = 0.1  # seconds of steps before the other side has its turn


# --- the models: programs for `tensorflow.compat.v1` and `coldframe.tf1` alike --------------------------------------
def _dense(tf: Any, x: Any, n: int, name: str) -> Any:
    w = tf.get_variable(f"{name}/weights", [int(x.shape[-1]), n])
    return tf.nn.bias_add(tf.matmul(x, w), tf.get_variable(f"{name}/biases", [n], initializer=tf.zeros_initializer()))


def _classified(tf: Any, logits: Any) -> Any:
    labels = tf.placeholder(tf.int64, [None], name="labels")
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def perceptron(tf: Any, keep: float = 1.0) -> Any:
    h = tf.placeholder(tf.float32, [None, 784], name="x")
    for n, name in ((256, "first"), (128, "second")):
        h = tf.nn.relu(_dense(tf, h, n, name))
        h = tf.nn.dropout(h, keep_prob=keep) if keep < 1 else h
    return _classified(tf, _dense(tf, h, 10, "out"))


def with_dropout(tf: Any) -> Any:
    return perceptron(tf, 0.5)


def convolutional(tf: Any) -> Any:
    h = tf.placeholder(tf.float32, [None, 28, 28, 1], name="x")
    for i, channels in enumerate((32, 64)):
        kernel = tf.get_variable(f"kernel{i}", [3, 3, int(h.shape[-1]), channels])
        bias = tf.get_variable(f"bias{i}", [channels], initializer=tf.zeros_initializer())
        h = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(h, kernel, strides=[1, 1, 1, 1], padding="SAME"), bias))
        h = tf.nn.max_pool(h, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
    return _classified(tf, _dense(tf, tf.nn.relu(_dense(tf, tf.reshape(h, [-1, 3136]), 128, "dense")), 10, "out"))


def recurrent(tf: Any) -> Any:
    size, steps = 64, 20
    x = tf.placeholder(tf.float32, [None, steps, 16], name="x")
    w = tf.get_variable("lstm/weights", [16 + size, 4 * size])
    b = tf.get_variable("lstm/biases", [4 * size], initializer=tf.zeros_initializer())
    inputs = tf.TensorArray(tf.float32, steps).unstack(tf.transpose(x, [1, 0, 2]))

    def step(t: Any, c: Any, h: Any) -> Any:
        i, j, f, o = tf.split(tf.matmul(tf.concat([inputs.read(t), h], 1), w) + b, 4, 1)
        c = c * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)
        return t + 1, c, tf.tanh(c) * tf.sigmoid(o)

    zeros = tf.zeros([tf.shape(x)[0], size])
    _, _, h = tf.while_loop(lambda t, c, h: t < steps, step, [0, zeros, zeros])
    return _classified(tf, _dense(tf, h, 10, "out"))


def recommender(tf: Any) -> Any:
    picked = []
    for name, rows in (("users", 50_000), ("items", 20_000)):
        table = tf.get_variable(f"{name}_table", [rows, 32])
        picked.append(tf.nn.embedding_lookup(table, tf.placeholder(tf.int64, [None], name=name)))
    score = tf.placeholder(tf.float32, [None], name="score")
    out = _dense(tf, tf.nn.relu(_dense(tf, tf.concat(picked, 1), 64, "dense")), 1, "out")
    return tf.reduce_mean(tf.square(out[:, 0] - score))


def _images(rng: np.random.Generator, *shape: int) -> Feeds:
    x = rng.normal(size=(BATCH, *shape)).astype(np.float32)
    return {"x:0": x, "labels:0": rng.integers(0, 10, BATCH)}


def _ratings(rng: np.random.Generator) -> Feeds:
    ids = {"users:0": rng.integers(0, 50_000, 256), "items:0": rng.integers(0, 20_000, 256)}
    return ids | {"score:0": rng.normal(size=256).astype(np.float32)}


@dataclasses.dataclass(frozen=True)
class Model:
    """What is trained.

    Attributes:
        program: builds it and returns its loss.
        optimizer: of ``tf.train``.
        feeds: makes a batch.
        built: who builds the graphs that coldframe and TensorFlow run.
    """

    program: Callable[[Any], Any]
    optimizer: str
    feeds: Callable[[np.random.Generator], Feeds]
    built: tuple[str, str] = ("coldframe", "coldframe")


def _digits(rng: np.random.Generator) -> Feeds:
    return _images(rng, 784)


def _sequences(rng: np.random.Generator) -> Feeds:
    return _images(rng, 20, 16)


MODELS = {
    "perceptron, Adam": Model(perceptron, "AdamOptimizer", _digits),
    "perceptron with dropout, Adam": Model(with_dropout, "AdamOptimizer", _digits),
    "recommender, Adagrad": Model(recommender, "AdagradOptimizer", _ratings),
    "recommender, Adam": Model(recommender, "AdamOptimizer", _ratings),
    "LSTM, Adam": Model(recurrent, "AdamOptimizer", _sequences),
    "LSTM, Adam, each side's own graph": Model(
        recurrent, "AdamOptimizer", _sequences, built=("coldframe", "tensorflow")
    ),
    "LSTM, Adam, TensorFlow's graph": Model(recurrent, "AdamOptimizer", _sequences, built=("tensorflow", "tensorflow")),
    "convolutional, Adam": Model(convolutional, "AdamOptimizer", lambda rng: _images(rng, 28, 28, 1)),
}


def _api(builder: str) -> Any:
    if builder == "coldframe":
        import coldframe.tf1

        return coldframe.tf1
    import tensorflow.compat.v1

    tensorflow.compat.v1.disable_v2_behavior()
    return tensorflow.compat.v1


def build(name: str, prefix: str, builder: str) -> None:
    """Write the training graph and a checkpoint of a model."""
    tf = _api(builder)
    model = MODELS[name]
    tf.set_random_seed(1)
    loss = tf.identity(model.program(tf), name="loss")
    step = tf.train.get_or_create_global_step()
    getattr(tf.train, model.optimizer)(0.001).minimize(loss, global_step=step, name="train")
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, prefix)


# --- the two sides --------------------------------------------------------------------------------------------------
def _coldframe(prefix: str, engine: str) -> Callable[[Any, Feeds], Any]:
    if engine == DEFAULT:
        sys.modules["jax"] = None  # type: ignore[assignment]  # as if it were not installed
        engine = "auto"
    from coldframe.runtime.session import Session

    return Session(f"{prefix}.meta", engine, checkpoint=prefix).run


def _tensorflow(prefix: str) -> Callable[[Any, Feeds], Any]:
    import tensorflow as tf

    v1 = tf.compat.v1
    v1.disable_eager_execution()
    saver = v1.train.import_meta_graph(f"{prefix}.meta")
    session = v1.Session()
    saver.restore(session, prefix)
    return session.run  # type: ignore[no-any-return]


def work(side: str, name: str, prefix: str) -> None:
    """Read numbers of steps, one a line; take them, and write seconds per step and the last loss."""
    run = _tensorflow(prefix) if side == "tensorflow" else _coldframe(prefix, side)
    feeds = MODELS[name].feeds(np.random.default_rng(0))
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            _, loss = run(["train", "loss:0"], feeds)
        print((time.perf_counter() - started) / int(line), loss, flush=True)


class Side:
    """A process that trains in turns."""

    def __init__(self, side: str, name: str, prefix: str) -> None:
        command = [sys.executable, __file__, "--side", side, "--model", name, "--prefix", prefix]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def steps(self, count: int) -> tuple[float, float]:
        """Take steps; return seconds per step and the last loss."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(count, file=self._process.stdin, flush=True)
        seconds, loss = self._process.stdout.readline().split()
        return float(seconds), float(loss)

    def close(self) -> None:
        self._process.communicate()


def measure(name: str, engine: str, pairs: int, folder: Path) -> str:
    """Time a model; return a line of the table."""
    built = MODELS[name].built
    prefixes = {builder: str(folder / builder) for builder in built}
    for builder, prefix in prefixes.items():
        command = [sys.executable, __file__, "--side", f"build by {builder}", "--model", name, "--prefix", prefix]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    sides = Side(engine, name, prefixes[built[0]]), Side("tensorflow", name, prefixes[built[1]])
    for side in sides:
        side.steps(5)
    count = max(1, int(TURN / sides[1].steps(5)[0]))
    sides[0].steps(5)
    turns = [tuple(side.steps(count) for side in sides) for _ in range(pairs)]
    for side in sides:
        side.close()
    ours, theirs = ([turn[i][0] for turn in turns] for i in range(2))
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    apart = f"{abs(turns[-1][0][1] - turns[-1][1][1]):.0e}" if len(set(built)) == 1 else "other weights"
    shown = (f"{statistics.median(t) * 1e3:.2f} ({min(t) * 1e3:.2f})" for t in (ours, theirs))
    return f"| {name} | {' | '.join(shown)} | {ratio:.2f} | {apart} |"


def main() -> None:
    """Build and time every model, or be one of the sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=30, help="turns of each side")
    parser.add_argument("--engine", default="auto", help=f"coldframe's engine; `{DEFAULT}`: `auto`, jax not installed")
    parser.add_argument("--model", default="", help="only models whose name has this in it")
    parser.add_argument("--side", default="", help=argparse.SUPPRESS)
    parser.add_argument("--prefix", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side.startswith("build by "):
        build(args.model, args.prefix, args.side.removeprefix("build by "))
    elif args.side:
        work(args.side, args.model, args.prefix)
    else:
        print("| a step, ms: median (best) | coldframe | TensorFlow | times as fast | losses apart |")
        print("|---|---|---|---|---|")
        for name in MODELS:
            if args.model in name:
                with tempfile.TemporaryDirectory() as folder:
                    print(measure(name, args.engine, args.pairs, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
