"""Cosine transforms and what speech recognition makes of spectra: `tf.signal.dct`, `mdct`, mel weights, MFCCs."""

from __future__ import annotations

import math
from typing import Any

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import complex, exp, log, maximum, minimum, range, real, rsqrt
from coldframe.tf1.array_ops import concat, expand_dims, pad, reshape, reverse, shape, split, zeros
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.shape_ops import ones
from coldframe.tf1.signal_frames import frame, overlap_and_add
from coldframe.tf1.signal_ops import irfft, rfft
from coldframe.tf1.signal_windows import vorbis_window


def dct(
    input: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None, name: str | None = None
) -> Any:
    """Return the discrete cosine transform, of type 1 to 4, over the last dimension.

    Args:
        input: shape [..., samples], float32 or float64.
        n: samples that count; the rest is cut off, or zeros are added.
        axis: -1.
        norm: "ortho" for an orthonormal transform, or None.

    Raises:
        ValueError: `n`, `axis` or `norm` is none of these, or the type has no orthonormal form.
        NotImplementedError: another `axis`, or another type.
    """
    _check(type, n, axis, norm)
    with name_scope(name, "dct", [input]):
        x = convert_to_tensor(input)
        samples: Any = x.static_shape.dims[-1] if x.static_shape.dims is not None else None
        if samples is None:
            samples = shape(x)[-1]
        if n is not None:
            x = x[..., :n]
            missing = n - samples if isinstance(samples, int) else maximum(n - samples, 0)
            if not isinstance(missing, int) or missing > 0:
                x = pad(x, [[0, 0]] * (len(x.static_shape.dims) - 1) + [[0, missing]])
            samples = n
        return _TYPES[type](x, samples, norm)


def idct(
    input: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None, name: str | None = None
) -> Any:
    """Return the other way round of `dct`, but for a factor of twice the samples (twice less one for type 1)."""
    _check(type, n, axis, norm)
    with name_scope(name, "idct", [input]):
        return dct(input, type={1: 1, 2: 3, 3: 2, 4: 4}[type], n=n, axis=axis, norm=norm)


def _check(kind: int, n: Any, axis: Any, norm: Any) -> None:
    if axis != -1:
        raise NotImplementedError(f"`axis` must be -1. Received: `axis`={axis}")
    if n is not None and n < 1:
        raise ValueError("n should be a positive integer or None")
    if kind not in (1, 2, 3, 4):
        raise ValueError("Types I, II, III and IV (I)DCT are supported.")
    if kind == 1 and norm == "ortho":
        raise ValueError("Normalization is not supported for the Type-I DCT.")
    if norm not in (None, "ortho"):
        raise ValueError(f"Unknown normalization. Expected None or 'ortho', got: {norm}")


def _first(x: Any, samples: Any, norm: Any) -> Any:
    return real(rfft(concat([x, x[..., -2:0:-1]], -1)))


def _turns(samples: Any, kind: Any, scale: float, offset: float = 0.0) -> Any:
    """Return exp(-i pi scale (k + offset) / samples) for each sample k."""
    angle = -(cast(range(samples), kind) + offset) * math.pi * scale / cast(convert_to_tensor(samples), kind)
    return exp(complex(zeros([], kind), angle))


def _second(x: Any, samples: Any, norm: Any) -> Any:
    kind = x.dtype
    scale = 2.0 * _turns(samples, kind, 0.5)
    spectrum = rfft(x, [2 * samples])[..., :samples]
    y = real(spectrum * scale)
    if norm == "ortho":
        y *= _orthonormal(samples, kind, first=0.5, rest=math.sqrt(0.5))
    return y


def _orthonormal(samples: Any, kind: Any, *, first: float, rest: float) -> Any:
    """Return the factors that make type 2 orthonormal: sqrt(1 / 4n) for the first, sqrt(1 / 2n) for the rest."""
    root = rsqrt(cast(convert_to_tensor(samples), kind))
    return concat([reshape(root * first, [1]), reshape(root * rest, [1]) * ones([samples - 1], kind)], 0)


def _third(x: Any, samples: Any, norm: Any) -> Any:
    kind = x.dtype
    if norm == "ortho":
        root = cast(convert_to_tensor(samples), kind) ** 0.5
        x *= concat([reshape(root, [1]), reshape(root * math.sqrt(0.5), [1]) * ones([samples - 1], kind)], 0)
    else:
        x *= cast(convert_to_tensor(samples), kind)
    scale = 2.0 * exp(complex(zeros([], kind), cast(range(samples), kind) * math.pi * 0.5
                              / cast(convert_to_tensor(samples), kind)))  # fmt: skip
    return irfft(scale * complex(x, zeros([], kind)), [2 * samples])[..., :samples]


def _fourth(x: Any, samples: Any, norm: Any) -> Any:
    kind = x.dtype
    doubled = _second(pad(x, [[0, 0]] * (len(x.static_shape.dims) - 1) + [[0, samples]]), 2 * samples, None)
    y = doubled[..., 1::2]
    if norm == "ortho":
        y *= math.sqrt(0.5) * rsqrt(cast(convert_to_tensor(samples), kind))
    return y


_TYPES = {1: _first, 2: _second, 3: _third, 4: _fourth}


def mdct(
    signals: Any, frame_length: Any, window_fn: Any = vorbis_window, pad_end: bool = False, norm: str | None = None,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return the modified discrete cosine transform of signals: frames overlap by half.

    Args:
        signals: shape [..., samples].
        frame_length: samples of a frame, a multiple of four.
        window_fn: gives the window by its length and dtype (``dtype=``); None for a constant one.
        pad_end, norm: as for `frame` and `dct`.

    Returns:
        Shape [..., frames, frame_length // 2].
    """
    with name_scope(name, "mdct", [signals, frame_length]):
        signals = convert_to_tensor(signals, name="signals")
        length = int(frame_length)
        _require_quarters(length)
        frames = frame(signals, length, length // 2, pad_end=pad_end)
        frames = frames * _window(window_fn, length, frames.dtype)
        a, b, c, d = split(frames, 4, axis=-1)
        folded = concat([-reverse(c, [-1]) - d, a - reverse(b, [-1])], -1)
        return dct(folded, type=4, norm=norm)


def inverse_mdct(mdcts: Any, window_fn: Any = vorbis_window, norm: str | None = None, name: str | None = None) -> Any:
    """Return the signals of modified discrete cosine transforms.

    Args:
        mdcts: shape [..., frames, half], where frames have twice as many samples.
        window_fn, norm: as for `mdct`.

    Returns:
        Shape [..., samples].
    """
    with name_scope(name, "inverse_mdct", [mdcts]):
        mdcts = convert_to_tensor(mdcts, name="mdcts")
        half = mdcts.static_shape.dims[-1]
        if half is None:
            raise ValueError("the number of coefficients must be known")
        if norm is None:
            unfolded = dct(mdcts, type=4) * (0.5 / half)
        else:
            unfolded = dct(mdcts, type=4, norm=norm)
        x, y = split(unfolded, 2, axis=-1)
        frames = concat([y, -reverse(y, [-1]), -reverse(x, [-1]), -x], -1)
        return overlap_and_add(frames * _window(window_fn, 2 * half, mdcts.dtype), half)


def _window(window_fn: Any, length: int, kind: Any) -> Any:
    return convert_to_tensor(1.0 / math.sqrt(2), kind) if window_fn is None else window_fn(length, dtype=kind)


def _require_quarters(length: int) -> None:
    if length % 4:
        raise ValueError(f"The frame length must be a multiple of 4, got: {length}")


# --- speech -------------------------------------------------------------------------------------------------------
def linear_to_mel_weight_matrix(
    num_mel_bins: int = 20, num_spectrogram_bins: Any = 129, sample_rate: Any = 8000, lower_edge_hertz: float = 125.0,
    upper_edge_hertz: float = 3800.0, dtype: Any = dtypes.float32, name: str | None = None,
) -> Any:  # fmt: skip
    """Return weights that turn a spectrum of linear bins into one of mel bins, triangles that overlap by half.

    Args:
        num_mel_bins: triangles.
        num_spectrogram_bins: bins of the spectrum, from 0 to half of the sample rate.
        sample_rate: samples per second.
        lower_edge_hertz, upper_edge_hertz: where the first triangle begins and the last one ends.
        dtype: a floating dtype.

    Returns:
        Shape [num_spectrogram_bins, num_mel_bins].

    Raises:
        ValueError: a number is not positive, or the edges are not in order or beyond half of the sample rate.
    """
    kind = as_dtype(dtype)
    _check_mel(num_mel_bins, lower_edge_hertz, upper_edge_hertz, sample_rate, kind)
    with name_scope(name, "linear_to_mel_weight_matrix"):
        rate = cast(convert_to_tensor(sample_rate), kind)
        bins = convert_to_tensor(num_spectrogram_bins, dtypes.int32)
        # The bin of frequency zero, whose mel is minus infinity in the formula's limit, weighs nothing.
        hertz = cast(range(bins), kind)[1:] * (rate / 2 / cast(bins - 1, kind))
        mels = expand_dims(_mel(hertz), 1)
        low, high = (_mel(constant(edge, kind)) for edge in (lower_edge_hertz, upper_edge_hertz))
        edges = low + (high - low) * cast(range(num_mel_bins + 2), kind) / (num_mel_bins + 1)
        left, middle, right = (reshape(e, [1, num_mel_bins]) for e in (edges[:-2], edges[1:-1], edges[2:]))
        rising, falling = (mels - left) / (middle - left), (right - mels) / (right - middle)
        return pad(maximum(constant(0.0, kind), minimum(rising, falling)), [[1, 0], [0, 0]])


def _mel(hertz: Any) -> Any:
    return 1127.0 * log(1.0 + hertz / 700.0)


def _check_mel(count: int, low: float, high: float, rate: Any, kind: Any) -> None:
    if count <= 0:
        raise ValueError(f"num_mel_bins must be positive. Got: {count}")
    if low < 0.0:
        raise ValueError(f"lower_edge_hertz must be non-negative. Got: {low}")
    if low >= high:
        raise ValueError(f"lower_edge_hertz {low:.1f} >= upper_edge_hertz {high:.1f}")
    if isinstance(rate, (int, float)):
        if rate <= 0.0:
            raise ValueError(f"sample_rate must be positive. Got: {rate}")
        if high > rate / 2:
            raise ValueError(f"upper_edge_hertz must not be larger than the Nyquist frequency. Got {high} for {rate}")
    if not kind.is_floating:
        raise ValueError(f"dtype must be a floating point type. Got: {kind}")


def mfccs_from_log_mel_spectrograms(log_mel_spectrograms: Any, name: str | None = None) -> Any:
    """Return mel-frequency cepstral coefficients: an orthonormal cosine transform of the logarithms of mel spectra.

    Args:
        log_mel_spectrograms: shape [..., num_mel_bins].

    Returns:
        The same shape.

    Raises:
        ValueError: there are no mel bins.
    """
    with name_scope(name, "mfccs_from_log_mel_spectrograms", [log_mel_spectrograms]):
        spectra = convert_to_tensor(log_mel_spectrograms)
        dims = spectra.static_shape.dims
        bins = None if dims is None else dims[-1]
        if bins == 0:
            raise ValueError("num_mel_bins must be positive. Got: 0")
        many = cast(shape(spectra)[-1] if bins is None else convert_to_tensor(bins), spectra.dtype)
        return dct(spectra, type=2) * rsqrt(many * 2.0)


__all__ = [
    "dct", "idct", "inverse_mdct", "linear_to_mel_weight_matrix", "mdct", "mfccs_from_log_mel_spectrograms",
]  # fmt: skip
