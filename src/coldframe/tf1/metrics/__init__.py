"""`tf.metrics`: measures of a whole data set, batch by batch.

Each returns its value so far and an operation that takes in a batch (and returns the value after it). What they count
is in local variables.
"""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_HERE: Final = "coldframe.tf1.metrics"
_SOURCES: Final = [f"{_HERE}.{m}" for m in ("means", "counts", "thresholds", "ranked")]

__getattr__, __dir__ = namespace(__name__, "tf.metrics", _SOURCES)
