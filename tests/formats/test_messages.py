"""Messages live beside TensorFlow's, keep what they do not know, and refuse damage with our errors."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldframe.errors import ColdframeError, CorruptError, MisuseError, UnsupportedError
from coldframe.formats import messages


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def _graph() -> Any:
    graph = messages.GraphDef()
    graph.versions.producer = 27
    node = graph.node.add(name="scope/w", op="Const", input=["a:1", "^b"], device="/cpu:0")
    node.attr["dtype"].type = 1
    node.attr["value"].tensor.CopyFrom(messages.TensorProto(dtype=1, float_val=[0.5, -2]))
    node.attr["shapes"].list.shape.add().dim.add(size=-1)
    graph.library.function.add().signature.name = "f"
    graph.debug_info.files.append("a.py")
    return graph


@pytest.mark.parametrize(
    "imports",
    [
        "import tensorflow as tf; from coldframe.formats import messages",
        "from coldframe.formats import messages; messages.GraphDef; import tensorflow as tf",
    ],
    ids=["tensorflow-first", "coldframe-first"],
)
def test_tensorflow_and_coldframe_share_a_process(imports: str) -> None:
    code = (
        f"{imports}\n"
        "g = messages.GraphDef(); g.node.add(name='a', op='NoOp')\n"
        "t = tf.compat.v1.GraphDef.FromString(messages.serialize(g, where=''))\n"
        "assert messages.parse('GraphDef', t.SerializeToString(), where='') == g\n"
        "assert type(t) is not messages.GraphDef\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_import_leaves_the_default_pool_alone() -> None:
    code = (
        "from coldframe.formats import messages\n"
        "from google.protobuf import descriptor_pool\n"
        "messages.GraphDef(); messages.onnx.ModelProto()\n"
        "try: descriptor_pool.Default().FindMessageTypeByName('tensorflow.GraphDef')\n"
        "except KeyError: print('absent')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "absent"


def test_names_are_attributes() -> None:
    assert messages.GraphDef.DESCRIPTOR.full_name == "tensorflow.GraphDef"
    assert messages.onnx.ModelProto.DESCRIPTOR.full_name == "onnx.ModelProto"
    assert messages.GraphDef is messages.message_class("tensorflow.GraphDef")
    with pytest.raises(AttributeError, match="`tensorflow` has no message `GrafDef`"):
        _ = messages.GrafDef
    with pytest.raises(AttributeError, match="`onnx` has no message `Nope`"):
        _ = messages.onnx.Nope
    with pytest.raises(MisuseError, match=r"no message is called `nope\.Nope`"):
        messages.message_class("nope.Nope")


def test_equal_messages_give_equal_bytes() -> None:
    forward, backward = messages.NodeDef(), messages.NodeDef()
    names = [f"attr{i}" for i in range(40)]
    for name in names:
        forward.attr[name].i = 1
    for name in reversed(names):
        backward.attr[name].i = 1
    assert messages.serialize(forward, where="") == messages.serialize(backward, where="")


def test_unknown_fields_survive() -> None:
    known = messages.serialize(messages.NodeDef(name="a"), where="")
    future = known + b"\xf8\x3f\x05" + b"\xfa\x3f\x03xyz"  # fields 1023: varint 5, bytes xyz
    graph = messages.parse("GraphDef", b"\x0a" + _varint(len(future)) + future, where="")
    assert graph.node[0].name == "a"
    assert messages.serialize(graph, where="").endswith(future)


@pytest.mark.parametrize("view", [bytes, memoryview])
def test_parse_takes_bytes_and_views(view: Any) -> None:
    data = messages.serialize(_graph(), where="")
    assert messages.parse(messages.GraphDef, view(data), where="") == _graph()
    assert messages.parse("onnx.ModelProto", view(b"\x08\x07"), where="").ir_version == 7


def test_damage_names_the_file() -> None:
    with pytest.raises(CorruptError) as info:
        messages.parse("GraphDef", b"\x0a\x50aa", where="in model.pb")
    assert str(info.value) == (
        "damaged tensorflow.GraphDef in model.pb: expected a protobuf message nested at most 100 deep, "
        "found 4 bytes that do not parse as one"
    )


def test_deep_nesting_is_refused() -> None:
    data = b""
    for _ in range(5000):
        data = b"\x12" + _varint(len(data)) + data
    with pytest.raises(CorruptError, match="nested at most 100 deep"):
        messages.parse("FullTypeDef", data, where="in model.pb")
    with pytest.raises(CorruptError, match=r"damaged text of tensorflow.FullTypeDef in model.pbtxt"):
        messages.parse_text("FullTypeDef", "args {" * 50_000 + "}" * 50_000, where="in model.pbtxt")


def test_more_than_two_gib_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "SIZE_LIMIT", 1000)
    tensor = messages.TensorProto(tensor_content=bytes(1001))
    with pytest.raises(UnsupportedError, match="too large") as info:
        messages.serialize(tensor, where="in model.pb")
    assert "keep the weights in a checkpoint or a SavedModel" in str(info.value)
    with pytest.raises(UnsupportedError, match=r"TensorProto is too large in a.pb: expected at most 1000 bytes"):
        messages.parse("TensorProto", tensor.SerializeToString(), where="in a.pb")


def test_text_round_trip() -> None:
    text = messages.to_text(_graph())
    assert messages.parse_text("GraphDef", text, where="") == _graph()
    assert messages.parse_text("GraphDef", text.encode(), where="") == _graph()


def test_text_is_read_by_tensorflow_and_back() -> None:
    import tensorflow as tf
    from google.protobuf import text_format

    theirs = text_format.Parse(messages.to_text(_graph()), tf.compat.v1.GraphDef())
    assert theirs.SerializeToString(deterministic=True) == messages.serialize(_graph(), where="")
    assert messages.parse_text("GraphDef", text_format.MessageToString(theirs), where="") == _graph()


def test_text_with_unknown_fields_is_read() -> None:
    graph = messages.parse_text("GraphDef", 'node { name: "a" invented { x: [1, 2] } } other: 7', where="")
    assert graph.node[0].name == "a"


def test_damaged_text_names_the_line() -> None:
    with pytest.raises(CorruptError, match=r"damaged text of tensorflow.GraphDef in g.pbtxt: found 2:9 .*nome"):
        messages.parse_text("GraphDef", "node {\n  name: nome\n}", where="in g.pbtxt")
    with pytest.raises(CorruptError, match="UnicodeDecodeError"):
        messages.parse_text("GraphDef", b'node { name: "\xff" }', where="in g.pbtxt")


def test_any_holds_any_message() -> None:
    packed = messages.message_class("google.protobuf.Any")()
    packed.Pack(messages.AssetFileDef(filename="vocab.txt"))
    assert packed.type_url == "type.googleapis.com/tensorflow.AssetFileDef"
    assert messages.unpack_any(packed, where="").filename == "vocab.txt"
    wrapped = messages.message_class("google.protobuf.Int64Value")(value=3)
    packed.Pack(wrapped)
    assert messages.unpack_any(packed, where="").value == 3
    text = messages.to_text(messages.CollectionDef(any_list={"value": [packed]}))
    assert messages.parse_text("CollectionDef", text, where="").any_list.value[0] == packed
    packed.type_url = "type.googleapis.com/other.Thing"
    with pytest.raises(UnsupportedError, match=r"unknown message type in m.meta: found type.*other.Thing"):
        messages.unpack_any(packed, where="in m.meta")


@given(st.data())
def test_mutated_bytes_give_a_message_or_our_error(data: st.DataObject) -> None:
    raw = bytearray(messages.serialize(_graph(), where=""))
    for at, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), min_size=1, max_size=6)
    ):
        raw[at] = byte
    del raw[data.draw(st.integers(0, len(raw))) :]
    with contextlib.suppress(ColdframeError):
        messages.serialize(messages.parse("GraphDef", bytes(raw), where=""), where="")


@given(st.data())
def test_mutated_text_gives_a_message_or_our_error(data: st.DataObject) -> None:
    raw = list(messages.to_text(_graph()))
    for at, char in data.draw(
        st.lists(
            st.tuples(st.integers(0, len(raw) - 1), st.sampled_from('{}:[]"\\,-.0x9 \n<>e')), min_size=1, max_size=4
        )
    ):
        raw[at] = char
    with contextlib.suppress(ColdframeError):
        messages.parse_text("GraphDef", "".join(raw), where="")
