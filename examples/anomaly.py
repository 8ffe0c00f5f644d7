"""Find what is wrong in a stream of sensor readings, with an autoencoder made of LSTMs.

    python examples/anomaly.py RUN_FOLDER

Three sensors of a machine follow its daily rhythm. The autoencoder learns to write down half a day of readings in a few
numbers, and to tell the readings from these numbers. It has only seen a machine that works: what it cannot tell again
is not normal. Training writes checkpoints, and goes on from the last one when started again. Then the graph is
frozen, and the frozen graph alone, without this program's model, watches a stream with faults in it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import coldframe
import coldframe.tf1 as tf

SENSORS, DAY, WINDOW, CODE = 3, 24, 12, 8
FAULTS = {  # first hour: (hours, what happens)
    130: (5, "sensor 0 is stuck"),
    260: (4, "sensor 1 drifts away"),
    395: (6, "the rhythm is lost"),
}


# --- the machine --------------------------------------------------------------------------------------------------
def readings(hours: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Return what the sensors of a machine that works say: [hours, SENSORS], noise included."""
    phase = 2 * np.pi * hours / DAY
    clean = [np.sin(phase), np.cos(phase), 0.5 * np.sin(2 * phase)]
    return (np.stack(clean, axis=1) + 0.05 * random.normal(size=(len(hours), SENSORS))).astype(np.float32)


def faulty_stream(hours: int) -> np.ndarray:
    """Return readings of a machine that has FAULTS."""
    random = np.random.RandomState(2)
    stream = readings(np.arange(hours), random)
    stream[130:135, 0] = stream[130, 0]
    stream[260:264, 1] += [0.4, 0.8, 1.2, 1.6]
    stream[395:401] = 0.7 * random.normal(size=(6, SENSORS))
    return stream


def windows(stream: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Give each stretch of WINDOW hours as it is complete, with its last hour."""
    for end in range(WINDOW, len(stream) + 1):
        yield end - 1, stream[end - WINDOW : end]


# --- the model ----------------------------------------------------------------------------------------------------
def build() -> dict[str, Any]:
    """Build the autoencoder and return its tensors and operations by name."""
    window = tf.placeholder(tf.float32, [None, WINDOW, SENSORS], name="window")
    with tf.variable_scope("encoder"):
        cell = tf.nn.rnn_cell.BasicLSTMCell(16)
        _, state = tf.nn.static_rnn(cell, tf.unstack(window, axis=1), dtype=tf.float32)
        code = tf.layers.dense(state.h, CODE, activation=tf.nn.tanh, name="code")
    with tf.variable_scope("decoder"):
        cell = tf.nn.rnn_cell.BasicLSTMCell(16)
        hidden, _ = tf.nn.static_rnn(cell, [code] * WINDOW, dtype=tf.float32)
        told = tf.layers.dense(tf.stack(hidden, axis=1), SENSORS, name="readings")
    wrong = tf.reduce_mean(tf.squared_difference(told, window), axis=2, name="wrong")  # by hour
    score = tf.reduce_max(wrong, axis=1, name="score")
    loss = tf.reduce_mean(wrong, name="loss")
    step = tf.train.get_or_create_global_step()
    optimizer = tf.train.AdamOptimizer(0.02)
    gradients, variables = zip(*optimizer.compute_gradients(loss), strict=True)
    gradients, _ = tf.clip_by_global_norm(gradients, 1.0)
    train = optimizer.apply_gradients(zip(gradients, variables, strict=True), global_step=step)
    return {"window": window, "loss": loss, "score": score, "train": train, "step": step}


def batch(step: int, size: int = 32) -> np.ndarray:
    """Return windows of a working machine; which ones depends on the step alone."""
    random = np.random.RandomState(1000 + step)
    starts = random.randint(0, DAY, size)
    return np.stack([readings(np.arange(s, s + WINDOW), random) for s in starts])


def train(folder: Path, steps: int) -> None:
    """Train up to `steps`, from the last checkpoint on if there is one, and freeze the graph into ``anomaly.pb``."""
    tf.set_random_seed(3)
    model = build()
    saver = tf.train.Saver(max_to_keep=2)
    with tf.Session() as sess:
        latest = tf.train.latest_checkpoint(os.fspath(folder))
        if latest is None:
            sess.run(tf.global_variables_initializer())
        else:
            saver.restore(sess, latest)
            print(f"going on from step {sess.run(model['step'])}")
        for step in range(int(sess.run(model["step"])), steps):
            loss, _ = sess.run([model["loss"], model["train"]], {model["window"]: batch(step)})
            if (step + 1) % 50 == 0 or step + 1 == steps:
                print(f"step {step + 1}: loss {loss:.4f}")
                saver.save(sess, os.fspath(folder / "model.ckpt"), global_step=model["step"])
        graph = tf.get_default_graph().as_graph_def()
        frozen = tf.graph_util.convert_variables_to_constants(sess, graph, ["score"])
    with tf.gfile.GFile(os.fspath(folder / "anomaly.pb"), "wb") as f:
        f.write(frozen.SerializeToString())


# --- on duty ------------------------------------------------------------------------------------------------------
def watch(frozen: Path) -> list[tuple[int, int, float]]:
    """Score a stream, window by window as it comes, and return first hour, last hour and worst score of each alarm."""
    model = coldframe.load(frozen)

    def score(window: np.ndarray) -> float:
        return float(model.run({"window": window[None]}, ["score"])["score"][0])

    normal = [score(w) for _, w in windows(readings(np.arange(200), np.random.RandomState(1)))]
    limit = 2 * max(normal)
    alarms: list[tuple[int, int, float]] = []
    for hour, window in windows(faulty_stream(480)):
        found = score(window) / limit
        if found <= 1:
            continue
        if alarms and alarms[-1][1] == hour - 1:
            first, _, worst = alarms.pop()
            alarms.append((first, hour, max(worst, found)))
        else:
            alarms.append((hour, hour, found))
    return alarms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where checkpoints and the frozen graph go")
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    train(options.folder, options.steps)
    for first, last, worst in watch(options.folder / "anomaly.pb"):
        faults = [what for start, (hours, what) in FAULTS.items() if start <= first < start + hours]
        print(f"alarm in hours {first} to {last}, up to {worst:.1f} times the limit: {', '.join(faults) or 'no fault'}")


if __name__ == "__main__":
    main()
