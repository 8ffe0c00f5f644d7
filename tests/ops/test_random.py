"""Random ops against TensorFlow's CPU kernels: equal to the bit for given seeds, run after run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe.formats import messages
from coldframe.ops.philox import Stream
from graph_oracle import OldGraph, check
from graphs import case, same

r, v1 = tf.raw_ops, tf.compat.v1


def both(build: Any, runs: int = 3) -> list[tuple[Any, Any]]:
    """Return what TensorFlow and coldframe give in the first few runs of a session."""
    with v1.Graph().as_default() as graph:
        out = build()
        with v1.Session() as session:
            expected = [session.run(out) for _ in range(runs)]
    ours = cf.Session(messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where="in memory"))
    return [(e, ours.run(out.name)) for e in expected]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [[7, 3], [], [0], [4]], ids=str)
def test_uniform(dtype: str, shape: list[int]) -> None:
    for expected, got in both(
        lambda: tf.raw_ops.RandomUniform(shape=np.array(shape, np.int32), dtype=dtype, seed=87654321, seed2=5)
    ):
        assert np.asarray(got).dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize(("low", "high"), [(0, 10), (-7, 1_000_000)])
def test_uniform_int(dtype: Any, low: int, high: int) -> None:
    build = lambda: tf.raw_ops.RandomUniformInt(  # noqa: E731
        shape=[11], minval=dtype(low), maxval=dtype(high), seed=3, seed2=-9
    )
    for expected, got in both(build):
        np.testing.assert_array_equal(got, expected)


# Doubles go through numpy's logarithm, sine and cosine, which may differ from the C library's in the last bit.
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 0), ("float64", 1e-14), ("float16", 0), ("bfloat16", 0)])
@pytest.mark.parametrize("op", ["RandomStandardNormal", "TruncatedNormal"])
def test_normal(op: str, dtype: str, rtol: float) -> None:
    def build() -> Any:
        return getattr(tf.raw_ops, op)(shape=[251, 41], dtype=dtype, seed=1, seed2=2)

    check(build, runs=3, rtol=rtol)


@pytest.mark.parametrize("shape", [[1], [9], [5, 3], [4, 2, 2], [6], [11], [], [0], [3, 0]], ids=str)
def test_shuffle(shape: list[int]) -> None:
    value = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    check(lambda: tf.raw_ops.RandomShuffle(value=value, seed=3, seed2=4), runs=3)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_choices(dtype: str, count: int) -> None:
    logits = np.array([[0, 1, 2, -1], [5, 0, 0, 1], [0, 0, 0, 0]]).astype(tf.as_dtype(dtype).as_numpy_dtype)

    def build() -> Any:
        return [
            tf.raw_ops.Multinomial(logits=logits, num_samples=count, seed=3, seed2=4, output_dtype=t)
            for t in (tf.int32, tf.int64)
        ] + [tf.raw_ops.StatelessMultinomial(logits=logits, num_samples=count, seed=[3, -4], output_dtype=tf.int32)]

    check(build, runs=3)


def test_choices_among_infinite_weights() -> None:
    logits = np.array([[-np.inf, 1, np.inf, 2], [-np.inf, 0, -np.inf, -np.inf]], np.float32)
    check(lambda: tf.raw_ops.Multinomial(logits=logits, num_samples=30, seed=3, seed2=4))


SEEDS: list[Any] = [[0, 0], [7, -9], np.array([2**40 + 5, -(2**50)], np.int64)]


@pytest.mark.parametrize("seed", SEEDS, ids=str)
def test_stateless(seed: Any) -> None:
    r = tf.raw_ops

    def build() -> Any:
        key, counter = r.StatelessRandomGetKeyCounter(seed=seed)
        three = r.StatelessRandomGetKeyCounterAlg(seed=seed)
        second: dict[str, Any] = {"shape": [7, 3], "key": key, "counter": counter, "alg": r.StatelessRandomGetAlg()}
        out = [key, counter, second["alg"], *three]
        for d in ("float16", "bfloat16", "float32"):
            out += [
                r.StatelessRandomUniform(shape=[5], seed=seed, dtype=d),
                r.StatelessRandomUniformV2(dtype=d, **second),
            ]
            out += [
                r.StatelessRandomNormal(shape=[5], seed=seed, dtype=d),
                r.StatelessRandomNormalV2(dtype=d, **second),
            ]
            out += [r.StatelessTruncatedNormal(shape=[5], seed=seed, dtype=d)]
            out += [r.StatelessTruncatedNormalV2(dtype=d, **second)]
        for i in (tf.int32, tf.int64, tf.uint32, tf.uint64):
            low, high = tf.cast(3, i), tf.cast(1000, i)
            out += [r.StatelessRandomUniformFullInt(shape=[5], seed=seed, dtype=i)]
            out += [r.StatelessRandomUniformFullIntV2(dtype=i, **second)]
            if i in (tf.int32, tf.int64):
                out += [r.StatelessRandomUniformInt(shape=[5], seed=seed, minval=low, maxval=high)]
                out += [r.StatelessRandomUniformIntV2(minval=low, maxval=high, **second)]
        return out

    check(build, runs=2)


def test_stateless_doubles() -> None:
    def build() -> Any:
        names = ("RandomUniform", "RandomNormal", "TruncatedNormal")
        return [getattr(tf.raw_ops, f"Stateless{n}")(shape=[31], seed=[1, 2], dtype=tf.float64) for n in names]

    check(build, rtol=1e-14)


@pytest.mark.parametrize("counter", [[5, 7], [2**64 - 9, 2**64 - 1]], ids=["first", "last"])
@pytest.mark.parametrize("count", [18, 70_001])
def test_more_numbers_than_are_worked_out_at_once(count: int, counter: list[int]) -> None:
    """As many as begin a second piece, also where the counter goes from its last block to its first."""

    def build() -> Any:
        stream: dict[str, Any] = {
            "shape": [count], "key": tf.constant([2**64 - 3], tf.uint64), "counter": tf.constant(counter, tf.uint64),
            "alg": 1,
        }  # fmt: skip
        out = [r.StatelessRandomUniformV2(dtype=d, **stream) for d in (tf.float16, tf.float32, tf.float64)]
        out += [r.StatelessRandomNormalV2(dtype=tf.float32, **stream)]
        out += [r.StatelessTruncatedNormalV2(dtype=tf.float32, **stream)]
        for low, high in ((-5, 1_000_003), (-(2**31), 2**31 - 1)):
            for i in (tf.int32, tf.int64):
                limits = {"minval": tf.cast(low, i), "maxval": tf.cast(high, i)}
                out += [r.StatelessRandomUniformIntV2(**limits, **stream)]
        return out

    check(build)


REFUSALS: dict[str, Any] = {
    "empty range of random integers": lambda r: r.RandomUniformInt(shape=[2], minval=3, maxval=3),
    "shape with a negative dimension": lambda r: r.RandomUniform(
        shape=v1.placeholder_with_default([-1], None), dtype="float32"
    ),
    "the random number generator": lambda r: r.StatelessRandomUniformV2(
        shape=[1], key=tf.constant([1], tf.uint64), counter=tf.constant([1, 2], tf.uint64), alg=7
    ),
    "a seed": lambda r: r.StatelessRandomUniform(shape=[1], seed=v1.placeholder_with_default([1, 2, 3], None)),
    "key and counter": lambda r: r.StatelessRandomUniformV2(
        shape=[1], key=v1.placeholder_with_default(tf.constant([1, 2], tf.uint64), None),
        counter=tf.constant([1, 2], tf.uint64), alg=1,
    ),
    "the number of choices": lambda r: r.Multinomial(
        logits=[[1.0]], num_samples=v1.placeholder_with_default(-1, None), seed=1
    ),
    "there is no class to choose": lambda r: r.Multinomial(logits=np.zeros((1, 0), np.float32), num_samples=1, seed=1),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals(message: str) -> None:
    check(lambda: REFUSALS[message](tf.raw_ops), refused=message)


def test_without_seeds_every_session_differs() -> None:
    build = lambda: tf.raw_ops.RandomUniform(shape=[1000], dtype="float32")  # noqa: E731
    (_, first), (_, second) = both(build, 2)
    assert not np.array_equal(first, second)
    assert 0 <= first.min() < 0.05
    assert 0.95 < first.max() < 1


def test_the_generator_gives_its_authors_answers() -> None:
    """Known answers of the Random123 library for philox4x32-10."""
    zero = Stream(0, 0).words(1)[0]
    assert [f"{w:08x}" for w in zero] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    ones = Stream(2**64 - 1, 2**128 - 1).words(1)[0]
    assert [f"{w:08x}" for w in ones] == ["408f276d", "41c83b0e", "a20bc7c6", "6d5451fd"]


def test_a_shape_that_is_no_vector_is_refused() -> None:
    with tf.Graph().as_default() as graph:
        shape = tf.compat.v1.placeholder(tf.int32, name="shape")
        tf.raw_ops.RandomUniform(shape=shape, dtype=tf.float32, name="x")
    session = cf.Session(messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where="in the test"))
    with pytest.raises(cf.ExecutionError, match=r"the shape is not a vector at node `x`.*found rank 2"):
        session.run("x:0", {"shape:0": np.ones((2, 2), np.int32)})


def _variable(values: list[int]) -> Any:
    return v1.get_variable("state", initializer=np.array(values, np.int64), use_resource=True)


def _follows(build: Any) -> None:
    made = case(build, {}, {})
    session = cf.Session(made.graph)
    session.run("init")
    assert session.writes(made.fetches)
    for want in made.answers:
        same(session.run(made.fetches), want)


@pytest.mark.parametrize("delta", [1, 3, 2**60])
@pytest.mark.parametrize("start", [[10, 20, 30], [-10, -1, 30], [-1, -1, 7]])
def test_a_generator_in_a_variable_moves_on(start: list[int], delta: int) -> None:
    def build() -> Any:
        state = _variable(start)
        before = tf.raw_ops.RngReadAndSkip(resource=state.handle, alg=1, delta=tf.constant(delta, tf.uint64))
        with tf.control_dependencies([before]):
            skipped = tf.raw_ops.RngSkip(resource=state.handle, algorithm=np.int64(1), delta=np.int64(delta))
        with tf.control_dependencies([skipped]):
            return [before, state.read_value()]

    _follows(build)


def test_numbers_of_a_generator_follow_its_state() -> None:
    def build() -> Any:
        generator = tf.random.Generator.from_state(_variable([1, 2, 3]), "philox")
        first = generator.uniform([3])
        with tf.control_dependencies([first]):
            return [first, generator.normal([2])]

    _follows(build)


@pytest.mark.parametrize("start", [[1, 2, 3], [-1, -1, 7]])
def test_draws_of_a_generator_in_a_variable(start: list[int]) -> None:
    def build() -> Any:
        state = _variable(start)
        draws = []
        for op, attrs in (
            ("StatefulUniform", {"dtype": tf.float32}), ("StatefulUniform", {"dtype": tf.float64}),
            ("StatefulUniformFullInt", {"dtype": tf.int32}), ("StatefulUniformFullInt", {"dtype": tf.uint64}),
            ("StatefulStandardNormalV2", {"dtype": tf.float32}), ("StatefulStandardNormalV2", {"dtype": tf.float64}),
            ("StatefulTruncatedNormal", {"dtype": tf.float32}),
            ("StatefulUniformInt", {"minval": np.int32(-5), "maxval": np.int32(90)}),
        ):  # fmt: skip
            with tf.control_dependencies(draws):
                made = getattr(tf.raw_ops, op)(resource=state.handle, algorithm=np.int64(1), shape=[3, 5], **attrs)
            draws.append(made)
        with tf.control_dependencies(draws):
            return [*draws, state.read_value()]

    _follows(build)


def test_integers_that_nobody_can_foresee() -> None:
    made = case(lambda: [tf.raw_ops.NonDeterministicInts(shape=[50], dtype=tf.int64)], {}, {})
    session = cf.Session(made.graph)
    (first,), (second,) = session.run(made.fetches), session.run(made.fetches)
    assert (first.shape, first.dtype) == ((50,), np.int64)
    assert len({*first.tolist(), *second.tolist()}) == 100


def test_a_generator_without_state_is_refused() -> None:
    def build() -> Any:
        state = _variable([1, 2])
        tf.raw_ops.RngReadAndSkip(resource=state.handle, alg=1, delta=tf.constant(1, tf.uint64), name="skip")
        return [state.read_value()]

    session = cf.Session(case(build, {}).graph)
    session.run("init")
    with pytest.raises(cf.ExecutionError, match="the state of a generator"):
        session.run("skip:0")


# --- drawn by trial: doubles, whose logarithms and powers may differ from the C library's in the last bit
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_gamma(dtype: str) -> None:
    alpha = np.array([[0.05, 0.7, 1.0], [1.2, 6.5, 300.0]])
    build = lambda: tf.raw_ops.RandomGamma(shape=[40, 3], alpha=alpha.astype(dtype), seed=4, seed2=-5)  # noqa: E731
    check(build, runs=2, rtol={"float16": 1e-3, "float32": 1e-6, "float64": 1e-12}[dtype])


def test_gamma_of_shapes_that_are_none() -> None:
    alpha = np.array([0, 1e-40, 0.5, -1, np.nan, np.inf, -np.inf, -0.0, -0.3], np.float32)
    check(lambda: tf.raw_ops.RandomGamma(shape=[3], alpha=alpha, seed=4, seed2=5), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64", "float16"])
def test_poisson(dtype: str) -> None:
    rate = np.array([0.0, 0.3, 4.0, 9.9, 10.0, 35.5, 900.0], np.float32)
    check(lambda: tf.raw_ops.RandomPoissonV2(shape=[2, 30], rate=rate, seed=8, seed2=1, dtype=dtype), runs=2)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_poisson_of_rates_without_end_or_below_0(dtype: str) -> None:
    rate = np.array([np.inf, 3.0, -np.inf, 2.0, -1.0])
    check(lambda: tf.raw_ops.RandomPoissonV2(shape=[4], rate=rate, seed=8, seed2=1, dtype=dtype), runs=2)


def test_poisson_refuses_a_rate_that_is_no_number() -> None:
    with tf.Graph().as_default() as graph:
        out = tf.raw_ops.RandomPoissonV2(shape=[4], rate=[1.0, np.nan], seed=8, seed2=1, dtype="float32")
    session = cf.Session(messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where="in memory"))
    with pytest.raises(cf.ExecutionError, match="the rate of a Poisson distribution"):  # TensorFlow runs for ever
        session.run(out.name)


def test_trials_for_a_seed() -> None:
    alpha = np.array([0.4, 3.0], np.float32)

    def build() -> list[Any]:
        key, counter = np.array([7], np.uint64), np.array([1, 2], np.uint64)
        return [
            tf.raw_ops.StatelessRandomGammaV2(shape=[20, 2], seed=[1, 9], alpha=alpha),
            tf.raw_ops.StatelessRandomGammaV3(shape=[20, 2], key=key, counter=counter, alg=1, alpha=alpha),
            tf.raw_ops.StatelessRandomPoisson(shape=[3, 20, 2], seed=[1, 9], lam=alpha * 9, dtype="int32"),
        ]

    check(build, rtol=1e-6)


def test_no_trials() -> None:
    check(lambda: tf.raw_ops.RandomGamma(shape=[0], alpha=[1.5, 2.0], seed=1, seed2=1))
    check(lambda: tf.raw_ops.RandomPoissonV2(shape=[2], rate=np.zeros(0), seed=1, seed2=1))


# --- binomial values, numbers in random order, crops --------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_binomial_for_a_seed(kind: str, dtype: str) -> None:
    counts, probs = [3.0, 50.0, 900.0, 7.0, 0.0, 5.0, 9.0], [[0.3], [0.5], [0.7], [0.0], [1.0], [0.97]]

    def build() -> Any:
        return r.StatelessRandomBinomial(
            shape=[5, 6, 7], seed=[3, 4], counts=tf.cast(counts, kind), probs=tf.cast(probs, kind), dtype=dtype
        )

    check(build)


def test_binomial_of_a_generator_in_a_variable() -> None:
    def build() -> Any:
        start = tf.range(5, v1.placeholder_with_default(np.int64(8), []))  # not in the variable's memory as well
        state = v1.get_variable("state", initializer=start, use_resource=True)
        counts, probs = np.array([4.0, 1e6]), np.array([0.25, 0.6])
        drawn = r.StatefulRandomBinomial(
            resource=state.handle, algorithm=np.int64(1), shape=[30, 2], counts=counts, probs=probs
        )
        with tf.control_dependencies([drawn]):
            return [drawn, state.read_value()]

    check(build, runs=3, init=["state/Assign"])


@pytest.mark.parametrize(("shape", "counts"), [([3, 4], [1.0, 2.0]), ([2], [[1.0, 2.0]]), ([[2]], [1.0, 2.0])])
def test_binomial_shapes_that_do_not_fit(shape: Any, counts: Any) -> None:
    def build() -> Any:
        ends = v1.placeholder_with_default(tf.constant(shape, tf.int32), None)
        return r.StatelessRandomBinomial(shape=ends, seed=[3, 4], counts=counts, probs=0.5)

    check(build, refused="shape")


@pytest.mark.parametrize("rows", [[9], [5, 3], [1], [0], []], ids=str)
def test_shuffle_for_a_seed(rows: list[int]) -> None:
    value = np.arange(int(np.prod(rows))).reshape(rows)

    def build() -> Any:
        key, counter, alg = r.StatelessRandomGetKeyCounterAlg(seed=[3, 4])
        return r.StatelessShuffle(value=value, key=key, counter=counter, alg=alg)

    check(build)


@pytest.mark.parametrize("most", [0, 1, 9, 1000, 2**16, 2**17 + 5, 2**40])
@pytest.mark.parametrize("rounds", [4, 8])
def test_numbers_in_random_order(most: int, rounds: int) -> None:
    def build() -> Any:
        index = np.unique(np.linspace(0, most, 7).astype(np.int64))
        seeds = np.arange(3 * len(index), dtype=np.uint32).reshape(-1, 3)
        one = r.RandomIndexShuffle(index=np.int64(most), seed=[1, 2, 3], max_index=np.int64(most), rounds=rounds)
        many = r.RandomIndexShuffle(index=index, seed=seeds, max_index=np.full(len(index), most), rounds=rounds)
        return [one, many]

    check(build)


@pytest.mark.parametrize("limits", [(10, 9), (0, -1)])
def test_numbers_that_are_out_of_range(limits: tuple[int, int]) -> None:
    index, most = limits
    check(
        lambda: r.RandomIndexShuffle(index=np.int64(index), seed=[1, 2, 3], max_index=np.int64(most)),
        refused="index is out of range",
    )


def test_crops_of_old_graphs() -> None:
    def build() -> Any:
        old = OldGraph(7)
        image, sizes = old.const("image", np.arange(90, dtype=np.float32).reshape(5, 6, 3)), ([3, 2], [5, 2], [5, 6])
        names = []
        for k, size in enumerate(sizes):
            at = old.const(f"size{k}", np.array(size, np.int64))
            names.append(old.node(f"crop{k}", "RandomCrop", image, at, T=tf.float32) + ":0")
            for name, seed in (("seed", 3 + k), ("seed2", 4)):
                old.graph.node[-1].attr[name].i = seed
        return old.graph, names

    check(build, runs=4)


def test_candidates_without_a_lock() -> None:
    def build() -> Any:
        classes = np.array([[1, 2], [3, 1]], np.int64)
        return r.ThreadUnsafeUnigramCandidateSampler(
            true_classes=classes, num_true=2, num_sampled=4, unique=True, range_max=9, seed=5, seed2=6
        )

    check(build, runs=4, rtol=1e-6)
