"""Sound: WAV files in and out, spectrograms, and mel-frequency cepstral coefficients.

Sound is [samples, channels], from -1 to 1; a spectrogram is [channels, frames, frequencies].
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.errors import ColdframeError
from coldframe.formats import wav
from coldframe.ops.table import op
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
_FILES = "ONNX Runtime reads no files"
_FRAMES = "numpy's Fourier transform is faster"
_KEPT = 8  # matrices of filters that are remembered
_FLOOR = 1e-12  # of the energy in a band, before its logarithm is taken


@op("DecodeWav", host=_FILES, shape="[] -> [n, c] []")
def decode_wav(xp: Any, contents: Any, *, desired_channels: int, desired_samples: int) -> Any:
    """Sound, and how many samples it has per second, of a WAV file of 16 bits."""
    data = contents if isinstance(contents, bytes) else np.asarray(contents).reshape(-1)[0]
    try:
        sound, rate = wav.decode(data)
    except ColdframeError as e:
        raise refuse(e.what, expected=e.expected, found=e.found) from e
    n, channels = sound.shape
    if desired_channels > 0 and desired_channels != channels:
        if channels > desired_channels:
            sound = sound[:, :desired_channels]
        else:  # the last channel is repeated
            sound = np.concatenate([sound, np.repeat(sound[:, -1:], desired_channels - channels, 1)], 1)
    if desired_samples >= 0:
        sound = np.concatenate([sound[:desired_samples], np.zeros((max(desired_samples - n, 0), sound.shape[1]), "f")])
    return np.ascontiguousarray(sound, np.float32), np.asarray(rate, np.int32)


@op("EncodeWav", host=_FILES, shape="[n, c] [] -> []")
def encode_wav(xp: Any, audio: Array, sample_rate: Any) -> Any:
    """A WAV file, of 16 bits, of sound."""
    if audio.ndim != 2 or audio.shape[1] < 1:
        raise refuse("the sound", expected="[samples, channels]", found=list(audio.shape))
    try:
        return np.array(wav.encode(audio, int(sample_rate)), object)
    except ColdframeError as e:
        raise refuse(e.what, expected=e.expected, found=e.found) from e


@op("AudioSpectrogram", host=_FRAMES)
def audio_spectrogram(xp: Any, input: Array, *, window_size: int, stride: int, magnitude_squared: bool) -> Any:
    """The strength of each frequency in windows that slide over sound."""
    if input.ndim != 2:
        raise refuse("the sound", expected="[samples, channels]", found=list(input.shape))
    if window_size < 2 or stride < 1:
        raise refuse("`window_size` and `stride`", expected="at least 2 and 1", found=[window_size, stride])
    length = 1 << (window_size - 1).bit_length()
    frames = max(0, 1 + (len(input) - window_size) // stride) if len(input) >= window_size else 0
    windows = np.zeros((input.shape[1], frames, length))
    if frames:
        slid = np.lib.stride_tricks.sliding_window_view(input.T, window_size, 1)[:, ::stride]
        np.multiply(slid, _hann(window_size), out=windows[..., :window_size])
    parts = np.fft.rfft(windows).view(np.float64)
    np.multiply(parts, parts, out=parts)
    power = parts[..., ::2] + parts[..., 1::2]
    return (power if magnitude_squared else np.sqrt(power)).astype(np.float32)


@functools.lru_cache(_KEPT)
def _hann(size: int) -> Array:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size))


def _mel(hertz: Any) -> Any:
    return 1127.0 * np.log1p(np.asarray(hertz, np.float64) / 700.0)


@functools.lru_cache(_KEPT)
def _mel_bands(bins: int, rate: float, low: float, high: float, bands: int) -> Array | None:
    """How much each frequency of a spectrogram gives to each of the overlapping mel bands, [bins, bands].

    None where the bands reach beyond the spectrogram.
    """
    width = 0.5 * rate / (bins - 1)
    edges = _mel(low) + (_mel(high) - _mel(low)) / (bands + 1) * np.arange(bands + 2)
    first, last = int(1.5 + low / width), int(high / width)
    if last >= bins:
        return None
    out = np.zeros((bins, bands))
    for i in range(first, last + 1):  # never the constant part
        mel = float(_mel(i * width))
        band = int(np.searchsorted(edges[1:-1], mel, side="left"))
        if band > bands:
            continue
        upper = edges[min(band + 1, bands + 1)]
        falling = (upper - mel) / (upper - edges[band])
        if band > 0:
            out[i, band - 1] = falling
        if band < bands:
            out[i, band] = 1 - falling
    return out


@op("Mfcc", static=("sample_rate",))
def mfcc(
    xp: Any, spectrogram: Any, sample_rate: Any, *, upper_frequency_limit: float, lower_frequency_limit: float,
    filterbank_channel_count: int, dct_coefficient_count: int,
) -> Any:  # fmt: skip
    """The cepstral coefficients, on the mel scale, of a spectrogram of squared magnitudes."""
    rate, bands = float(xp.static(sample_rate, "the samples per second")), filterbank_channel_count
    sizes = [xp.dim(spectrogram, i) for i in range(spectrogram.ndim)]
    if len(sizes) != 3 or int(sizes[2]) < 2:
        raise refuse("the spectrogram", expected="[channels, frames, 2 or more]", found=sizes)
    bins = int(sizes[2])
    if rate < 0 or bands < 1 or dct_coefficient_count < 1 or dct_coefficient_count > bands:
        raise refuse(
            "the number of bands and coefficients",
            expected="coefficients <= bands",
            found=[dct_coefficient_count, bands],
        )
    if lower_frequency_limit < 0 or upper_frequency_limit <= lower_frequency_limit:
        raise refuse(
            "the limits of frequency",
            expected="0 <= lower < upper",
            found=[lower_frequency_limit, upper_frequency_limit],
        )
    weights = _mel_bands(bins, rate, lower_frequency_limit, upper_frequency_limit, bands)
    if weights is None:  # the kernel complains in its log, and goes on with this
        none = xp.asarray(np.zeros((bins, dct_coefficient_count)), dtypes.float32)
        return xp.matmul(xp.zeros_like(spectrogram), none)
    wide = dtypes.float64
    energy = xp.matmul(xp.sqrt(xp.cast(spectrogram, wide)), xp.asarray(weights, wide))
    cosines = xp.asarray(_cosines(bands, dct_coefficient_count), wide)
    return xp.cast(xp.matmul(xp.log(xp.maximum(energy, xp.asarray(_FLOOR, wide))), cosines), dtypes.float32)


@functools.lru_cache(_KEPT)
def _cosines(bands: int, count: int) -> Array:
    """The matrix of the discrete cosine transform, [bands, count]."""
    angles = np.arange(count)[None] * (np.arange(bands)[:, None] + 0.5) * np.pi / bands
    return np.asarray(np.sqrt(2.0 / bands) * np.cos(angles))
