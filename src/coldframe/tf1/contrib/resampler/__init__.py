"""`tf.contrib.resampler`: images sampled at given places."""

from __future__ import annotations

from coldframe.tf1.lazy import namespace

__getattr__, __dir__ = namespace(__name__, "tf.contrib.resampler", ["coldframe.tf1.contrib.resampler.sampling"])
