"""GraphDef files whose large weights are read straight into arrays: the same graphs, and the same refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coldframe.errors import ColdframeError
from coldframe.formats import graph_def
from coldframe.formats.graph_weights import LARGE, read_apart
from coldframe.graph.convert import from_graph_def, to_graph_def
from coldframe.runtime.source import open_source

_MANY = LARGE // 4 + 5
VALUES = {
    "weights": np.arange(_MANY, dtype=np.float32).reshape(1, -1),
    "small": np.arange(7, dtype=np.float32),
    "truth": np.arange(LARGE + 3) % 3 == 0,
    "pairs": np.arange(LARGE // 8 + 1).astype(np.complex64),
    "halves": np.arange(2 * _MANY).astype(np.float16),
    "text": np.array([b"ab", b"c"], object),
    "more": np.arange(_MANY, dtype=np.int64),
}


def _proto() -> Any:
    with tf.Graph().as_default() as graph:
        for name, value in VALUES.items():
            tf.constant(value, name=name)
        tf.identity(graph.get_tensor_by_name("weights:0"), name="out")
    proto = graph.as_graph_def()
    for name in ("truth", "pairs"):  # as converters write them
        tensor = next(n for n in proto.node if n.name == name).attr["value"].tensor
        tensor.ClearField("bool_val"), tensor.ClearField("scomplex_val")
        tensor.tensor_content = VALUES[name].tobytes()
    next(n for n in proto.node if n.name == "more").attr["value"].tensor.version_number = 3
    return proto


@pytest.fixture(scope="module")
def data() -> bytes:
    return bytes(_proto().SerializeToString(deterministic=True))


@pytest.fixture(scope="module")
def path(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("weights") / "graph.pb"
    made.write_bytes(data)
    return made


def test_large_weights_are_kept_out_of_the_message(path: Path) -> None:
    apart = read_apart(path)
    assert apart is not None
    message, contents = apart
    assert len(message) < LARGE
    large = [i for i, v in enumerate(VALUES.values()) if v.dtype != object and v.nbytes >= LARGE]
    assert list(contents) == [(i, "value") for i in large]
    assert [c.nbytes for c in contents.values()] == [list(VALUES.values())[i].nbytes for i in large]


def test_values_are_where_the_file_was_read_to(path: Path) -> None:
    message, contents = graph_def.read_graph_apart(path)
    graph = from_graph_def(message, contents=contents)
    array = graph["weights"].attrs["value"].array  # type: ignore[union-attr]
    assert np.shares_memory(array, contents[0, "value"])
    assert not array.flags.writeable


def test_values_are_those_of_the_file(path: Path) -> None:
    graph = open_source(path).graph
    for name, value in VALUES.items():
        found = graph[name].attrs["value"].array  # type: ignore[union-attr]
        assert found.shape == value.shape
        assert found.tolist() == value.tolist()


def test_what_is_written_back_is_what_was_read(path: Path, data: bytes) -> None:
    written = to_graph_def(open_source(path).graph).SerializeToString(deterministic=True)
    assert written == data


def test_small_graphs_are_left_to_protobuf(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        tf.constant([1.0, 2.0], name="c")
    (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    assert read_apart(tmp_path / "graph.pb") is None
    assert open_source(tmp_path / "graph.pb").graph["c"].op == "Const"


def test_a_value_that_something_else_replaces_is_dropped(tmp_path: Path) -> None:
    """Protobuf keeps the last of a oneof: `i` after `tensor`, written by hand."""
    with tf.Graph().as_default() as graph:
        tf.constant(VALUES["weights"], name="c")
    value = graph.as_graph_def().node[0].attr["value"].SerializeToString() + b"\x18\x05"
    entry = b"\x0a\x05value" + b"\x12" + _varint(len(value)) + value
    node = b"\x0a\x01c" + b"\x12\x05Const" + b"\x2a" + _varint(len(entry)) + entry
    (tmp_path / "graph.pb").write_bytes(b"\x0a" + _varint(len(node)) + node)
    assert open_source(tmp_path / "graph.pb").graph["c"].attrs["value"] == 5


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return out + bytes((value,))


def _field(number: int, payload: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(payload)) + payload


def _key(name: bytes = b"value") -> bytes:
    return _field(1, name)


def _tensor(numbers: Any) -> bytes:
    """A TensorProto of float32 numbers."""
    sizes = _field(2, b"\x08" + _varint(len(numbers)))
    return b"\x08\x01" + _field(2, sizes) + _field(4, np.asarray(numbers, np.float32).tobytes())


LONG, SHORT = _tensor(VALUES["weights"][0]), _tensor([1.0, 2.0])


@pytest.mark.parametrize(
    "attributes",
    [
        [_field(2, _field(8, LONG)) + _key()],
        [_field(2, _field(8, LONG))],
        [_key(b"dtype") + _field(2, b"\x30\x01"), _field(2, _field(8, LONG)) + _key()],
        [_key(b"other") + _field(2, _field(8, LONG)) + _key()],
        [_key(b"other") + _key() + _field(2, _field(8, LONG))],
        [_key() + _field(2, _field(8, LONG)) + _field(2, _field(8, SHORT))],
        [_key() + _field(2, _field(8, LONG) + _field(8, SHORT))],
        [_key() + _field(2, _field(8, LONG + _field(4, b"\0" * 8)))],
        [_key() + _field(2, _field(8, LONG)), _key() + _field(2, _field(8, SHORT))],
        [_key() + _field(2, _field(8, SHORT)), _key() + _field(2, _field(8, LONG))],
        [_key() + _field(2, _field(8, LONG)), _key() + _field(2, _field(8, LONG))],
    ],
)
def test_what_comes_twice_or_in_another_order_is_what_it_is_to_protobuf(
    attributes: list[bytes], tmp_path: Path
) -> None:
    node = _field(1, b"c") + _field(2, b"Const") + b"".join(_field(5, a) for a in attributes)
    (tmp_path / "graph.pb").write_bytes(_field(1, node))
    proto = graph_def.read_graph_def(tmp_path / "graph.pb")
    ours = _opened(lambda: open_source(tmp_path / "graph.pb").graph)
    assert ours == _opened(lambda: from_graph_def(proto, where=f"in {tmp_path / 'graph.pb'}"))


def _opened(opening: Any) -> Any:
    try:
        graph = opening()
        arrays = [n.attrs["value"].array for n in graph if hasattr(n.attrs.get("value"), "array")]
        values = [a.tolist() if a.dtype == object else a.tobytes() for a in arrays]
        return to_graph_def(graph).SerializeToString(deterministic=True), values
    except ColdframeError as e:
        return type(e), e.what


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    near=st.sampled_from(["weights", "halves", "more", "truth", "out"]),
    further=st.integers(-4, 120),
    byte=st.none() | st.integers(0, 255),
)
def test_damaged_files_are_what_they_are_to_protobuf(
    path: Path, tmp_path: Path, near: str, further: int, byte: int | None
) -> None:
    """A byte changed near the beginning of a node, or the end cut off there: the same graph, or the same refusal."""
    data = path.read_bytes()
    at = min(max(0, data.index(near.encode()) + further), len(data) - 1)
    changed = tmp_path / "graph.pb"
    changed.write_bytes(data[:at] + (b"" if byte is None else bytes((byte,)) + data[at + 1 :]))
    ours = _opened(lambda: open_source(changed).graph)
    plain = _opened(lambda: from_graph_def(graph_def.read_graph_def(changed), where=f"in {changed}"))
    assert ours == plain


def test_small_nodes_between_large_ones_are_read_as_they_are(tmp_path: Path) -> None:
    """Lengths of one, two and three bytes, runs of nodes longer than what is buffered, and a last one cut off."""
    proto = tf.compat.v1.GraphDef()
    sizes = [1, 90, 128, 200, 16_300, 16_384, 40_000, LARGE - 40, LARGE + 9, 5, *[333] * 400, LARGE * 2, 12_000]
    for k, size in enumerate(sizes):
        tensor = tf.make_tensor_proto([0], tf.uint8, [size])
        tensor.ClearField("int_val")
        tensor.tensor_content = (np.arange(size) % 251).astype(np.uint8).tobytes()
        node = proto.node.add(name=f"n{k}", op="Const")
        node.attr["value"].tensor.CopyFrom(tensor)
        node.attr["dtype"].type = tf.uint8.as_datatype_enum
    data = proto.SerializeToString(deterministic=True)
    (tmp_path / "graph.pb").write_bytes(data)
    apart = read_apart(tmp_path / "graph.pb")
    assert apart is not None
    assert [sizes[i] for i, _ in apart[1]] == [s for s in sizes if s >= LARGE]
    graph = open_source(tmp_path / "graph.pb").graph
    for k, size in enumerate(sizes):
        assert graph[f"n{k}"].attrs["value"].array.tolist() == (np.arange(size) % 251).tolist()  # type: ignore[union-attr]
    (tmp_path / "graph.pb").write_bytes(data[:-7])
    assert read_apart(tmp_path / "graph.pb") is None
