"""Dtypes, and what changes them: the names of `tf.dtypes`."""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_NAMES: Final = (
    "bfloat16", "complex64", "complex128", "float16", "float32", "float64", "int8", "int16", "int32", "int64",
    "qint8", "qint16", "qint32", "quint8", "quint16", "resource", "string", "uint8", "uint16", "uint32", "uint64",
    "variant",
)  # fmt: skip
_ALIASES: Final = {
    **{name: f"coldframe.dtypes:{name}" for name in ("DType", *_NAMES)},
    "bool": "coldframe.dtypes:bool_",
    "half": "coldframe.dtypes:float16",
    "double": "coldframe.dtypes:float64",
    "as_dtype": "coldframe.tf1.framework.dtype:as_dtype",
    "as_string": "coldframe.tf1.string_ops:as_string",
    "cast": "coldframe.tf1.cast_ops:cast",
    "saturate_cast": "coldframe.tf1.cast_ops:saturate_cast",
    "complex": "coldframe.tf1.arithmetic_ops:complex",
}  # fmt: skip

__getattr__, __dir__ = namespace(__name__, "tf.dtypes", (), _ALIASES)
