"""Fourier transforms: the names of `tf.signal`."""

from __future__ import annotations

from coldframe.tf1.lazy import namespace

__getattr__, __dir__ = namespace(__name__, "tf.signal", ["coldframe.tf1.signal_ops"])
