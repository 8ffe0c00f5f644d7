"""`tf.contrib.losses`: the losses of `tf.losses`, under their former names and argument orders."""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_MISSING: Final = {
    "*": "see tf.losses",
}

__getattr__, __dir__ = namespace(__name__, "tf.contrib.losses", ["coldframe.tf1.contrib.losses.losses"], {}, _MISSING)
