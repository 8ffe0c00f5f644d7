"""Names that TensorFlow's last 1.x releases and `compat.v1` added: values, dtypes and shapes are TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as tf1
from tf1_graphs import Call, check_values, oracle

RNG = np.random.default_rng(11)
SQUARE = RNG.standard_normal((2, 4, 4)) + 4 * np.eye(4)
TALL = RNG.standard_normal((3, 5, 2))
IMAGES = RNG.random((2, 9, 8, 3)).astype(np.float32)
BOXES = np.array([[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, -0.1, 1, 0.9], [0, 10, 1, 11]], np.float32)
SCORES = np.array([0.9, 0.75, 0.6, 0.95], np.float32)
LOGITS = RNG.standard_normal((12, 3, 6)).astype(np.float32)
LABELS = np.array([[1, 2, 2, 3], [4, 1, 0, 0], [5, 5, 1, 0]])
LENGTHS, STEPS = np.array([4, 2, 3], np.int32), np.array([12, 10, 9], np.int32)


def lu(tf: Any) -> Any:
    return tf.linalg.lu(tf.constant(SQUARE))


def sparse_labels(tf: Any) -> Any:
    at = np.argwhere(np.arange(4) < LENGTHS[:, None])
    return tf.SparseTensor(at, tf.constant(LABELS[tuple(at.T)], tf.int32), [3, 4])


ROWS: dict[str, Call] = {
    "softmax": lambda tf: tf.math.softmax(LOGITS),
    "zero_fraction": lambda tf: tf.math.zero_fraction(LABELS),
    "l2_normalize": lambda tf: [tf.math.l2_normalize(TALL, 1), tf.linalg.l2_normalize(TALL, [1, 2])],
    "divide_no_nan": lambda tf: tf.math.divide_no_nan([1.0, 2.0], [0.0, 4.0]),
    "erfcinv": lambda tf: tf.math.erfcinv([0.1, 0.5, 1.0, 1.7]),
    "bessel": lambda tf: [tf.math.bessel_i0([0.1, 3.0]), tf.math.bessel_i1([0.1, 3.0])],
    "global_norm": lambda tf: tf.linalg.global_norm([tf.constant(TALL), tf.constant(SQUARE)]),
    "matvec": lambda tf: [tf.linalg.matvec(TALL, TALL[:, 0]), tf.linalg.matvec(TALL, TALL[:, :, 0], transpose_a=True)],
    "normalize": lambda tf: [tf.linalg.normalize(TALL), tf.linalg.normalize(TALL, 1, axis=1)],
    "matrix_rank": lambda tf: [tf.linalg.matrix_rank(np.ones((3, 4, 4))), tf.linalg.matrix_rank(TALL, tol=1.9)],
    "pinv": lambda tf: [tf.linalg.pinv(TALL), tf.linalg.pinv(SQUARE, rcond=0.5), tf.linalg.pinv(np.ones((3, 2)))],
    "lu_reconstruct": lambda tf: tf.linalg.lu_reconstruct(*lu(tf)),
    "lu_one": lambda tf: tf.linalg.lu_reconstruct(*tf.linalg.lu(tf.constant(SQUARE[0]))),
    "lu_inverse": lambda tf: tf.linalg.lu_matrix_inverse(*lu(tf)),
    "dtypes": lambda tf: [tf.dtypes.cast(SQUARE, tf.dtypes.float32), tf.dtypes.saturate_cast([300.0], tf.dtypes.uint8)],
    **{
        f"pool_{d}": lambda tf, d=d: [
            getattr(tf.nn, op)(IMAGES.reshape([2] + [6] * 0 + [[72], [9, 8], [9, 4, 2]][d - 1] + [3]), 2, 2, "SAME")
            for op in ("max_pool_v2", "avg_pool_v2")
        ]
        for d in (1, 2, 3)
    },
    "pool_window": lambda tf: tf.nn.max_pool_v2(IMAGES, [3, 2], [2, 1], "VALID", data_format="NHWC"),
    "conv_transpose": lambda tf: tf.nn.conv_transpose(
        IMAGES, tf.ones([3, 3, 4, 3]), [2, 18, 16, 4], strides=2, padding="SAME"
    ),
    "conv_transpose_1d": lambda tf: tf.nn.conv_transpose(IMAGES[:, :, 0], tf.ones([3, 4, 3]), [2, 18, 4], strides=2),
    "ctc_dense": lambda tf: tf.nn.ctc_loss_v2(
        tf.constant(LABELS.clip(1), tf.int32), LOGITS, LENGTHS, STEPS, blank_index=0
    ),
    "ctc_last": lambda tf: tf.nn.ctc_loss_v2(
        tf.constant(LABELS.clip(0, 4), tf.int32), LOGITS, LENGTHS, STEPS, blank_index=-1
    ),
    "ctc_sparse": lambda tf: tf.nn.ctc_loss_v2(
        sparse_labels(tf), LOGITS.transpose(1, 0, 2), None, STEPS, logits_time_major=False, blank_index=0
    ),
    "beam": lambda tf: tf.nn.ctc_beam_search_decoder_v2(LOGITS, STEPS, beam_width=8, top_paths=2)[1],
    "patches": lambda tf: tf.image.extract_patches(IMAGES, [1, 3, 3, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID"),
    "image_transpose": lambda tf: tf.image.transpose(IMAGES),
    "glimpse": lambda tf: tf.image.extract_glimpse(IMAGES, [3, 3], tf.constant([[0.1, -0.2], [0.3, 0.0]])),
    "nms_scores": lambda tf: [
        tf.image.non_max_suppression_with_scores(BOXES, SCORES, 3),
        tf.image.non_max_suppression_with_scores(BOXES, SCORES, 4, 1.0, 0.2, soft_nms_sigma=0.5),
    ],
    "distorted_box": lambda tf: tf.image.sample_distorted_bounding_box([40, 50, 3], BOXES[None, :1] * 0.5, seed=3),
    "fake_quant_gradients": lambda tf: [
        tf.fake_quant_with_min_max_args_gradient(TALL.astype("f"), TALL.astype("f"), -1, 1),
        tf.quantization.fake_quant_with_min_max_vars_gradient(TALL.astype("f"), TALL.astype("f"), -1.0, 1.0),
        tf.fake_quant_with_min_max_vars_per_channel_gradient(
            TALL[0].astype("f"), TALL[0].astype("f"), [-1.0, -0.5], [1.0, 0.5]
        ),
    ],
    "stateless": lambda tf: [
        tf.random.stateless_uniform([5], [1, 2]),
        tf.random.stateless_uniform([2, 3], [1, 2], 2.0, 5.0, tf.float64),
        tf.random.stateless_uniform([7], [3, 4], 2, 90, tf.int32),
        tf.random.stateless_uniform([7], [3, 4], None, None, tf.int64),
        tf.random.stateless_normal([5], [1, 2], 1.0, 3.0),
        tf.random.stateless_truncated_normal([50], [1, 2]),
        tf.random.stateless_multinomial(LOGITS[0], 9, [5, 6]),
        tf.random.stateless_categorical(LOGITS[0], 9, [5, 6], dtype=tf.int32),
    ],
    **{
        f"switch_{n}": lambda tf, n=n: [
            tf.switch_case(tf.constant(n), [lambda: tf.constant(1.5), lambda: tf.constant(2.5)]),
            tf.switch_case(
                tf.constant(n),
                {2: lambda: tf.constant(3), 0: lambda: tf.constant(1), 1: lambda: tf.constant(5)},
                default=lambda: tf.constant(9),
            ),
        ]
        for n in (-1, 0, 1, 2, 3, 7)
    },
}


@pytest.mark.parametrize("name", ROWS)
def test_as_tensorflow(name: str) -> None:
    check_values(ROWS[name], tf1, 1e-5, 1e-6)


DATASETS: dict[str, Callable[[Any, Any], Any]] = {
    "take_while": lambda tf, d: d.range(10).take_while(lambda x: x < 4),
    "scan": lambda tf, d: d.range(5).scan(tf.constant(1, tf.int64), lambda s, x: (s + x, s * x)),
    "groups": lambda tf, d: d.range(9).group_by_window(lambda x: x % 2, lambda k, g: g.batch(2), window_size=3),
    "buckets": lambda tf, d: (
        d.range(1, 9).map(lambda n: tf.range(n)).bucket_by_sequence_length(lambda x: tf.shape(x)[0], [3, 6], [2, 2, 2])
    ),
    "ignore_errors": lambda tf, d: (
        d.from_tensor_slices([1.0, 0.0, 2.0]).map(lambda x: tf.check_numerics(1.0 / x, "bad")).ignore_errors()
    ),
    "choose": lambda tf, d: d.choose_from_datasets(
        [d.range(0, 4), d.range(10, 14)], d.from_tensor_slices(np.array([0, 1, 1, 0]))
    ),
    "counter": lambda tf, d: d.counter(3, 2).take(4),
}


@pytest.mark.parametrize("name", DATASETS)
def test_methods_of_datasets(name: str) -> None:
    def elements(tf: Any) -> list[Any]:
        with tf.Graph().as_default(), tf.Session() as session:
            item = tf.data.make_one_shot_iterator(DATASETS[name](tf, tf.data.Dataset)).get_next()
            found = []
            while True:
                try:
                    found.append(np.asarray(session.run(item)).tolist())
                except tf.errors.OutOfRangeError:
                    return found

    got = elements(tf1)
    assert got == elements(oracle)
    assert len(got) > 1


def test_how_many_elements_there_are() -> None:
    with tf1.Graph().as_default(), tf1.Session() as session:
        d = tf1.data.Dataset
        sets = [d.range(7), d.range(7).repeat(), d.range(7).filter(lambda x: x > 2)]
        assert session.run([s.cardinality() for s in sets]) == [7, -1, -2]
        assert session.run(d.range(3, 4).get_single_element()) == 3
        mixed = d.sample_from_datasets([d.range(0, 50), d.range(100, 150)], seed=3).batch(30)
        drawn = session.run(tf1.data.make_one_shot_iterator(mixed).get_next())
        assert 0 < (drawn < 50).sum() < 30
        with pytest.raises(RuntimeError, match="get_next"):
            d.range(3).as_numpy_iterator()


@pytest.mark.parametrize("resource", [False, True])
def test_rows_of_variables(resource: bool) -> None:
    def after(tf: Any) -> list[Any]:
        with tf.Graph().as_default(), tf.Session() as session:
            found = []
            for name in ("max", "min", "mul", "div", "add", "sub", "update"):
                v = tf.Variable(np.arange(1.0, 9.0).reshape(4, 2), use_resource=resource)
                delta = tf.IndexedSlices(tf.constant([[3.0, 2.0], [4.0, 9.0]], tf.float64), tf.constant([1, 3]))
                session.run(v.initializer)
                session.run(getattr(v, f"scatter_{name}")(delta))
                found.append(session.run(v))
            for name in ("add", "sub", "update"):
                v = tf.Variable(np.arange(8), use_resource=resource)
                session.run(v.initializer)
                session.run(getattr(v, f"scatter_nd_{name}")([[2], [5]], np.array([10, 20])))
                reads = [v.gather_nd([[1], [2]])] if resource or tf is tf1 else []  # references have it here only
                got = session.run([v, *reads])
                assert not reads or got[1].tolist() == got[0][1:3].tolist()
                found.append(got[0])
            return found

    for x, y in zip(after(tf1), after(oracle), strict=True):
        np.testing.assert_array_equal(x, y)


def test_variables_in_sets() -> None:
    with tf1.Graph().as_default():
        v, w = tf1.Variable(1.0), tf1.Variable(1.0)
        assert {v.ref(), v.experimental_ref(), w.ref()} == {v.ref(), w.ref()}
        assert v.ref().deref() is v


def test_custom_gradients() -> None:
    def program(tf: Any) -> list[Any]:
        @tf.custom_gradient
        def log1pexp(x: Any) -> Any:
            e = tf.exp(x)
            return tf.log(1 + e), lambda dy: dy * (1 - 1 / (1 + e))

        @tf.custom_gradient
        def pair(a: Any, b: Any) -> Any:
            return (a * b, a + b), lambda da, db: (da * 10.0, db * 100.0)

        @tf.grad_pass_through
        def rounded(x: Any) -> Any:
            return tf.round(x)

        with tf.Graph().as_default(), tf.Session() as session:
            x, y = tf.constant([0.5, 100.0]), tf.constant([2.0, 3.0])
            product, total = pair(x, y)
            results = [log1pexp(x), product, total, rounded(x)]
            grads = [
                *tf.gradients(log1pexp(x), x), *tf.gradients([product, total * 2.0], [x, y]),
                *tf.gradients(rounded(x) * y, x), *tf.gradients(log1pexp(log1pexp(x)), x),
            ]  # fmt: skip
            return session.run(results + grads)  # type: ignore[no-any-return]

    for got, want in zip(program(tf1), program(oracle), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_custom_gradients_that_are_wrong() -> None:
    with tf1.Graph().as_default():
        one = tf1.custom_gradient(lambda a, b: (a + b, lambda dy: dy))
        x = tf1.constant(1.0)
        with pytest.raises(ValueError, match="expected to return 2 gradients, but returned 1"):
            tf1.gradients(one(x, x), x)
        with pytest.raises(ValueError, match="keywords arguments"):
            one(x, b=x)
        with pytest.raises(TypeError, match="made variables"):
            tf1.custom_gradient(lambda a: (a * tf1.Variable(1.0), lambda dy: dy))(x)
        assert tf1.recompute_grad(len) is len


def test_sounds_and_files(tmp_path: Path) -> None:
    sound = np.clip(RNG.standard_normal((80, 2)), -1, 1).astype(np.float32)
    with tf1.Graph().as_default(), tf1.Session() as session:
        data = session.run(tf1.audio.encode_wav(sound, 8000))
        got = session.run(tf1.audio.decode_wav(data, desired_samples=100))
    want = oracle.audio.decode_wav(data, desired_samples=100)
    np.testing.assert_array_equal(got[0], want[0].numpy())
    assert got[1] == want[1].numpy() == 8000
    path = str(tmp_path / "a" / "b")
    tf1.io.gfile.makedirs(path)
    with tf1.io.gfile.GFile(path + "/c.txt", "w") as f:
        f.write("text")
    assert tf1.io.gfile.glob(path + "/*.txt") == [path + "/c.txt"]
    assert tf1.io.gfile.exists(path)
    assert issubclass(tf1.queue.FIFOQueue, tf1.queue.QueueBase)


@pytest.mark.parametrize("how", ["MEAN", "SUM"])
def test_accumulators(how: str) -> None:
    def program(tf: Any) -> list[Any]:
        with tf.Graph().as_default(), tf.Session() as session:
            dense = tf.ConditionalAccumulator(tf.float32, [2], reduction_type=how)
            found = [session.run(dense.num_accumulated())]
            for step, value in ((0, [1.0, 2.0]), (0, [3.0, 6.0])):
                session.run(dense.apply_grad(value, local_step=step))
            found += [session.run(dense.num_accumulated()), session.run(dense.take_grad(2))]
            session.run(dense.apply_grad([5.0, 5.0]))  # of step 0, which has passed
            found.append(session.run(dense.num_accumulated()))
            session.run(dense.set_global_step(7))
            session.run(dense.apply_grad([1.0, 1.0], local_step=7))
            found.append(session.run(dense.take_grad(1)))
            rows = tf.SparseConditionalAccumulator(tf.float32, [4, 2], reduction_type=how)
            session.run(rows.apply_grad([0, 2], [[1.0, 2.0], [3.0, 4.0]], [4, 2]))
            slices = tf.IndexedSlices(tf.constant([[10.0, 20.0]]), tf.constant([2], tf.int64))
            session.run(rows.apply_indexed_slices_grad(slices))
            taken = rows.take_indexed_slices_grad(1)
            found += session.run([taken.indices, taken.values])
            assert (dense.dtype, rows.name) == (tf.float32, "sparse_conditional_accumulator")
            return found

    for got, want in zip(program(tf1), program(oracle), strict=True):
        np.testing.assert_allclose(got, want)
