"""Strings and regular expressions against TensorFlow."""

from typing import Any

import numpy as np
import pytest

from coldframe.errors import ExecutionError, UnsupportedAttributeError
from coldframe.ops import regex
from coldframe.ops.unicode import script_runs
from op_harness import COMPLEX, FLOATS, INTS, NUMPY, Row, bound, check, rows, sample

WORDS = np.array([["Hello World", "", " \t strip me\n"], ["ÄÖ straße", "日本語", "a,b,,c"]])


def s(*values: str) -> Any:
    return np.array(list(values))


@rows(
    *[Row(o, [WORDS], {"encoding": e}) for o in ("StringLower", "StringUpper") for e in ("", "utf-8")],
    Row("StringStrip", [WORDS]),
    *[Row("StringLength", [WORDS], {"unit": u}) for u in ("BYTE", "UTF8_CHAR")],
    Row("StringJoin", [[WORDS, np.array("-"), WORDS]], {"separator": "/"}),
    Row("StringJoin", [[np.array("a"), np.array("b")]]),
    Row("StringJoin", [[WORDS, s("a", "b")]], refused=True),
    *[
        Row("ReduceJoin", [WORDS, np.array(axes, np.int32)], {"keep_dims": k, "separator": "+"})
        for axes in (0, 1, -1, [0, 1], [1, 0], [], [-2])
        for k in (False, True)
    ],
    Row("ReduceJoin", [WORDS, np.array([2], np.int32)], refused=True),
    Row("ReduceJoin", [WORDS, np.array([0, -2], np.int32)], refused=True),
    Row("ReduceJoin", [np.zeros((2, 0), "U1"), np.array([1], np.int32)]),
)
def test_whole(row: Row) -> None:
    check(row)


@rows(
    *[Row("StringToNumber", [s("1", " -2 ", "+3")], {"out_type": d}) for d in ("int32", "int64", "float32", "float64")],
    *[
        Row("StringToNumber", [s("1", str(v), "0")], {"out_type": d}, refused=not -(2**31) <= v < 2**31)
        for d in ("int32",)
        for v in (2**31 - 1, 2**31, -(2**31), -(2**31) - 1)
    ],
    *[Row("StringToNumber", [s("1", "4294967295")], {"out_type": d}) for d in ("uint32", "uint64")],
    Row("StringToNumber", [s("0" * 99 + "1", "+0", "-0", " 7")], {"out_type": "int32"}),
    Row("StringToNumber", [s("0" * 99 + "1", "+0", "-0")], {"out_type": "int32"}),
    *[Row("StringToNumber", [s("1e39", "-3.4e38", "+.5", "5.")], {"out_type": d}) for d in ("float32", "float64")],
    Row("StringToNumber", [s("1.5", "-2e3", ".5", "inf", "nan", "1e-50", "7.", " 1 ")], {"out_type": "float32"}),
    *[
        Row("StringToNumber", [s(v)], {"out_type": d}, refused=True)
        for v, d in (("1-", "int64"), ("-1", "uint64"), ("-.", "float32"), ("", "float32"), ("x", "float32"),
                     ("1.5", "int32"), ("2147483648", "int32"), ("1 2", "int64"), ("1_0", "float32"))
    ],
)  # fmt: skip
def test_to_number(row: Row) -> None:
    check(row)


@rows(
    *[Row("AsString", [sample(d, 3)]) for d in (*FLOATS, *INTS, *COMPLEX, "bool")],
    *[
        Row("AsString", [sample(d, 3)], a)
        for d in ("float32", "float64", "complex64")
        for a in ({"precision": 2}, {"scientific": True}, {"shortest": True}, {"precision": 3, "width": 9, "fill": "0"})
    ],
    *[Row("AsString", [sample("int32", 4)], {"width": 5, "fill": f}) for f in ("", "0", " ", "+", "-")],
    Row("AsString", [np.array([np.inf, -np.inf, 1e30, -0.0], np.float32)]),
    *[
        Row("AsString", [np.array([np.nan, -np.nan, np.inf, -np.inf, 1], d).astype(k)], a)
        for k, d in (("float32", "float32"), ("float64", "float64"), ("complex64", "float32"))
        for a in ({}, {"shortest": True}, {"width": 7, "scientific": True})
    ],
    *[
        Row("AsString", [np.array([np.nan, -np.nan, np.inf, -np.inf])], {"width": 7, "fill": f})
        for f in ("0", " ", "+", "-", "#")
    ],
    *[
        Row("AsString", [np.array([-0.0, 2.5, -1e30, 7e-9], d)], {"width": 9, "fill": f, "precision": 2})
        for d in ("float32", "float64")
        for f in ("", "0", " ", "+", "-", "#")
    ],
    Row("AsString", [s("a", "bc")]),
    Row("AsString", [s("a", "bc")], {"width": 4}),
    Row("AsString", [sample("int32", 4)], {"precision": 2}, refused=True),
    Row("AsString", [sample("float32", 4)], {"scientific": True, "shortest": True}, refused=True),
    Row("AsString", [sample("float32", 4)], {"fill": "xx"}, refused=True),
)
def test_as_string(row: Row) -> None:
    check(row)


def _substr(x: Any, pos: Any, n: Any, unit: str = "BYTE", d: str = "int32", refused: bool = False) -> Row:
    return Row("Substr", [x, np.array(pos, d), np.array(n, d)], {"unit": unit}, refused=refused)


@rows(
    *[
        _substr(s("Hello", "日本語x"), p, n, u)
        for p, n in ((1, 2), (-3, 2), (0, 99), (2, 0))
        for u in ("BYTE", "UTF8_CHAR")
    ],
    _substr(s("Hello", "World"), [1, -2], [2, 1], d="int64"),
    _substr(WORDS[:1, :1], [[0], [1]], [[2], [3]]),
    _substr(np.array("abc"), [0, 1], [1, 2]),
    _substr(s("ab"), 3, 1, refused=True),
    _substr(s("ab"), -3, 1, refused=True),
    _substr(s("ab"), 2, 1),
    _substr(s("ab", "cd"), [0, 1, 2], [1, 1, 1], refused=True),
)
def test_substr(row: Row) -> None:
    check(row)


@rows(
    *[
        Row("StringSplit", [s("a,b;;c", "", ",x,"), np.array(m)], {"skip_empty": k})
        for m in (",", ",;", "")
        for k in (True, False)
    ],
    *[
        Row("StringSplitV2", [s("a b  c ", "", "<>x<>y", "  lead", "a", " a b", "  "), np.array(m)], {"maxsplit": n})
        for m in ("", " ", "<>")
        for n in (-2, -1, 0, 1, 2, 3)
    ],
    *[Row(op, [np.zeros(0, "U1"), np.array(m)]) for op in ("StringSplit", "StringSplitV2") for m in ("", " ")],
    Row("StringSplitV2", [WORDS, np.array("")], refused=True),
    Row("StringSplit", [s("a"), s(",")], refused=True),
    *[Row("EncodeBase64", [s("", "a", "ab", "abc", "??>>~~")], {"pad": p}) for p in (False, True)],
    Row("DecodeBase64", [s("", "YQ", "YWI", "YWJj", "YQ==", "Pz8-Pn5-")]),
    Row("DecodeBase64", [s("a")], refused=True),
    Row("DecodeBase64", [s("Pz8+")], refused=True),
    Row("ShardedFilename", [np.array("x"), np.int32(1), np.int32(12)]),
    Row("ShardedFilespec", [np.array("x"), np.int32(12)]),
)
def test_parts(row: Row) -> None:
    check(row)


PATTERNS = [
    ("a", "b"), ("[aeiou]", "<\\0>"), ("(\\w+) (\\w+)", "\\2 \\1"), ("x*", "-"), ("", "."), ("l+$", "!"), ("^", ">"),
    ("[[:alpha:]]", "A"), ("[^[:space:][:digit:]]", "_"), ("\\s+", " "), ("(?i)HELLO", "bye"), ("a|b|c", ""),
    ("[]a]", "q"), ("\\Qa.b\\E", "r"), ("(a)(b)?", "[\\2]"), ("日", "x"), ("\\bW", "V"), ("\\d{1,2}", "\\\\"),
    (".", "é"), ("\\pL+", "L"), ("[^\\p{Lu}]", "_"), ("\\p{^Nd}", "n"), ("\\PN*", "p"), ("[\\pP\\pZ]", "."),
    ("[[:^alpha:]]", "."), ("[[:^space:]x]+", "s"), ("\\p{Any}{2}", "2"), ("[^\\PL]", "a"),
]  # fmt: skip
WHOLE = ("[a-zA-Z ]+", ".*", "tail", "tail\\n", "(?s).*", "x*a?x*")
TEXTS = s("Hello World", "", "banana a.b abc", "xxaxx", "日本語 12345", "tail\n", "[]a$")


@rows(
    *[Row("StaticRegexReplace", [TEXTS], {"pattern": p, "rewrite": r, "replace_global": g}, name=f"{p} {r} {g}")
      for p, r in PATTERNS for g in (True, False)],
    Row("RegexReplace", [TEXTS, np.array("[ab]"), np.array("\\0\\0")]),
    Row("RegexReplace", [TEXTS, np.array("a+"), np.array("<\\\\\\0g<0>>")]),
    Row("RegexReplace", [TEXTS, np.array("[^a-c\\s]+\\."), np.array("")], {"replace_global": False}),
    *[Row("StaticRegexFullMatch", [TEXTS], {"pattern": p}) for p in WHOLE],
    Row("RegexFullMatch", [TEXTS, np.array(".*a.*")]),
    Row("StaticRegexReplace", [TEXTS], {"pattern": "(", "rewrite": ""}, refused=True),
    Row("StaticRegexFullMatch", [TEXTS], {"pattern": "[a"}, refused=True),
    Row("StaticRegexFullMatch", [TEXTS], {"pattern": "[[:letters:]]"}, refused=True),
)  # fmt: skip
def test_regex(row: Row) -> None:
    check(row)


LETTERS = "aZ1 \u00e9\u03b1\u0416\u05d0\u0627\u0905\u0e01\u10d0\u1200\u13a0\u1780\u3042\u30a2\u4e2d\uac00\U00020000"


@pytest.mark.parametrize("name", regex._SCRIPTS)
def test_scripts(name: str) -> None:
    """Of each script, the first ten characters of its longest run, and letters of many."""
    starts, scripts = script_runs()
    of = regex._SCRIPTS[name]
    lengths = np.diff(np.append(starts, 0x110000))
    longest = int(starts[np.argmax(np.where(scripts == of, lengths, 0))])
    own = "".join(map(chr, range(longest, longest + 10)))
    texts = s(*LETTERS, *own)
    check(Row("StaticRegexFullMatch", [texts], {"pattern": f"\\p{{{name}}}"}))
    check(Row("StaticRegexReplace", [s(LETTERS + own)], {"pattern": f"[\\P{{{name}}}a]+", "rewrite": "-"}))


def test_messages() -> None:
    call, flat = bound(Row("StringToNumber", [s("seven")]))
    with pytest.raises(ExecutionError, match="a string is not a number: expected a float, found seven"):
        call.run(NUMPY, flat)
    call, flat = bound(Row("StaticRegexFullMatch", [s("x")], {"pattern": "\\p{Klingon}"}))
    with pytest.raises(UnsupportedAttributeError, match=r"`\\p{Klingon}`: `\\p{Klingon}` is not supported"):
        call.run(NUMPY, flat)
