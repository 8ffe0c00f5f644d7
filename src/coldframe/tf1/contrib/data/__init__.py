"""`tf.contrib.data`: the names of `tf.data.experimental`."""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_MISSING: Final = {
    "Dataset": "see tf.data.Dataset",
}

__getattr__, __dir__ = namespace(__name__, "tf.contrib.data", ["coldframe.tf1.data.experimental"], {}, _MISSING)
