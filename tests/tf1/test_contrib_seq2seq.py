"""Decoders, attention and beam search, against numpy, and against all sequences of small problems."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as tf

seq2seq = tf.contrib.seq2seq
BATCH, TIME, UNITS, WORDS = 3, 4, 5, 4
LENGTHS = [4, 2, 3]
random = np.random.RandomState(0)
INPUTS = random.randn(BATCH, TIME, 3).astype(np.float32)
MEMORY = random.randn(BATCH, 6, 4).astype(np.float32)
MEMORY_LENGTHS = [6, 3, 5]
TABLE = random.randn(WORDS, 3).astype(np.float32)


def run(fetches: Any) -> Any:
    """Return the values of `fetches`, and those of all variables by name."""
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        variables = {v.op.name: v for v in tf.global_variables()}
        return sess.run([fetches, variables])


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# --- basic decoding ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("time_major", [False, True])
def test_training_gives_what_dynamic_rnn_gives(time_major: bool) -> None:
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        cell = tf.nn.rnn_cell.BasicLSTMCell(UNITS)
        inputs = INPUTS.swapaxes(0, 1) if time_major else INPUTS
        helper = seq2seq.TrainingHelper(tf.constant(inputs), LENGTHS, time_major=time_major)
        decoder = seq2seq.BasicDecoder(cell, helper, cell.zero_state(BATCH, tf.float32))
        outputs, state, lengths = seq2seq.dynamic_decode(decoder, output_time_major=time_major, impute_finished=True)
        wanted, last = tf.nn.dynamic_rnn(
            cell, inputs, LENGTHS, dtype=tf.float32, time_major=time_major, scope="decoder"
        )
        (found, state, lengths, wanted, last), variables = run([outputs, state, lengths, wanted, last])
    assert sorted(variables) == ["decoder/basic_lstm_cell/bias", "decoder/basic_lstm_cell/kernel"]
    np.testing.assert_array_equal(lengths, LENGTHS)
    assert found.rnn_output.shape == wanted.shape
    np.testing.assert_allclose(found.rnn_output, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.c, last.c, rtol=1e-5, atol=1e-6)
    ids = found.sample_id
    mask = np.arange(TIME) < np.array(LENGTHS)[:, None]
    mask = mask.T if time_major else mask
    np.testing.assert_array_equal(ids[mask], found.rnn_output.argmax(-1)[mask])
    assert not found.rnn_output[~mask].any()


def cell_step(variables: Any, x: Any, h: Any, scope: str = "decoder/basic_rnn_cell") -> Any:
    kernel, bias = (variables[f"{scope}/{n}"] for n in ("kernel", "bias"))
    return np.tanh(np.concatenate([x, h], -1) @ kernel + bias)


def projection(variables: Any, h: Any) -> Any:
    return h @ variables["decoder/words/kernel"] + variables["decoder/words/bias"]


@pytest.mark.parametrize("limit", [2, 7])
def test_greedy_decoding_reads_what_it_said(limit: int) -> None:
    with tf.Graph().as_default():
        tf.set_random_seed(4)
        cell = tf.nn.rnn_cell.BasicRNNCell(UNITS)
        helper = seq2seq.GreedyEmbeddingHelper(tf.constant(3 * TABLE), [1, 2, 3], 0)
        decoder = seq2seq.BasicDecoder(
            cell, helper, cell.zero_state(BATCH, tf.float32), tf.layers.Dense(WORDS, name="words")
        )
        outputs, state, lengths = seq2seq.dynamic_decode(decoder, maximum_iterations=limit)
        assert outputs.rnn_output.shape.as_list() == [BATCH, None, WORDS]
        (found, state, lengths), variables = run([outputs, state, lengths])
    h, x, done = np.zeros((BATCH, UNITS), np.float32), 3 * TABLE[[1, 2, 3]], np.zeros(BATCH, bool)
    counts = np.zeros(BATCH, int)
    for t in range(limit):
        if done.all():
            break
        h = cell_step(variables, x, h)
        logits = projection(variables, h)
        np.testing.assert_allclose(found.rnn_output[:, t], logits, rtol=1e-4, atol=1e-5)
        ids = logits.argmax(-1)
        np.testing.assert_array_equal(found.sample_id[:, t], ids)
        counts[~done] = t + 1
        done |= ids == 0
        x = 3 * TABLE[ids]
    np.testing.assert_array_equal(lengths, counts)
    np.testing.assert_allclose(state, h, rtol=1e-4, atol=1e-5)


def test_other_helpers() -> None:
    with tf.Graph().as_default():
        tf.set_random_seed(2)
        cell = tf.nn.rnn_cell.BasicRNNCell(WORDS)
        start, table = cell.zero_state(BATCH, tf.float32), tf.constant(random.randn(WORDS, 3), tf.float32)
        inputs = tf.constant(INPUTS)
        helpers = {
            "sampled": seq2seq.SampleEmbeddingHelper(table, [1, 2, 3], 0, softmax_temperature=0.5, seed=3),
            "scheduled": seq2seq.ScheduledEmbeddingTrainingHelper(inputs, LENGTHS, table, 0.5, seed=1),
            "never": seq2seq.ScheduledEmbeddingTrainingHelper(inputs, LENGTHS, table, 0.0),
            "given": seq2seq.TrainingHelper(inputs, LENGTHS),
            "outputs": seq2seq.ScheduledOutputTrainingHelper(
                inputs, LENGTHS, 1.0, next_inputs_layer=lambda o: o[:, :3]
            ),
            "inference": seq2seq.InferenceHelper(
                lambda o: o[:, :3], [3], tf.float32, INPUTS[:, 0], lambda s: tf.zeros([BATCH], tf.bool)
            ),
            "custom": seq2seq.CustomHelper(
                lambda: (tf.zeros([BATCH], tf.bool), inputs[:, 0]), lambda time, outputs, state: tf.argmax(
                    outputs, -1, output_type=tf.int32), lambda time, outputs, state, sample_ids: (
                        tf.fill([BATCH], time >= 2), inputs[:, 0], state)),
        }  # fmt: skip
        results = {}
        for name, helper in helpers.items():
            with tf.variable_scope("one", reuse=tf.AUTO_REUSE):
                decoder = seq2seq.BasicDecoder(cell, helper, start)
                results[name] = seq2seq.dynamic_decode(decoder, maximum_iterations=4)
        (found), _ = run(results)
    np.testing.assert_array_equal(found["never"][0].rnn_output, found["given"][0].rnn_output)
    np.testing.assert_array_equal(found["outputs"][0].rnn_output[:, :4], found["inference"][0].rnn_output)
    np.testing.assert_array_equal(found["inference"][0].sample_id, found["inference"][0].rnn_output[..., :3])
    np.testing.assert_array_equal(found["custom"][2], [3, 3, 3])
    assert (found["sampled"][0].sample_id < WORDS).all()
    assert (found["scheduled"][0].sample_id >= -1).all()


# --- attention --------------------------------------------------------------------------------------------------
def _scores(kind: str, v: Any, query: Any, prefix: str) -> Any:
    keys = (MEMORY * (np.arange(6) < np.array(MEMORY_LENGTHS)[:, None])[..., None]) @ v["memory_layer/kernel"]
    if kind.startswith("luong"):
        scores = np.einsum("btd,bd->bt", keys, query)
        return scores * v[f"{prefix}/luong_attention/attention_g"] if kind == "luong scaled" else scores
    own = f"{prefix}/bahdanau_attention"
    inner = keys + (query @ v[f"{own}/query_layer/kernel"])[:, None]
    vector = v[f"{own}/attention_v"]
    if kind == "bahdanau normalized":
        vector = v[f"{own}/attention_g"] * vector / np.sqrt((vector**2).sum())
        inner = inner + v[f"{own}/attention_b"]
    return (vector * np.tanh(inner)).sum(-1)


def _mechanism(kind: str, memory: Any = MEMORY, lengths: Any = MEMORY_LENGTHS) -> Any:
    memory = tf.convert_to_tensor(memory)
    if kind.startswith("luong"):
        return seq2seq.LuongAttention(UNITS, memory, lengths, scale=kind == "luong scaled")
    return seq2seq.BahdanauAttention(7, memory, lengths, normalize=kind == "bahdanau normalized")


@pytest.mark.parametrize("layer", [None, 6])
@pytest.mark.parametrize("kind", ["luong", "luong scaled", "bahdanau", "bahdanau normalized"])
def test_attention_is_that_of_the_formulas(kind: str, layer: int | None) -> None:
    with tf.Graph().as_default():
        tf.set_random_seed(5)
        cell = seq2seq.AttentionWrapper(
            tf.nn.rnn_cell.BasicRNNCell(UNITS), _mechanism(kind), attention_layer_size=layer, alignment_history=True
        )
        helper = seq2seq.TrainingHelper(tf.constant(INPUTS), LENGTHS)
        decoder = seq2seq.BasicDecoder(cell, helper, cell.zero_state(BATCH, tf.float32))
        outputs, state, _ = seq2seq.dynamic_decode(decoder)
        (found, weights, attention), v = run([outputs.rnn_output, state.alignment_history.stack(), state.attention])
    prefix = "decoder/attention_wrapper"
    values = MEMORY * (np.arange(6) < np.array(MEMORY_LENGTHS)[:, None])[..., None]
    h, looked = np.zeros((BATCH, UNITS)), np.zeros((BATCH, layer or 4))
    for t in range(TIME):
        h = cell_step(v, np.concatenate([INPUTS[:, t], looked], -1), h, f"{prefix}/basic_rnn_cell")
        scores = _scores(kind, v, h, prefix)
        scores[np.arange(6) >= np.array(MEMORY_LENGTHS)[:, None]] = -np.inf
        expected = softmax(scores)
        np.testing.assert_allclose(weights[t], expected, rtol=1e-4, atol=1e-6)
        looked = np.einsum("bt,btd->bd", expected, values)
        if layer:
            looked = np.concatenate([h, looked], -1) @ v[f"{prefix}/attention_layer/kernel"]
        np.testing.assert_allclose(found[:, t], looked, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(attention, looked, rtol=1e-4, atol=1e-5)


def test_several_memories_and_other_inputs() -> None:
    with tf.Graph().as_default():
        first, second = _mechanism("luong"), seq2seq.BahdanauAttention(3, tf.constant(MEMORY), name="other")
        start = tf.ones([BATCH, UNITS])
        cell = seq2seq.AttentionWrapper(
            tf.nn.rnn_cell.GRUCell(UNITS), [first, second], attention_layer_size=[2, 3], output_attention=False,
            cell_input_fn=lambda inputs, attention: inputs, initial_cell_state=start,
        )  # fmt: skip
        assert cell.output_size == UNITS
        state = cell.zero_state(BATCH, tf.float32)
        output, after = cell(tf.constant(INPUTS[:, 0]), state)
        assert state.clone(time=tf.constant(7)).attention is state.attention
        with pytest.raises(TypeError, match="Expected state to be instance of AttentionWrapperState"):
            cell(tf.constant(INPUTS[:, 0]), start)
        found, _ = run([output, after, state])
    assert found[0].shape == (BATCH, UNITS)
    assert found[1].attention.shape == (BATCH, 5)
    assert len(found[1].alignments) == 2
    np.testing.assert_allclose(found[1].alignments[1].sum(-1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(found[2].cell_state, 1.0)
    assert found[1].time == 1


def test_a_model_with_attention_learns_to_copy() -> None:
    with tf.Graph().as_default():
        tf.set_random_seed(3)
        words = np.random.RandomState(1).randint(1, 5, (6, 3))
        table = tf.get_variable("table", [5, 8])
        encoded, last = tf.nn.dynamic_rnn(
            tf.nn.rnn_cell.GRUCell(16), tf.nn.embedding_lookup(table, words), dtype=tf.float32
        )
        cell = seq2seq.AttentionWrapper(
            tf.nn.rnn_cell.GRUCell(16), seq2seq.LuongAttention(16, encoded), attention_layer_size=16
        )
        state = cell.zero_state(6, tf.float32).clone(cell_state=last)
        layer = tf.layers.Dense(5, name="words")
        shifted = np.concatenate([np.zeros((6, 1), int), words[:, :-1]], 1)
        helper = seq2seq.TrainingHelper(tf.nn.embedding_lookup(table, shifted), [3] * 6)
        outputs, _, _ = seq2seq.dynamic_decode(seq2seq.BasicDecoder(cell, helper, state, layer))
        loss = seq2seq.sequence_loss(outputs.rnn_output, tf.constant(words), tf.ones([6, 3]))
        step = tf.train.AdamOptimizer(0.02).minimize(loss)
        greedy = seq2seq.GreedyEmbeddingHelper(table, [0] * 6, 5)
        with tf.variable_scope(tf.get_variable_scope(), reuse=True):
            said, _, _ = seq2seq.dynamic_decode(seq2seq.BasicDecoder(cell, greedy, state, layer), maximum_iterations=3)
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            before = sess.run(loss)
            for _ in range(60):
                sess.run(step)
            after, ids = sess.run([loss, said.sample_id])
    assert before > 1.0
    assert after < 0.1
    np.testing.assert_array_equal(ids, words)


# --- beams ------------------------------------------------------------------------------------------------------
def test_tiling_a_batch() -> None:
    with tf.Graph().as_default():
        x, y = tf.constant([[1, 2], [3, 4]]), tf.placeholder_with_default([5.0, 6.0], [None])
        tiled = seq2seq.tile_batch({"x": x, "y": (y,)}, 2)
        assert tiled["x"].shape.as_list() == [4, 2]
        found, _ = run(tiled)
    np.testing.assert_array_equal(found["x"], [[1, 2], [1, 2], [3, 4], [3, 4]])
    np.testing.assert_array_equal(found["y"][0], [5, 5, 6, 6])


def walked(ids: Any, parents: Any, lengths: Any, end: int) -> Any:
    """The way back through the beams, one by one."""
    out = np.full_like(ids, end)
    for b, k in itertools.product(range(ids.shape[1]), range(ids.shape[2])):
        at = k
        for t in reversed(range(min(lengths[b], len(ids)))):
            out[t, b, k] = ids[t, b, at]
            at = parents[t, b, at]
        ended = np.flatnonzero(out[:, b, k] == end)
        out[ended[0] if ended.size else len(ids) :, b, k] = end
    return out


def test_gathering_trees() -> None:
    random = np.random.RandomState(3)
    ids, parents = random.randint(0, 6, (5, 4, 3)), random.randint(0, 3, (5, 4, 3))
    lengths = [5, 3, 1, 0]
    with tf.Graph().as_default():
        made = seq2seq.gather_tree(
            tf.constant(ids, tf.int32), tf.constant(parents, tf.int32), tf.constant(lengths), tf.constant(5)
        )
        found, _ = run(made)
    np.testing.assert_array_equal(found, walked(ids, parents, lengths, 5))


def all_sequences(v: Any, start: Any, steps: int, weight: float) -> list[tuple[float, tuple[int, ...]]]:
    """Return all sequences that end, or are cut off, with their scores, best first; for one entry of the batch."""
    found = []
    waiting = [((), 0.0, np.zeros((1, UNITS)), 3 * TABLE[[start]])]
    while waiting:
        ids, total, h, x = waiting.pop()
        if len(ids) == steps or (ids and ids[-1] == 0):
            length = len(ids) if len(ids) < steps else len([i for i in ids if i])  # an end counts after its step
            found.append((total / ((5 + length) / 6) ** weight, ids))
            continue
        h = cell_step(v, x, h)
        log_probs = np.log(softmax(projection(v, h)))[0]
        waiting += [((*ids, i), total + log_probs[i], h, 3 * TABLE[[i]]) for i in range(WORDS)]
    return sorted(found, reverse=True)


@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_a_wide_beam_finds_the_best_of_all_sequences(weight: float) -> None:
    beams, steps = 48, 3
    with tf.Graph().as_default():
        tf.set_random_seed(4)
        cell = tf.nn.rnn_cell.BasicRNNCell(UNITS)
        decoder = seq2seq.BeamSearchDecoder(
            cell, tf.constant(3 * TABLE), [1, 2], 0, cell.zero_state(2 * beams, tf.float32), beams,
            tf.layers.Dense(WORDS, name="words"), length_penalty_weight=weight,
        )  # fmt: skip
        outputs, state, _ = seq2seq.dynamic_decode(decoder, maximum_iterations=steps)
        (final, scores, lengths), v = run([outputs.predicted_ids, outputs.beam_search_decoder_output.scores,
                                           state.lengths])  # fmt: skip
    assert final.shape == (2, steps, beams)
    for b, start in enumerate([1, 2]):
        best = all_sequences(v, start, steps, weight)[:20]
        for k, (score, ids) in enumerate(best):
            np.testing.assert_allclose(scores[b, -1, k], score, rtol=1e-4)
            np.testing.assert_array_equal(final[b, :, k], [*ids, *[0] * (steps - len(ids))])
            assert lengths[b, k] in (len(ids), len([i for i in ids if i]))


def test_one_beam_is_greedy_and_attention_goes_along() -> None:
    with tf.Graph().as_default():
        tf.set_random_seed(6)
        layer = tf.layers.Dense(WORDS, name="words")
        found = {}
        for width in (0, 1, 3):
            tiled = [seq2seq.tile_batch(tf.constant(x), max(width, 1)) for x in (MEMORY, np.array(MEMORY_LENGTHS))]
            with tf.variable_scope("model", reuse=tf.AUTO_REUSE):
                cell = seq2seq.AttentionWrapper(
                    tf.nn.rnn_cell.GRUCell(UNITS), _mechanism("luong", *tiled), attention_layer_size=UNITS,
                    alignment_history=True,
                )  # fmt: skip
                state = cell.zero_state(BATCH * max(width, 1), tf.float32)
                if width:
                    decoder: Any = seq2seq.BeamSearchDecoder(
                        cell, tf.constant(3 * TABLE), [1, 2, 3], 0, state, width, layer, coverage_penalty_weight=0.0
                    )
                else:
                    helper = seq2seq.GreedyEmbeddingHelper(tf.constant(3 * TABLE), [1, 2, 3], 0)
                    decoder = seq2seq.BasicDecoder(cell, helper, state, layer)
                found[width] = seq2seq.dynamic_decode(decoder, maximum_iterations=5)
        fetched = [found[0][0].sample_id, found[0][2], found[1][0].predicted_ids, found[3][0].predicted_ids,
                   found[3][1].cell_state.alignment_history, found[3][0].beam_search_decoder_output]  # fmt: skip
        (greedy, lengths, one, three, history, steps), _ = run(fetched)
    for b in range(BATCH):
        n = lengths[b]
        np.testing.assert_array_equal(one[b, :n, 0], greedy[b, :n])
    assert three.shape[2] == 3
    assert history.shape == (three.shape[1], BATCH * 3, 6)
    np.testing.assert_allclose(history.sum(-1), 1.0, rtol=1e-5)
    assert (np.diff(steps.scores[:, -1]) <= 0).all()


def test_coverage_is_taken_into_account() -> None:
    with tf.Graph().as_default():
        tf.set_random_seed(6)
        memory = seq2seq.tile_batch(tf.constant(MEMORY), 2)
        cell = seq2seq.AttentionWrapper(tf.nn.rnn_cell.GRUCell(UNITS), _mechanism("luong", memory, None))
        layer = tf.layers.Dense(WORDS, name="words")
        scores = []
        for weight in (0.0, 0.3):
            with tf.variable_scope("model", reuse=tf.AUTO_REUSE):
                decoder = seq2seq.BeamSearchDecoder(
                    cell, tf.constant(TABLE), [1, 2, 3], 0, cell.zero_state(BATCH * 2, tf.float32), 2, layer,
                    coverage_penalty_weight=weight,
                )  # fmt: skip
                outputs, state, _ = seq2seq.dynamic_decode(decoder, maximum_iterations=1)
                scores.append([outputs.beam_search_decoder_output.scores, state.cell_state.alignments])
        (plain, covered), _ = run(scores)
    expected = plain[0] + 0.3 * np.log(np.minimum(covered[1], 1.0)).sum(-1)[:, None, :]
    np.testing.assert_allclose(covered[0], expected, rtol=1e-4)


# --- what is wrong ----------------------------------------------------------------------------------------------
def test_errors_say_what_is_wrong() -> None:
    with tf.Graph().as_default():
        with pytest.raises(TypeError, match="Expected decoder to be type Decoder"):
            seq2seq.dynamic_decode(3)
        with pytest.raises(ValueError, match="start_tokens must be a vector"):
            seq2seq.GreedyEmbeddingHelper(tf.constant(TABLE), 1, 0)
        with pytest.raises(ValueError, match="end_token must be a scalar"):
            seq2seq.GreedyEmbeddingHelper(tf.constant(TABLE), [1], [0])
        with pytest.raises(ValueError, match="Expected sequence_length to be a vector"):
            seq2seq.TrainingHelper(tf.constant(INPUTS), 3)
        mechanism = _mechanism("luong")
        with pytest.raises(ValueError, match="Incompatible or unknown inner dimensions between query and keys"):
            mechanism(tf.zeros([BATCH, UNITS + 1]), None)
        with pytest.raises(ValueError, match="exactly one integer per attention_mechanism"):
            seq2seq.AttentionWrapper(tf.nn.rnn_cell.GRUCell(2), mechanism, attention_layer_size=[1, 2])
        with pytest.raises(TypeError, match="attention_mechanism must be an AttentionMechanism"):
            seq2seq.AttentionWrapper(tf.nn.rnn_cell.GRUCell(2), [3])
        cell = tf.nn.rnn_cell.GRUCell(2)
        with pytest.raises(ValueError, match="needs a cell with attention"):
            seq2seq.BeamSearchDecoder(
                cell, tf.constant(TABLE), [1], 0, cell.zero_state(2, tf.float32), 2, coverage_penalty_weight=1.0
            )
        with pytest.raises(AttributeError, match="hint: use BahdanauAttention"):
            _ = seq2seq.LuongMonotonicAttention
