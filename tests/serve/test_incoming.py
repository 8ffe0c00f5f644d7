"""Large bodies go from the socket straight to where they stay."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from coldframe.serve import incoming
from coldframe.serve.config import TlsOptions
from coldframe.serve.incoming import LEAST, Incoming
from coldframe.serve.status import Code, RequestError
from serving import Running, one_model, running, spawned, until

INFER = "/v2/models/m/infer"
SMALL = b'{"instances": [2.0]}'


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def where(request: pytest.FixtureRequest, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The REST address of a server, on both event loops."""
    if request.param == "asyncio":
        with running(one_model(base)) as server:
            yield server.rest
    else:
        with spawned(tmp_path_factory.mktemp("log") / "log", "--model", f"m={base}") as process:
            yield process.rest


def _connect(where: str) -> socket.socket:
    host, _, port = where.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def _request(values: npt.NDArray[np.float32], *more: str) -> bytes:
    """Return a request with its tensor raw."""
    told = {"name": "x", "datatype": "FP32", "shape": values.shape, "parameters": {"binary_data_size": values.nbytes}}
    head = json.dumps({"inputs": [told], "parameters": {"binary_data_output": True}}).encode()
    size = f"Inference-Header-Content-Length: {len(head)}"
    return _post(INFER, head + values.tobytes(), size, *more)


def _post(path: str, body: bytes, *more: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *more, "", "")
    return "\r\n".join(lines).encode() + body


def _reply(connection: socket.socket) -> tuple[int, bytes]:
    """Return the next reply's status and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(1)
        assert chunk, "the connection ended"
        data += chunk
    head = data.lower().split(b"\r\n")
    size = int(next(line.partition(b":")[2] for line in head if line.startswith(b"content-length")))
    body = b""
    while len(body) < size:
        chunk = connection.recv(size - len(body))
        assert chunk, "the connection ended"
        body += chunk
    return int(head[0].split()[1]), body


def _column(count: int) -> npt.NDArray[np.float32]:
    return np.arange(count, dtype=np.float32).reshape(-1, 1)


def _expect(connection: socket.socket, values: npt.NDArray[np.float32]) -> None:
    status, body = _reply(connection)
    assert status == 200, body
    assert body.endswith((values / 2 + 2).tobytes())


@pytest.mark.parametrize("count", [LEAST // 4 - 100, LEAST // 4, 150_000, 1_000_000])
def test_bodies_of_many_sizes_on_one_connection(where: str, count: int) -> None:
    with _connect(where) as connection:
        for _ in range(3):
            connection.sendall(_request(_column(count)))
            _expect(connection, _column(count))
            connection.sendall(_post("/v1/models/m:predict", SMALL))
            assert _reply(connection) == (200, b'{"predictions":[3.0]}')


def test_requests_in_one_piece(where: str) -> None:
    """Pipelined ones, of which a large one is the first, the middle, the last."""
    values = _column(20_000)
    for order in ((values, None, None), (None, values, None), (None, None, values), (values, values)):
        with _connect(where) as connection:
            connection.sendall(
                b"".join(_post("/v1/models/m:predict", SMALL) if v is None else _request(v) for v in order)
            )
            for v in order:
                if v is None:
                    assert _reply(connection) == (200, b'{"predictions":[3.0]}')
                else:
                    _expect(connection, v)


def test_pieces_of_any_size(where: str) -> None:
    values = _column(10_000)
    data = _request(values)
    with _connect(where) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for step in (997, 16_384, len(data) - 1):
            for at in range(0, len(data), step):
                connection.sendall(data[at : at + step])
            _expect(connection, values)


def test_clients_that_wait_for_a_word(where: str) -> None:
    values = _column(50_000)
    head, _, body = _request(values, "Expect: 100-continue").partition(b"\r\n\r\n")
    with _connect(where) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        _expect(connection, values)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_through_tls(base: Path, tmp_path: Path, loop: str) -> None:
    authority = trustme.CA()
    ours = authority.issue_cert("127.0.0.1")
    key, chain = ours.private_key_pem.bytes(), b"".join(c.bytes() for c in ours.cert_chain_pems)
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    values = _column(300_000)
    with contextlib.ExitStack() as stack:
        if loop == "asyncio":
            where = stack.enter_context(running(one_model(base, tls=TlsOptions(key, chain)))).rest
        else:
            told = f"server_key: {json.dumps(key.decode())}\nserver_cert: {json.dumps(chain.decode())}\n"
            (tmp_path / "tls").write_text(told)
            words = ("--model", f"m={base}", "--ssl-config-file", str(tmp_path / "tls"))
            where = stack.enter_context(spawned(tmp_path / "log", *words)).rest
        plain = stack.enter_context(_connect(where.replace("https:", "http:")))
        connection = stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1"))
        for count in (1, 3):
            connection.sendall(_request(values) * count + _post("/v1/models/m:predict", SMALL))
            for _ in range(count):
                _expect(connection, values)
            assert _reply(connection) == (200, b'{"predictions":[3.0]}')


@pytest.mark.parametrize("size", [600_000, 3_000_000])  # which has room before it is asked for, and which has not
@pytest.mark.parametrize("path", ["/nowhere", "/v2/models/m", "/v1/models/m"])
def test_who_does_not_want_a_body_gets_none(where: str, path: str, size: int) -> None:
    """What was refused without a look at its body is read all the same, and the next request answered."""
    with _connect(where) as connection:
        connection.sendall(_post(path, bytes(size)))
        assert _reply(connection)[0] in (400, 404, 405)
        connection.sendall(_post("/v1/models/m:predict", SMALL))
        assert _reply(connection) == (200, b'{"predictions":[3.0]}')


@pytest.mark.parametrize("size", [600_000, 3_000_000])
def test_who_does_not_want_a_body_may_close_the_connection(where: str, size: int) -> None:
    with _connect(where) as connection, contextlib.suppress(ConnectionError):  # which ends amid what nobody reads
        connection.sendall(_post("/nowhere", bytes(size), "Connection: close"))
        assert _reply(connection)[0] == 404
        assert connection.recv(1) == b""
    with _connect(where) as connection:
        connection.sendall(_post("/v1/models/m:predict", SMALL))
        assert _reply(connection) == (200, b'{"predictions":[3.0]}')


def test_a_reply_comes_in_one_piece(where: str) -> None:
    """A client would wake twice."""
    with _connect(where) as connection:
        for _ in range(5):
            connection.sendall(_post("/v1/models/m:predict", SMALL))
            reply = connection.recv(1 << 16)
            assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
            assert reply.endswith(b'\r\n\r\n{"predictions":[3.0]}')


def test_a_reply_without_a_body_comes_too(where: str) -> None:
    with _connect(where) as connection:
        for path in ("/v1/models/m", "/readyz", "/nowhere"):
            connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert connection.recv(1 << 16).endswith(b"\r\n\r\n")
        connection.sendall(_post("/v1/models/m:predict", SMALL))
        assert _reply(connection) == (200, b'{"predictions":[3.0]}')


def test_a_refusal_amid_a_body(base: Path) -> None:
    """The reply comes at once; the rest of the body is dropped, and the connection goes on."""
    with (
        running(one_model(base, max_body=1 << 20, max_bodies=1 << 19)) as server,
        _connect(server.rest) as connection,
    ):
        data = _post(INFER, bytes(1 << 20))
        connection.sendall(data[: 3 << 18])
        status, body = _reply(connection)
        assert status == 429, body
        until(lambda: server.server.core.budget.held == 0)
        connection.sendall(data[3 << 18 :] + _post("/v1/models/m:predict", SMALL))
        assert _reply(connection) == (200, b'{"predictions":[3.0]}')


def test_clients_that_go_away_hold_nothing(base: Path) -> None:
    with running(one_model(base)) as server:
        for _ in range(3):
            with _connect(server.rest) as connection:
                connection.sendall(_request(_column(100_000))[:200_000])
                until(lambda: server.server.core.budget.held >= 190_000)
            until(lambda: server.server.core.budget.held == 0)
        _alive(server)


def _alive(server: Running) -> None:
    with _connect(server.rest) as connection:
        connection.sendall(_post("/v1/models/m:predict", SMALL))
        assert _reply(connection)[0] == 200


# The body itself


def _whole(
    size: int, aligned: int, work: Callable[[Incoming], None], limit: int = 1 << 40, asked: bool = True
) -> memoryview:
    """Have a body arrive; `work` brings it, before it is asked for or after."""
    held = 0

    def take(count: int) -> None:
        nonlocal held
        held += count
        if held > limit:
            raise RequestError(Code.RESOURCE_EXHAUSTED, "too much")

    async def main() -> memoryview:
        body = Incoming(size, aligned)
        if asked:
            found = body.ask(take, asyncio.get_running_loop().create_future())
        work(body)
        return await (found if asked else body.ask(take, asyncio.get_running_loop().create_future()))

    return asyncio.run(main())


@given(
    st.binary(min_size=1, max_size=5000), st.integers(0, 200), st.integers(1, 700), st.integers(1, 64), st.booleans()
)
def test_what_comes_is_what_was_sent(data: bytes, aligned: int, step: int, first: int, asked: bool) -> None:
    def work(body: Incoming) -> None:
        begun = data[: step // 2] if step // 2 < len(data) else b""
        body.put(begun)
        at = len(begun)
        while at < len(data):
            room = body.room()
            count = min(step, len(room), len(data) - at)
            room[:count] = data[at : at + count]
            at += count
            body.filled(count)
            assert body.is_whole == (at == len(data))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incoming, "_FIRST", first)
        found = _whole(len(data), aligned, work, asked=asked)
    assert bytes(found) == data
    assert found.readonly
    assert (np.frombuffer(found, np.uint8).__array_interface__["data"][0] + aligned) % 64 == 0


def test_room_is_made_as_bytes_arrive() -> None:
    def work(body: Incoming) -> None:
        assert len(body.room()) <= 1 << 20
        raise RequestError(Code.CANCELLED, "enough")

    with pytest.raises(RequestError, match="enough"):
        _whole(1 << 50, 0, work)


@pytest.mark.parametrize("asked", [True, False])
def test_too_many_bytes(asked: bool) -> None:
    def work(body: Incoming) -> None:
        body.put(bytes(60))
        body.filled(len(body.room()[:50]))
        assert not body.is_whole
        body.put(bytes(50))  # dropped

    with pytest.raises(RequestError, match="too much"):
        _whole(1000, 0, work, limit=100, asked=asked)


@pytest.mark.parametrize("asked", [True, False])
def test_a_body_belongs_to_who_asked_for_it(asked: bool) -> None:
    """The connection, which waits for its next request, keeps no memory of it."""

    async def main() -> None:
        body, future = Incoming(100, 0), asyncio.get_running_loop().create_future()
        if asked:
            body.ask(lambda count: None, future)
        body.put(bytes(100))
        if not asked:
            body.ask(lambda count: None, future)
        found = await future
        memory = weakref.ref(found.obj)
        assert memory() is not None
        del found, future
        assert memory() is None
        assert body.is_whole
        assert body.is_asked_for

    asyncio.run(main())


def test_a_client_that_went_away_before_its_body_was_asked_for() -> None:
    def work(body: Incoming) -> None:
        body.put(bytes(60))
        body.fail(RequestError(Code.CANCELLED, "it went away"))
        body.put(bytes(30))

    with pytest.raises(RequestError, match="it went away"):
        _whole(100, 0, work, asked=False)


def test_room_before_it_is_asked_for() -> None:
    body = Incoming(3 << 20, 0)
    while body.has_room:
        body.filled(len(body.room()))
    assert not body.is_whole
    assert len(body.since(0)) == 1 << 20
    assert not body.is_asked_for
