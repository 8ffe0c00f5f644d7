"""Sounds: the names of `tf.audio`."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.framework.build import raw
from coldframe.tf1.simple import simple

encode_wav = simple("encode_wav(audio, sample_rate) -> EncodeWav")


def decode_wav(contents: Any, desired_channels: int = -1, desired_samples: int = -1, name: str | None = None) -> Any:
    """Read a 16-bit WAV file.

    Args:
        contents: its bytes, a string scalar.
        desired_channels, desired_samples: how many to return; what is missing is copied, or zero. -1 for what is there.

    Returns:
        The samples, shape [samples, channels], from -1 to 1, and how many there are per second, an int32 scalar.
    """
    return raw.DecodeWav(contents, desired_channels=desired_channels, desired_samples=desired_samples, name=name)


__all__ = ["decode_wav", "encode_wav"]
