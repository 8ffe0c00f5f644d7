"""Functions of tf.nn: nodes, names, static shapes and values are TensorFlow's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as tf1
from tf1_graphs import Call, check_call


def f(tf: Any, *dims: int | None, name: str | None = None) -> Any:
    return tf.placeholder(tf.float32, dims, name)


def i(tf: Any, *dims: int | None, name: str | None = None) -> Any:
    return tf.placeholder(tf.int32, dims, name)


def long(tf: Any, *dims: int | None, name: str | None = None) -> Any:
    return tf.placeholder(tf.int64, dims, name)


def open_rank(tf: Any) -> Any:
    return tf.placeholder(tf.float32, None)


ACTIVATIONS: dict[str, Call] = {
    **{
        n: lambda tf, n=n: getattr(tf.nn, n)(f(tf, 2, None, name="x"))
        for n in (
            "relu",
            "relu6",
            "elu",
            "selu",
            "softplus",
            "softsign",
            "tanh",
            "sigmoid",
            "leaky_relu",
            "crelu",
            "softmax",
            "log_softmax",
            "l2_loss",
        )
    },
    "relu_named": lambda tf: tf.nn.relu(f(tf, 2), name="a"),
    "leaky_relu_alpha": lambda tf: tf.nn.leaky_relu(f(tf, 2), 0.3, "leak"),
    "leaky_relu_int": lambda tf: tf.nn.leaky_relu(i(tf, 2)),
    "crelu_axis": lambda tf: tf.nn.crelu(f(tf, 2, 3), axis=0, name="c"),
    "softmax_axis": lambda tf: tf.nn.softmax(f(tf, None, 3, 4), axis=1),
    "softmax_dim": lambda tf: tf.nn.softmax(f(tf, None, 3, 4), dim=-2, name="s"),
    "softmax_last": lambda tf: tf.nn.softmax(f(tf, None, 3, 4), axis=2, name="s"),
    "softmax_open": lambda tf: tf.nn.softmax(open_rank(tf)),
    "log_softmax_axis": lambda tf: tf.nn.log_softmax(f(tf, 2, 3), axis=0),
    "bias_add": lambda tf: tf.nn.bias_add(f(tf, None, 3), f(tf, 3)),
    "bias_add_formats": lambda tf: tf.nn.bias_add(f(tf, None, 3, 2, 2), f(tf, 3), data_format="NCHW", name="b"),
    "bias_add_constant": lambda tf: tf.nn.bias_add(f(tf, None, 3), [1.0, 2.0, 3.0]),
    "xw_plus_b": lambda tf: tf.nn.xw_plus_b(f(tf, None, 3), f(tf, 3, 2), f(tf, 2)),
    "relu_layer": lambda tf: tf.nn.relu_layer(f(tf, None, 3), f(tf, 3, 2), f(tf, 2), name="layer"),
    "zero_fraction": lambda tf: tf.nn.zero_fraction(f(tf, None, 3)),
    "in_top_k": lambda tf: tf.nn.in_top_k(f(tf, 2, 3), i(tf, 2), 1),
    "top_k": lambda tf: tf.nn.top_k(f(tf, 2, 3), 2),
    "top_k_named": lambda tf: tf.nn.top_k(f(tf, None, 3), k=1, sorted=False, name="t"),
}

DROPOUT: dict[str, Call] = {
    "keep_prob": lambda tf: tf.nn.dropout(f(tf, None, 3), 0.5, seed=7),
    "rate": lambda tf: tf.nn.dropout(f(tf, 4, 3), rate=0.3, seed=7, name="d"),
    "tensor": lambda tf: tf.nn.dropout(f(tf, None, 3), keep_prob=f(tf, name="keep"), seed=7),
    "keep_all": lambda tf: tf.identity(tf.nn.dropout(f(tf, None, 3), keep_prob=1.0)),
    "noise_shape": lambda tf: tf.nn.dropout(f(tf, None, 3), 0.5, noise_shape=[2, 1], seed=3),
    "noise_open": lambda tf: tf.nn.dropout(f(tf, 2, 3), 0.5, noise_shape=[None, 1], seed=3),
    "graph_seed": lambda tf: (tf.set_random_seed(3), tf.nn.dropout(f(tf, 5), 0.5), tf.nn.dropout(f(tf, 5), 0.5))[1:],
}

CONVOLUTIONS: dict[str, Call] = {
    "conv2d": lambda tf: tf.nn.conv2d(f(tf, None, 5, 5, 1), f(tf, 3, 3, 1, 2), [1, 1, 1, 1], "SAME"),
    "conv2d_stride": lambda tf: tf.nn.conv2d(f(tf, 2, 6, 5, 1), f(tf, 3, 3, 1, 2), 2, "VALID", name="c"),
    "conv2d_dilated": lambda tf: tf.nn.conv2d(f(tf, 2, 6, 6, 1), f(tf, 3, 3, 1, 2), 1, "VALID", dilations=[2, 2]),
    "conv2d_explicit": lambda tf: tf.nn.conv2d(
        f(tf, 1, 4, 4, 1), f(tf, 3, 3, 1, 2), 1, [[0, 0], [1, 2], [0, 1], [0, 0]]
    ),
    "conv2d_batches": lambda tf: tf.nn.conv2d(f(tf, 2, 2, 5, 5, 1), f(tf, 3, 3, 1, 2), 1, "SAME"),
    "conv2d_open_batches": lambda tf: tf.nn.conv2d(f(tf, None, 2, 5, 5, 1), f(tf, 3, 3, 1, 2), 1, "SAME"),
    "conv1d": lambda tf: tf.nn.conv1d(f(tf, None, 5, 1), f(tf, 3, 1, 2), stride=1, padding="SAME"),
    "conv1d_named": lambda tf: tf.nn.conv1d(f(tf, 2, 6, 1), f(tf, 3, 1, 2), 2, "VALID", name="c"),
    "conv1d_transpose": lambda tf: tf.nn.conv1d_transpose(f(tf, 2, 3, 2), f(tf, 3, 1, 2), [2, 6, 1], 2),
    "conv3d": lambda tf: tf.nn.conv3d(f(tf, 1, 4, 4, 4, 1), f(tf, 2, 2, 2, 1, 2), [1, 1, 1, 1, 1], "SAME"),
    "conv3d_transpose": lambda tf: tf.nn.conv3d_transpose(
        f(tf, 1, 2, 2, 2, 2), f(tf, 2, 2, 2, 1, 2), [1, 4, 4, 4, 1], [1, 2, 2, 2, 1]
    ),
    "conv2d_transpose": lambda tf: tf.nn.conv2d_transpose(
        f(tf, 2, 3, 3, 2), f(tf, 3, 3, 1, 2), [2, 6, 6, 1], strides=[1, 2, 2, 1]
    ),
    "conv2d_transpose_shape": lambda tf: tf.nn.conv2d_transpose(
        f(tf, None, 3, 3, 2, name="x"),
        f(tf, 3, 3, 1, 2),
        tf.stack([tf.shape(f(tf, 2, name="y"))[0], 6, 6, 1]),
        strides=2,
        name="up",
    ),
    "conv2d_backprop_input": lambda tf: tf.nn.conv2d_backprop_input(
        [2, 6, 6, 1], f(tf, 3, 3, 1, 2), f(tf, 2, 3, 3, 2), [1, 2, 2, 1], "SAME"
    ),
    "conv2d_backprop_filter": lambda tf: tf.nn.conv2d_backprop_filter(
        f(tf, 2, 6, 6, 1), [3, 3, 1, 2], f(tf, 2, 3, 3, 2), [1, 2, 2, 1], "SAME"
    ),
    "convolution": lambda tf: tf.nn.convolution(f(tf, None, 5, 5, 1), f(tf, 3, 3, 1, 2), "SAME"),
    "convolution_rate": lambda tf: tf.nn.convolution(
        f(tf, 1, 8, 8, 1), f(tf, 3, 3, 1, 2), "VALID", dilation_rate=[2, 1], name="c"
    ),
    "convolution_1": lambda tf: tf.nn.convolution(f(tf, 2, 5, 1), f(tf, 3, 1, 2), "SAME", strides=[2]),
    "convolution_3": lambda tf: tf.nn.convolution(f(tf, 1, 3, 3, 3, 1), f(tf, 2, 2, 2, 1, 2), "SAME"),
    "atrous_conv2d": lambda tf: tf.nn.atrous_conv2d(f(tf, 1, 8, 8, 1), f(tf, 3, 3, 1, 2), 2, "SAME"),
    "depthwise_conv2d": lambda tf: tf.nn.depthwise_conv2d(
        f(tf, None, 5, 5, 2), f(tf, 3, 3, 2, 2), [1, 1, 1, 1], "SAME"
    ),
    "depthwise_rate": lambda tf: tf.nn.depthwise_conv2d(
        f(tf, 2, 6, 6, 2), f(tf, 3, 3, 2, 2), [1, 1, 1, 1], "SAME", rate=[2, 2], name="d"
    ),
    "depthwise_rate_open": lambda tf: tf.nn.depthwise_conv2d(
        f(tf, 2, None, None, 2, name="x"), f(tf, 3, 3, 2, 2), [1, 1, 1, 1], "SAME", rate=[1, 2]
    ),
    "depthwise_native": lambda tf: tf.nn.depthwise_conv2d_native(
        f(tf, 1, 5, 5, 2), f(tf, 3, 3, 2, 1), [1, 1, 1, 1], "SAME"
    ),
    "separable_conv2d": lambda tf: tf.nn.separable_conv2d(
        f(tf, 2, 5, 5, 3), f(tf, 3, 3, 3, 1), f(tf, 1, 1, 3, 2), [1, 1, 1, 1], "SAME"
    ),
    "separable_rate": lambda tf: tf.nn.separable_conv2d(
        f(tf, 2, 6, 6, 3), f(tf, 3, 3, 3, 1), f(tf, 1, 1, 3, 2), [1, 1, 1, 1], "VALID", rate=[2, 2], name="s"
    ),
    "dilation2d": lambda tf: tf.nn.dilation2d(f(tf, 1, 4, 4, 1), f(tf, 2, 2, 1), [1, 1, 1, 1], [1, 1, 1, 1], "SAME"),
    "erosion2d": lambda tf: tf.nn.erosion2d(f(tf, 1, 4, 4, 1), f(tf, 2, 2, 1), [1, 1, 1, 1], [1, 1, 1, 1], "SAME"),
}

POOLS: dict[str, Call] = {
    "max_pool": lambda tf: tf.nn.max_pool(f(tf, None, 6, 6, 1), [1, 2, 2, 1], [1, 2, 2, 1], "SAME"),
    "max_pool_numbers": lambda tf: tf.nn.max_pool(f(tf, 1, 6, 6, 1), 2, [1, 2], "VALID", name="p"),
    "avg_pool": lambda tf: tf.nn.avg_pool(f(tf, None, 6, 6, 1), [1, 2, 2, 1], [1, 2, 2, 1], "SAME"),
    "max_pool1d": lambda tf: tf.nn.max_pool1d(f(tf, 2, 6, 1), 2, 2, "SAME"),
    "avg_pool1d": lambda tf: tf.nn.avg_pool1d(f(tf, 2, 6, 1), 2, 2, "SAME", name="p"),
    "max_pool3d": lambda tf: tf.nn.max_pool3d(f(tf, 1, 4, 4, 4, 1), 2, 2, "SAME"),
    "avg_pool3d": lambda tf: tf.nn.avg_pool3d(f(tf, 1, 4, 4, 4, 1), [1, 2, 2, 2, 1], 2, "VALID"),
    "max_pool_with_argmax": lambda tf: tf.nn.max_pool_with_argmax(
        f(tf, 2, 4, 4, 2), [1, 2, 2, 1], [1, 2, 2, 1], "VALID"
    ),
    "pool": lambda tf: tf.nn.pool(f(tf, 1, 6, 6, 1), [2, 2], "MAX", "SAME", strides=[2, 2]),
    "pool_1": lambda tf: tf.nn.pool(f(tf, 1, 6, 1), [2], "AVG", "VALID"),
    "pool_dilated": lambda tf: tf.nn.pool(f(tf, 1, 6, 6, 1), [2, 2], "MAX", "VALID", dilation_rate=[2, 2], name="p"),
}

LOSSES: dict[str, Call] = {
    "softmax_v2": lambda tf: tf.nn.softmax_cross_entropy_with_logits_v2(labels=f(tf, None, 3), logits=f(tf, None, 3)),
    "softmax_v2_static": lambda tf: tf.nn.softmax_cross_entropy_with_logits_v2(f(tf, 2, 3), f(tf, 2, 3), name="l"),
    "softmax_v2_axis": lambda tf: tf.nn.softmax_cross_entropy_with_logits_v2(f(tf, 2, 3, 4), f(tf, 2, 3, 4), axis=1),
    "softmax_v2_open": lambda tf: tf.nn.softmax_cross_entropy_with_logits_v2(
        tf.placeholder(tf.float32, None), tf.placeholder(tf.float32, None)
    ),
    "softmax_v2_half": lambda tf: tf.nn.softmax_cross_entropy_with_logits_v2(
        tf.placeholder(tf.float16, [2, 3]), tf.placeholder(tf.float16, [2, 3])
    ),
    "softmax": lambda tf: tf.nn.softmax_cross_entropy_with_logits(labels=f(tf, None, 3), logits=f(tf, None, 3)),
    "softmax_named": lambda tf: tf.nn.softmax_cross_entropy_with_logits(
        labels=f(tf, 2, 2, 3), logits=f(tf, 2, 2, 3), name="x"
    ),
    "sparse": lambda tf: tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.placeholder(tf.int32, [None], "labels"), logits=f(tf, None, 5)
    ),
    "sparse_static": lambda tf: tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=long(tf, 2), logits=f(tf, 2, 5), name="l"
    ),
    "sparse_3": lambda tf: tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=i(tf, None, 2), logits=f(tf, None, 2, 7)
    ),
    "sparse_3_static": lambda tf: tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=i(tf, 2, 2), logits=f(tf, 2, 2, 7)
    ),
    "sigmoid": lambda tf: tf.nn.sigmoid_cross_entropy_with_logits(labels=f(tf, None, 3), logits=f(tf, None, 3)),
    "sigmoid_static": lambda tf: tf.nn.sigmoid_cross_entropy_with_logits(
        labels=f(tf, 2, 3), logits=f(tf, 2, 3), name="l"
    ),
    "weighted": lambda tf: tf.nn.weighted_cross_entropy_with_logits(f(tf, None, 3), f(tf, None, 3), 2.0),
    "weighted_targets": lambda tf: tf.nn.weighted_cross_entropy_with_logits(
        targets=f(tf, 2), logits=f(tf, 2), pos_weight=f(tf, 2), name="w"
    ),
    "log_poisson": lambda tf: tf.nn.log_poisson_loss(f(tf, 2, 3), f(tf, 2, 3)),
    "log_poisson_full": lambda tf: tf.nn.log_poisson_loss(f(tf, 2, 3), f(tf, 2, 3), compute_full_loss=True, name="p"),
}

NORMS: dict[str, Call] = {
    "moments": lambda tf: tf.nn.moments(f(tf, None, 3), [0]),
    "moments_keep": lambda tf: tf.nn.moments(f(tf, 2, 3, 3, 2), [0, 1, 2], keep_dims=True, name="m"),
    "moments_half": lambda tf: tf.nn.moments(tf.placeholder(tf.float16, [2, 3]), [0]),
    "weighted_moments": lambda tf: tf.nn.weighted_moments(f(tf, 2, 3), [0], f(tf, 2, 1)),
    "weighted_moments_keep": lambda tf: tf.nn.weighted_moments(f(tf, None, 3), [0, 1], 2.0, keep_dims=True, name="m"),
    "sufficient": lambda tf: tf.nn.sufficient_statistics(f(tf, 2, 3), [0])[:3],
    "sufficient_shift": lambda tf: tf.nn.sufficient_statistics(f(tf, None, 3), [0], 0.5, True, name="s"),
    "normalize": lambda tf: tf.nn.normalize_moments(f(tf), f(tf, 3), f(tf, 3), None),
    "normalize_shift": lambda tf: tf.nn.normalize_moments(f(tf), f(tf, 3), f(tf, 3), f(tf, 3), name="n"),
    "batch": lambda tf: tf.nn.batch_normalization(f(tf, None, 3), f(tf, 3), f(tf, 3), f(tf, 3), f(tf, 3), 1e-3),
    "batch_bare": lambda tf: tf.nn.batch_normalization(f(tf, None, 3), f(tf, 3), f(tf, 3), None, None, 1e-3, name="b"),
    "fused": lambda tf: tf.nn.fused_batch_norm(f(tf, 2, 3, 3, 2), f(tf, 2), f(tf, 2)),
    "fused_inference": lambda tf: tf.nn.fused_batch_norm(
        f(tf, None, 3, 3, 2), f(tf, 2), f(tf, 2), f(tf, 2), f(tf, 2), 1e-5, is_training=False, name="bn"
    )[0],
    "global": lambda tf: tf.nn.batch_norm_with_global_normalization(
        f(tf, 1, 2, 2, 3), f(tf, 3), f(tf, 3), f(tf, 3), f(tf, 3), 1e-3, True
    ),
    "l2_normalize": lambda tf: tf.nn.l2_normalize(f(tf, None, 3), 1),
    "l2_normalize_all": lambda tf: tf.nn.l2_normalize(f(tf, 2, 3), name="n"),
    "l2_normalize_dim": lambda tf: tf.nn.l2_normalize(f(tf, 2, 3), dim=[0, 1], epsilon=1e-6),
    "lrn": lambda tf: tf.nn.local_response_normalization(f(tf, 2, 3, 3, 3)),
    "lrn_given": lambda tf: tf.nn.lrn(f(tf, 2, 3, 3, 8), 2, 1.0, 1e-4, 0.75, name="norm"),
}


def table_of(tf: Any, parts: int = 0, resource: bool = False, rows: int = 5) -> Any:
    partitioner = tf.fixed_size_partitioner(parts) if parts else None
    return tf.get_variable(
        "e", [rows, 2], initializer=tf.ones_initializer(), partitioner=partitioner, use_resource=resource
    )


def sparse_ids(tf: Any) -> Any:
    return tf.SparseTensor([[0, 0], [0, 1], [2, 0]], tf.constant([1, 3, 1], tf.int64), [3, 2])


def sparse_weights(tf: Any) -> Any:
    return tf.SparseTensor([[0, 0], [0, 1], [2, 0]], tf.constant([1.0, 2.0, 0.5]), [3, 2])


EMBEDDINGS: dict[str, Call] = {
    "one": lambda tf: tf.nn.embedding_lookup(table_of(tf), i(tf, None)),
    "tensor": lambda tf: tf.nn.embedding_lookup(f(tf, 5, 2), i(tf, 2, 2), name="look"),
    "resource": lambda tf: tf.nn.embedding_lookup(table_of(tf, resource=True), i(tf, 2)),
    "max_norm": lambda tf: tf.nn.embedding_lookup(table_of(tf), i(tf, 2), max_norm=0.5),
    "mod": lambda tf: tf.nn.embedding_lookup(table_of(tf, 2), i(tf, None)),
    "div": lambda tf: tf.nn.embedding_lookup(table_of(tf, 2), i(tf, 2, 2), partition_strategy="div", name="look"),
    "mod_resource": lambda tf: tf.nn.embedding_lookup(table_of(tf, 2, True), long(tf, 3)),
    "mod_max_norm": lambda tf: tf.nn.embedding_lookup([f(tf, 3, 2), f(tf, 3, 2)], i(tf, 2), max_norm=0.5),
    "div_open": lambda tf: tf.nn.embedding_lookup(
        [f(tf, None, 2, name="a"), f(tf, None, 2, name="b")], tf.constant([0, 3]), partition_strategy="div"
    ),
    **{
        f"sparse_weights_{c}": lambda tf, c=c: tf.nn.embedding_lookup_sparse(
            table_of(tf), sparse_ids(tf), sparse_weights(tf), combiner=c
        )
        for c in ("sum", "mean", "sqrtn")
    },
}

SPARSE: dict[str, Call] = {  # TensorFlow 2 has a shorter graph where 1.15 looks up each id once
    **{
        f"{c}{'_weighted' if w else ''}": lambda tf, c=c, w=w: tf.nn.embedding_lookup_sparse(
            f(tf, 5, 2), sparse_ids(tf), sparse_weights(tf) if w else None, combiner=c
        )
        for c in ("sum", "mean", "sqrtn")
        for w in (False, True)
    },
    "parts": lambda tf: tf.nn.embedding_lookup_sparse([f(tf, 3, 2), f(tf, 3, 2)], sparse_ids(tf), None, combiner="sum"),
    "safe": lambda tf: tf.nn.safe_embedding_lookup_sparse(f(tf, 5, 2), sparse_ids(tf)),
    "safe_weights": lambda tf: tf.nn.safe_embedding_lookup_sparse(
        f(tf, 5, 2), sparse_ids(tf), sparse_weights(tf), default_id=2
    ),
}

CLASSES = "true_classes"


def true_classes(tf: Any) -> Any:
    return tf.constant([[1, 4], [2, 7], [0, 9]], tf.int64, name=CLASSES)


SAMPLERS: dict[str, Call] = {
    "log_uniform": lambda tf: tf.nn.log_uniform_candidate_sampler(true_classes(tf), 2, 5, True, 50, seed=3),
    "log_uniform_repeated": lambda tf: tf.nn.log_uniform_candidate_sampler(true_classes(tf), 2, 90, False, 50, seed=3),
    "uniform": lambda tf: tf.nn.uniform_candidate_sampler(true_classes(tf), 2, 20, True, 50, seed=5, name="u"),
    "uniform_power": lambda tf: tf.nn.uniform_candidate_sampler(true_classes(tf), 2, 20, False, 64, seed=5),
    "learned": lambda tf: tf.nn.learned_unigram_candidate_sampler(true_classes(tf), 2, 8, True, 13, seed=5),
    "fixed": lambda tf: tf.nn.fixed_unigram_candidate_sampler(
        true_classes(tf), 2, 6, True, 12, unigrams=list(range(1, 13)), distortion=0.75, seed=2
    ),
    "fixed_reserved": lambda tf: tf.nn.fixed_unigram_candidate_sampler(
        true_classes(tf), 2, 40, False, 12, unigrams=[5.0, 1.0, 3.0] * 3, num_reserved_ids=3, seed=2
    ),
    "all": lambda tf: tf.nn.all_candidate_sampler(true_classes(tf), 2, 12, True, seed=1),
    "hits": lambda tf: tf.nn.compute_accidental_hits(
        true_classes(tf), tf.constant([4, 0, 3, 9, 2], tf.int64), 2, seed=1
    ),
}


def weights(tf: Any, parts: int = 0) -> tuple[Any, Any]:
    partitioner = tf.fixed_size_partitioner(parts) if parts else None
    w = tf.get_variable("w", [50, 4], initializer=tf.ones_initializer(), partitioner=partitioner)
    return w, tf.get_variable("b", [50], initializer=tf.ones_initializer())


SAMPLED: dict[str, Call] = {
    "nce": lambda tf: (tf.set_random_seed(1), tf.nn.nce_loss(*weights(tf), long(tf, 8, 1), f(tf, 8, 4), 5, 50))[1],
    "nce_open": lambda tf: (
        tf.set_random_seed(1),
        tf.nn.nce_loss(*weights(tf, 2), i(tf, None, 2), f(tf, None, 4), 5, 50, num_true=2, remove_accidental_hits=True),
    )[1],
    "softmax": lambda tf: tf.nn.sampled_softmax_loss(*weights(tf), long(tf, 8, 1), f(tf, 8, 4), 5, 50, seed=4),
    "softmax_values": lambda tf: tf.nn.sampled_softmax_loss(
        *weights(tf),
        long(tf, None, 1, name="labels"),
        f(tf, None, 4),
        5,
        50,
        name="s",
        sampled_values=tf.nn.uniform_candidate_sampler(long(tf, None, 1, name="t"), 1, 5, True, 50, seed=2),
    ),
}


def labels_of(tf: Any) -> Any:
    return tf.SparseTensor([[0, 0], [0, 1], [1, 0]], tf.constant([1, 0, 2]), [2, 2])


LOGITS = np.random.default_rng(5).normal(size=(4, 2, 4)).astype(np.float32)

CTC: dict[str, Call] = {
    "loss": lambda tf: tf.nn.ctc_loss(labels_of(tf), f(tf, 4, 2, 4), tf.constant([4, 3])),
    "loss_batch_major": lambda tf: tf.nn.ctc_loss(labels_of(tf), f(tf, 2, 4, 4), tf.constant([4, 3]), time_major=False),
    "greedy": lambda tf: tf.nn.ctc_greedy_decoder(f(tf, 4, 2, 4), tf.constant([4, 3])),
    "beams": lambda tf: tf.nn.ctc_beam_search_decoder(tf.constant(LOGITS), tf.constant([4, 3]), 8, 2, False),
}

ROWS = [
    pytest.param(call, id=f"{what}-{name}")
    for what, calls in (
        ("activation", ACTIVATIONS), ("dropout", DROPOUT), ("conv", CONVOLUTIONS), ("pool", POOLS), ("loss", LOSSES),
        ("norm", NORMS), ("sampler", SAMPLERS), ("ctc", CTC),
    )
    for name, call in calls.items()
]  # fmt: skip


@pytest.mark.parametrize("call", ROWS)
def test_nodes_and_values_are_tensorflows(call: Call) -> None:
    check_call(call, tf1)


@pytest.mark.parametrize("call", [pytest.param(c, id=n) for t in (EMBEDDINGS, SAMPLED) for n, c in t.items()])
def test_nodes_with_variables_are_tensorflows(call: Call) -> None:
    check_call(call, tf1, run=False)


@pytest.mark.parametrize("call", [pytest.param(c, id=n) for n, c in SPARSE.items()])
def test_combined_rows_are_tensorflows(call: Call) -> None:
    check_call(call, tf1, nodes=False)
