"""`tf.errors` has TensorFlow's classes and codes, and coldframe's errors become them without ceasing to be theirs."""

from __future__ import annotations

import errno
import inspect
import pickle
from typing import Any

import pytest
import tensorflow as tf

from coldframe import errors as own
from coldframe.tf1 import errors

THEIRS = tf.compat.v1.errors


def test_codes_and_classes_are_tensorflows() -> None:
    names = [n for n in dir(THEIRS) if not n.startswith("_")]
    assert [n for n in names if not hasattr(errors, n)] == []
    for name in names:
        theirs, ours = getattr(THEIRS, name), getattr(errors, name)
        if isinstance(theirs, int):
            assert ours == theirs, name
        elif inspect.isclass(theirs) and issubclass(theirs, Exception) and theirs is not THEIRS.OpError:
            a: Any = theirs(None, None, "text")
            b: Any = ours(None, None, "text")
            assert (a.error_code, a.message, a.op, a.node_def, str(a)) == (
                b.error_code, b.message, b.op, b.node_def, str(b),
            )  # fmt: skip
            assert errors.exception_type_from_error_code(b.error_code) is ours
            assert errors.error_code_from_exception_type(ours) == b.error_code
            assert THEIRS.error_code_from_exception_type(theirs) == b.error_code
    assert errors.error_code_from_exception_type(ValueError) is None


@pytest.mark.parametrize(
    ("raised", "caught"),
    [
        (own.EndOfInputError, errors.OutOfRangeError),
        (own.CancelledError, errors.CancelledError),
        (own.NotInitializedError, errors.FailedPreconditionError),
        (own.ChecksumError, errors.DataLossError),
        (own.TruncatedError, errors.DataLossError),
        (own.WrongFileError, errors.DataLossError),
        (own.NotFoundError, errors.NotFoundError),
        (own.UnsupportedOpError, errors.UnimplementedError),
        (own.FeedError, errors.InvalidArgumentError),
        (own.GraphError, errors.InvalidArgumentError),
        (own.ExecutionError, errors.InvalidArgumentError),
        (own.ColdframeError, errors.UnknownError),
    ],
)
def test_errors_are_caught_as_either(raised: type[own.ColdframeError], caught: type[errors.OpError]) -> None:
    exc = raised("a value is missing", where="of `x`", expected=1, found=2, hint="give it one")
    error = errors.from_coldframe(exc, node_def="node")
    assert isinstance(error, raised)
    assert isinstance(error, caught)
    assert isinstance(error, ValueError) == (raised is own.FeedError)
    assert type(error).__name__ == caught.__name__
    assert str(error) == error.message == str(exc)
    assert (error.what, error.where, error.expected, error.found, error.hint) == (
        "a value is missing", "of `x`", 1, 2, "give it one",
    )  # fmt: skip
    assert error.node_def == "node"
    assert error.error_code == errors.error_code_from_exception_type(caught)
    assert errors.from_coldframe(error) is error


def test_every_error_of_coldframe_has_a_class() -> None:
    for cls in vars(own).values():
        if inspect.isclass(cls) and issubclass(cls, own.ColdframeError):
            assert isinstance(errors.from_coldframe(cls("x")), errors.OpError)


def test_errors_travel_between_processes() -> None:
    for error in (
        errors.from_coldframe(own.FeedError("x", where="y")),
        errors.OutOfRangeError(None, None, "end"),
        errors.OpError(None, None, "other", 13),
        errors.UnknownError(None, None, "who knows"),
    ):
        back = pickle.loads(pickle.dumps(error))
        assert (back.message, back.error_code) == (error.message, error.error_code)
        assert isinstance(error, type(back))


@pytest.mark.parametrize(
    ("number", "caught"),
    [
        (errno.ENOENT, errors.NotFoundError),
        (errno.EEXIST, errors.AlreadyExistsError),
        (errno.EACCES, errors.PermissionDeniedError),
        (errno.ENOTDIR, errors.FailedPreconditionError),
        (errno.EISDIR, errors.FailedPreconditionError),
        (errno.EIO, errors.UnknownError),
    ],
)
def test_errors_of_the_system(number: int, caught: type[errors.OpError]) -> None:
    error = errors.from_system(OSError(number, "no luck", "a/file"))
    assert type(error) is caught
    assert str(error) == "a/file; no luck"
    assert str(errors.from_system(OSError(number, "no luck"), "b")) == "b; no luck"
