"""Protocol buffer messages of TensorFlow and ONNX, built at run time in a descriptor pool of our own.

::

    schema/*.proto ── tools/compile_schema.py ──► schema/descriptors.binpb ── at import ──► _POOL ──► classes

``messages.GraphDef`` is ``tensorflow.GraphDef``; ``messages.onnx.ModelProto`` is ``onnx.ModelProto``;
``messages.message_class("google.protobuf.Any")`` finds any other by its full name. Field names and numbers follow the
.proto files of TensorFlow 2.21 and onnx.proto.

The pool is private because protobuf's default pool accepts one definition per name: with it, coldframe and TensorFlow
could not live in one process. No generated code is used, so no version of protobuf is demanded by it. Messages of this
pool and of TensorFlow's are different classes: pass bytes between them.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError, EncodeError, Message

from coldframe.errors import CorruptError, MisuseError, UnsupportedError

SIZE_LIMIT: Final = 2**31 - 1  # bytes; protocol buffers, and TensorFlow's reader, stop there
DEPTH_LIMIT: Final = 100  # levels of nesting that protobuf's parsers accept, in every language
_TOO_LARGE: Final = "keep the weights in a checkpoint or a SavedModel instead of in the graph"


def _files(data: bytes) -> Iterator[bytes]:
    """Split a FileDescriptorSet (``repeated FileDescriptorProto file = 1``) without loading its own schema."""
    at = 0
    while at < len(data):
        size, shift, at = 0, 0, at + 1  # the tag, 0x0a
        while True:
            byte, at = data[at], at + 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield data[at : at + size]
        at += size


def _load() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for file in _files((Path(__file__).parent / "schema" / "descriptors.binpb").read_bytes()):
        pool.AddSerializedFile(file)
    return pool


_POOL: Final = _load()


def pool() -> Any:
    """Return the descriptor pool, for what describes services to others."""
    return _POOL


@functools.cache
def message_class(full_name: str) -> Any:
    """Return the message class called `full_name`, such as ``tensorflow.GraphDef``.

    Raises:
        MisuseError: the schema has no such message.
    """
    try:
        return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(full_name))
    except KeyError:
        raise MisuseError(
            f"no message is called `{full_name}`", hint="see the .proto files in coldframe/formats/schema"
        ) from None


class _Package:
    """The messages of one protobuf package as attributes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        try:
            found = message_class(f"{self._name}.{name}")
        except MisuseError:
            raise AttributeError(f"package `{self._name}` has no message `{name}`") from None
        setattr(self, name, found)
        return found


_tensorflow: Final = _Package("tensorflow")
onnx: Final = _Package("onnx")


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    return getattr(_tensorflow, name)


def _class_of(kind: Any) -> Any:
    if not isinstance(kind, str):
        return kind
    return message_class(kind if "." in kind else f"tensorflow.{kind}")


def parse(kind: Any, data: bytes | memoryview, *, where: str) -> Any:
    """Parse binary protobuf `data`; fields that the schema lacks are kept and written back.

    Args:
        kind: a message class, or its name: ``GraphDef`` (TensorFlow's), ``onnx.ModelProto``.
        data: the whole message.
        where: the place, as errors name it: ``in model.pb``.

    Raises:
        CorruptError: the bytes are not such a message, or nested deeper than protobuf allows.
        UnsupportedError: more than 2 GiB.
    """
    cls = _class_of(kind)
    if len(data) > SIZE_LIMIT:
        raise UnsupportedError(
            f"{cls.DESCRIPTOR.name} is too large", where=where, expected=f"at most {SIZE_LIMIT} bytes", found=len(data)
        )
    message = cls()
    try:
        message.ParseFromString(data)
    except (DecodeError, RecursionError) as e:
        raise CorruptError(
            f"damaged {cls.DESCRIPTOR.full_name}",
            where=where,
            expected=f"a protobuf message nested at most {DEPTH_LIMIT} deep",
            found=f"{len(data)} bytes that do not parse as one",
        ) from e
    return message


def parse_all(kind: Any, data: Iterable[bytes]) -> list[Any] | None:
    """Parse many short messages of one kind, quickly; None where `parse` would refuse one of them."""
    try:
        return list(map(_class_of(kind).FromString, data))
    except (DecodeError, RecursionError, ValueError):
        return None


def serialize(message: Message, *, where: str) -> bytes:
    """Return the bytes of `message`, map entries sorted by key, so that equal messages give equal bytes.

    Args:
        message: any message.
        where: the place, as errors name it: ``for model.pb``.

    Raises:
        UnsupportedError: it takes more than the 2 GiB that protobuf allows. Nothing has been written then.
    """
    try:
        data = message.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as e:
        # A complete message has two ways to fail: too many bytes, too many levels. Protobuf does not say which.
        raise UnsupportedError(
            f"{message.DESCRIPTOR.name} cannot be written",
            where=where,
            expected=f"at most {SIZE_LIMIT} bytes and {DEPTH_LIMIT} levels of nesting",
            hint=_TOO_LARGE,
        ) from e
    if len(data) > SIZE_LIMIT:
        raise UnsupportedError(
            f"{message.DESCRIPTOR.name} is too large for protobuf",
            where=where,
            expected=f"at most {SIZE_LIMIT} bytes",
            found=len(data),
            hint=_TOO_LARGE,
        )
    return data


def parse_text(kind: Any, text: str | bytes | memoryview, *, where: str, strict: bool = False) -> Any:
    """Parse `text` in protobuf's text format.

    Args:
        kind: as for `parse`.
        text: the whole message; bytes are UTF-8.
        where: the place, as errors name it: ``in model.pbtxt``.
        strict: whether unknown fields are refused, as in what people write; else they are skipped, as files outlive
            schemas.

    Raises:
        CorruptError: it is not such a message. The line and column are named.
    """
    from google.protobuf import text_format  # slow to import, rarely needed

    cls = _class_of(kind)
    try:
        decoded = text if isinstance(text, str) else bytes(text).decode()
        with warnings.catch_warnings():  # protobuf's own reader of escapes warns about odd ones, then takes them
            warnings.simplefilter("ignore", DeprecationWarning)
            return text_format.Parse(
                decoded, cls(), allow_unknown_field=not strict, descriptor_pool=cls.DESCRIPTOR.file.pool
            )
    except (text_format.ParseError, DecodeError, UnicodeError, RecursionError) as e:
        what = str(e) if isinstance(e, text_format.ParseError) else type(e).__name__
        raise CorruptError(f"damaged text of {cls.DESCRIPTOR.full_name}", where=where, found=what) from e


def to_text(message: Message) -> str:
    """Return `message` in protobuf's text format, as TensorFlow writes ``.pbtxt`` files."""
    from google.protobuf import text_format

    return text_format.MessageToString(message, descriptor_pool=_POOL)


def unpack_any(packed: Any, *, where: str) -> Any:
    """Return the message inside a ``google.protobuf.Any``.

    Raises:
        UnsupportedError: its type is not in the schema.
        CorruptError: its bytes are damaged.
    """
    name = packed.type_url.rsplit("/", 1)[-1]
    try:
        cls = message_class(name)
    except MisuseError as e:
        raise UnsupportedError("unknown message type", where=where, found=packed.type_url) from e
    return parse(cls, packed.value, where=where)
