"""Names, as TensorFlow writes them and as people do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldframe.errors import MisuseError, NotFoundError, near_names
from coldframe.graph.names import TensorRef, find_node, is_tensor_name, is_valid_node_name, parse_tensor

NODES = {"image": 0, "layer/conv": 0, "layer/bias": 0, "import/old": 0, "Softmax": 0}


@pytest.mark.parametrize(
    ("text", "ref"), [("x", TensorRef("x", 0)), ("x:1", TensorRef("x", 1)), ("a/b:12", TensorRef("a/b", 12))]
)
def test_tensors(text: str, ref: TensorRef) -> None:
    assert parse_tensor(text) == ref
    assert str(ref).startswith(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("^x", r"`\^x` names a control dependency, not a tensor\nhint: use `x:0`"),
        ("x:y", r"`x:y` is no tensor name: expected `node` or `node:index`, found index `y`"),
        ("x:-1", "is no tensor name"),
        ("x:9999999999", "is no tensor name"),
    ],
)
def test_bad_tensors(text: str, message: str) -> None:
    with pytest.raises(MisuseError, match=message):
        parse_tensor(text)


@given(st.text("abc/_.0", min_size=1), st.integers(0, 10**6))
def test_any_slot_reads_back(node: str, slot: int) -> None:
    ref = TensorRef(node, slot)
    assert parse_tensor(str(ref)) == ref
    assert is_tensor_name(str(ref))


@pytest.mark.parametrize(
    ("name", "found"),
    [("image", "image"), ("image:0", "image"), ("^image", "image"), ("import/image", "image"), ("old:0", "import/old")],
)
def test_nodes_are_found_as_people_write_them(name: str, found: str) -> None:
    assert find_node(name, NODES) == found


@pytest.mark.parametrize(
    ("name", "hint"),
    [("imge", "did you mean `image`"), ("softmax", "did you mean `Softmax`"), ("conv", "did you mean `layer/conv`"),
     ("zzzz", "`coldframe names GRAPH` lists")],
)  # fmt: skip
def test_a_wrong_name_gets_near_ones(name: str, hint: str) -> None:
    with pytest.raises(NotFoundError, match=hint):
        find_node(name, NODES)


def test_near_names_are_few() -> None:
    assert near_names("conv_1", [f"conv_{i}" for i in range(100)]).count("`") <= 6
    assert near_names("q", ["alpha"]) == ""


@pytest.mark.parametrize(
    ("name", "ok"), [("a", True), ("a/b_c.d-e>f", True), ("_a", False), ("", False), ("a b", False)]
)
def test_valid_names(name: str, ok: bool) -> None:
    assert is_valid_node_name(name) is ok
