"""`tf.contrib.crf`: linear-chain conditional random fields."""

from __future__ import annotations

from coldframe.tf1.lazy import namespace

_HERE = "coldframe.tf1.contrib.crf"

__getattr__, __dir__ = namespace(__name__, "tf.contrib.crf", [f"{_HERE}.likelihood", f"{_HERE}.decoding"])
