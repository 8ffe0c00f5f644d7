"""`tf.errors`: what TF1 programs catch, one class for each of the status codes that TensorFlow shares with gRPC.

coldframe's own errors (`coldframe.errors`) say what is wrong in other words. `from_coldframe` gives the error that
TensorFlow would raise for one; its class is of both families, so that it is caught as either::

    ColdframeError ◄─── OpError ◄─────────── OutOfRangeError ◄───┐
                  ◄─── ExecutionError ◄───── EndOfInputError ◄───┴── what `from_coldframe` returns
"""

from __future__ import annotations

import functools
from types import TracebackType
from typing import Any, Final

from coldframe import errors as own
from coldframe.errors import ColdframeError

OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
NOT_FOUND: Final = 5
ALREADY_EXISTS: Final = 6
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
FAILED_PRECONDITION: Final = 9
ABORTED: Final = 10
OUT_OF_RANGE: Final = 11
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
DATA_LOSS: Final = 15
UNAUTHENTICATED: Final = 16


class OpError(ColdframeError):
    """An operation failed; the base of the errors that sessions raise.

    Args:
        node_def: the `NodeDef` of the operation, or None.
        op: the operation, or None.
        message: what is wrong.
        error_code: one of the codes of this module.
        experimental_payloads: what else the runtime told, by type URL.
    """

    def __init__(
        self, node_def: Any, op: Any, message: str, error_code: int, experimental_payloads: Any = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.node_def = node_def
        self.op = op
        self.error_code = error_code
        self.experimental_payloads = dict(experimental_payloads or {})

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (_plain_class(type(self)), self.message, self.error_code)


def _restored(kind: type[OpError], message: str, code: int) -> OpError:
    """Make an error again in another process, where its operation is not."""
    return kind(None, None, message) if kind is not OpError else OpError(None, None, message, code)  # type: ignore[call-arg]


class _CodedError(OpError):
    code: int

    def __init__(self, node_def: Any, op: Any, message: str, *payloads: Any) -> None:
        super().__init__(node_def, op, message, self.code, *payloads)


class CancelledError(_CodedError):
    """What was waited for was cancelled: a queue or the session was closed."""

    code = CANCELLED


class UnknownError(OpError):
    """Something failed that has no code of its own."""

    def __init__(self, node_def: Any, op: Any, message: str, error_code: int = UNKNOWN) -> None:
        super().__init__(node_def, op, message, error_code)


class InvalidArgumentError(_CodedError):
    """An operation refused its inputs."""

    code = INVALID_ARGUMENT


class DeadlineExceededError(_CodedError):
    """Time ran out before the operation was done."""

    code = DEADLINE_EXCEEDED


class NotFoundError(_CodedError):
    """A file, folder or tensor does not exist."""

    code = NOT_FOUND


class AlreadyExistsError(_CodedError):
    """What should be made exists already."""

    code = ALREADY_EXISTS


class PermissionDeniedError(_CodedError):
    """The system does not allow it."""

    code = PERMISSION_DENIED


class UnauthenticatedError(_CodedError):
    """The caller did not say who it is."""

    code = UNAUTHENTICATED


class ResourceExhaustedError(_CodedError):
    """Memory, or disk space, ran out."""

    code = RESOURCE_EXHAUSTED


class FailedPreconditionError(_CodedError):
    """Something is not in the state it must be in, such as a variable without a value."""

    code = FAILED_PRECONDITION


class AbortedError(_CodedError):
    """The operation was given up, as another one interfered."""

    code = ABORTED


class OutOfRangeError(_CodedError):
    """A queue, a reader or a dataset has no more to give."""

    code = OUT_OF_RANGE


class UnimplementedError(_CodedError):
    """The operation is not implemented."""

    code = UNIMPLEMENTED


class InternalError(_CodedError):
    """The system is not as it should be."""

    code = INTERNAL


class UnavailableError(_CodedError):
    """Something cannot be reached at the moment."""

    code = UNAVAILABLE


class DataLossError(_CodedError):
    """Data is damaged for good."""

    code = DATA_LOSS


class OperatorNotAllowedInGraphError(TypeError):
    """A symbolic tensor is used where Python needs a value, such as in an `if`."""


class InaccessibleTensorError(ValueError):
    """A tensor is used outside the function it belongs to."""


_CLASSES: Final[dict[int, type[OpError]]] = {
    UNKNOWN: UnknownError,
    **{
        c.code: c
        for c in (
            CancelledError, InvalidArgumentError, DeadlineExceededError, NotFoundError, AlreadyExistsError,
            PermissionDeniedError, UnauthenticatedError, ResourceExhaustedError, FailedPreconditionError, AbortedError,
            OutOfRangeError, UnimplementedError, InternalError, UnavailableError, DataLossError,
        )
    },
}  # fmt: skip


def exception_type_from_error_code(error_code: int) -> type[OpError]:
    """Return the class for a code; `KeyError` if there is none."""
    return _CLASSES[error_code]


def error_code_from_exception_type(cls: type) -> int | None:
    """Return the code of a class of this module; None for another class."""
    for code, known in _CLASSES.items():
        if issubclass(cls, known):
            return code
    return None


class raise_exception_on_not_ok_status:  # noqa: N801 - TensorFlow's name
    """A context manager that does nothing: errors are raised where they happen."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


# --- from coldframe's errors, and the system's --------------------------------------------------------------------
# The first class that fits decides, so subclasses come first.
_FROM_OWN: Final[tuple[tuple[type[ColdframeError], type[OpError]], ...]] = (
    (own.EndOfInputError, OutOfRangeError),
    (own.CancelledError, CancelledError),
    (own.NotInitializedError, FailedPreconditionError),
    (own.CorruptError, DataLossError),
    (own.WrongFileError, DataLossError),
    (own.NotFoundError, NotFoundError),
    (own.UnsupportedError, UnimplementedError),
    (own.MisuseError, InvalidArgumentError),
    (own.ExecutionError, InvalidArgumentError),
    (ColdframeError, UnknownError),
)
_FROM_SYSTEM: Final[tuple[tuple[type[Exception], type[OpError]], ...]] = (
    (FileNotFoundError, NotFoundError),
    (FileExistsError, AlreadyExistsError),
    (PermissionError, PermissionDeniedError),
    (NotADirectoryError, FailedPreconditionError),
    (IsADirectoryError, FailedPreconditionError),
    (TimeoutError, DeadlineExceededError),
    (MemoryError, ResourceExhaustedError),
    (OSError, UnknownError),
)


def _plain_class(kind: type[OpError]) -> type[OpError]:
    """Return the class of this module that `kind` is, or was made from."""
    return next(c for c in kind.__mro__ if c.__module__ == __name__ and "own_class" not in vars(c))


@functools.cache
def _both(kind: Any, own_class: Any) -> Any:
    # A value of the wrong shape or type is a ValueError to programs: TensorFlow's client checks feeds in Python.
    more = (ValueError,) if issubclass(own_class, own.FeedError) else ()
    return type(kind.__name__, (kind, own_class, *more), {"own_class": own_class, "__module__": __name__})


def from_coldframe(exc: ColdframeError, op: Any = None, node_def: Any = None) -> OpError:
    """Return the error that TensorFlow raises for what `exc` says, of both classes, with the same text.

    Args:
        exc: any of coldframe's errors; an `OpError` is returned as it is.
        op: the operation that failed, where it is known.
        node_def: its `NodeDef`; the one of `op`, if that has one, unless it is given.

    >>> raise from_coldframe(exc, op) from exc  # doctest: +SKIP
    """
    if isinstance(exc, OpError):
        return exc
    kind = next(theirs for ours, theirs in _FROM_OWN if isinstance(exc, ours))
    node_def = node_def if node_def is not None else getattr(op, "node_def", None)
    classes: Any = (kind, type(exc))
    error: OpError = _both(*classes)(node_def, op, str(exc))
    error.what, error.where, error.hint = exc.what, exc.where, exc.hint
    error.expected, error.found = exc.expected, exc.found
    return error


def from_system(exc: Exception, what: str = "") -> OpError:
    """Return the error that TensorFlow raises where the system refused: `exc` is an `OSError` or `MemoryError`.

    Args:
        exc: what the system said.
        what: the file or folder, where `exc` does not name it.
    """
    kind = next((theirs for system, theirs in _FROM_SYSTEM if isinstance(exc, system)), UnknownError)
    name = what or getattr(exc, "filename", None) or ""
    said = getattr(exc, "strerror", None) or str(exc)
    return kind(None, None, f"{name}; {said}" if name else said)  # type: ignore[call-arg]
