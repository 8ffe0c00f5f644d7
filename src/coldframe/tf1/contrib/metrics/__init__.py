"""`tf.contrib.metrics`: the names of `tf.metrics`."""

from __future__ import annotations

from coldframe.tf1.lazy import namespace

__getattr__, __dir__ = namespace(__name__, "tf.contrib.metrics", ["coldframe.tf1.metrics"], {}, {"*": "see tf.metrics"})
