"""``python bench/training.py``: training steps of V1 graphs, coldframe against TensorFlow, in pairs.

TensorFlow builds each graph and writes its .meta and checkpoint. Then two processes, one for each side, go on training
from them, in turns of some steps each: A B A B ... Prints medians and ratios, asserts nothing about time.
"""

from __future__ import annotations

import argparse
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


# --- the models -----------------------------------------------------------------------------------------------------
def _dense(tf: Any, x: Any, n: int, name: str) -> Any:
    v1 = tf.compat.v1
    w = v1.get_variable(f"{name}/weights", [int(x.shape[-1]), n])
    return tf.nn.bias_add(tf.matmul(x, w), v1.get_variable(f"{name}/biases", [n], initializer=v1.zeros_initializer()))


def _classified(tf: Any, logits: Any) -> Any:
    labels = tf.compat.v1.placeholder(tf.int64, [None], name="labels")
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def perceptron(tf: Any) -> Any:
    x = tf.compat.v1.placeholder(tf.float32, [None, 784], name="x")
    h = tf.nn.relu(_dense(tf, x, 256, "first"))
    return _classified(tf, _dense(tf, tf.nn.relu(_dense(tf, h, 128, "second")), 10, "out"))


def convolutional(tf: Any) -> Any:
    v1 = tf.compat.v1
    h = v1.placeholder(tf.float32, [None, 28, 28, 1], name="x")
    for i, channels in enumerate((32, 64)):
        kernel = v1.get_variable(f"kernel{i}", [3, 3, int(h.shape[-1]), channels])
        bias = v1.get_variable(f"bias{i}", [channels], initializer=v1.zeros_initializer())
        h = tf.nn.max_pool2d(tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(h, kernel, 1, "SAME"), bias)), 2, 2, "SAME")
    return _classified(tf, _dense(tf, tf.nn.relu(_dense(tf, tf.reshape(h, [-1, 3136]), 128, "dense")), 10, "out"))


def recurrent(tf: Any) -> Any:
    """An LSTM as a V1 while loop."""
    v1, size, steps = tf.compat.v1, 64, 20
    x = v1.placeholder(tf.float32, [None, steps, 16], name="x")
    w = v1.get_variable("lstm/weights", [16 + size, 4 * size])
    b = v1.get_variable("lstm/biases", [4 * size], initializer=v1.zeros_initializer())
    inputs = tf.TensorArray(tf.float32, steps).unstack(tf.transpose(x, [1, 0, 2]))

    def step(t: Any, c: Any, h: Any) -> Any:
        i, j, f, o = tf.split(tf.matmul(tf.concat([inputs.read(t), h], 1), w) + b, 4, 1)
        c = c * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)
        return t + 1, c, tf.tanh(c) * tf.sigmoid(o)

    zeros = tf.zeros([tf.shape(x)[0], size])
    _, _, h = v1.while_loop(lambda t, c, h: t < steps, step, [0, zeros, zeros])
    return _classified(tf, _dense(tf, h, 10, "out"))


def recommender(tf: Any) -> Any:
    v1 = tf.compat.v1
    picked = []
    for name, rows in (("users", 50_000), ("items", 20_000)):
        table = v1.get_variable(f"{name}_table", [rows, 32])
        picked.append(tf.nn.embedding_lookup(table, v1.placeholder(tf.int64, [None], name=name)))
    score = v1.placeholder(tf.float32, [None], name="score")
    out = _dense(tf, tf.nn.relu(_dense(tf, tf.concat(picked, 1), 64, "dense")), 1, "out")
    return tf.reduce_mean(tf.square(out[:, 0] - score))


def _images(rng: np.random.Generator, *shape: int) -> Feeds:
    x = rng.normal(size=(BATCH, *shape)).astype(np.float32)
    return {"x:0": x, "labels:0": rng.integers(0, 10, BATCH)}


def _ratings(rng: np.random.Generator) -> Feeds:
    ids = {"users:0": rng.integers(0, 50_000, 256), "items:0": rng.integers(0, 20_000, 256)}
    return ids | {"score:0": rng.normal(size=256).astype(np.float32)}


MODELS: dict[str, tuple[Callable[[Any], Any], str, Callable[[np.random.Generator], Feeds]]] = {
    "perceptron, Adam": (perceptron, "AdamOptimizer", lambda rng: _images(rng, 784)),
    "recommender, Adagrad": (recommender, "AdagradOptimizer", _ratings),
    "recommender, Adam": (recommender, "AdamOptimizer", _ratings),
    "convolutional, Adam": (convolutional, "AdamOptimizer", lambda rng: _images(rng, 28, 28, 1)),
    "LSTM loop, Adam": (recurrent, "AdamOptimizer", lambda rng: _images(rng, 20, 16)),
}


def build(name: str, prefix: str) -> None:
    """Write the training graph and a checkpoint of a model."""
    import tensorflow as tf

    v1 = tf.compat.v1
    model, optimizer, _ = MODELS[name]
    with v1.Graph().as_default():
        v1.disable_control_flow_v2()
        v1.set_random_seed(1)
        loss = tf.identity(model(tf), name="loss")
        step = v1.train.get_or_create_global_step()
        getattr(v1.train, optimizer)(0.001).minimize(loss, global_step=step, name="train")
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            v1.train.Saver().save(session, prefix)


# --- the two sides --------------------------------------------------------------------------------------------------
def _coldframe(prefix: str, engine: str) -> Callable[[Any, Feeds], Any]:
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
    feeds = MODELS[name][2](np.random.default_rng(0))
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            _, loss = run(["train", "loss:0"], feeds)
        print((time.perf_counter() - started) / int(line), loss, flush=True)


class Side:
    """A process that trains in turns."""

    def __init__(self, side: str, name: str, prefix: str) -> None:
        command = [sys.executable, __file__, "--side", side, "--model", name, "--prefix", prefix]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

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
    prefix = str(folder / "model.ckpt")
    subprocess.run([sys.executable, __file__, "--side", "build", "--model", name, "--prefix", prefix], check=True)
    sides = Side(engine, name, prefix), Side("tensorflow", name, prefix)
    for side in sides:
        side.steps(5)
    count = max(1, int(0.2 / sides[1].steps(5)[0]))
    sides[0].steps(5)
    turns = [tuple(side.steps(count) for side in sides) for _ in range(pairs)]
    for side in sides:
        side.close()
    ours, theirs = ([turn[i][0] for turn in turns] for i in range(2))
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    apart = abs(turns[-1][0][1] - turns[-1][1][1])
    shown = (statistics.median(times) * 1e3 for times in (ours, theirs))
    return f"{name:<24}" + "".join(f"{ms:10.2f} ms" for ms in shown) + f"  {ratio:5.2f}x   losses {apart:.0e} apart"


def main() -> None:
    """Build and time every model, or be one of the sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="turns of each side")
    parser.add_argument("--engine", default="auto", help="coldframe's engine")
    parser.add_argument("--model", default="", help="only models whose name has this in it")
    parser.add_argument("--side", default="", help=argparse.SUPPRESS)
    parser.add_argument("--prefix", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side == "build":
        build(args.model, args.prefix)
    elif args.side:
        work(args.side, args.model, args.prefix)
    else:
        print(f"{'a step, median':<24}{'coldframe':>13}{'TensorFlow':>13}  ratio (above 1: coldframe is faster)")
        for name in MODELS:
            if args.model in name:
                with tempfile.TemporaryDirectory() as folder:
                    print(measure(name, args.engine, args.pairs, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
