"""Readers, and ops that touch files, against TensorFlow; and who may touch which files."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ColdframeError, EndOfInputError, ExecutionError, NotFoundError, UnsupportedError
from coldframe.runtime.files import AnyFile
from coldframe.runtime.session import Session
from coldframe.runtime.state import SessionState
from graph_oracle import same

v1 = tf.compat.v1


def both(build: Callable[[], list[Any]], ends: int = 0) -> Session:
    """Run what `build` makes one after the other, here and in TensorFlow; of the last, `ends` have no more to give."""
    with tf.Graph().as_default() as g:
        names = [o.name for o in build()]
        want: list[Any] = []
        with v1.Session(graph=g) as session:
            for i, name in enumerate(names):
                if i >= len(names) - ends:
                    with pytest.raises(tf.errors.OutOfRangeError):
                        session.run(g.as_graph_element(name))
                else:
                    want.append(session.run(g.as_graph_element(name)))
    ours = Session(g.as_graph_def(), files=AnyFile())
    for name, w in zip(names, want, strict=False):
        same(ours.run(name), w, 0.0, name)
    for name in names[len(names) - ends :]:
        with pytest.raises(EndOfInputError):
            ours.run(name)
    return ours


def names_queue(paths: list[Path]) -> tuple[Any, list[Any]]:
    q = v1.FIFOQueue(10, tf.string, shapes=[])
    return q, [q.enqueue_many([[str(p) for p in paths]]), q.close()]


def pairs(reader: Any, q: Any, count: int) -> list[Any]:
    """Reads of which every fetch gives key and value in one vector."""
    one = tf.stack(reader.read(q))
    return [one] * count


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    contents = [b"one\ntwo\r\nthree", b"", b"\n\nfour\n", b"5" * 1000 + b"\n"]
    paths = [tmp_path / f"{i}.txt" for i in range(len(contents))]
    for p, c in zip(paths, contents, strict=True):
        p.write_bytes(c)
    return paths


@pytest.mark.parametrize("skip", [0, 1, 2])
def test_lines(texts: list[Path], skip: int) -> None:
    def build() -> list[Any]:
        q, fill = names_queue(texts)
        reader = v1.TextLineReader(skip_header_lines=skip)
        count = (7, 4, 2)[skip]
        return [
            *fill, *pairs(reader, q, count), reader.num_records_produced(), reader.num_work_units_completed(),
            tf.stack(reader.read(q)),
        ]  # fmt: skip

    both(build, ends=1)


def test_several_lines_at_once(texts: list[Path]) -> None:
    def build() -> list[Any]:
        q, fill = names_queue(texts)
        reader = v1.TextLineReader()
        many = tf.stack(reader.read_up_to(q, 2))
        return [*fill, many, many, many, many, many, reader.num_records_produced(), many]

    both(build, ends=1)


@pytest.mark.parametrize("kind", ["WholeFileReader", "IdentityReader"])
def test_readers_of_whole_files_go_back_to_where_they_were(texts: list[Path], kind: str) -> None:
    def build() -> list[Any]:
        q, fill = names_queue(texts)
        reader = getattr(v1, kind)()
        kept = v1.get_variable(f"kept_{kind}", initializer=b"", use_resource=True, dtype=tf.string)
        state, counts = reader.serialize_state(), [reader.num_records_produced(), reader.num_work_units_completed()]
        return [
            kept.initializer, *fill, state, *pairs(reader, q, 1), state, *counts, kept.assign(state),
            *pairs(reader, q, 1), state, *counts, reader.restore_state(kept), *counts, state,
        ]  # fmt: skip

    both(build)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (b"zz", "expected a message"),
        (b"\x08\x02\x10\x01", "expected between two files"),
        (b"\x08" + b"\xff" * 9 + b"\x01", "expected counts from 0"),
    ],
)
def test_states_that_are_none_are_refused(state: bytes, message: str) -> None:
    with tf.Graph().as_default() as g:
        reader, lines = v1.IdentityReader(), v1.TextLineReader()
        restore, other = reader.restore_state(state), lines.serialize_state()
        with v1.Session(graph=g) as session, pytest.raises(tf.errors.InvalidArgumentError):
            session.run(restore)
    ours = Session(g.as_graph_def())
    with pytest.raises(ExecutionError, match=message):
        ours.run(restore.name)
    with pytest.raises(ExecutionError, match="expected a reader of whole files or of names"):
        ours.run(other.name)


def test_whole_files_and_identities(texts: list[Path]) -> None:
    def build() -> list[Any]:
        q, fill = names_queue(texts)
        whole, identity = v1.WholeFileReader(), v1.IdentityReader()
        return [
            *fill, *pairs(whole, q, 2), *pairs(identity, q, 2), identity.num_records_produced(), identity.reset(),
            identity.num_records_produced(), tf.stack(whole.read(q)),
        ]  # fmt: skip

    both(build, ends=1)


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
def test_records(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "r"
    with tf.io.TFRecordWriter(str(path), compression) as w:
        for r in (b"a", b"", b"bcd" * 100):
            w.write(r)

    def build() -> list[Any]:
        q, fill = names_queue([path])
        kinds = v1.python_io.TFRecordCompressionType
        code = {"": kinds.NONE, "GZIP": kinds.GZIP, "ZLIB": kinds.ZLIB}[compression]
        reader = v1.TFRecordReader(options=v1.python_io.TFRecordOptions(code))
        return [*fill, *pairs(reader, q, 4)]

    both(build, ends=1)


@pytest.mark.parametrize(("header", "footer", "hop"), [(0, 0, 0), (2, 3, 0), (1, 0, 2), (0, 1, 7)])
@pytest.mark.parametrize("encoding", ["", "GZIP", "ZLIB"])
def test_records_of_one_size(tmp_path: Path, header: int, footer: int, hop: int, encoding: str) -> None:
    data = bytes(range(65, 65 + 23))
    path = tmp_path / "r"
    path.write_bytes({"": data, "GZIP": gzip.compress(data), "ZLIB": zlib.compress(data)}[encoding])
    body = len(data) - header - footer
    count = (body - 5) // (hop or 5) + 1 if hop else body // 5

    def build() -> list[Any]:
        q, fill = names_queue([path])
        reader = v1.FixedLengthRecordReader(5, header, footer, hop, encoding=encoding or None)
        return [*fill, *pairs(reader, q, count), tf.stack(reader.read(q))]

    both(build, ends=1)


def test_writing_reading_and_looking_for_files(tmp_path: Path) -> None:
    def build() -> list[Any]:
        here = str(tmp_path)
        write = [v1.io.write_file(f"{here}/sub/{n}", n) for n in ("b1", "a1", ".c1", "a2")]
        return [
            *write, v1.read_file(f"{here}/sub/a1"), v1.matching_files(f"{here}/sub/a?"),
            v1.matching_files([f"{here}/sub/*1", f"{here}/s*/a2", f"{here}/none"]), v1.matching_files(f"{here}/*"),
        ]  # fmt: skip

    session = both(build)
    assert (tmp_path / "sub" / "a1").read_bytes() == b"a1"
    with tf.Graph().as_default() as g:
        v1.read_file(str(tmp_path / "nothing"), name="missing")
    with pytest.raises(NotFoundError, match="no file"):
        Session(g.as_graph_def(), files=AnyFile()).run("missing:0")
    assert session.run("ReadFile:0") == b"a1"


def test_models_may_not_touch_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    with tf.Graph().as_default() as g:
        q, _ = names_queue([secret])
        ops = {
            "may read only": v1.read_file(str(secret)), "may not look for files": v1.matching_files(f"{tmp_path}/*"),
            "may not write files": v1.io.write_file(str(secret), "y"),
        }  # fmt: skip
        readers = [v1.TextLineReader().read(q)[0], v1.WholeFileReader().read(q)[0], v1.TFRecordReader().read(q)[0]]
        refill = q.enqueue_many([[str(secret)]])
    session = Session(g.as_graph_def())
    for message, made in ops.items():
        with pytest.raises(UnsupportedError, match=message):
            session.run(made.name)
    for r in readers:
        session.run(refill.name)
        with pytest.raises(UnsupportedError, match=r"may read only .* at node"):
            session.run(r.name)
    assert secret.read_text() == "x"


def test_damaged_records_are_told(tmp_path: Path) -> None:
    path = tmp_path / "r"
    with tf.io.TFRecordWriter(str(path)) as w:
        w.write(b"hello")
    data = bytearray(path.read_bytes())
    data[14] ^= 1
    path.write_bytes(data)
    with tf.Graph().as_default() as g:
        q, fill = names_queue([path])
        value = v1.TFRecordReader().read(q)[1]
    session = Session(g.as_graph_def(), files=AnyFile())
    session.run(fill[0].name)
    with pytest.raises(ColdframeError, match="checksum"):
        session.run(value.name)


# --- Python functions ---
def calling(function: Callable[..., Any], inputs: list[Any], out: Any) -> Any:
    """Return what calling `function` gives in TensorFlow, and here."""
    with tf.Graph().as_default() as g:
        made = v1.py_func(function, inputs, out)
        fetches = [m.name for m in (made if isinstance(made, list) else [made])]
        token = next(n.attr["token"].s.decode() for n in g.as_graph_def().node if n.op == "PyFunc")
        with v1.Session(graph=g) as session:
            want = session.run(fetches)
    session = Session(g.as_graph_def())
    with pytest.raises(UnsupportedError, match=f"calls the Python function `{token}`, which is not in the file"):
        session.run(fetches)
    session.state = SessionState(functions={token: function})
    for name, found, w in zip(fetches, session.run(fetches), want, strict=True):
        same(found, w, 0.0, name)


def test_python_functions() -> None:
    calling(lambda x, y: (x + y, np.int64(3)), [np.ones([2], np.float32), np.float32(2)], [tf.float32, tf.int64])
    calling(lambda s: s + b"!", [b"hey"], tf.string)
    calling(lambda s: [x.upper() for x in s], [[b"a", b"b"]], [tf.string, tf.string])
    calling(lambda s: np.array([len(x) for x in s]), [[b"a", b"bc"]], tf.int64)


def test_what_python_functions_do_wrong() -> None:
    def boom() -> Any:
        raise RuntimeError("no such luck")

    def end() -> Any:
        raise StopIteration

    for function, kind, message in (
        (boom, ExecutionError, "raised RuntimeError: no such luck"),
        (end, EndOfInputError, "no more to give"),
        (lambda: np.ones(2), ExecutionError, "expected int64, found float64"),
        (lambda: (1, 2), ExecutionError, "expected int64|expected 1 values, found 2"),
    ):
        with tf.Graph().as_default() as g:
            name = v1.py_func(function, [], tf.int64).name
            token = g.as_graph_def().node[0].attr["token"].s.decode()
        session = Session(g.as_graph_def())
        session.state = SessionState(functions={token: function})
        if message.startswith("expected int64|"):
            assert session.run(name).tolist() == [1, 2]  # one tensor
            continue
        with pytest.raises(kind, match=message):
            session.run(name)


def test_all_functions_that_are_not_there_are_named_before_anything_runs() -> None:
    with tf.Graph().as_default() as g:
        x = tf.debugging.check_numerics(v1.placeholder(tf.float32, [2], name="x"), "it ran")
        y = v1.py_func(lambda v: v, [x], tf.float32, name="one") + v1.py_func(lambda v: v, [x], tf.float32, name="two")
    session = Session(g.as_graph_def())
    with pytest.raises(UnsupportedError, match=r"functions `pyfunc_\d+`, `pyfunc_\d+`, which are .*`one`.*`two`"):
        session.run(y.name, {"x:0": np.full(2, np.nan, np.float32)})
    assert session.run(y.name, {"one:0": np.ones(2, np.float32), "two:0": np.ones(2, np.float32)}).tolist() == [2, 2]
