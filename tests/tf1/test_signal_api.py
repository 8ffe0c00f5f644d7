"""tf.signal: values, dtypes and static shapes are TensorFlow's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as tf1
from tf1_graphs import Call, check_values

RNG = np.random.default_rng(5)
SOUND = RNG.standard_normal((2, 100)).astype(np.float32)
LONG = RNG.standard_normal(64)
SPECTRA = (RNG.standard_normal((3, 7, 17)) + 1j * RNG.standard_normal((3, 7, 17))).astype(np.complex64)
WINDOWS = ("hann_window", "hamming_window", "kaiser_window", "kaiser_bessel_derived_window", "vorbis_window")


def fed(tf: Any, value: Any, *dims: int | None) -> Any:
    return tf.placeholder_with_default(value, dims)


ROWS: dict[str, Call] = {
    **{f"{w} {n}": lambda tf, w=w, n=n: getattr(tf.signal, w)(n) for w in WINDOWS for n in (2, 8, 30)},
    **{f"{w} odd": lambda tf, w=w: getattr(tf.signal, w)(9) for w in WINDOWS if "derived" not in w},
    **{f"{w} one": lambda tf, w=w: getattr(tf.signal, w)(1) for w in ("hann_window", "kaiser_window")},
    **{f"{w} double": lambda tf, w=w: getattr(tf.signal, w)(12, dtype=tf.float64) for w in WINDOWS},
    **{f"{w} fed": lambda tf, w=w: getattr(tf.signal, w)(fed(tf, 12)) for w in WINDOWS},
    "symmetric": lambda tf: [tf.signal.hann_window(n, periodic=False) for n in (8, 9)],
    "kaiser beta": lambda tf: tf.signal.kaiser_window(11, 3.0),
    "frame": lambda tf: tf.signal.frame(SOUND, 16, 5),
    "frame padded": lambda tf: tf.signal.frame(SOUND, 16, 5, pad_end=True, pad_value=2.0),
    "frame axis": lambda tf: tf.signal.frame(SOUND.reshape(2, 20, 5), 4, 3, axis=1),
    "frame open": lambda tf: tf.signal.frame(fed(tf, SOUND, None, None), fed(tf, 16), 7, pad_end=True),
    "frame too long": lambda tf: tf.signal.frame(SOUND, 200, 7),
    "frame integers": lambda tf: tf.signal.frame(np.arange(20), 6, 2),
    "add": lambda tf: tf.signal.overlap_and_add(SOUND.reshape(2, 10, 10), 4),
    "add apart": lambda tf: tf.signal.overlap_and_add(SOUND.reshape(2, 5, 2, 10), 15),
    "add open": lambda tf: tf.signal.overlap_and_add(fed(tf, SOUND.reshape(2, 10, 10), None, None, None), fed(tf, 4)),
    "stft": lambda tf: tf.signal.stft(SOUND, 16, 4),
    "stft longer": lambda tf: tf.signal.stft(SOUND, 20, 7, fft_length=50, pad_end=True),
    "stft plain": lambda tf: tf.signal.stft(LONG, 16, 4, window_fn=None),
    "stft open": lambda tf: tf.signal.stft(fed(tf, SOUND, None, None), fed(tf, 18), 4, None, tf.signal.kaiser_window),
    "istft": lambda tf: tf.signal.inverse_stft(SPECTRA, 32, 8),
    "istft cut": lambda tf: tf.signal.inverse_stft(SPECTRA, 20, 8),
    "istft window": lambda tf: tf.signal.inverse_stft(SPECTRA, 32, 8, window_fn=tf.signal.inverse_stft_window_fn(8)),
    "istft padded": lambda tf: tf.signal.inverse_stft(SPECTRA, 40, 8, fft_length=32),
    "window undone": lambda tf: tf.signal.inverse_stft_window_fn(5, tf.signal.hamming_window)(18, dtype=tf.float32),
    **{f"dct {t}": lambda tf, t=t: tf.signal.dct(SOUND, type=t) for t in (1, 2, 3, 4)},
    **{f"dct {t} ortho": lambda tf, t=t: tf.signal.dct(LONG, type=t, norm="ortho") for t in (2, 3, 4)},
    **{f"dct {t} cut": lambda tf, t=t: tf.signal.dct(SOUND, type=t, n=30) for t in (1, 2, 3, 4)},
    **{f"dct {t} longer": lambda tf, t=t: tf.spectral.dct(SOUND, type=t, n=130) for t in (2, 3)},
    "dct open": lambda tf: tf.signal.dct(fed(tf, SOUND, None, None), n=60, norm="ortho"),
    "dct wide open": lambda tf: tf.signal.dct(fed(tf, SOUND, None, None)),
    **{f"idct {t}": lambda tf, t=t: tf.signal.idct(SOUND, type=t) for t in (1, 2, 3, 4)},
    **{f"idct {t} ortho": lambda tf, t=t: tf.spectral.idct(SOUND, type=t, norm="ortho") for t in (2, 3, 4)},
    "mdct": lambda tf: tf.signal.mdct(SOUND, 16),
    "mdct plain": lambda tf: tf.signal.mdct(SOUND, 12, window_fn=None, norm="ortho", pad_end=True),
    "imdct": lambda tf: tf.signal.inverse_mdct(SOUND.reshape(2, 5, 20)),
    "imdct ortho": lambda tf: tf.signal.inverse_mdct(
        SOUND.reshape(2, 5, 20), window_fn=tf.signal.kaiser_bessel_derived_window, norm="ortho"
    ),
    "mel": lambda tf: tf.signal.linear_to_mel_weight_matrix(),
    "mel wide": lambda tf: tf.signal.linear_to_mel_weight_matrix(80, 513, 22050, 0.0, 8000.0, tf.float64),
    "mfcc": lambda tf: tf.signal.mfccs_from_log_mel_spectrograms(SOUND),
    "shift": lambda tf: [tf.signal.fftshift(SOUND), tf.signal.ifftshift(SOUND.reshape(4, 5, 10))],
    "shift axes": lambda tf: [tf.signal.fftshift(SOUND, axes=1), tf.signal.ifftshift(SOUND, axes=(0, 1))],
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_as_tensorflow(name: str) -> None:
    check_values(ROWS[name], tf1, 1e-4, 2e-6)


def test_a_signal_comes_back() -> None:
    with tf1.Graph().as_default(), tf1.Session() as session:
        spectra = tf1.signal.stft(SOUND, 32, 8)
        back = tf1.signal.inverse_stft(spectra, 32, 8, window_fn=tf1.signal.inverse_stft_window_fn(8))
        got = session.run(back)
        np.testing.assert_allclose(got[:, 32:64], SOUND[:, 32:64], atol=1e-5)


@pytest.mark.parametrize(("call", "text"), [
    (lambda tf: tf.signal.dct(SOUND, type=5), "Types I, II, III and IV"),
    (lambda tf: tf.signal.dct(SOUND, type=1, norm="ortho"), "not supported for the Type-I"),
    (lambda tf: tf.signal.dct(SOUND, n=0), "positive integer"),
    (lambda tf: tf.signal.dct(SOUND, norm="l2"), "Unknown normalization"),
    (lambda tf: tf.signal.mdct(SOUND, 10), "multiple of 4"),
    (lambda tf: tf.signal.hann_window(4, dtype=tf.int32), "floating point type"),
    (lambda tf: tf.signal.linear_to_mel_weight_matrix(upper_edge_hertz=5000.0), "Nyquist"),
    (lambda tf: tf.signal.linear_to_mel_weight_matrix(lower_edge_hertz=-1.0), "non-negative"),
])  # fmt: skip
def test_what_is_refused(call: Call, text: str) -> None:
    with tf1.Graph().as_default(), pytest.raises(ValueError, match=text):
        call(tf1)
