"""The exception tree: each class of mistake has its own type.

::

    ColdframeError
    ├── CorruptError              the bytes are damaged: do not trust them
    │   ├── ChecksumError         a stored CRC does not match
    │   └── TruncatedError        the file ends before what it announces
    ├── UnsupportedError          the input is sound, coldframe cannot do it
    │   ├── UnsupportedOpError    an op has no entry in the op table
    │   ├── UnsupportedAttributeError   an op's attribute value or dtype is not handled
    │   └── UnsupportedFormatError      a file format or version that is recognised but not read
    ├── MisuseError               the caller asked for something that cannot be
    │   ├── NotFoundError         no such tensor, node, variable, file (near names are suggested)
    │   ├── WrongFileError        the file is of another kind than the call needs
    │   ├── FeedError             a fed value does not fit its placeholder
    │   └── GraphError            a graph is malformed: dangling input, cycle, wrong arity
    ├── StoreError                a store of files (s3://, gs://) failed, or did not answer
    │   └── AccessError           it refused: credentials are missing or wrong
    └── ExecutionError            an op refused its inputs while running (TensorFlow would too)
        ├── EndOfInputError       a queue, reader or dataset has no more to give (TensorFlow: OutOfRange)
        ├── CancelledError        what was waited for was cancelled: a queue or session was closed
        └── NotInitializedError   a variable, table or iterator is used before it has a value (FailedPrecondition)

`CheckpointWarning` is no error: the call did what it promises, another way.

A message reads ``<what> <where>: expected <x>, found <y>``, then ``hint: <what to do>`` on a line of its own.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Collection, Iterable
from typing import Final

_COMPARED: Final = 500  # names that are compared letter by letter
_WORD_BREAK: Final = re.compile(r"[/_.:]")


class ColdframeError(Exception):
    """Base of every error coldframe raises on purpose.

    Args:
        what: what is wrong, lower case, no full stop.
        where: file and byte offset, node and attribute, or tensor, dtype and shape.
        expected: what should have been there.
        found: what was there.
        hint: what to do about it.
    """

    def __init__(
        self, what: str, *, where: str = "", expected: object = None, found: object = None, hint: str = ""
    ) -> None:
        self.what, self.where, self.expected, self.found, self.hint = what, where, expected, found, hint
        super().__init__(self._message())

    def _message(self) -> str:
        head = f"{self.what} {self.where}" if self.where else self.what
        facts = [f"expected {self.expected}"] if self.expected is not None else []
        facts += [f"found {self.found}"] if self.found is not None else []
        text = f"{head}: {', '.join(facts)}" if facts else head
        return f"{text}\nhint: {self.hint}" if self.hint else text


class CorruptError(ColdframeError):
    """The bytes are damaged."""


class ChecksumError(CorruptError):
    """A stored CRC does not match the bytes it covers."""


class TruncatedError(CorruptError):
    """The file ends before what it announces."""


class UnsupportedError(ColdframeError):
    """The input is sound, but coldframe cannot do it."""


class UnsupportedOpError(UnsupportedError):
    """An op has no entry in the op table."""


class UnsupportedAttributeError(UnsupportedError):
    """An op's attribute value or dtype is not handled."""


class UnsupportedFormatError(UnsupportedError):
    """A file format or version that is recognised, but not read."""


class MisuseError(ColdframeError):
    """The caller asked for something that cannot be."""


class NotFoundError(MisuseError):
    """No such tensor, node, variable or file."""


class WrongFileError(MisuseError):
    """The file is of another kind than the call needs."""


class FeedError(MisuseError):
    """A fed value does not fit the tensor it is fed to."""


class GraphError(MisuseError):
    """A graph is malformed: dangling input, cycle, wrong arity or type."""


class StoreError(ColdframeError):
    """A store of files, such as S3, failed or did not answer, also when it was asked again."""


class AccessError(StoreError):
    """A store refused access: credentials are missing, or not good for this."""


class ExecutionError(ColdframeError):
    """An op refused its inputs while running; TensorFlow would have refused them too."""


class EndOfInputError(ExecutionError):
    """A queue, a reader or a dataset has no more elements; TensorFlow calls it ``OutOfRange``."""


class CancelledError(ExecutionError):
    """A queue or the session was closed while, or before, something waited for it."""


class NotInitializedError(ExecutionError):
    """Something is used before it has a value; TensorFlow calls it ``FailedPrecondition``."""


class CheckpointWarning(UserWarning):
    """Something about a checkpoint went wrong that was worked around: what was skipped, or could not be tidied up."""


def near_names(name: str, candidates: Iterable[str], *, count: int = 3) -> str:
    """Return ``did you mean `a` or `b`?`` for the candidates closest to `name`, or an empty string."""
    wanted = name.lower()
    folded: dict[str, str] = {}
    for c in candidates:
        folded.setdefault(c.lower(), c)
    import difflib  # here: nothing else needs it, and it takes a while to load

    close = difflib.get_close_matches(wanted, _plausible(wanted, folded), n=count, cutoff=0.6)
    close += [f for f in folded if f.rsplit("/", 1)[-1] == wanted and f not in close][: count - len(close)]
    return f"did you mean {' or '.join(f'`{folded[c]}`' for c in close)}?" if close else ""


def _plausible(name: str, pool: Collection[str]) -> Collection[str]:
    """Narrow a large pool down to the names that share most words with `name`: comparing letters takes too long."""
    if len(pool) <= 4 * _COMPARED:
        return pool
    words = set(_WORD_BREAK.split(name))

    def shared(c: str) -> int:
        return len(words.intersection(_WORD_BREAK.split(c))) + (c[:3] == name[:3]) + (c[-3:] == name[-3:])

    return heapq.nlargest(_COMPARED, pool, key=shared)
