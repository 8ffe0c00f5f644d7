"""`tf.contrib.lookup`: the tables of `tf.lookup`."""

from __future__ import annotations

from coldframe.tf1.lazy import namespace

__getattr__, __dir__ = namespace(
    __name__, "tf.contrib.lookup", ["coldframe.tf1.lookup", "coldframe.tf1.contrib.lookup.vocabularies"]
)
