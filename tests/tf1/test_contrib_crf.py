"""Conditional random fields, against all paths of small ones."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as tf

crf = tf.contrib.crf
LENGTHS = [4, 2, 1, 3, 0]


def problem(batch: int = 5, time: int = 4, tags: int = 3) -> tuple[Any, Any, Any]:
    random = np.random.RandomState(0)
    scores = random.randn(batch, time, tags).astype(np.float32)
    return scores, random.randint(0, tags, (batch, time)), random.randn(tags, tags).astype(np.float32)


def score_of(scores: Any, path: Any, transitions: Any) -> float:
    steps = sum(scores[t, k] for t, k in enumerate(path))
    return float(steps + sum(transitions[a, b] for a, b in itertools.pairwise(path)))


def all_paths(scores: Any, length: int, transitions: Any) -> dict[tuple[int, ...], float]:
    paths = itertools.product(range(scores.shape[1]), repeat=length)
    return {p: score_of(scores, p, transitions) for p in paths}


def run(fetches: Any) -> Any:
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        return sess.run(fetches)


@pytest.mark.parametrize("time", [4, 1])
def test_likelihood_is_that_of_the_sum_over_all_paths(time: int) -> None:
    scores, tags, transitions = problem(time=time)
    lengths = np.minimum(LENGTHS, time)
    with tf.Graph().as_default():
        found, same = crf.crf_log_likelihood(scores, tags, lengths, tf.constant(transitions))
        parts = [found, same, crf.crf_sequence_score(scores, tags, lengths, tf.constant(transitions))]
        likelihood, kept, sums = run(parts)
    np.testing.assert_array_equal(kept, transitions)
    for i, n in enumerate(lengths):
        path = tuple(tags[i, :n])
        paths = all_paths(scores[i], n, transitions)
        np.testing.assert_allclose(sums[i], paths[path] if n else 0.0, rtol=1e-5, atol=1e-6)
        norm = np.log(np.sum(np.exp(list(paths.values())))) if n else 0.0
        np.testing.assert_allclose(likelihood[i], (paths[path] if n else 0.0) - norm, rtol=1e-5, atol=1e-6)


def test_sequences_with_several_allowed_tags() -> None:
    scores, _, transitions = problem()
    allowed = np.random.RandomState(1).rand(5, 4, 3) > 0.4
    allowed[:, :, 0] = True
    with tf.Graph().as_default():
        found = run(crf.crf_multitag_sequence_score(tf.constant(scores), allowed, LENGTHS, tf.constant(transitions)))
    for i, n in enumerate(LENGTHS[:4]):
        paths = all_paths(scores[i], n, transitions)
        open_ = [v for p, v in paths.items() if all(allowed[i, t, k] for t, k in enumerate(p))]
        np.testing.assert_allclose(found[i], np.log(np.sum(np.exp(open_))), rtol=1e-5)


def test_decoding_finds_the_best_path() -> None:
    scores, _, transitions = problem()
    with tf.Graph().as_default():
        tags, best = run(crf.crf_decode(scores, transitions, LENGTHS))
    assert tags.dtype == np.int32
    for i, n in enumerate(LENGTHS[:4]):
        paths = all_paths(scores[i], n, transitions)
        path = max(paths, key=lambda p: paths[p])
        assert tuple(tags[i, :n]) == path
        np.testing.assert_allclose(best[i], paths[path], rtol=1e-5)
        listed, value = crf.viterbi_decode(scores[i, :n], transitions)
        assert tuple(listed) == path
        np.testing.assert_allclose(value, paths[path], rtol=1e-5)
        assert not tags[i, n:].any()


def test_a_tagger_learns() -> None:
    random = np.random.RandomState(2)
    words = random.randint(0, 6, (8, 5))
    tags = (words + np.roll(words, 1, axis=1)) % 3
    lengths = random.randint(2, 6, 8)
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        table = tf.get_variable("table", [6, 6, 3])
        pairs = tf.stack([words, np.roll(words, 1, axis=1)], -1)
        scores = tf.gather_nd(table, pairs)
        likelihood, transitions = crf.crf_log_likelihood(scores, tags, lengths)
        assert transitions.op.name == "transitions"
        assert transitions.shape.as_list() == [3, 3]
        step = tf.train.AdamOptimizer(0.2).minimize(-tf.reduce_mean(likelihood))
        decoded, _ = crf.crf_decode(scores, transitions, lengths)
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            before = sess.run(likelihood).mean()
            for _ in range(40):
                sess.run(step)
            after, found = sess.run([likelihood, decoded])
    assert before < -2.0
    assert after.mean() > -0.2
    mask = np.arange(5) < lengths[:, None]
    np.testing.assert_array_equal(found[mask], tags[mask])
