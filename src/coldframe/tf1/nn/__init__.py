"""`tf.nn`: layers as functions: activations, convolutions, pooling, normalisation, losses, embeddings, recurrence."""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_HERE: Final = "coldframe.tf1.nn"
_SOURCES: Final = [
    f"{_HERE}.{m}"
    for m in (
        "activation_ops", "conv_ops", "pool_ops", "loss_ops", "norm_ops", "embedding_ops", "sampling_ops", "ctc_ops",
        "rnn",
    )
]  # fmt: skip
_ALIASES: Final = {
    "rnn_cell": f"{_HERE}.rnn_cell",
    "top_k": "coldframe.tf1.math_ops:top_k",
    "in_top_k": "coldframe.tf1.math_ops:in_top_k",
    "tanh": "coldframe.tf1.math_ops:tanh",
    "sigmoid": "coldframe.tf1.math_ops:sigmoid",
    **{
        name: f"coldframe.tf1.layout_ops:{name}"
        for name in ("space_to_batch", "space_to_depth", "depth_to_space", "batch_to_space")
    },
}

__getattr__, __dir__ = namespace(__name__, "tf.nn", _SOURCES, _ALIASES)
