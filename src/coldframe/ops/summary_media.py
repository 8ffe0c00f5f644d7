"""Summaries of pictures and sound: serialized ``Summary`` messages that hold PNG and WAV files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.errors import MisuseError
from coldframe.formats import messages, png, wav
from coldframe.ops.table import op
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
_HOST: Final = "ONNX has no messages"
_DARK: Final = 1e-6  # values below are as good as zero, and not scaled up


def _base(tag: Array) -> str:
    if np.ndim(tag):
        raise refuse("the tag of a summary is a scalar", found=f"shape {list(np.shape(tag))}")
    text = np.asarray(tag, object).item()
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _tags(base: str, kind: str, most: int, batch: int) -> Iterator[tuple[int, str]]:
    """Yield the number and the tag of each element that is shown."""
    for i in range(min(most, batch)):
        yield i, f"{base}/{kind}" if most == 1 else f"{base}/{kind}/{i}"


def _written(summary: Any) -> Array:
    return np.array(messages.serialize(summary, where="for a summary"), object)


# --- pictures -----------------------------------------------------------------------------------------------------
@op("ImageSummary", shape="-> []", host=_HOST)
def image_summary(xp: Any, tag: Any, tensor: Any, *, max_images: int, bad_color: Any) -> Any:
    """The first images of a batch, as PNG. Floats are scaled to what a byte holds; NaN and infinity get a colour."""
    base, shape = _base(tag), np.shape(tensor)
    if len(shape) != 4 or shape[3] not in (1, 3, 4):
        raise refuse(
            "images to show", expected="[batch, height, width, 1, 3 or 4 channels]", found=f"shape {list(shape)}"
        )
    color = np.asarray(getattr(bad_color, "array", bad_color))
    if color.dtype != np.uint8 or color.ndim != 1 or color.size < shape[3]:
        raise refuse(
            "`bad_color`",
            expected=f"at least {shape[3]} numbers of uint8",
            found=f"{list(color.shape)} of {color.dtype}",
        )
    summary = messages.Summary()
    for i, name in _tags(base, "image", max_images, shape[0]):
        pixels = tensor[i] if tensor.dtype == np.uint8 else _bytes(np.asarray(tensor[i]), color[: shape[3]])
        try:
            encoded = png.encode(np.asarray(pixels))
        except MisuseError as e:
            raise refuse("images to show", found=f"shape {list(shape)}: {e.what}") from e
        summary.value.add(tag=name).image.MergeFrom(
            messages.Summary.Image(height=shape[1], width=shape[2], colorspace=shape[3], encoded_image_string=encoded)
        )
    return _written(summary)


def _bytes(image: Array, bad_color: Array) -> Array:
    """Scale an image: its brightest value is 255; with negative values, zero is 128 and the farthest 255 or 1."""
    finite = np.isfinite(image).all(axis=-1)
    seen = image[finite]
    kind, single = image.dtype.type, np.float32  # the scale is found in float32 and applied in the image's own type
    low, high = (single(seen.min()), single(seen.max())) if seen.size else (single(0), single(0))
    if low < 0:
        farthest = max(abs(low), abs(high))
        scale, offset = (single(0) if farthest < _DARK else single(127) / farthest), 128
    else:
        scale, offset = (single(0) if high < _DARK else single(255) / high), 0
    out = np.empty(image.shape, np.uint8)
    out[finite] = (seen * kind(scale) + kind(offset)).astype(np.uint8)
    out[~finite] = bad_color
    return out


# --- sound --------------------------------------------------------------------------------------------------------
@op("AudioSummary", shape="-> []", host=_HOST)
def audio_summary(xp: Any, tag: Any, tensor: Any, *, sample_rate: float, max_outputs: int) -> Any:
    """The first sounds of a batch, as WAV."""
    return _audio(tag, tensor, np.float32(sample_rate), max_outputs)


@op("AudioSummaryV2", shape="-> []", host=_HOST)
def audio_summary_v2(xp: Any, tag: Any, tensor: Any, sample_rate: Any, *, max_outputs: int) -> Any:
    """The first sounds of a batch, as WAV; frames per second are an input."""
    if np.size(sample_rate) != 1:
        raise refuse("the rate of sound is one number", found=f"shape {list(np.shape(sample_rate))}")
    return _audio(tag, tensor, np.float32(np.ravel(sample_rate)[0]), max_outputs)


def _audio(tag: Any, tensor: Any, rate: Any, most: int) -> Array:
    base, sounds = _base(tag), np.asarray(tensor)
    if sounds.ndim not in (2, 3):
        raise refuse(
            "sounds to show", expected="[batch, frames] or [batch, frames, channels]", found=f"rank {sounds.ndim}"
        )
    if not rate > 0:
        raise refuse("the rate of sound", expected="a positive number", found=rate)
    sounds = sounds[..., np.newaxis] if sounds.ndim == 2 else sounds
    summary = messages.Summary()
    for i, name in _tags(base, "audio", most, sounds.shape[0]):
        frames, channels = sounds.shape[1:]
        try:
            encoded = wav.encode(sounds[i], int(rate))
        except MisuseError as e:
            raise refuse(e.what, found=e.found) from e
        summary.value.add(tag=name).audio.MergeFrom(
            messages.Summary.Audio(
                sample_rate=rate, num_channels=channels, length_frames=frames, content_type="audio/wav",
                encoded_audio_string=encoded,
            )
        )  # fmt: skip
    return _written(summary)
