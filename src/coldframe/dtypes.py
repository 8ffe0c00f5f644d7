"""The dtype table: TensorFlow's DataType enum, names, numpy and ONNX equivalents, and byte widths.

Numbers follow tensorflow/core/framework/types.proto and onnx.proto's ``TensorProto.DataType``. Everything else in
coldframe asks this table; nothing else spells a DataType number.
"""

from __future__ import annotations

from typing import Any, Final

import ml_dtypes
import numpy as np

from coldframe.errors import MisuseError, UnsupportedAttributeError, near_names
from coldframe.records import dataclass

REF_OFFSET: Final = 100  # DT_FLOAT_REF = DT_FLOAT + 100, and so on


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """One TensorFlow dtype. Instances are unique: compare with ``is`` or ``==``.

    Attributes:
        enum: the number in ``DataType`` (below 100; references are the same object, see `is_ref_enum`).
        name: TensorFlow's Python name, e.g. ``float32``.
        numpy: how values are held in memory; ``object`` for string, resource and variant.
        onnx: the number in ONNX's ``TensorProto.DataType``, or None where ONNX has no such type.
        width: bytes per element in TensorFlow's files; 0 where the width varies.
        kind: one of ``f`` float, ``i`` signed, ``u`` unsigned, ``c`` complex, ``b`` bool, ``q`` quantized,
            ``s`` string, ``o`` opaque (resource, variant).
    """

    enum: int
    name: str
    numpy: np.dtype[Any]
    onnx: int | None
    width: int
    kind: str

    def __repr__(self) -> str:
        return self.name

    @property
    def proto_name(self) -> str:
        """The enum's name in ``types.proto``: ``DT_FLOAT`` for float32."""
        return _PROTO_NAMES.get(self.name, "DT_" + self.name.upper())

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_integer(self) -> bool:
        return self.kind in "iu"

    @property
    def is_complex(self) -> bool:
        return self.kind == "c"

    @property
    def is_numeric(self) -> bool:
        return self.kind in "fiuc"

    # --- by TensorFlow's names, as programs use them ------------------------------------------------------------
    def __eq__(self, other: object) -> bool:
        """Whether `other` is this dtype, or is what names it: ``float32 == "float32" == np.float32``."""
        if self is other or isinstance(other, DType) or other is None:
            return self is other
        try:
            return as_dtype(other) is self
        except (MisuseError, UnsupportedAttributeError, TypeError):
            return False

    def __hash__(self) -> int:
        return self.enum

    def __int__(self) -> int:
        return self.enum

    @property
    def as_numpy_dtype(self) -> Any:
        """The numpy type of a scalar, e.g. ``numpy.float32``."""
        return self.numpy.type

    @property
    def as_datatype_enum(self) -> int:
        """The number in ``DataType``."""
        return self.enum

    @property
    def base_dtype(self) -> DType:
        """Itself: references are told apart on tensors."""
        return self

    @property
    def real_dtype(self) -> DType:
        """The dtype of the real part: of complex64 it is float32."""
        return {"complex64": float32, "complex128": float64}.get(self.name, self)

    @property
    def is_floating(self) -> bool:
        return self.kind == "f"

    @property
    def is_bool(self) -> bool:
        return self.kind == "b"

    @property
    def is_quantized(self) -> bool:
        return self.kind == "q"

    @property
    def is_unsigned(self) -> bool:
        return self.kind == "u"

    @property
    def size(self) -> int:
        """Bytes per element; 1 where the width varies."""
        return self.width or 1

    @property
    def min(self) -> Any:
        """The least finite value; raise `TypeError` where there is none."""
        return self._limits().min

    @property
    def max(self) -> Any:
        """The greatest finite value; raise `TypeError` where there is none."""
        return self._limits().max

    @property
    def limits(self) -> tuple[Any, Any]:
        """The range of intensities of a picture: 0 to 1 for floats, 0 to the greatest value for integers."""
        return (0, 1) if self.kind == "f" else (0, self.max)

    def _limits(self) -> Any:
        if self.kind in "iuq":
            return np.iinfo(self.numpy)
        if self.kind == "f":
            return ml_dtypes.finfo(self.numpy)  # type: ignore[no-untyped-call]
        raise TypeError(f"Cannot find minimum or maximum value of {self.name}.")

    @property
    def is_numpy_compatible(self) -> bool:
        return self.kind != "o"

    def is_compatible_with(self, other: Any) -> bool:
        """Whether a tensor of dtype `other` can be used where this one is wanted."""
        return as_dtype(other) is self


def _row(enum: int, name: str, numpy: Any, onnx: int | None, width: int, kind: str) -> DType:
    return DType(enum, name, np.dtype(numpy), onnx, width, kind)


float32 = _row(1, "float32", np.float32, 1, 4, "f")
float64 = _row(2, "float64", np.float64, 11, 8, "f")
int32 = _row(3, "int32", np.int32, 6, 4, "i")
uint8 = _row(4, "uint8", np.uint8, 2, 1, "u")
int16 = _row(5, "int16", np.int16, 5, 2, "i")
int8 = _row(6, "int8", np.int8, 3, 1, "i")
string = _row(7, "string", object, 8, 0, "s")
complex64 = _row(8, "complex64", np.complex64, 14, 8, "c")
int64 = _row(9, "int64", np.int64, 7, 8, "i")
bool_ = _row(10, "bool", np.bool_, 9, 1, "b")
qint8 = _row(11, "qint8", np.int8, 3, 1, "q")
quint8 = _row(12, "quint8", np.uint8, 2, 1, "q")
qint32 = _row(13, "qint32", np.int32, 6, 4, "q")
bfloat16 = _row(14, "bfloat16", ml_dtypes.bfloat16, 16, 2, "f")
qint16 = _row(15, "qint16", np.int16, 5, 2, "q")
quint16 = _row(16, "quint16", np.uint16, 4, 2, "q")
uint16 = _row(17, "uint16", np.uint16, 4, 2, "u")
complex128 = _row(18, "complex128", np.complex128, 15, 16, "c")
float16 = _row(19, "float16", np.float16, 10, 2, "f")
resource = _row(20, "resource", object, None, 0, "o")
variant = _row(21, "variant", object, None, 0, "o")
uint32 = _row(22, "uint32", np.uint32, 12, 4, "u")
uint64 = _row(23, "uint64", np.uint64, 13, 8, "u")
float8_e5m2 = _row(24, "float8_e5m2", ml_dtypes.float8_e5m2, 19, 1, "f")
float8_e4m3fn = _row(25, "float8_e4m3fn", ml_dtypes.float8_e4m3fn, 17, 1, "f")
float8_e4m3fnuz = _row(26, "float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz, 18, 1, "f")
float8_e4m3b11fnuz = _row(27, "float8_e4m3b11fnuz", ml_dtypes.float8_e4m3b11fnuz, None, 1, "f")
float8_e5m2fnuz = _row(28, "float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz, 20, 1, "f")
int4 = _row(29, "int4", ml_dtypes.int4, 22, 1, "i")
uint4 = _row(30, "uint4", ml_dtypes.uint4, 21, 1, "u")
int2 = _row(31, "int2", ml_dtypes.int2, None, 1, "i")
uint2 = _row(32, "uint2", ml_dtypes.uint2, None, 1, "u")
float4_e2m1fn = _row(33, "float4_e2m1fn", ml_dtypes.float4_e2m1fn, None, 1, "f")

ALL: Final[tuple[DType, ...]] = tuple(v for v in list(globals().values()) if isinstance(v, DType))

_PROTO_NAMES: Final = {"float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF"}
_ALIASES: Final = {"float": float32, "double": float64, "half": float16}
_BY_ENUM: Final = {d.enum: d for d in ALL}
_BY_NAME: Final = {d.name: d for d in ALL} | _ALIASES | {d.proto_name: d for d in ALL}
# Quantized types share numpy types with plain integers, and `object` is string: the first row of a numpy type wins.
_BY_NUMPY: Final = {d.numpy: d for d in reversed(ALL) if d.kind not in "qo"}
_BY_ONNX: Final = {d.onnx: d for d in reversed(ALL) if d.onnx is not None and d.kind not in "qo"}


def from_enum(number: int) -> DType:
    """Return the dtype of a ``DataType`` number; a reference type (``+100``) gives its base type."""
    base = number - REF_OFFSET if number > REF_OFFSET else number
    try:
        return _BY_ENUM[base]
    except KeyError:
        raise UnsupportedAttributeError(
            "unknown dtype", expected=f"a DataType from 1 to {max(_BY_ENUM)}", found=number
        ) from None


def is_ref_enum(number: int) -> bool:
    """Whether a ``DataType`` number is a reference type such as ``DT_FLOAT_REF``."""
    return number > REF_OFFSET


def from_name(name: str) -> DType:
    """Return the dtype called `name`: ``float32``, ``float``, ``DT_FLOAT``."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise MisuseError(f"no dtype is called `{name}`", hint=near_names(name, _BY_NAME)) from None


def from_numpy(dtype: Any) -> DType:
    """Return the dtype that holds numpy's `dtype`; ``S``, ``U`` and ``object`` are string."""
    d = np.dtype(dtype)
    found = _BY_NUMPY.get(d)
    if found is not None:
        return found
    if d.kind in "SUOT":
        return string
    try:
        return _BY_NUMPY[d.newbyteorder("=")]
    except KeyError:
        raise MisuseError("TensorFlow has no dtype for the numpy dtype", found=d) from None


def from_onnx(number: int) -> DType:
    """Return the dtype of an ONNX ``TensorProto.DataType`` number."""
    try:
        return _BY_ONNX[number]
    except KeyError:
        raise UnsupportedAttributeError("TensorFlow has no dtype for the ONNX type", found=number) from None


def as_dtype(value: Any) -> DType:
    """Return the dtype meant by a DType, a name, a DataType number or a numpy dtype."""
    if isinstance(value, DType):
        return value
    if isinstance(value, str):
        return from_name(value)
    if isinstance(value, int):
        return from_enum(value)
    return from_numpy(value)
