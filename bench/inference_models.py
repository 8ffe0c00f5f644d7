"""The graphs that `inference.py` times, made by TensorFlow with random weights: frozen, as files that people deploy.

``python inference_models.py FOLDER NAME ...`` writes FOLDER/NAME.pb, and NAME.1.npz and NAME.32.npz with what to feed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

Feeds = dict[str, Any]
Graph = tuple[Any, Callable[[int], Feeds]]
LAYERS, HEADS, WIDTH, LENGTH, WORDS = 4, 4, 256, 128, 10_000  # of the encoder
_RNG = np.random.default_rng(0)


def _frozen(function: Any, *specs: Any) -> Any:
    """Freeze a TensorFlow 2 function; its inputs are called by the names of the specs, its output ``out``."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    concrete = tf.function(lambda *a: tf.identity(function(*a), name="out")).get_concrete_function(*specs)
    return convert_variables_to_constants_v2(concrete, lower_control_flow=False).graph.as_graph_def()


def _frozen_v1(build: Callable[[Any], None]) -> Any:
    """Freeze what `build` adds to a TensorFlow 1 graph; its output is called ``out``."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with v1.Graph().as_default() as graph:
        v1.set_random_seed(1)
        build(v1)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            return v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["out"])


def _images(batch: int) -> Feeds:
    return {"x:0": _RNG.normal(size=(batch, 224, 224, 3)).astype(np.float32)}


def _application(name: str) -> Graph:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    model = getattr(keras.applications, name)(weights=None)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):  # trained networks have other averages than 0 and 1
            gamma, beta, mean, variance = (np.array(w) for w in layer.get_weights())
            around = [_RNG.normal(size=gamma.shape) * 0.1 for _ in range(3)]
            layer.set_weights([gamma + around[0], beta + around[1], mean + around[2], variance * 1.1])
    spec = tf.TensorSpec([None, 224, 224, 3], tf.float32, name="x")
    return _frozen(lambda x: model(x, training=False), spec), _images


def mobilenet_v2() -> Graph:
    return _application("MobileNetV2")


def resnet50() -> Graph:
    return _application("ResNet50")


def wide_deep() -> Graph:
    """A recommender: 26 categories and 13 numbers; a linear model and a perceptron on embeddings, added."""

    def build(v1: Any) -> None:
        ids = v1.placeholder(v1.int64, [None, 26], name="ids")
        numbers = v1.placeholder(v1.float32, [None, 13], name="numbers")
        wide = v1.reduce_sum(v1.nn.embedding_lookup(v1.get_variable("wide", [100_000, 1]), ids), 1)
        rows = v1.nn.embedding_lookup(v1.get_variable("deep", [100_000, 16]), ids)
        h = v1.concat([v1.reshape(rows, [-1, 26 * 16]), numbers], 1)
        for i, n in enumerate((256, 128, 64)):
            h = v1.nn.relu(_dense(v1, h, n, f"layer{i}"))
        v1.sigmoid(wide + _dense(v1, h, 1, "last"), name="out")

    def feeds(batch: int) -> Feeds:
        numbers = _RNG.normal(size=(batch, 13)).astype(np.float32)
        return {"ids:0": _RNG.integers(0, 100_000, (batch, 26)), "numbers:0": numbers}

    return _frozen_v1(build), feeds


def lstm() -> Graph:
    """Two LSTM layers over 64 steps, as Keras builds them: functional While loops over tensor lists."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    model = keras.Sequential([
        keras.Input((64, 32)), keras.layers.LSTM(64, return_sequences=True), keras.layers.LSTM(64),
        keras.layers.Dense(10),
    ])  # fmt: skip
    graph = _frozen(lambda x: model(x, training=False), tf.TensorSpec([None, 64, 32], tf.float32, name="x"))
    return graph, lambda batch: {"x:0": _RNG.normal(size=(batch, 64, 32)).astype(np.float32)}


def encoder() -> Graph:
    """Four layers of a transformer's encoder, in the ops that frozen BERT graphs have."""

    def build(v1: Any) -> None:
        ids = v1.placeholder(v1.int32, [None, LENGTH], name="ids")
        mask = v1.placeholder(v1.int32, [None, LENGTH], name="mask")
        start = v1.truncated_normal_initializer(stddev=0.05)
        table = v1.get_variable("words", [WORDS, WIDTH], initializer=start)
        places = v1.get_variable("places", [LENGTH, WIDTH], initializer=start)
        h = _layer_norm(v1, v1.gather(table, ids) + places, "embeddings")
        bias = (1.0 - v1.cast(mask[:, None, None, :], v1.float32)) * -10000.0
        h = v1.reshape(h, [-1, WIDTH])
        for i in range(LAYERS):
            with v1.variable_scope(f"layer_{i}"):
                a = _dense(v1, _attention(v1, h, bias), WIDTH, "attention")
                h = _layer_norm(v1, a + h, "attention")
                f = _dense(v1, _gelu(v1, _dense(v1, h, 4 * WIDTH, "intermediate")), WIDTH, "output")
                h = _layer_norm(v1, f + h, "output")
        v1.reshape(h, [-1, LENGTH, WIDTH], name="out")

    def feeds(batch: int) -> Feeds:
        mask = np.ones((batch, LENGTH), np.int32)
        mask[:, LENGTH - 20 :] = 0
        return {"ids:0": _RNG.integers(0, WORDS, (batch, LENGTH)).astype(np.int32), "mask:0": mask}

    return _frozen_v1(build), feeds


def _dense(v1: Any, x: Any, n: int, name: str) -> Any:
    start = v1.truncated_normal_initializer(stddev=0.05)
    w = v1.get_variable(f"{name}/kernel", [int(x.shape[-1]), n], initializer=start)
    b = v1.get_variable(f"{name}/bias", [n], initializer=start)
    return v1.nn.bias_add(v1.matmul(x, w), b)


def _attention(v1: Any, h: Any, bias: Any) -> Any:
    size = WIDTH // HEADS

    def heads(name: str) -> Any:
        x = v1.reshape(_dense(v1, h, WIDTH, name), [-1, LENGTH, HEADS, size])
        return v1.transpose(x, [0, 2, 1, 3])

    q, k, v = heads("query"), heads("key"), heads("value")
    scores = v1.multiply(v1.matmul(q, k, transpose_b=True), 1.0 / size**0.5) + bias
    context = v1.transpose(v1.matmul(v1.nn.softmax(scores), v), [0, 2, 1, 3])
    return v1.reshape(context, [-1, WIDTH])


def _layer_norm(v1: Any, x: Any, name: str) -> Any:
    gamma = v1.get_variable(f"{name}/LayerNorm/gamma", [WIDTH], initializer=v1.random_uniform_initializer(0.9, 1.1))
    beta = v1.get_variable(f"{name}/LayerNorm/beta", [WIDTH], initializer=v1.random_uniform_initializer(-0.1, 0.1))
    mean, variance = v1.nn.moments(x, [-1], keep_dims=True)
    return v1.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-12)


def _gelu(v1: Any, x: Any) -> Any:
    return x * (0.5 * (1.0 + v1.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * v1.pow(x, 3)))))


def detector() -> Graph:
    """An SSD on a small backbone: V1 loops that resize each image and suppress boxes per image, in TensorArrays."""

    def build(v1: Any) -> None:
        images = v1.placeholder(v1.uint8, [None, None, None, 3], name="images")

        def resized(image: Any) -> Any:
            return v1.image.resize_images(image, [192, 192])

        h = v1.map_fn(resized, v1.cast(images, v1.float32)) * (2 / 255) - 1
        h.set_shape([None, 192, 192, 3])
        maps = []
        for i, (stride, n) in enumerate(((2, 16), (2, 32), (2, 64), (1, 64), (2, 128), (1, 128), (2, 256))):
            h = _convolution(v1, h, n, stride, f"conv{i}")
            maps += [h] if n >= 128 else []
        boxes, scores = zip(*(_predict(v1, m, f"head{i}") for i, m in enumerate(maps[1:])), strict=True)
        _detections(v1, v1.concat(boxes, 1), v1.sigmoid(v1.concat(scores, 1)))

    return _frozen_v1(build), lambda batch: {"images:0": _RNG.integers(0, 255, (batch, 240, 320, 3)).astype(np.uint8)}


def _convolution(v1: Any, x: Any, n: int, stride: int, name: str) -> Any:
    w = v1.get_variable(f"{name}/weights", [3, 3, int(x.shape[-1]), n])
    parts = [
        v1.get_variable(f"{name}/{part}", [n], initializer=v1.random_uniform_initializer(0.5, 1.0))
        for part in ("gamma", "beta", "mean", "variance")
    ]
    y, _, _ = v1.nn.fused_batch_norm(v1.nn.conv2d(x, w, stride, "SAME"), *parts, is_training=False)
    return v1.nn.relu6(y)


def _predict(v1: Any, x: Any, name: str) -> tuple[Any, Any]:
    out = []
    for part, n in (("boxes", 4), ("scores", 3)):
        w = v1.get_variable(f"{name}/{part}", [1, 1, int(x.shape[-1]), 6 * n])
        shape = v1.shape(x)
        out.append(v1.reshape(v1.nn.conv2d(x, w, 1, "SAME"), [shape[0], shape[1] * shape[2] * 6, n]))
    return out[0], out[1]


def _detections(v1: Any, boxes: Any, scores: Any) -> None:
    """For each image: the 20 best boxes that overlap little, [n, 20, 5]."""
    count = v1.shape(boxes)[0]
    found = v1.TensorArray(v1.float32, count)

    def step(i: Any, found: Any) -> Any:
        corners, best = boxes[i], v1.reduce_max(scores[i], 1)
        kept = v1.image.non_max_suppression(corners, best, 20, 0.6)
        rows = v1.concat([v1.gather(corners, kept), v1.gather(best, kept)[:, None]], 1)
        return i + 1, found.write(i, v1.pad(rows, [[0, 20 - v1.shape(kept)[0]], [0, 0]]))

    _, found = v1.while_loop(lambda i, _: i < count, step, [0, found])
    v1.identity(found.stack(), name="out")


def columns() -> Graph:
    """A wide & deep model on feature columns, as estimators export it: Examples are parsed, strings hashed, crossed."""
    words = {f"word{i}": 10 ** (2 + i % 3) for i in range(6)}
    numbers = [f"number{i}" for i in range(5)]

    def build(v1: Any) -> None:
        fc = v1.feature_column
        hashed = {k: fc.categorical_column_with_hash_bucket(k, n) for k, n in words.items()}
        numeric = [fc.numeric_column(k) for k in numbers]
        ages = fc.bucketized_column(numeric[0], [18, 25, 30, 35, 40, 45, 50, 55, 60, 65])
        crossed = [fc.crossed_column(list(words)[i : i + 2], 10_000) for i in (0, 2)]
        wide = [*hashed.values(), ages, fc.crossed_column([ages, "word0", "word1"], 10_000), *crossed]
        deep = [*numeric, fc.indicator_column(hashed["word0"]), *(fc.embedding_column(c, 16) for c in hashed.values())]
        serialized = v1.placeholder(v1.string, [None], name="examples")
        features = v1.parse_example(serialized, fc.make_parse_example_spec(wide + deep))
        h = fc.input_layer(features, deep)
        for i, n in enumerate((100, 75, 50)):
            h = v1.nn.relu(_dense(v1, h, n, f"layer{i}"))
        v1.sigmoid(fc.linear_model(features, wide) + _dense(v1, h, 1, "last"), name="out")

    def example() -> bytes:
        import tensorflow as tf

        made = tf.train.Example()
        for k in numbers:
            made.features.feature[k].float_list.value.append(_RNG.integers(17, 80))
        for k, n in words.items():
            made.features.feature[k].bytes_list.value.append(b"%s-%d" % (k.encode(), _RNG.integers(n)))
        return bytes(made.SerializeToString())

    return _frozen_v1(build), lambda batch: {"examples:0": np.array([example() for _ in range(batch)])}


MODELS: dict[str, Callable[[], Graph]] = {
    f.__name__: f for f in (mobilenet_v2, resnet50, wide_deep, columns, lstm, encoder, detector)
}


def main(folder: Path, names: Sequence[str]) -> None:
    """Write the files of the models `names`."""
    for name in names:
        graph, feeds = MODELS[name]()
        for batch in (1, 32):
            np.savez(folder / f"{name}.{batch}.npz", **feeds(batch))
        (folder / f"{name}.pb").write_bytes(graph.SerializeToString())  # last: it says that all is there


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
