"""Fourier transforms, frames, windows, cosine transforms and mel spectra: the names of `tf.signal`."""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_SOURCES: Final = [f"coldframe.tf1.signal_{m}" for m in ("ops", "windows", "frames", "cosines")]

__getattr__, __dir__ = namespace(__name__, "tf.signal", _SOURCES)
