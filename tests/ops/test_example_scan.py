"""Reading Examples from their bytes, beside the parser of protocol buffers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldframe import dtypes
from coldframe.errors import ColdframeError
from coldframe.formats import messages
from coldframe.ops import example_scan, parsing

WANTED = {"i": dtypes.int64, "f": dtypes.float32, "s": dtypes.string}
FIELDS = {"i": "int64_list", "f": "float_list", "s": "bytes_list"}
LISTS = {
    "i": st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=4),
    "f": st.lists(st.floats(width=32, allow_nan=False), max_size=4),
    "s": st.lists(st.binary(max_size=200), max_size=4),
    "other": st.lists(st.integers(0, 300), max_size=100),
}
FEATURES = st.fixed_dictionaries({}, optional=LISTS)
BATCHES = st.lists(FEATURES, max_size=40)


def filled(features: Any, values: dict[str, list[Any]]) -> None:
    for key, found in values.items():
        features.feature[key].SetInParent()
        getattr(features.feature[key], FIELDS.get(key, "int64_list")).value.extend(found)


def example(values: dict[str, list[Any]]) -> bytes:
    made = messages.message_class("tensorflow.Example")()
    filled(made.features, values)
    return bytes(made.SerializeToString())


def sequence(values: dict[str, list[Any]], lists: dict[str, list[list[Any]]]) -> bytes:
    made = messages.message_class("tensorflow.SequenceExample")()
    filled(made.context, values)
    for key, steps in lists.items():
        found = made.feature_lists.feature_list[key]
        for step in steps:
            getattr(found.feature.add(), FIELDS.get(key, "int64_list")).value.extend(step)
    return bytes(made.SerializeToString())


def array(items: list[bytes]) -> Any:
    out = np.empty(len(items), object)
    out[:] = items
    return out


def plain(column: Any) -> Any:
    missing = None if column.missing is None else column.missing.tolist()
    if isinstance(column, example_scan.ListColumn):
        return column.lengths.tolist(), missing, plain(column.steps)
    return column.lengths.tolist(), column.values.tolist(), column.values.dtype, missing


def both(items: list[bytes]) -> tuple[Any, Any]:
    maps = [e.features.feature for e in parsing._parsed("Example", array(items))]
    return example_scan.examples(items, WANTED), {k: parsing._column(maps, k, d) for k, d in WANTED.items()}


@settings(max_examples=60, deadline=None)
@given(BATCHES)
def test_columns_are_those_of_the_parser(batch: list[dict[str, list[Any]]]) -> None:
    found, expected = both([example(values) for values in batch])
    assert found is not None
    for key, column in expected.items():
        assert plain(found[key]) == plain(column)
        assert found[key].single == (bool(batch) and all(len(values.get(key, ())) == 1 for values in batch))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(FEATURES, st.fixed_dictionaries({}, optional={k: st.lists(v) for k, v in LISTS.items()}))))
def test_columns_of_sequences(batch: list[tuple[dict[str, list[Any]], dict[str, list[list[Any]]]]]) -> None:
    items = [sequence(*pair) for pair in batch]
    found = example_scan.sequences(items, WANTED, WANTED)
    assert found is not None
    read = parsing._parsed("SequenceExample", array(items))
    for key, dtype in WANTED.items():
        assert plain(found[0][key]) == plain(parsing._column([m.context.feature for m in read], key, dtype))
        lists = parsing._list_column([m.feature_lists.feature_list for m in read], key, dtype)
        assert plain(found[1][key]) == plain(lists)


@settings(max_examples=200, deadline=None)
@given(st.lists(FEATURES, min_size=1, max_size=24), st.data())
def test_damaged_bytes_are_never_read_otherwise(batch: list[dict[str, list[Any]]], data: st.DataObject) -> None:
    items = [example(values) for values in batch]
    k = data.draw(st.integers(0, len(items) - 1))
    spoiled = bytearray(items[k])
    for _ in range(data.draw(st.integers(1, 3))):
        if spoiled:
            spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    items[k] = bytes(spoiled[: data.draw(st.integers(0, len(spoiled)))])
    found = example_scan.examples(items, WANTED)
    try:
        _, expected = both(items)
    except ColdframeError:
        return  # what is not asked for is not looked into
    if found is not None:
        assert {k: repr(plain(v)) for k, v in found.items()} == {k: repr(plain(v)) for k, v in expected.items()}


@pytest.mark.parametrize(
    "data",
    [
        b"\x12\x00",
        b"\x0a\x80\x80\x80\x80\x80\x01",
        b"\x0a\x7f",
        b"\x0a\x05\x0a\x03\x0a\x01i",
        b"\x0a\x09\x0a\x07\x0a\x01\xe9\x12\x02\x1a\x00",
        b"\x0a\x0d\x0a\x0b\x0a\x01i\x12\x06\x1a\x04\x0a\x02\xff\xff",
        b"\x0a\x0c\x0a\x0a\x0a\x01f\x12\x05\x12\x03\x0a\x01\x00",
        example({"i": [1]}) * 2,
    ],
    ids=["unknown", "long size", "short", "no value", "a key that is not text", "open varint", "half a float", "twice"],
)
@pytest.mark.parametrize("count", [1, 40])
def test_has_no_answer_to_what_is_unusual(data: bytes, count: int) -> None:
    assert example_scan.examples([example({"i": [2]})] * count + [data] * count, WANTED) is None
