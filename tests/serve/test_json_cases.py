"""What TensorFlow Serving's own tests of JSON hold (``util/json_tensor_test.cc``): its facts, as tables."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from coldframe import dtypes
from coldframe.formats import messages
from coldframe.serve import json_tensors
from coldframe.serve.status import RequestError
from coldframe.shapes import Shape, TensorSpec


def _specs(kinds: dict[str, str]) -> dict[str, TensorSpec]:
    return {key: TensorSpec(f"{key}:0", dtypes.from_name(kind), Shape.unknown()) for key, kind in kinds.items()}


ONE_INT, ONE_FLOAT, ONE_DOUBLE, ONE_STRING = ({"a": k} for k in ("int32", "float32", "float64", "string"))
ONE_LONG = {"a": "uint64"}
SEVERAL = {"i": "int32", "s": "string", "f": "float32"}
TAGGED = {"tag": "string", "signal": "int64", "sensor": "float32"}
TAGS = {"tag": [b"foo", b"bar"], "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
        "sensor": [[[1.0, 2.0], [3.0, 4.0]], [[4.0, 5.0], [6.0, 8.0]]]}  # fmt: skip
READ: list[tuple[dict[str, str], str, dict[str, Any]]] = [
    (ONE_INT, '{"instances": [[1, 2], [3, 4], [5, 6]]}', {"a": [[1, 2], [3, 4], [5, 6]]}),
    (ONE_INT, '{"signature_name": "s", "instances": [[1], [2]]}', {"a": [[1], [2]]}),
    (ONE_INT, '{"inputs": [[1, 2], [3, 4]]}', {"a": [[1, 2], [3, 4]]}),
    (ONE_INT, '{"inputs": {"a": [[1, 2], [3, 4]]}}', {"a": [[1, 2], [3, 4]]}),
    (ONE_FLOAT, '{"instances": [1, 2.5, 0, -3]}', {"a": [1.0, 2.5, 0.0, -3.0]}),
    (ONE_DOUBLE, '{"instances": [1, 2.5, 1e300]}', {"a": [1.0, 2.5, 1e300]}),
    (ONE_FLOAT, '{"instances": [16777217]}', {"a": [16777216.0]}),
    (ONE_FLOAT, '{"instances": [1e300, -1e300]}', {"a": [float("inf"), float("-inf")]}),
    (ONE_FLOAT, '{"instances": [1e-300]}', {"a": [0.0]}),
    (ONE_STRING, '{"instances": [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]}', {"a": [b"hello", b"world"]}),
    (ONE_STRING, '{"instances": [[{"b64": "aGVsbG8="}, "x"]]}', {"a": [[b"hello", b"x"]]}),
    (ONE_STRING, '{"instances": [{"a": {"b64": "aGVsbG8="}}]}', {"a": [b"hello"]}),
    (SEVERAL, '{"instances": [{"i": [1], "s": "x", "f": 0.5}, {"f": 2, "i": [3], "s": "y"}]}',
     {"i": [[1], [3]], "s": [b"x", b"y"], "f": [0.5, 2.0]}),
    (SEVERAL, '{"inputs": {"i": [1, 2], "s": "x", "f": []}}', {"i": [1, 2], "s": b"x", "f": []}),
    (SEVERAL, '{"inputs": {"i": [[[1, 2], [3, 4]]], "s": {"b64": "aGVsbG8="}, "f": [Infinity], "other": 1}}',
     {"i": [[[1, 2], [3, 4]]], "s": b"hello", "f": [float("inf")]}),
    (ONE_STRING, '{"instances": [{"a": [[{"b64": "aGVsbG8="}], [{"b64": "d29ybGQ="}]]}]}',
     {"a": [[[b"hello"], [b"world"]]]}),
    (ONE_INT, '{"instances": [[1, 2], [3, 4]]}X', {"a": [[1, 2], [3, 4]]}),  # whatever follows is not read
    (ONE_INT, '\ufeff {"instances": [1]}', {"a": [1]}),
    (ONE_LONG, '{"instances": [[1, 18446744073709551615], [9223372036854775808, 0]]}',
     {"a": [[1, 18446744073709551615], [9223372036854775808, 0]]}),
    (ONE_DOUBLE, '{"instances": [Infinity, 36893488147419103232, 9223372036854775808, -1]}',
     {"a": [float("inf"), 2.0**65, 2.0**63, -1.0]}),
    (ONE_FLOAT, '{"instances": [1435774380, -Infinity]}', {"a": [1435774336.0, float("-inf")]}),
    (ONE_DOUBLE, '{"note": "\\ud83d\\ude00", "instances": [2.5, Infinity]}', {"a": [2.5, float("inf")]}),
    # the documentation's
    (ONE_STRING, '{"instances": ["foo", "bar", "baz"]}', {"a": [b"foo", b"bar", b"baz"]}),
    (ONE_INT, '{"instances": [[[1, 2]], [[3, 4]]]}', {"a": [[[1, 2]], [[3, 4]]]}),
    (TAGGED, json.dumps({"instances": [{"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
                                       {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]}]}), TAGS),
    (TAGGED, json.dumps({"inputs": {"tag": ["foo", "bar"], "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
                                    "sensor": [[[1, 2], [3, 4]], [[4, 5], [6, 8]]]}}), TAGS),
]  # fmt: skip


def _read(kinds: dict[str, str], body: str) -> dict[str, Any]:
    request = json_tensors.parse_object(body.encode())
    json_tensors.signature_name(request)
    found, _ = json_tensors.read_predict(request, _specs(kinds), ())
    return {k: v.tolist() for k, v in found.items()}


@pytest.mark.parametrize(("kinds", "body", "expected"), READ, ids=range(len(READ)))
def test_requests(kinds: dict[str, str], body: str, expected: dict[str, Any]) -> None:
    assert _read(kinds, body) == expected


ELEMENT = "Failed to process element: {} of 'instances' list. Error: INVALID_ARGUMENT: "
MALFORMED: list[tuple[dict[str, str], str, str]] = [
    (ONE_INT, "", "JSON Parse error: The document is empty"),
    (ONE_INT, '{"signature_name": 5, "instances": [1]}', "must be a string value"),
    (ONE_INT, '{"signature_name": ["s"], "instances": [1]}', "must be a string value"),
    (ONE_INT, '{"instances": [1], "inputs": [1]}', "Not formatted correctly expecting only one of"),
    (ONE_INT, '{"instances": [[1, 2], [3, 4], [5, 6, 7]]}', ELEMENT.format(2) + "Expecting tensor size: 2 but got: 3"),
    (ONE_INT, '{"instances": [[1, 2], [3, 4], [[5, 6]]]}', ELEMENT.format(2) + "Expecting shape [2] but got: [1,2]"),
    (ONE_INT, '{"instances": [1, [1]]}', ELEMENT.format(1) + "Expecting shape [] but got: [1]"),
    (ONE_STRING, '{"instances": ["x", ["x"]]}', ELEMENT.format(1) + "Expecting shape [] but got: [1]"),
    (ONE_INT, '{"instances": [[1, 2], ["a", "b"]]}',
     ELEMENT.format(1) + 'JSON Value: "a" Type: String is not of expected type: int32'),
    (ONE_INT, '{"instances": [2147483648]}',
     ELEMENT.format(0) + "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
    (ONE_DOUBLE, '{"instances": [true]}', ELEMENT.format(0) + "JSON Value: true Type: True is not of expected type: d"),
    (SEVERAL, '{"instances": [{"i": [1], "s": "x", "f": 1}, [1]]}',
     "Expecting object but got list at item 1 of input list"),
    (ONE_INT, '{"instances": [1, {"a": 2}]}', "Expecting value/list but got object at item 1 of input list"),
    (SEVERAL, '{"instances": [{"i": [1], "s": "x", "f": 1}, {"i": [[1]], "s": "x", "f": 1}]}',
     "Failed to process element: 1 key: i of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [1] but got"),
    (SEVERAL, '{"instances": [{"i": [1, 2], "s": "x", "f": 1}, {"i": [1], "s": "x", "f": 1}]}',
     "key: i of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: 1"),
    (ONE_LONG, '{"instances": [[1, 18446744073709551615], [1, -1]]}',
     ELEMENT.format(1) + "JSON Value: -1 Type: Number is not of expected type: uint64"),
    (ONE_FLOAT, '{"instances": [1.5, null]}',
     ELEMENT.format(1) + "JSON Value: null Type: Null is not of expected type: float"),
    (ONE_STRING, '{"instances": ["x", 1]}',
     ELEMENT.format(1) + "JSON Value: 1 Type: Number is not of expected type: string"),
    (ONE_STRING, '{"instances": [["x", {"b64": "!"}]]}', ELEMENT.format(0) + "Unable to base64 decode"),
    (ONE_STRING, '{"instances": [{"a": "x"}, {"a": {"b64": 1}}]}',
     ("Failed to process element: 1 key: a of 'instances' list. Error: INVALID_ARGUMENT: "
     'JSON Value: {"b64": 1} not formatted correctly for base64 data')),
    (SEVERAL, '{"instances": [{"i": 1, "s": "x", "f": 1, "g": 2}]}',
     ("Failed to process element: 0 key: g of 'instances' list. Error: INVALID_ARGUMENT: "
     "JSON object: does not have named input: g")),
    (SEVERAL, '{"instances": [{"i": 1}]}', "keys must be equal to: f,i,s"),
    (SEVERAL, '{"inputs": {"i": 1}}', "Missing named input: s in 'inputs' object."),
    # of json_tensor.cc, beyond its test
    (ONE_INT, '{"inputs": [[1, 2], [3]]}', "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
    (ONE_INT, '{"inputs": [[], [1]]}', "Encountered list at unexpected size: 1 at level: 1 expected size: 0"),
    (ONE_INT, '{"inputs": [1, [2]]}', "Encountered list at unexpected level: 1 expected < 1"),
    (ONE_INT, '{"inputs": [[1], 2]}', "found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
    (ONE_INT, '{"inputs": [[1], {"a": 1}]}', 'JSON Value: {"a": 1} found at incorrect level: 2'),
    (ONE_STRING, '{"inputs": [["x"], "y"]}', 'JSON Value: "y" found at incorrect level: 2'),
    (ONE_INT, "[1]", "JSON Value: [1] Is not object"),
    # of RapidJSON
    (ONE_INT, "instances = [1]", "JSON Parse error: Invalid value. at offset: 0"),
    (ONE_INT, " \n ", "JSON Parse error: The document is empty. at offset: 3"),
    (ONE_INT, '{"instances": [1, ]}', "JSON Parse error: Invalid value. at offset: 1"),
    (ONE_INT, '{"instances" [1]}', "JSON Parse error: Missing a colon after a name of object member. at offset: 13"),
    (ONE_INT, '{"instances": [1', "JSON Parse error: Missing a comma or ] after an array element. at offset: 16"),
    (ONE_INT, '{"a]": {"b": [1] "c"', "JSON Parse error: Missing a comma or } after an object member. at offset: 17"),
    (ONE_INT, "{instances: [1]}", "JSON Parse error: Missing a name for object member. at offset: 1"),
    (ONE_INT, '{"instances": ["a', "JSON Parse error: Missing a closing quotation mark in string."),
    (ONE_INT, '{"instances": ["\\x"]}', "JSON Parse error: Invalid escape character in string."),
    (ONE_INT, '{"instances": ["\\u00g0"]}', "JSON Parse error: Incorrect hex digit after \\u escape in string."),
    (ONE_INT, '{"instances": ["\\ud800"]}', "JSON Parse error: The surrogate pair in string is invalid."),
    (ONE_INT, '{"instances": ["\x01"]}', "JSON Parse error: Invalid encoding in string."),
    (ONE_FLOAT, '{"instances": [1e999]}', "JSON Parse error: Number too big to be stored in double."),
    (ONE_INT, '{"instances": [NaN, ' + "9" * 5000 + "]}", "JSON Parse error: Number too big to be stored in double."),
]  # fmt: skip


@pytest.mark.parametrize(("kinds", "body", "message"), MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_requests(kinds: dict[str, str], body: str, message: str) -> None:
    with pytest.raises(RequestError, match=re.escape(message)):
        _read(kinds, body)


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(RequestError, match=r"Invalid encoding in string\. at offset: 16"):
        json_tensors.parse_object(b'{"instances": ["\xff"]}')


def _texts(*values: bytes) -> Any:
    out = np.empty(len(values), object)
    out[:] = values
    return out


WRITTEN: list[tuple[dict[str, Any], bool, str]] = [
    ({"a": np.array([[1, 2], [3, 4]])}, True, '{"predictions": [[1, 2], [3, 4]]}'),
    ({"a": np.array([1, 2, 3])}, True, '{"predictions": [1, 2, 3]}'),
    ({"a": np.array([1, 2, 3])}, False, '{"outputs": [1, 2, 3]}'),
    ({"a_bytes": _texts(b"hello")}, True, '{"predictions": [{"b64": "aGVsbG8="}]}'),
    ({"a": np.array([1, 2]), "b": _texts(b"x", b"y")}, True,
     '{"predictions": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}'),
    ({"a": np.array([1, 2]), "b": _texts(b"x", b"y")}, False, '{"outputs": {"a": [1, 2], "b": ["x", "y"]}}'),
    ({"a": np.arange(12, dtype=np.int32).reshape(2, 3, 2)}, False,
     '{"outputs": [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]]}'),
    ({"a": np.array([[9000000, 999999, 0.5], [0.0003, 0.00003, 555557.5]], np.float32)}, True,
     '{"predictions": [[9e+06, 999999.0, 0.5], [0.0003, 3e-05, 555557.5]]}'),
    ({"a_bytes": _texts(b"x"), "b": _texts(b"y"), "c": np.array([8.0])}, True,
     '{"predictions": [{"a_bytes": {"b64": "eA=="}, "b": "y", "c": 8.0}]}'),
    ({"a": np.zeros((0, 2))}, True, '{"predictions": []}'),
    ({"a": np.zeros((0, 2)), "b": np.zeros(0)}, True, '{"predictions": []}'),
]  # fmt: skip


@pytest.mark.parametrize(("outputs", "by_row", "reply"), WRITTEN, ids=range(len(WRITTEN)))
def test_replies(outputs: dict[str, Any], by_row: bool, reply: str) -> None:
    assert json.loads(json_tensors.write_predict(outputs, by_row)) == json.loads(reply)


def test_replies_with_numbers_that_json_has_no_name_for() -> None:
    odd = np.array([[np.nan, np.inf], [3, -np.inf]], np.float32)
    assert json_tensors.write_predict({"a": odd}, True) == b'{"predictions":[[NaN,Infinity],[3.0,-Infinity]]}'


def test_replies_that_cannot_be_written() -> None:
    for outputs, message in (
        ({}, "empty tensor map"), ({"a": np.zeros(1, np.complex64)}, "complex"), ({"a": np.zeros(())}, "no shape"),
        ({"a": np.zeros(1), "b": np.zeros(2)}, "inconsistent batch size"),
        ({"a": np.zeros((0, 2)), "b": _texts(b"x")}, "inconsistent batch size"),
    ):  # fmt: skip
        with pytest.raises(RequestError, match=message):
            json_tensors.write_predict(outputs, True)


def _features(body: dict[str, Any]) -> list[dict[str, list[Any]]]:
    """Return the features of each Example in a request."""
    found = [messages.Example.FromString(e).features.feature for e in json_tensors.read_examples(body)]
    return [{k: list(getattr(v, v.WhichOneof("kind")).value) for k, v in each.items()} for each in found]


def test_examples() -> None:
    body = {
        "examples": [{"names": ["foo", "bar"], "ratings": [8.0, 9.0], "age": 20}, {"names": ["baz"], "ratings": 6.0}]
    }
    first, second = _features(body)
    assert first == {"names": [b"foo", b"bar"], "ratings": [8.0, 9.0], "age": [20]}
    assert second == {"names": [b"baz"], "ratings": [6.0]}


def test_examples_with_a_context() -> None:
    inf = float("inf")
    context = {"query": "pizza", "location": ["sfo"]}
    examples = [
        {"names": ["foo", "bar"], "ratings": [8.0, inf], "age": 20},
        {"names": ["baz", {"b64": "aGVsbG8="}], "ratings": 6.0, "mixed": [1, True, False]},
        {"names": "bar", "ratings": -inf},
    ]
    shared = {"query": [b"pizza"], "location": [b"sfo"]}
    assert _features({"context": context, "examples": examples}) == [
        {**shared, "names": [b"foo", b"bar"], "ratings": [8.0, inf], "age": [20]},
        {**shared, "names": [b"baz", b"hello"], "ratings": [6.0], "mixed": [1, 1, 0]},
        {**shared, "names": [b"bar"], "ratings": [-inf]},
    ]


NO_EXAMPLES: list[tuple[dict[str, Any], str]] = [
    ({}, "key 'examples' is expected and was not found"),
    ({"examples": {"names": ["foo"]}}, "Expecting 'examples' value to be an list/array"),
    ({"examples": []}, "'examples' value is an empty array"),
    ({"context": [{"names": ["foo"]}]}, "Example must be JSON object but got JSON Array"),
    ({"examples": [[{"names": ["foo"]}]]}, "Example must be JSON object but got JSON Array"),
    ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
    ({"examples": [{"names": [10, None]}]}, "names has element with unexpected JSON type: Null"),
    ({"examples": [{"names": [10, 10.0]}]}, "feature: names expecting type: int64"),
    ({"examples": [{"names": [10, {"test": 10}]}]}, "names has element with unexpected JSON type: Object"),
    ({"examples": [{"names": [[10], 20]}]}, "names has element with unexpected JSON type: Array"),
    ({"examples": [{"names": [20, 18446744073709551603]}]}, "Only int64_t is supported"),
]


@pytest.mark.parametrize(("body", "message"), NO_EXAMPLES, ids=range(len(NO_EXAMPLES)))
def test_malformed_examples(body: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=re.escape(message)):
        json_tensors.read_examples(body)
