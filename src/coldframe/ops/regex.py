r"""Regular expressions of RE2 on Python's engine: translation of the syntax, and RE2's rules of replacement.

RE2 knows ASCII classes, and ``$`` as the end of the text; its Unicode classes (``\p{Lu}``) become ranges of characters.
So do its scripts (``\p{Han}``), the older ones.
What Python's engine lacks (single bytes) is refused rather than read otherwise. Text is UTF-8; bytes that are
not are matched one by one.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.errors import UnsupportedAttributeError
from coldframe.ops.strings import filled
from coldframe.ops.table import op
from coldframe.ops.unicode import script_runs
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
_HOST = "strings"
_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": "\\x00-\\x7f", "blank": "\\t ", "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": "!-/:-@\\[-`{-~",
    "space": "\\t\\n\\v\\f\\r ", "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
# Scripts by RE2's names, in the order of ICU's numbers; None where RE2 has no name.
_NAMES = (
    "Common", "Inherited", "Arabic", "Armenian", "Bengali", "Bopomofo", "Cherokee", "Coptic", "Cyrillic", "Deseret",
    "Devanagari", "Ethiopic", "Georgian", "Gothic", "Greek", "Gujarati", "Gurmukhi", "Han", "Hangul", "Hebrew",
    "Hiragana", "Kannada", "Katakana", "Khmer", "Lao", "Latin", "Malayalam", "Mongolian", "Myanmar", "Ogham",
    "Old_Italic", "Oriya", "Runic", "Sinhala", "Syriac", "Tamil", "Telugu", "Thaana", "Thai", "Tibetan",
    "Canadian_Aboriginal", "Yi", "Tagalog", "Hanunoo", "Buhid", "Tagbanwa", "Braille", "Cypriot", "Limbu", "Linear_B",
    "Osmanya", "Shavian", "Tai_Le", "Ugaritic", None, "Buginese", "Glagolitic", "Kharoshthi", "Syloti_Nagri",
    "New_Tai_Lue", "Tifinagh", "Old_Persian",
)  # fmt: skip
_SCRIPTS = {name: number for number, name in enumerate(_NAMES) if name}
# Characters and classes of them, each once or more.
_CONSUMING = re.compile(
    r"(?:(?:[^\\\[\](){}*+?|^$.]|\.|\\[dDsSwW]|\\[^a-zA-Z0-9\[]|\[\^?(?:\\.|[^\\\[\]])+\])\+?)+", re.DOTALL
)
_TOKEN = re.compile(r"\\Q(.*?)(?:\\E|\Z)|\\([pP])(?:\{(\^?)(\w+)\}|(\w))|\\(.)|\[:(\^?)(\w+):\]|(.)", re.DOTALL)


@functools.lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return Python's pattern for RE2's `pattern`.

    Raises:
        ExecutionError: the pattern is malformed.
        UnsupportedAttributeError: it uses what Python's engine does not have.
    """
    out: list[str] = []
    inside, start = False, 0
    for token in _TOKEN.finditer(pattern):
        quoted, unicode, turned, named, letter, escaped, negated, posix, plain = token.groups()
        if plain is not None:
            if plain == "[" and not inside:
                inside, start = True, token.end() + (pattern[token.end() : token.end() + 1] == "^")
                out.append("[")
            elif plain == "]" and inside and token.start() > start:
                inside = False
                out.append("]")
            elif plain in "[]&~|-" and inside:
                out.append(plain if plain == "-" else "\\" + plain)
            else:
                out.append("\\Z" if plain == "$" and not inside else plain)
        elif quoted is not None:
            out.append(re.escape(quoted))
        elif unicode is not None:
            ranges = _ranges(named or letter, (unicode == "P") != bool(turned), pattern)
            out.append(ranges if inside else f"[{ranges}]")
        elif escaped is not None:
            out.append(_escape(escaped, pattern))
        elif posix is not None and inside:
            out.append(_class(posix, bool(negated), pattern))
        else:
            out.append(token.group())
    try:
        return re.compile("".join(out), re.ASCII)
    except (re.error, RecursionError, OverflowError) as e:
        raise refuse(f"regular expression `{pattern}`", found=str(e)) from e


@functools.cache
def _categories() -> tuple[str, ...]:
    """The general category of each code point."""
    return tuple(map(unicodedata.category, map(chr, range(sys.maxunicode + 1))))


@functools.lru_cache(maxsize=64)
def _ranges(name: str, negated: bool, pattern: str) -> str:
    """Return the characters of a script or (group of) general category, or all others, as ranges of a class."""
    if name in _SCRIPTS:
        starts, scripts = script_runs()
        lengths = np.diff(np.append(starts, sys.maxunicode + 1))
        held: Any = np.repeat(scripts == _SCRIPTS[name], lengths).tolist()
    else:
        held = [name == "Any" or (len(name) <= 2 and c.startswith(name)) for c in _categories()]
    if not any(held):
        raise UnsupportedAttributeError(f"regular expression `{pattern}`: `\\p{{{name}}}` is not supported")
    edges = np.flatnonzero(np.diff(np.array([False, *(h != negated for h in held), False], np.int8)))
    return "".join(f"\\U{a:08x}-\\U{b - 1:08x}" for a, b in zip(*[iter(edges.tolist())] * 2, strict=True))


def _escape(letter: str, pattern: str) -> str:
    if letter in "CX":
        raise UnsupportedAttributeError(f"regular expression `{pattern}`: `\\{letter}` is not supported")
    return {"z": "\\Z", "a": "\\x07"}.get(letter, "\\" + letter)


def _class(name: str, negated: bool, pattern: str) -> str:
    if name not in _POSIX:
        raise refuse(f"regular expression `{pattern}`", expected="a class that there is", found=f"[:{name}:]")
    if not negated:
        return _POSIX[name]
    held = re.compile(f"[{_POSIX[name]}]")
    return "".join(f"\\x{c:02x}" for c in range(128) if not held.match(chr(c))) + "\\x80-\\U0010ffff"


def _text(b: bytes) -> str:
    return b.decode("utf-8", "surrogateescape")


def _bytes(s: str) -> bytes:
    return s.encode("utf-8", "surrogateescape")


@functools.lru_cache(maxsize=256)
def _pieces(rewrite: str, groups: int) -> tuple[str | int, ...]:
    r"""The rewrite as text and group numbers; only ``\0`` to ``\9`` and ``\\`` are known."""
    out: list[str | int] = []
    for part in re.findall(r"\\.?|[^\\]+", rewrite, re.DOTALL):
        if part[0] != "\\":
            out.append(part)
        elif part == "\\\\":
            out.append("\\")
        elif part[1:].isascii() and part[1:].isdigit() and int(part[1:]) <= groups:
            out.append(int(part[1:]))
        else:
            raise refuse(f"rewrite `{rewrite}`", expected=f"\\0 to \\{groups}", found=part)
    return tuple(out)


@functools.lru_cache(maxsize=256)
def _template(pattern: str, rewrite: str) -> str | None:
    """Return the rewrite as Python writes it; None where matches may be empty, which Python counts otherwise."""
    if _CONSUMING.fullmatch(pattern) is None:
        return None
    pieces = _pieces(rewrite, compiled(pattern).groups)
    return "".join(f"\\g<{p}>" if isinstance(p, int) else p.replace("\\", "\\\\") for p in pieces)


def substitute(pattern: str, rewrite: str, text: str, everywhere: bool) -> str:
    """Replace matches as RE2 does: an empty match next to the last one does not count."""
    found, at, last = compiled(pattern), 0, -1
    if found.search(text) is None:
        return text
    template = _template(pattern, rewrite)
    if template is not None:
        return found.sub(template, text, 0 if everywhere else 1)
    pieces = _pieces(rewrite, found.groups)
    out: list[str] = []
    while at <= len(text):
        match = found.search(text, at)
        if match is None:
            break
        out.append(text[at : match.start()])
        if match.start() == match.end() == last:
            out.append(text[match.end() : match.end() + 1])
            at, last = match.end() + 1, -1
            continue
        out.extend(match[p] or "" if isinstance(p, int) else p for p in pieces)
        at = last = match.end()
        if not everywhere:
            break
    return "".join(out) + text[at:]


def _one(x: Array, name: str) -> str:
    if x.ndim:
        raise refuse(f"`{name}` is not a scalar", found=f"shape {list(x.shape)}")
    return _text(x.item())


@op("StaticRegexReplace", shape="x -> x", host=_HOST)
def static_regex_replace(xp: Any, input: Array, *, pattern: str, rewrite: str, replace_global: bool) -> Any:
    """Replace what matches a fixed pattern."""
    _pieces(rewrite, compiled(pattern).groups)
    items = [_bytes(substitute(pattern, rewrite, _text(b), replace_global)) for b in input.ravel().tolist()]
    return filled(items, input.shape)


@op("RegexReplace", shape="x [] [] -> x", host=_HOST)
def regex_replace(xp: Any, input: Array, pattern: Array, rewrite: Array, *, replace_global: bool) -> Any:
    """Replace what matches a pattern."""
    p, r = _one(pattern, "pattern"), _one(rewrite, "rewrite")
    return static_regex_replace.body(xp, input, pattern=p, rewrite=r, replace_global=replace_global)


@op("StaticRegexFullMatch", shape="x -> x", host=_HOST)
def static_regex_full_match(xp: Any, input: Array, *, pattern: str) -> Any:
    """Whether all of a string matches a fixed pattern."""
    found = compiled(pattern)
    return filled([found.fullmatch(_text(b)) is not None for b in input.ravel().tolist()], input.shape, np.bool_)


@op("RegexFullMatch", shape="x [] -> x", host=_HOST)
def regex_full_match(xp: Any, input: Array, pattern: Array) -> Any:
    """Whether all of a string matches a pattern."""
    return static_regex_full_match.body(xp, input, pattern=_one(pattern, "pattern"))
