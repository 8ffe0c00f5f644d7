"""N-grams of the tokens of ragged rows of strings.

A row of n tokens has, with p pads on either side, ``n + 2 p - width + 1`` n-grams of a width, p being at most
``width - 1``; all those of the first width come first.
"""

from __future__ import annotations

import itertools
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.ops.table import op
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
_WIDEST: Final = 10_000  # tokens; a graph may claim any width, and padding makes them all


def _checked_splits(data: Array, splits: Array) -> list[int]:
    if data.ndim != 1 or splits.ndim != 1:
        raise refuse("tokens and splits are vectors", found=f"shapes {list(data.shape)} and {list(splits.shape)}")
    if len(splits):
        good = splits[0] == 0 and splits[-1] == len(data) and not np.any(splits[1:] < splits[:-1])
        if not good:
            raise refuse("splits of tokens", expected=f"from 0 up to {len(data)}", found=splits[:8].tolist())
    return splits.tolist()  # type: ignore[no-any-return]


def _of_width(tokens: list[bytes], width: int, pads: int, left: bytes, right: bytes, separator: bytes) -> list[bytes]:
    used = min(width - 1 if pads < 0 else pads, width - 1)
    padded = [left] * used + tokens + [right] * used
    if width == 2:  # as most are
        return list(map(separator.join, itertools.pairwise(padded)))
    return [separator.join(padded[i : i + width]) for i in range(len(padded) - width + 1)]


@op("StringNGrams", shape="[n] [s] -> [?] [s]", host="strings")
def string_n_grams(
    xp: Any, data: Any, data_splits: Any, *, separator: str, ngram_widths: tuple[int, ...], left_pad: str,
    right_pad: str, pad_width: int, preserve_short_sequences: bool, Tsplits: DType,
) -> Any:  # fmt: skip
    """All n-grams of each row, and where each row's begin; a short row can be kept as one n-gram."""
    splits = _checked_splits(data, data_splits)
    if any(not 1 <= w <= _WIDEST for w in ngram_widths):
        raise refuse("the widths of n-grams", expected=f"1 to {_WIDEST}", found=list(ngram_widths))
    pads = tuple(s.encode("utf-8", "surrogateescape") for s in (left_pad, right_pad, separator))
    tokens, out, ends = data.tolist(), [], [0] if splits else []
    for start, end in itertools.pairwise(splits):
        row = tokens[start:end]
        found = [g for w in ngram_widths for g in _of_width(row, w, pad_width, *pads)]
        if preserve_short_sequences and not found and row:
            if pad_width < 0:
                raise refuse("a short row cannot be kept", expected="a pad width of 0 or more", found=pad_width)
            found = _of_width(row, len(row) + 2 * min(pad_width, _WIDEST), pad_width, *pads)
        out += found
        ends.append(len(out))
    grams = np.empty(len(out), object)
    grams[:] = out
    return grams, np.array(ends, Tsplits.numpy)
