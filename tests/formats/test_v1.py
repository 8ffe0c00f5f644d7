from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fixtures_data
import tf_saver
from coldframe.errors import ColdframeError, CorruptError, MisuseError, NotFoundError, WrongFileError
from coldframe.formats import messages
from coldframe.formats.ordered_code import encode_slice_key
from coldframe.formats.sstable import TableWriter
from coldframe.formats.v1 import V1Reader


@pytest.fixture(scope="module")
def variables():
    rng = np.random.default_rng(0)
    kinds = (
        np.float32,
        np.float64,
        np.int32,
        np.int64,
        np.uint8,
        np.int8,
        np.int16,
        np.complex64,
        np.float16,
        np.bool_,
    )
    tensors = {np.dtype(k).name: (rng.normal(size=(5, 3)) * 9).astype(k) for k in kinds}
    return tensors | {"scalar": np.float32(2.5), "strings": np.array([b"a", b"", b"x" * 200], object)}


@pytest.mark.parametrize(("parts", "sharded"), [(1, False), (3, False), (1, True), (2, True)])
def test_what_tensorflow_saves_is_read(tmp_path, variables, parts, sharded):
    from tensorflow.core.protobuf import saver_pb2

    if parts > 1:
        variables = {n: v for n, v in variables.items() if n not in ("strings", "bool")}
    prefix = tf_saver.save_variables(
        tmp_path / "m", variables, parts=parts, sharded=sharded, write_version=saver_pb2.SaverDef.V1
    )
    reader = V1Reader(prefix)
    assert V1Reader(prefix.removesuffix("-?????-of-00002")).files == reader.files
    assert list(reader.specs) == sorted(variables)
    assert len(reader.files) == (2 if sharded else 1)
    for name, value in variables.items():
        got = reader.read(name)
        assert got.dtype == np.asarray(value).dtype
        np.testing.assert_array_equal(got, value)
        assert reader.specs[name].shape.dims == np.shape(value)
    np.testing.assert_array_equal(reader.read_slice("float32", (1, 1), (3, 2)), variables["float32"][1:4, 1:3])


@pytest.mark.parametrize("f", fixtures_data.fixtures(kind="checkpoint", format="v1"), ids=str)
def test_golden_files(f):
    reader = V1Reader(f.path)
    facts = f.tensors()
    assert set(reader.specs) == set(facts)
    for name, fact in facts.items():
        value = reader.read(name)
        assert (reader.specs[name].dtype.name, value.shape) == (fact.dtype, fact.shape)
        if value.dtype != object or value.shape:
            assert fixtures_data.crc32(value) == fact.crc32


def write_v1(
    path: Path, *, shape=(2,), kind=1, listed=(0, -1), key=None, name="x", values=(1.0, 2.0), version=0
) -> Path:
    meta = messages.SavedTensorSlices()
    meta.meta.versions.min_consumer = version
    tensor = meta.meta.tensor.add(name="x", type=kind)
    for d in shape:
        tensor.shape.dim.add(size=d)
    part = tensor.slice.add()
    extent = part.extent.add(start=listed[0])
    if listed[1] >= 0:
        extent.length = listed[1]
    data = messages.SavedTensorSlices()
    data.data.name = name
    data.data.data.float_val.extend(values)
    with path.open("wb") as file:
        table = TableWriter(file)
        table.add(b"", meta.SerializeToString())
        table.add(key or encode_slice_key("x", (listed[0],), (listed[1],)), data.SerializeToString())
        table.finish()
    return path


def test_the_smallest_file(tmp_path):
    assert V1Reader(write_v1(tmp_path / "m")).read("x").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"shape": (1 << 40,)}, r"another number of values of tensor `x` .*: expected 1099511627776, found 2"),
        ({"shape": (-1,)}, r"impossible shape of tensor `x`"),
        ({"shape": (0, 1 << 62)}, "impossible shape"),
        ({"kind": 77}, "unknown dtype"),
        ({"kind": 24}, "float8_e5m2 tensors do not exist in V1 checkpoints"),
        ({"listed": (1, 2)}, "slice outside its tensor"),
        ({"listed": (0, 1), "values": (1.0,)}, "does not have sufficient slices"),
        ({"key": b"\x01\x01"}, "a slice is listed but not stored"),
        ({"name": "y"}, "a slice of another tensor is stored"),
        ({"version": 2}, "not for this reader"),
    ],
)
def test_files_that_lie(tmp_path, change, why):
    with pytest.raises(ColdframeError, match=why):
        V1Reader(write_v1(tmp_path / "m", **change)).read("x")


def test_every_truncation_and_byte_change(tmp_path):
    path = write_v1(tmp_path / "m")
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    changed = [whole[:cut] for cut in range(len(whole))]
    for _ in range(1000):
        other = bytearray(whole)
        other[rng.integers(len(other))] = rng.integers(256)
        changed.append(bytes(other))
    for raw in changed:
        path.write_bytes(raw)
        for verify in (True, False):
            try:
                reader = V1Reader(path, verify=verify)
                values = [reader.read(name) for name in reader.specs]
            except ColdframeError:
                continue
            assert not verify or [v.tolist() for v in values] == [[1, 2]]


def test_errors(tmp_path):
    path = write_v1(tmp_path / "model")
    reader = V1Reader(path)
    with pytest.raises(NotFoundError, match="no tensor is called `y`"):
        reader.read("y")
    with pytest.raises(MisuseError, match="slice outside its tensor `x`"):
        reader.read_slice("x", (1,), (2,))
    with pytest.raises(NotFoundError, match=r"no file .*\nhint: did you mean `model`"):
        V1Reader(tmp_path / "modell")
    (tmp_path / "text").write_text("x" * 100)
    with pytest.raises(WrongFileError, match="not a sorted table"):
        V1Reader(tmp_path / "text")
    path.rename(tmp_path / "s-00001-of-00002")
    with pytest.raises(NotFoundError, match=r"shard of checkpoint .* is missing: expected a file .*s-00000-of-00002"):
        V1Reader(tmp_path / "s")
    with (tmp_path / "empty").open("wb") as file:
        TableWriter(file).finish()
    with pytest.raises(CorruptError, match="no checkpoint metadata"):
        V1Reader(tmp_path / "empty")
