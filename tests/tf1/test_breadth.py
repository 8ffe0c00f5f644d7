"""Names that few programs use, beside TensorFlow, or beside its own ops where it has no such name any more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as tf1
from tf1_programs import Program, oracle, run_both

random = np.random.RandomState(0)
X = random.rand(2, 5, 4).astype(np.float32)
IMAGES = random.rand(2, 192, 180, 1).astype(np.float32)
SQUARE = random.randn(3, 4, 4)


def _run(tf: Any, fetches: Any, feeds: Any = None) -> Any:
    with tf.Session() as sess:
        sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
        return sess.run(fetches, feeds)


# --- recurrent --------------------------------------------------------------------------------------------------
class Summing:
    """A cell of a few ops, which both accept: a weighted sum of what came."""

    def __init__(self, tf: Any) -> None:
        self.tf, self.state_size, self.output_size = tf, 4, 4

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return self.tf.zeros([2, 4], dtype)

    def __call__(self, inputs: Any, state: Any) -> Any:
        new = 0.5 * state + inputs
        return self.tf.tanh(new), new


def _raw_rnn(tf: Any) -> Any:
    cell, lengths = Summing(tf), tf.constant([5, 3])
    array = tf.TensorArray(tf.float32, 5).unstack(tf.transpose(tf.constant(X), [1, 0, 2]))

    def loop(time: Any, output: Any, state: Any, loop_state: Any) -> Any:
        finished = time >= lengths
        state = cell.zero_state(2, tf.float32) if output is None else state
        count = tf.constant(0) if output is None else loop_state + 1
        following = tf.cond(tf.reduce_all(finished), lambda: tf.zeros([2, 4]), lambda: array.read(time))
        return finished, following, state, output, count

    outputs, state, count = tf.nn.raw_rnn(cell, loop)
    return _run(tf, [outputs.stack(), state, count])


def _py_func_in_a_loop(tf: Any) -> Any:
    seen: list[int] = []

    def python(i: Any, x: Any) -> Any:
        seen.append(int(i))
        return (x * 2 + i).astype(np.float32)

    def body(i: Any, x: Any) -> Any:
        made = tf.py_func(python, [i, x], tf.float32)
        made.set_shape([2])
        return i + 1, made

    _, last = tf.while_loop(lambda i, _: i < 3, body, [tf.constant(0), tf.constant([1.0, 2.0])])
    mapped = tf.map_fn(lambda x: tf.py_func(np.sum, [x], tf.float32), tf.constant(X[0]), dtype=tf.float32)
    return [_run(tf, [last, mapped]), seen]


# --- losses and metrics -----------------------------------------------------------------------------------------
LOSSES = {
    "absolute_difference": "absolute_difference", "mean_squared_error": "mean_squared_error", "log_loss": "log_loss",
    "hinge_loss": "hinge_loss", "sigmoid_cross_entropy": "sigmoid_cross_entropy",
    "softmax_cross_entropy": "softmax_cross_entropy", "cosine_distance": "cosine_distance",
    "mean_pairwise_squared_error": "mean_pairwise_squared_error",
}  # fmt: skip


def _loss(name: str) -> Program:
    """A loss of `tf.contrib.losses`, which took predictions first, beside that of `tf.losses`."""

    def program(tf: Any) -> Any:
        given = tf.constant(X[:, 0] / X[:, 0].sum(-1, keepdims=True))
        labels = tf.constant(np.eye(4, dtype=np.float32)[[1, 3]])
        more = {"axis": 1} if name == "cosine_distance" else {}
        if tf is tf1:
            loss = getattr(tf.contrib.losses, name)(given, labels, **more)
            total = tf.contrib.losses.get_total_loss()
        else:
            loss = getattr(tf.losses, LOSSES[name])(labels, given, **more)
            total = tf.losses.get_total_loss()
        return [*_run(tf, [loss, total]), len(tf.get_collection("losses"))]

    return program


def _metric(name: str) -> Program:
    """A metric of `tf.contrib.metrics`, which took predictions first, beside that of `tf.metrics`."""

    def program(tf: Any) -> Any:
        given, labels = tf.constant([0.2, 0.9, 0.4, 0.8]), tf.constant([0, 1, 1, 1])
        ours = tf is tf1
        found = getattr(tf.contrib.metrics if ours else tf.metrics, f"streaming_{name}" if ours else name)
        ids = tf.cast(given > 0.5, tf.int32) if name not in ("auc", "mean_squared_error") else given
        labels = tf.cast(labels, tf.float32) if name == "mean_squared_error" else labels
        value, update = found(ids, labels) if ours else found(labels, ids)
        with tf.Session() as sess:
            sess.run(tf.local_variables_initializer())
            return [sess.run(update), sess.run(value)]

    return program


def _at_k(metric: str, more: dict[str, Any]) -> Program:
    def program(tf: Any) -> Any:
        labels, scores = tf.sparse_placeholder(tf.int64), tf.placeholder(tf.float32)
        scores.set_shape([None, 4])
        value, update = getattr(tf.metrics, metric)(labels, scores, 2, **more)
        out = []
        for dims, indices in (([2, 1], [[0, 0], [1, 0]]), ([2, 3], [[0, 0], [0, 2], [1, 1]])):
            fed = tf.SparseTensorValue(indices, np.arange(len(indices)) + 1, dims)
            out.append(_run(tf, [update], {labels: fed, scores: X[0, :2]}))
        return [*out, value.dtype]

    return program


# --- images, linear algebra, strings ------------------------------------------------------------------------------
def _rotated(tf: Any) -> Any:
    k = tf.placeholder(tf.int32, [])
    turned = [tf.image.rot90(tf.constant(X[..., None]), k), tf.image.rot90(tf.constant(X), k)]
    return [_run(tf, turned, {k: n}) for n in (0, 1, 2, 3, 5)]


def _suppressed(tf: Any) -> Any:
    corners = random_boxes()
    scores = tf.constant(np.random.RandomState(1).rand(2, 8, 3).astype(np.float32))
    found = tf.image.combined_non_max_suppression(
        tf.constant(corners), scores, max_output_size_per_class=3, max_total_size=5, iou_threshold=0.4,
        score_threshold=0.2, clip_boxes=False,
    )  # fmt: skip
    return _run(tf, list(found))


def random_boxes() -> Any:
    made = np.random.RandomState(2).rand(2, 8, 1, 4).astype(np.float32)
    made[..., 2:] = made[..., :2] + made[..., 2:] / 2 + 0.1
    return made


def _linear(tf: Any) -> Any:
    a, b = tf.constant(SQUARE), tf.constant(random_right_side())
    positive = tf.matmul(a, a, transpose_b=True) + 0.5 * tf.eye(4, dtype=tf.float64)
    lu, p = tf.linalg.lu(a)
    root = tf.linalg.sqrtm(positive)
    return _run(tf, [
        tf.linalg.lu_solve(lu, p, b), lu, p, tf.linalg.sqrtm(positive), tf.matmul(root, root) - positive,
        tf.linalg.logm(tf.cast(positive, tf.complex128)), tf.linalg.slogdet(a), tf.linalg.adjoint(a),
        tf.linalg.expm(a), tf.linalg.expm(10.0 * tf.cast(a, tf.float32)[0] / 3.0),
    ])  # fmt: skip


def random_right_side() -> Any:
    return np.random.RandomState(3).randn(3, 4, 2)


def _unicode(tf: Any) -> Any:
    texts = tf.constant(["h\u00e4use".encode(), "\u65e5\u672c".encode(), b"\xff!"])
    return _run(tf, [
        tf.strings.unicode_transcode(texts, "UTF-8", "UTF-16-BE"),
        tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="ignore"),
        tf.strings.length(texts[:2], unit="UTF8_CHAR"), tf.strings.substr(texts[:2], 1, 1, unit="UTF8_CHAR"),
    ])  # fmt: skip


# --- queues -----------------------------------------------------------------------------------------------------
def _sparse_batches(many: bool, shuffled: bool) -> Program:
    def program(tf: Any) -> Any:
        counter = tf.train.range_input_producer(6, num_epochs=1, shuffle=False).dequeue()
        n = tf.cast(counter, tf.int64)
        indices = tf.stack([[n % 3], [n % 3 + 1]])
        sparse = tf.SparseTensor(indices, tf.stack([n, n * 10]), [5])
        if many:
            sparse = tf.sparse_reshape(sparse, [1, 5])
        examples = {"sparse": sparse, "n": tf.expand_dims(n, 0) if many else n}
        if shuffled:
            batch = tf.train.shuffle_batch(examples, 3, 10, 2, seed=1, enqueue_many=many)
        else:
            batch = tf.train.batch(examples, 3, enqueue_many=many)
        dense = tf.sparse_tensor_to_dense(batch["sparse"])
        out = []
        with tf.Session() as sess:
            sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
            coordinator = tf.train.Coordinator()
            threads = tf.train.start_queue_runners(sess, coordinator)
            for _ in range(2):
                rows, numbers = sess.run([dense, batch["n"]])
                out.append(rows[np.argsort(numbers)] if shuffled else rows)
            coordinator.request_stop()
            coordinator.join(threads, stop_grace_period_secs=20)
        if shuffled:
            together = np.concatenate(out)
            return [together[np.argsort(together.max(-1))]]
        return [*out, batch["n"].shape.as_list()]

    return program


PROGRAMS: dict[str, Program] = {
    "raw_rnn": _raw_rnn,
    "py_func in a loop": _py_func_in_a_loop,
    **{f"contrib.losses.{name}": _loss(name) for name in LOSSES},
    **{f"contrib.metrics.{name}": _metric(name) for name in
       ("accuracy", "auc", "precision", "recall", "mean_squared_error", "false_positives")},
    **{f"{name}, sparse labels of unknown rank": _at_k(name, more) for name, more in
       (("precision_at_k", {}), ("recall_at_k", {}), ("recall_at_k", {"class_id": 2}))},
    "rot90 by a tensor": _rotated,
    "combined_non_max_suppression": _suppressed,
    "ssim_multiscale": lambda tf: _run(tf, tf.image.ssim_multiscale(
        tf.constant(IMAGES), tf.constant(np.sqrt(IMAGES)), 1.0)),
    "linear algebra": _linear,
    "unicode": _unicode,
    "sparse batches": _sparse_batches(many=False, shuffled=False),
    "sparse batches of many": _sparse_batches(many=True, shuffled=False),
    "sparse batches, shuffled": _sparse_batches(many=False, shuffled=True),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_gives_what_it_does_in_tensorflow(name: str) -> None:
    run_both(PROGRAMS[name], graph=False, rtol=3e-5)


# --- what TensorFlow has no more ------------------------------------------------------------------------------------
def test_eigenvalues_of_matrices() -> None:
    with tf1.Graph().as_default():
        a = tf1.constant(SQUARE)
        values, vectors = tf1.linalg.eig(a)
        found = _run(tf1, [tf1.matmul(tf1.cast(a, tf1.complex128), vectors) - vectors * values[:, None, :],
                           tf1.reduce_sum(tf1.linalg.eigvals(a), -1), tf1.trace(a)])  # fmt: skip
    np.testing.assert_allclose(np.abs(found[0]), 0.0, atol=1e-12)
    np.testing.assert_allclose(found[1], found[2], rtol=1e-10)


def test_regularizers() -> None:
    w = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32)
    with tf1.Graph().as_default():
        r = tf1.regularizers
        found = [r.l1(0.1)(w), r.l2(0.2)(w), r.l1_l2(0.1, 0.2)(w), r.L1L2()(w), r.L1L2(l2=0.3)(tf1.constant(w))]
        values = _run(tf1, found)
    sums = np.abs(w).sum(), (w * w).sum()
    wanted = [0.1 * sums[0], 0.2 * sums[1], 0.1 * sums[0] + 0.2 * sums[1], 0.0, 0.3 * sums[1]]
    np.testing.assert_allclose(values, wanted, rtol=1e-6)
    assert r.l1_l2().get_config() == {"l1": 0.01, "l2": 0.01}


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("skip", [False, True])
def test_convolutional_lstms(dims: int, skip: bool) -> None:
    shape = [5, 4, 3][:dims]
    x = np.random.RandomState(0).randn(2, 2, *shape, 2).astype(np.float32)
    with tf1.Graph().as_default():
        tf1.set_random_seed(1)
        make = getattr(tf1.contrib.rnn, f"Conv{dims}DLSTMCell")
        cell = make(input_shape=[*shape, 2], output_channels=3, kernel_shape=[3, 2, 1][:dims], skip_connection=skip)
        outputs, state = tf1.nn.dynamic_rnn(cell, tf1.constant(x), dtype=tf1.float32)
        variables = {v.op.name.rpartition("/")[2]: v for v in tf1.global_variables()}
        with tf1.Session() as sess:
            sess.run(tf1.global_variables_initializer())
            ours = sess.run([outputs, state.c, variables])
    kernel, bias = ours[2]["kernel"], ours[2]["biases"]
    assert set(ours[2]) == {"kernel", "biases"}
    with oracle.Graph().as_default():
        sizes = [2, *shape]
        c, h = oracle.zeros([*sizes, 3]), oracle.zeros([*sizes, 3])
        wanted = []
        for t in range(2):
            made = oracle.nn.convolution(oracle.concat([x[:, t], h], -1), kernel, "SAME") + bias
            i, j, f, o = oracle.split(made, 4, axis=-1)
            c = oracle.sigmoid(f + 1.0) * c + oracle.sigmoid(i) * oracle.tanh(j)
            h = oracle.tanh(c) * oracle.sigmoid(o)
            wanted.append(oracle.concat([h, x[:, t]], -1) if skip else h)
        with oracle.Session() as sess:
            theirs, last = sess.run([wanted, c])
    for t, value in enumerate(theirs):
        np.testing.assert_allclose(ours[0][:, t], value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours[1], last, rtol=1e-4, atol=1e-5)


def test_cells_over_embeddings() -> None:
    ids = np.array([[1, 0, 2], [2, 2, 1]])
    with tf1.Graph().as_default():
        tf1.set_random_seed(1)
        cell = tf1.contrib.rnn.EmbeddingWrapper(tf1.nn.rnn_cell.BasicRNNCell(4), 3, 5)
        outputs, _ = tf1.nn.static_rnn(cell, [tf1.constant(ids[:, t : t + 1]) for t in range(3)], dtype=tf1.float32)
        table = next(v for v in tf1.global_variables() if v.op.name.endswith("embedding"))
        kernel = next(v for v in tf1.global_variables() if v.op.name.endswith("kernel"))
        found, rows, weights = _run(tf1, [outputs, table, kernel])
    h = np.zeros((2, 4))
    for t in range(3):
        h = np.tanh(np.concatenate([rows[ids[:, t]], h], -1) @ weights)
        np.testing.assert_allclose(found[t], h, rtol=1e-5, atol=1e-6)
    assert np.abs(rows).max() <= 3**0.5
