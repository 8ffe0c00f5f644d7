"""Unicode: strings to code points and back, and from one encoding to another.

Strings are bytes in an encoding; ragged results are values and row splits. What is not valid is one unit per maximal
ill-formed sequence, as the Unicode standard recommends (section 3.9) and as TensorFlow's ICU and Python's decoders both
do it: replaced, dropped or refused.
"""

from __future__ import annotations

import codecs
import functools
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.ops.strings import filled
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

Array = npt.NDArray[Any]
_HOST = "ONNX Runtime has no string kernels that take bytes"
_LAST = 0x10FFFF  # the last code point
_INPUTS = {
    "utf8": "utf-8", "utf16": "utf-16", "utf16be": "utf-16-be", "utf16le": "utf-16-le", "utf32": "utf-32",
    "utf32be": "utf-32-be", "utf32le": "utf-32-le", "ascii": "ascii", "usascii": "ascii", "latin1": "latin-1",
    "shiftjis": "cp932", "sjis": "cp932", "cp932": "cp932", "eucjp": "euc-jp", "euckr": "euc-kr", "gbk": "gbk",
    "gb18030": "gb18030", "big5": "big5", "koi8r": "koi8-r", "koi8u": "koi8-u", "macintosh": "mac-roman",
    **{f"iso8859{k}": f"iso8859-{k}" for k in (*range(1, 12), *range(13, 17))},
    **{f"{p}125{k}": f"cp125{k}" for k in range(9) for p in ("windows", "cp")},
}  # fmt: skip
"""Python's codecs by ICU's names, which mind neither case nor hyphens. ICU's Shift JIS is what Microsoft made of it."""
_MARKS = {
    "utf-16": ((codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF16_LE, "utf-16-le")),
    "utf-32": ((codecs.BOM_UTF32_BE, "utf-32-be"), (codecs.BOM_UTF32_LE, "utf-32-le")),
}
_CONTROL = re.compile(r"[\x00-\x1f]")
_NAMES = {"UTF-8": "utf-8", "UTF-16-BE": "utf-16-be", "UTF-32-BE": "utf-32-be"}


@dataclass(frozen=True, slots=True)
class _Errors:
    """What becomes of what is not valid.

    Attributes:
        mode: ``strict``, ``replace`` or ``ignore``.
        instead: the code point that replaces it.
        control: whether control characters below U+0020 are replaced too.
    """

    mode: str
    instead: int
    control: bool = False

    def __post_init__(self) -> None:
        if not _is_scalar(self.instead):
            raise refuse("`replacement_char`", expected="a Unicode code point", found=self.instead)

    def cleaned(self, units: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Yield the code points, with where they start, that are left of `units`, in which -1 is not valid."""
        for code, start in units:
            if code < 0 or (self.control and code < 0x20):
                if code < 0 and self.mode == "strict":
                    raise refuse("the string is not valid in its encoding", found=f"an error at byte {start}")
                if self.mode == "ignore":
                    continue
                code = self.instead
            yield code, start


def _is_scalar(code: int) -> bool:
    return 0 <= code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF


def _codec(name: str) -> str:
    found = _INPUTS.get(re.sub("[-_ ]", "", name.lower()))
    if found is None:
        raise refuse("`input_encoding` is not known", expected=", ".join(_INPUTS), found=name)
    return found


def _units(data: bytes, codec: str) -> Iterator[tuple[int, int]]:
    """Yield code points, or -1 for what is not valid, each with the byte at which it starts."""
    if codec not in _MARKS:
        yield from _from(data, codec, 0)
        return
    for mark, order in _MARKS[codec]:
        if data.startswith(mark):  # it belongs to the first character
            units = _from(data, order, len(mark))
            yield from ((code, 0 if i == 0 else at) for i, (code, at) in enumerate(units))
            return
    yield from _from(data, f"{codec}-be", 0)


def _from(data: bytes, codec: str, at: int) -> Iterator[tuple[int, int]]:
    while at < len(data):
        try:
            text, bad = data[at:].decode(codec), 0
        except UnicodeDecodeError as e:
            text, bad = data[at : at + e.start].decode(codec), e.end - e.start
        for char in text:
            yield ord(char), at
            at += len(char.encode(codec))
        if bad:
            # Windows' code pages have control characters where they have nothing else.
            yield (data[at] if codec.startswith("cp125") and data[at] < 0xA0 else -1), at
            at += bad


def _text(data: bytes, codec: str, rule: _Errors) -> str:
    """Return what is left of a string. What is all valid is decoded at once."""
    if codec not in _MARKS:
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            pass  # what is not valid is found below, one by one
        else:
            if not rule.control or _CONTROL.search(text) is None:
                return text
    return "".join(chr(code) for code, _ in rule.cleaned(_units(data, codec)))


def _encoder(name: str) -> Callable[[int], bytes]:
    codec = _NAMES[name]
    return lambda code: chr(code).encode(codec)


@op("UnicodeTranscode", shape="x -> x", host=_HOST)
def transcode(
    xp: Any, input: Array, *, input_encoding: str, output_encoding: str, errors: str, replacement_char: int,
    replace_control_characters: bool,
) -> Any:  # fmt: skip
    """Strings in another encoding."""
    codec, rule = _codec(input_encoding), _Errors(errors, replacement_char, replace_control_characters)
    to = _NAMES[output_encoding]
    return filled([_text(b, codec, rule).encode(to) for b in input.ravel().tolist()], input.shape)


def _splits(lengths: Iterable[int], dtype: DType) -> Array:
    ends: Array = np.cumsum([0, *lengths]).astype(dtype.numpy)
    return ends


def _codes(texts: Iterable[str]) -> Array:
    return np.frombuffer(bytearray("".join(texts).encode("utf-32-le")), np.int32)


@op("UnicodeDecode", host=_HOST)
def decode(
    xp: Any, input: Array, *, input_encoding: str, errors: str, replacement_char: int,
    replace_control_characters: bool, Tsplits: DType,
) -> Any:  # fmt: skip
    """The code points of strings, as ragged rows."""
    codec, rule = _codec(input_encoding), _Errors(errors, replacement_char, replace_control_characters)
    texts = [_text(b, codec, rule) for b in input.ravel().tolist()]
    return _splits(map(len, texts), Tsplits), _codes(texts)


@op("UnicodeDecodeWithOffsets", host=_HOST)
def decode_with_offsets(
    xp: Any, input: Array, *, input_encoding: str, errors: str, replacement_char: int,
    replace_control_characters: bool, Tsplits: DType,
) -> Any:  # fmt: skip
    """The code points of strings, as ragged rows, and the byte at which each starts."""
    codec, rule = _codec(input_encoding), _Errors(errors, replacement_char, replace_control_characters)
    strings = input.ravel().tolist()
    if codec == "utf-8":
        texts = [_text(b, codec, rule) for b in strings]
        if [text.encode() for text in texts] == strings:
            lengths = [len(text) for text in texts]
            return _splits(lengths, Tsplits), _codes(texts), _starts(strings, lengths)
    rows = [_with_offsets(b, codec, rule) for b in strings]
    starts = np.concatenate([np.zeros(0, np.int64), *(at for _, at in rows)])
    return _splits((len(text) for text, _ in rows), Tsplits), _codes(text for text, _ in rows), starts


def _starts(strings: list[bytes], lengths: list[int]) -> Array:
    """Return the byte of its own string at which each character starts, of UTF-8 that is all valid."""
    sizes = np.array([len(b) for b in strings], np.int64)
    starts: Array = np.flatnonzero(np.frombuffer(b"".join(strings), np.uint8) & 0xC0 != 0x80)
    starts -= np.repeat(np.cumsum(sizes) - sizes, lengths)
    return starts


def _with_offsets(data: bytes, codec: str, rule: _Errors) -> tuple[str, Array]:
    """Return what is left of a string, and the byte at which each character starts."""
    if codec == "utf-8":
        text = _text(data, codec, rule)
        if text.encode() == data:
            return text, np.flatnonzero(np.frombuffer(data, np.uint8) & 0xC0 != 0x80)
    units = list(rule.cleaned(_units(data, codec)))
    return "".join(chr(code) for code, _ in units), np.array([at for _, at in units], np.int64)


@op("UnicodeEncode", host=_HOST)
def encode(
    xp: Any, input_values: Array, input_splits: Array, *, errors: str, output_encoding: str, replacement_char: int
) -> Any:
    """Strings of the code points of ragged rows."""
    rule, spell = _Errors(errors, replacement_char), _encoder(output_encoding)
    splits = input_splits.tolist()
    if not splits or splits[0] != 0 or splits[-1] != len(input_values) or any(np.diff(input_splits) < 0):
        raise refuse("`input_splits`", expected=f"from 0 to {len(input_values)}, not falling", found=splits[:8])
    if (
        all(map(_is_scalar, (int(input_values.min(initial=0)), int(input_values.max(initial=0)))))
        and not (input_values >> 11 == 0xD800 >> 11).any()
    ):
        text, to = input_values.astype("<u4").tobytes().decode("utf-32-le"), _NAMES[output_encoding]
        return filled([text[a:b].encode(to) for a, b in itertools.pairwise(splits)], (len(splits) - 1,))
    out = np.empty(len(splits) - 1, object)
    for i, (start, end) in enumerate(itertools.pairwise(splits)):
        units = ((c if _is_scalar(c) else -1, k) for k, c in enumerate(input_values[start:end].tolist()))
        out[i] = b"".join(spell(code) for code, _ in rule.cleaned(units))
    return out


@functools.cache
def script_runs() -> tuple[Array, Array]:
    """Where runs of code points with one script begin, and which script it is (tools/dump_unicode_scripts.py)."""
    runs = np.array(json.loads(Path(__file__).with_name("scripts.json").read_bytes()), np.int64)
    return np.cumsum(np.concatenate([[0], runs[:-1, 0]])), runs[:, 1].astype(np.int32)


@op("UnicodeScript", shape="x -> x", host=_HOST)
def script(xp: Any, input: Array) -> Any:
    """The number of each code point's script, in ICU's count; -1 for what is no code point."""
    starts, scripts = script_runs()
    found = scripts[np.searchsorted(starts, np.maximum(input, 0), side="right") - 1]
    return np.asarray(np.where((input >= 0) & (input <= _LAST), found, -1), np.int32)
