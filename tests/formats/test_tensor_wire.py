"""Tensors to bytes; and large contents are cut out of messages: what is left, and what was cut, is what was sent."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from coldframe.formats import messages, tensor_proto
from coldframe.formats.tensor_wire import LARGE, blobs_apart, contents_apart, encode_tensor, tensor_entry
from coldframe.formats.wire import bytes_field, integer_field

INPUTS, RAW = 2, 7
BULK = bytes(range(256)) * (LARGE // 256)


def _predict() -> Any:
    return messages.message_class("tensorflow.serving.PredictRequest")()


def _together(rest: bytes, apart: dict[str, memoryview]) -> Any:
    """Return the message with its contents back in place."""
    request = _predict()
    request.ParseFromString(rest)
    for key, content in apart.items():
        assert not request.inputs[key].tensor_content
        request.inputs[key].tensor_content = bytes(content)
    return request


def _request(**contents: bytes) -> Any:
    request = _predict()
    request.model_spec.name = "m"
    request.model_spec.version.value = 3
    request.output_filter.append("y")
    for key, content in contents.items():
        tensor = request.inputs[key]
        tensor.dtype, tensor.tensor_content, tensor.version_number = 1, content, 5
        tensor.tensor_shape.dim.add(size=len(content) // 4)
        if not content:
            tensor.float_val.append(2.5)
    return request


@pytest.mark.parametrize(("contents", "cut"), [
    ({"x": BULK}, {"x"}), ({"x": BULK, "y": BULK[4:], "": BULK}, {"x", ""}), ({"x": BULK, "\u00fc": b""}, {"x"}),
    ({"x": BULK[:-4]}, set()), ({}, set()), ({"a" * LARGE: b"1234"}, set()),
])  # fmt: skip
def test_contents(contents: dict[str, bytes], cut: set[str]) -> None:
    request = _request(**contents)
    data = request.SerializeToString()
    rest, apart = contents_apart(data, INPUTS)
    assert apart.keys() == cut
    assert len(rest) < len(data) or not cut
    assert all(np.shares_memory(np.frombuffer(v, np.uint8), np.frombuffer(data, np.uint8)) for v in apart.values())
    assert _together(rest, apart) == request


def _tensor(*contents: bytes) -> bytes:
    return integer_field(1, 1) + b"".join(bytes_field(4, c) for c in contents)


def _entry(key: bytes, *tensors: bytes) -> bytes:
    return bytes_field(INPUTS, bytes_field(1, key) + b"".join(bytes_field(2, t) for t in tensors))


@pytest.mark.parametrize("data", [
    _entry(b"x", _tensor(BULK)) + _entry(b"x", _tensor(b"1234")),
    _entry(b"x", _tensor(b"1234")) + _entry(b"x", _tensor(BULK)),
    _entry(b"x", _tensor(BULK, b"")), _entry(b"x", _tensor(b"", BULK)), _entry(b"x", _tensor(BULK), _tensor(b"12")),
    bytes_field(INPUTS, bytes_field(2, _tensor(BULK)) + bytes_field(1, b"x")),
    bytes_field(INPUTS, bytes_field(2, _tensor(BULK))), _entry(b"\xff", _tensor(BULK)),
    _entry(b"x", _tensor(BULK))[:-1], _entry(b"x", _tensor(BULK)) + b"\x0b", b"\x00" + _entry(b"x", _tensor(BULK)),
    _entry(b"x", _tensor(BULK)) + integer_field(9, 1) * 100,
    bytes_field(INPUTS, integer_field(1, 7) + bytes_field(2, _tensor(BULK))), b"\xff" * LARGE,
], ids=range(14))  # fmt: skip
def test_what_no_client_writes_is_left_to_protobuf(data: bytes) -> None:
    assert contents_apart(data, INPUTS) == (data, {})


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=8),
        st.builds(bytes_field, st.integers(1, 20), st.binary(max_size=30)),
        st.builds(integer_field, st.integers(1, 20), st.integers(0, 1 << 64)),
        st.builds(_entry, st.sampled_from([b"x", b"y", b"\xff"]), st.builds(_tensor, st.binary(max_size=40))),
    ),
    max_size=6,
).map(b"".join)


@given(PIECES)
def test_any_bytes_mean_the_same(data: bytes) -> None:
    """What protobuf refuses is refused still, and what it takes is the same."""
    rest, apart = contents_apart(data, INPUTS, least=10)
    whole = _predict()
    try:
        whole.ParseFromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            _together(rest, apart)
        return
    found = _together(rest, apart)
    for each in (whole, found):
        each.DiscardUnknownFields()
    assert found == whole


def _infer(*raw: bytes) -> Any:
    request = messages.message_class("inference.ModelInferRequest")(model_name="m", id="7", raw_input_contents=raw)
    for i in range(len(raw)):
        request.inputs.add(name=f"x{i}", datatype="FP32", shape=[1, 2])
    return request


@pytest.mark.parametrize("raw", [(BULK,), (BULK, b"", BULK[1:]), (), (b"1234",)])
def test_blobs(raw: tuple[bytes, ...]) -> None:
    request = _infer(*raw)
    data = request.SerializeToString()
    rest, found = blobs_apart(data, RAW)
    if BULK not in raw:
        assert (rest, found) == (data, [])
        return
    assert tuple(found) == raw
    del request.raw_input_contents[:]
    assert type(request).FromString(rest) == request


def test_blobs_that_are_none() -> None:
    data = _infer(BULK).SerializeToString()
    assert blobs_apart(data[:-1], RAW) == (data[:-1], [])
    assert blobs_apart(data + integer_field(9, 1) * 100, RAW)[1] == []


@pytest.mark.parametrize("as_content", [False, True])
@pytest.mark.parametrize("array", [
    np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.arange(24.0).reshape(4, 6).T, np.float64(2.5), np.bool_(True),
    np.zeros((0, 3), np.float32), np.arange(5, dtype=np.int64)[::-1], np.arange(4, dtype=ml_dtypes.bfloat16),
    np.array([b"a", b"", b"\xff" * 300], object), np.array([1 + 2j, -1j], np.complex64), np.arange(3, dtype=np.uint8),
    np.broadcast_to(np.float32(1), (3, 2)),
], ids=range(11))  # fmt: skip
def test_entries(array: Any, as_content: bool) -> None:
    """Entries join to what protobuf writes and reads."""
    whole = np.asarray(array)
    request = _predict()
    request.ParseFromString(b"".join(tensor_entry(INPUTS, "x\u00fc" * 70, whole, as_content=as_content)))
    ((key, proto),) = request.inputs.items()
    assert key == "x\u00fc" * 70
    assert proto.SerializeToString() == encode_tensor(whole, as_content=as_content)
    assert bool(proto.tensor_content) == bool(as_content and whole.size and whole.dtype != object)
    found = tensor_proto.to_array(proto, where="here")
    assert (found.dtype, found.shape) == (whole.dtype, whole.shape)
    assert found.tolist() == whole.tolist()
