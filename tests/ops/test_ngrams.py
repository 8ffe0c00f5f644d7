"""N-grams of ragged rows of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from op_harness import Row, check, rows

TOKENS = np.array([b"aa", b"bb", b"cc", b"dd", b"ee", b"ff", b""], object)
SPLITS = np.array([0, 4, 4, 6, 7])


def ngrams(widths: list[int], pads: int = 0, short: bool = False, splits: Any = SPLITS, **more: Any) -> Row:
    attrs = {"separator": "|", "ngram_widths": widths, "left_pad": "LP", "right_pad": "RP", "pad_width": pads}
    return Row("StringNGrams", [TOKENS, splits], {**attrs, "preserve_short_sequences": short}, **more)


@rows(
    *[ngrams(w, p, s) for w in ([1], [2], [3, 1], [2, 5], [4]) for p in (-1, 0, 1, 2, 9) for s in (False, True)],
    ngrams([2], splits=SPLITS.astype(np.int32)),
    ngrams([2], splits=np.array([0, 7])),
    ngrams([6], pads=1, short=True),
    ngrams([], short=True),
    ngrams([2], splits=np.array([0, 8]), refused=True),
    ngrams([2], splits=np.array([0, 5, 3, 7]), refused=True),
    ngrams([2], splits=np.array([1, 7]), refused=True),
)
def test_ngrams(row: Row) -> None:
    check(row)
