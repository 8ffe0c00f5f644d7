"""`tf.contrib.training`: hyperparameters."""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_MISSING: Final = {
    "bucket_by_sequence_length": "use tf.data.experimental.bucket_by_sequence_length",
    "bucket": "use tf.data.experimental.bucket_by_sequence_length",
    "stratified_sample": "use tf.data.experimental.rejection_resample",
    "batch_sequences_with_states": "use tf.data",
    "create_train_op": "build the training step with an optimizer's minimize",
}

__getattr__, __dir__ = namespace(
    __name__, "tf.contrib.training", ["coldframe.tf1.contrib.training.hparam"], {}, _MISSING
)
