"""WAV sound, 16 bits a sample, as summaries hold it.

::

    "RIFF" | u32 size of the rest | "WAVE"
    "fmt " | u32 16 | u16 1: PCM | u16 channels | u32 rate | u32 bytes per second | u16 bytes per frame | u16 16 bits
    "data" | u32 size | samples: i16, channel after channel, frame after frame         numbers are little-endian

Source: TensorFlow's ``core/lib/wav/wav_io.cc``.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.errors import MisuseError

_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")


def encode(samples: npt.NDArray[Any], rate: int) -> bytes:
    """Return sound as WAV.

    Args:
        samples: floats from -1 to 1, [frames, channels]; what is beyond is clipped.
        rate: frames per second.

    Raises:
        MisuseError: the rate, or the number of channels, does not fit into a header.
    """
    frames, channels = samples.shape
    size = 2 * frames * channels
    if not 0 < channels < 2**15 or not 0 < rate * channels * 2 < 2**32 or size > 2**31:
        raise MisuseError("no sound that WAV can hold", found=f"{frames} frames of {channels} channels at {rate} Hz")
    scaled = samples.astype(np.float32) * np.float32(1 << 15)
    rounded = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))  # halves go away from zero
    whole = np.clip(np.nan_to_num(rounded, nan=0.0, posinf=32767.0, neginf=-32768.0), -32768, 32767).astype("<i2")
    header = _HEADER.pack(
        b"RIFF",
        36 + size,
        b"WAVE",
        b"fmt ",
        16,
        1,
        channels,
        rate,
        rate * channels * 2,
        channels * 2,
        16,
        b"data",
        size,
    )
    return bytes(header + whole.tobytes())
