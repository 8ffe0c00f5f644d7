"""Fourier transforms: the names of `tf.spectral`."""

from __future__ import annotations

from coldframe.tf1.lazy import namespace

__getattr__, __dir__ = namespace(__name__, "tf.spectral", [f"coldframe.tf1.signal_{m}" for m in ("ops", "cosines")])
