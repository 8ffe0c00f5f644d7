"""The files that are timed, made by TensorFlow: a frozen MobileNet, and a training checkpoint of the same network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
# MobileNet v1 (Howard et al., 2017): strides and channels of the depthwise separable layers, 4.2 million weights.
LAYERS = [(1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), *[(1, 512)] * 5, (2, 1024), (1, 1024)]
SIZE = 224
CLASSES = 1001


def build(folder: Path) -> None:
    """Write mobilenet.pb, mobilenet.ckpt with its .meta, and image.npy into `folder`."""
    with v1.Graph().as_default() as graph:
        v1.set_random_seed(1)
        image = v1.placeholder(tf.float32, [None, SIZE, SIZE, 3], name="input")
        logits = _network(image)
        tf.nn.softmax(logits, name="probabilities")
        labels = v1.placeholder(tf.int64, [None], name="labels")
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits), name="loss")
        step = v1.train.get_or_create_global_step()
        v1.train.AdamOptimizer().minimize(loss, global_step=step)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            v1.train.Saver().save(session, str(folder / "mobilenet.ckpt"))
            frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["probabilities"])
    (folder / "mobilenet.pb").write_bytes(frozen.SerializeToString())
    np.save(folder / "image.npy", np.random.default_rng(0).normal(size=(1, SIZE, SIZE, 3)).astype(np.float32))


def _network(x: Any) -> Any:
    x = _norm(_convolution(x, 32, 3, 2, "Conv2d_0"), "Conv2d_0")
    for i, (stride, channels) in enumerate(LAYERS, 1):
        name = f"Conv2d_{i}_depthwise"
        weights = _weights(f"{name}/weights", [3, 3, x.shape[-1], 1], 9)
        x = _norm(tf.nn.depthwise_conv2d(x, weights, [1, stride, stride, 1], "SAME", name=name), name)
        name = f"Conv2d_{i}_pointwise"
        x = _norm(_convolution(x, channels, 1, 1, name), name)
    x = tf.nn.avg_pool2d(x, 7, 1, "VALID", name="AvgPool")
    x = _convolution(x, CLASSES, 1, 1, "Logits")
    return tf.reshape(x, [-1, CLASSES], name="logits")


def _convolution(x: Any, channels: int, size: int, stride: int, name: str) -> Any:
    weights = _weights(f"{name}/weights", [size, size, x.shape[-1], channels], size * size * int(x.shape[-1]))
    return tf.nn.conv2d(x, weights, stride, "SAME", name=name)


def _weights(name: str, shape: list[int], terms: int) -> Any:
    """Return weights of which sums of `terms` products keep their scale through the layers."""
    return v1.get_variable(name, shape, initializer=v1.random_normal_initializer(stddev=(2 / terms) ** 0.5))


def _norm(x: Any, scope: str) -> Any:
    n = int(x.shape[-1])
    ones, zeros = v1.ones_initializer(), v1.zeros_initializer()
    with v1.variable_scope(f"{scope}/BatchNorm"):
        parts = [
            v1.get_variable(name, [n], initializer=start, trainable="moving" not in name)
            for name, start in (("gamma", ones), ("beta", zeros), ("moving_mean", zeros), ("moving_variance", ones))
        ]
        y, _, _ = v1.nn.fused_batch_norm(x, *parts, is_training=False)
    return tf.nn.relu6(y)
