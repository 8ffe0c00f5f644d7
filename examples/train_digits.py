"""Train a classifier of handwritten digits, with Adam and dropout, and never lose a step.

    python examples/train_digits.py RUN_FOLDER --steps 200

A checkpoint is written every few steps. Kill it at any moment and start it again: it goes on from the last checkpoint
and ends with the very same weights, to the bit, as if nothing had happened. At the end the graph is frozen into
``digits.pb``, and what the live session answers to the test images is kept in ``live.npz``.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

import coldframe.tf1 as tf

DATA = Path(__file__).parent / "digits"


def build() -> dict[str, Any]:
    """Build the model and return its tensors and operations by name."""
    images = tf.placeholder(tf.float32, [None, 8, 8, 1], name="image")
    labels = tf.placeholder(tf.int64, [None], name="label")
    rate = tf.placeholder_with_default(0.0, [], name="dropout_rate")
    hidden = tf.layers.conv2d(images, 16, 3, padding="same", activation=tf.nn.relu, name="conv1")
    hidden = tf.layers.max_pooling2d(hidden, 2, 2, name="pool1")
    hidden = tf.layers.dense(tf.layers.flatten(hidden), 64, activation=tf.nn.relu, name="dense")
    hidden = tf.nn.dropout(hidden, rate=rate)
    logits = tf.layers.dense(hidden, 10, name="output")
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits), name="loss")
    step = tf.train.get_or_create_global_step()
    learning_rate = tf.train.exponential_decay(0.01, step, 100, 0.5)
    train = tf.train.AdamOptimizer(learning_rate).minimize(loss, global_step=step, name="train")
    probabilities = tf.nn.softmax(logits, name="probabilities")
    return {"loss": loss, "train": train, "step": step, "probabilities": probabilities, "rate": rate}


def batch(data: Any, step: int, size: int = 64) -> dict[str, Any]:
    """Return the feeds of a step: which images they are depends on its number alone."""
    chosen = np.random.RandomState(step).randint(0, len(data["images"]), size)
    return {"image:0": data["images"][chosen], "label:0": data["labels"][chosen], "dropout_rate:0": 0.4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where checkpoints go")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--save-every", type=int, default=5)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    data = np.load(DATA / "train.npz")
    data = {"images": data["images"], "labels": data["labels"]}
    tf.set_random_seed(7)
    model = build()
    saver = tf.train.Saver(max_to_keep=3)
    prefix = os.fspath(options.folder / "model.ckpt")
    with tf.Session() as sess:
        latest = tf.train.latest_checkpoint(os.fspath(options.folder))
        if latest is None:
            sess.run(tf.global_variables_initializer())
            print("starting", flush=True)
        else:
            saver.restore(sess, latest)
            print(f"going on from step {sess.run(model['step'])}", flush=True)
        loss = float("nan")
        for step in range(int(sess.run(model["step"])), options.steps):
            _, loss = sess.run([model["train"], model["loss"]], batch(data, step))
            if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
                saver.save(sess, prefix, global_step=model["step"])
            if (step + 1) % 50 == 0:
                print(f"step {step + 1}: loss {loss:.6f}", flush=True)
        finish(sess, model, options.folder, float(loss))


def finish(sess: Any, model: dict[str, Any], folder: Path, loss: float) -> None:
    """Freeze the graph, and keep what the live session answers."""
    test = np.load(DATA / "test.npz")
    live = sess.run(model["probabilities"], {"image:0": test["images"]})
    np.savez(folder / "live.npz", probabilities=live, loss=loss)
    graph = tf.get_default_graph().as_graph_def()
    frozen = tf.graph_util.convert_variables_to_constants(sess, graph, ["probabilities"])
    with tf.gfile.FastGFile(os.fspath(folder / "digits.pb"), "wb") as f:
        f.write(frozen.SerializeToString())
    accuracy = np.mean(live.argmax(axis=1) == test["labels"])
    print(f"done: loss {loss:.6f}, accuracy {accuracy:.6f} on {len(live)} digits it never saw")


if __name__ == "__main__":
    main()
