"""`tf.layers`: layers of neural networks, as classes and as functions."""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_HERE: Final = "coldframe.tf1.layers"
_SOURCES: Final = [
    f"{_HERE}.{m}" for m in ("core", "convolutional", "separable", "transposed", "pooling", "normalization")
]
_ALIASES: Final = {
    "Layer": f"{_HERE}.base:Layer",
    "InputSpec": f"{_HERE}.base:InputSpec",
}
_MISSING: Final = {"Input": "tf.layers.Input belongs to Keras; use tf.placeholder", "Network": "use functions or Layer"}

__getattr__, __dir__ = namespace(__name__, "tf.layers", _SOURCES, _ALIASES, _MISSING)
