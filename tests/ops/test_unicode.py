"""Unicode and text of tensors against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from coldframe.errors import ExecutionError
from op_harness import NUMPY, Row, bound, check, rows, sample

TEXTS = np.array(["Hello", "", "Ä日本語", "a\x00\x1fb\n", "\U0001f600x"])
BAD = np.array([b"a\xffb", b"\xe6\x97", b"\xed\xa0\x80", b"\xf4\x90\x80\x80!", b"\xc0\xafz", b"ok"], object)
HIGH = np.array([bytes([c]) for c in range(128, 256)], object)
MARKED = (
    b"\xfe\xff\x00*\x00a",
    b"\xff\xfe*\x00a\x00",
    b"\x00*\x00a",
    b"\xff\xfe\x00\x00*\x00\x00\x00",
    b"",
    b"\x00",
    b"\xff",
)
WITH_MARKS = [np.array([b], object) for b in MARKED]  # one by one: TensorFlow keeps to the order of the first
WIDE = {"UTF-16-BE": "utf-16-be", "UTF-32-BE": "utf-32-be"}


def coded(encoding: str) -> Any:
    return np.array([t.encode(WIDE.get(encoding, "utf-8")) for t in TEXTS.tolist()], object)


MODES: list[dict[str, Any]] = [
    {},
    {"errors": "ignore"},
    {"replacement_char": 0x20},
    {"replace_control_characters": True, "replacement_char": 0x3F},
    {"errors": "ignore", "replace_control_characters": True},
]
ENCODINGS = ("UTF-8", "UTF-16-BE", "UTF-32-BE")


@rows(
    *[
        Row("UnicodeTranscode", [coded(i)], {"input_encoding": i, "output_encoding": o, "errors": "strict"})
        for i in ENCODINGS
        for o in ENCODINGS
    ],
    *[
        Row("UnicodeTranscode", [x], {"input_encoding": "UTF-8", "output_encoding": "UTF-8"} | m)
        for x in (TEXTS, BAD)
        for m in MODES
    ],
    Row(
        "UnicodeTranscode",
        [BAD],
        {"input_encoding": "UTF-8", "output_encoding": "UTF-8", "errors": "strict"},
        refused=True,
    ),
    *[
        Row("UnicodeTranscode", [np.array([b"\xe4\xfc"], object)], {"input_encoding": e, "output_encoding": "UTF-8"})
        for e in ("ISO-8859-1", "windows-1252", "US-ASCII")
    ],
    *[
        Row("UnicodeTranscode", [x], {"input_encoding": e, "output_encoding": "UTF-8"})
        for e, x in (
            ("windows-1255", HIGH),
            ("cp1252", HIGH),
            ("Latin1", HIGH),
            ("KOI8-U", HIGH),
            ("iso_8859_15", HIGH),
            ("macintosh", HIGH),
            *((k, x) for k in ("UTF-16", "utf16", "UTF-32") for x in WITH_MARKS),
            ("Shift-JIS", np.array([b"\x5c\x7e\xb1\x81\x7c\x81\x91\x88\xe9"], object)),
            ("GBK", np.array([b"a\xc4\xe3b"], object)),
        )
    ],
    Row("UnicodeTranscode", [TEXTS], {"input_encoding": "no-such", "output_encoding": "UTF-8"}, refused=True),
    Row("UnicodeTranscode", [TEXTS.reshape(5, 1)], {"input_encoding": "UTF-8", "output_encoding": "UTF-8"}),
)
def test_transcode(row: Row) -> None:
    check(row)


@rows(
    *[
        Row(op, [x], {"input_encoding": "UTF-8"} | m)
        for op in ("UnicodeDecode", "UnicodeDecodeWithOffsets")
        for x in (TEXTS, BAD)
        for m in MODES
    ],
    Row("UnicodeDecode", [TEXTS], {"input_encoding": "UTF-8", "Tsplits": "int32"}),  # with offsets TensorFlow aborts
    *[  # one character in two strings; none of a string
        Row("UnicodeDecodeWithOffsets", [np.array(x, object)], {"input_encoding": "UTF-8"} | m)
        for x in ([b"a\xc3", b"\xa4b"], [b"\xc3\xa4", b"", b"x\xe6\x97\xa5"], [b""], [])
        for m in MODES
    ],
    *[Row("UnicodeDecodeWithOffsets", [coded(e)], {"input_encoding": e}) for e in WIDE],
    *[Row("UnicodeDecodeWithOffsets", [x], {"input_encoding": e}) for e in ("UTF-16", "UTF-32") for x in WITH_MARKS],
    Row(
        "UnicodeDecodeWithOffsets",
        [np.array([b"\x00a\xd8\x00\x00b", b"\x00"], object)],
        {"input_encoding": "UTF-16-BE"},
    ),
    Row("UnicodeDecode", [BAD], {"input_encoding": "UTF-8", "errors": "strict"}, refused=True),
    Row("UnicodeDecode", [np.array([], object)], {"input_encoding": "UTF-8"}),
    Row("UnicodeDecode", [np.array("Ä")], {"input_encoding": "UTF-8"}),
    *[
        Row(
            "UnicodeEncode",
            [np.array([72, 0x65E5, 0x1F600, 0xD800, 0x110000, -1, 66], np.int32), np.array(splits, kind)],
            {"output_encoding": e} | m,
        )
        for splits, kind in (([0, 2, 2, 7], np.int64), ([0, 7], np.int32))
        for e in ENCODINGS
        for m in ({}, {"errors": "ignore"}, {"replacement_char": 63})
    ],
    Row(
        "UnicodeEncode",
        [np.array([0xD800], np.int32), np.array([0, 1])],
        {"output_encoding": "UTF-8", "errors": "strict"},
        refused=True,
    ),
    *[
        Row(
            "UnicodeEncode",
            [np.array([65, 66], np.int32), np.array(splits)],
            {"output_encoding": "UTF-8"},
            refused=True,
        )
        for splits in ([0, 3], [0, 2, 1])
    ],
)
def test_code_points(row: Row) -> None:
    check(row)


def test_errors_say_where() -> None:
    call, flat = bound(Row("UnicodeDecode", [BAD], {"input_encoding": "UTF-8", "errors": "strict"}))
    with pytest.raises(ExecutionError, match="not valid in its encoding: found an error at byte 1"):
        call.run(NUMPY, flat)


FLOATS = np.array([0, 1.5, -0.1, 1e-7, 123456789, 1e20, np.inf, -np.inf, np.nan, 1 / 3])


@rows(
    *[
        Row("StringFormat", [[x]], {"template": "x = %s!", "summarize": k})
        for x in (
            sample("int32", 10),
            sample("int64", 2, 3),
            sample("uint8", 7, 8),
            sample("int16", 2, 3, 4),
            sample("bool", 3),
            FLOATS,
            FLOATS.astype("f"),
            np.array([0, 1.5, -0.1, np.inf], np.float16),
            np.float32(2.5),
            np.zeros((0,), "f"),
            np.array(["a", "ä", "q\"'\\\n\r\t\x01\x7f"]),
            np.array("one"),
        )
        for k in (3, -1, 1)
    ],
    Row("StringFormat", [[sample("int32", 2), sample("float32", 2)]], {"template": "{} and {}", "placeholder": "{}"}),
    Row("StringFormat", [[]], {"template": "nothing"}),
    Row("StringFormat", [[sample("int32", 2)]], {"template": "nothing"}, refused=True),
)
def test_format(row: Row) -> None:
    check(row)


@rows(
    *[
        Row(
            "UnsortedSegmentJoin",
            [np.array(["a", "b", "c", "d"]), np.array([1, 0, 1, 2], kind), np.array(3, kind)],
            {"separator": sep},
        )
        for kind in (np.int32, np.int64)
        for sep in ("", "--")
    ],
    Row("UnsortedSegmentJoin", [np.array([["a", "b"], ["c", "d"]]), np.array([1, 1]), np.int32(2)], {"separator": "+"}),
    Row("UnsortedSegmentJoin", [np.array([["a", "b"], ["c", "d"]]), np.array([[1, 1], [0, 1]]), np.int32(2)]),
    Row("UnsortedSegmentJoin", [np.zeros(0, object), np.zeros(0, np.int32), np.int32(2)]),
    Row("UnsortedSegmentJoin", [np.zeros((0, 3), object), np.zeros(0, np.int32), np.int32(2)]),
    Row("UnsortedSegmentJoin", [np.zeros(0, object), np.zeros(0, np.int32), np.int32(3)]),
    Row("UnsortedSegmentJoin", [np.zeros((0, 2), object), np.zeros((0, 2), np.int32), np.int32(3)]),
    Row("UnsortedSegmentJoin", [np.zeros((0, 2), object), np.zeros(0, np.int32), np.int32(2)]),
    Row("UnsortedSegmentJoin", [np.zeros((2, 0), object), np.array([1, 0]), np.int32(2)]),
    Row("UnsortedSegmentJoin", [np.array(["a", "b"]), np.array([0, 5]), np.int32(2)], refused=True),
    Row("UnsortedSegmentJoin", [np.array(["a", "b"]), np.array([0, -1]), np.int32(2)], refused=True),
    Row("UnsortedSegmentJoin", [np.array(["a", "b"]), np.array([0]), np.int32(2)], refused=True),
)
def test_join_segments(row: Row) -> None:
    check(row)


@rows(
    Row("UnicodeScript", [np.arange(0x110000, dtype=np.int32)], name="every code point"),
    Row("UnicodeScript", [np.array([[-5, 0x41], [0x110000, 2**31 - 1]], np.int32)]),
    Row("UnicodeScript", [np.zeros((0, 2), np.int32)]),
)
def test_scripts(row: Row) -> None:
    """TensorFlow's table and ours, made by tools/dump_unicode_scripts.py."""
    check(row)
