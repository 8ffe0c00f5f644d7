"""`tf.contrib.seq2seq`: the loss of sequences."""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_MISSING: Final = {
    "*": "coldframe has no decoders and no attention; write the loop with tf.nn.raw_rnn or tf.while_loop",
}

__getattr__, __dir__ = namespace(__name__, "tf.contrib.seq2seq", ["coldframe.tf1.contrib.seq2seq.loss"], {}, _MISSING)
