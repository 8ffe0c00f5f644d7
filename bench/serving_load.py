"""The clients of `serving.py`, in a process of their own: they share no interpreter with what they measure.

A line of JSON on standard input says what to ask, whom, and how; a line on standard output says how that went, and a
file has the latencies, in seconds, as numpy saves them.

- *closed loop* (no rate): each connection asks again when it has its answer.
- *open loop*: requests fall due at random times (a Poisson process) of the given rate, whatever the server does. Their
  latency counts from when they were due: a server that cannot keep up shows it. What has no answer at the end counts
  with the time that it has waited so far.

Plain sockets and `select`, whose timer knows microseconds: an answer costs this process some 15 us. What share of the
time it was busy is reported, since a client that has no time left measures itself.
"""

from __future__ import annotations

import contextlib
import json
import random
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_MOST = 64  # connections of an open loop


@dataclass
class Outcome:
    """What came of a run: latencies of the answers, in seconds, and how many were errors."""

    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    late: int = 0
    reply: bytes = b""


class Connection:
    """A kept-alive HTTP connection with at most one request under way."""

    def __init__(self, port: int, request: bytes) -> None:
        self._request, self._left = request, memoryview(b"")
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._seen, self._needed = bytearray(), 0
        self.since = 0.0

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, since: float) -> bool:
        """Begin a request; return whether all of it is on its way."""
        self.since, self._left = since, memoryview(self._request)
        return self.send_more()

    def send_more(self) -> bool:
        """Send what the socket takes; return whether that is all."""
        with contextlib.suppress(BlockingIOError):
            self._left = self._left[self.socket.send(self._left) :]
        return not self._left

    def receive(self) -> bytes | None:
        """Read what is there; return the reply when it is whole."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._seen += data
        if not self._needed:
            end = self._seen.find(_END)
            if end < 0:
                return None
            head = bytes(self._seen[:end]).lower()
            at = head.find(_LENGTH)
            if at < 0:
                raise ConnectionError(f"a reply without its length: {head!r}")
            self._needed = end + 4 + int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0])
        if len(self._seen) < self._needed:
            return None
        reply = bytes(self._seen)
        self._seen.clear()
        self._needed = 0
        return reply


def ask_http(port: int, request: bytes, connections: int, seconds: float, rate: float | None) -> Outcome:
    """Ask over HTTP for so many seconds."""
    made = [Connection(port, request) for _ in range(connections if rate is None else _MOST)]
    try:
        return _Loop(made, seconds, rate).run()
    finally:
        for c in made:
            c.socket.close()


class _Loop:
    def __init__(self, connections: list[Connection], seconds: float, rate: float | None) -> None:
        self._all, self._rate, self._out = connections, rate, Outcome()
        self._sending: set[Connection] = set()
        self._free = deque(connections)
        self._due: deque[float] = deque()
        self._now = time.perf_counter()
        self._end = self._now + seconds
        self._next = self._now

    def run(self) -> Outcome:
        while self._now < self._end:
            self._begin()
            until = self._end if self._rate is None else min(self._next, self._end)
            readable, writable, _ = select.select(self._all, list(self._sending), (), max(0.0, until - self._now))
            self._now = time.perf_counter()
            for c in writable:
                if c.send_more():
                    self._sending.discard(c)
            for c in readable:
                self._answer(c)
        if self._rate is not None:
            waiting = [c.since for c in self._all if c not in self._free] + list(self._due)
            self._out.latencies += [self._now - since for since in waiting]
            self._out.late = len(waiting)
        return self._out

    def _answer(self, c: Connection) -> None:
        reply = c.receive()
        if reply is not None:
            self._out.latencies.append(time.perf_counter() - c.since)
            self._out.errors += reply[9:12] != b"200"
            self._out.reply = reply
            self._free.append(c)

    def _begin(self) -> None:
        """Send what is due."""
        if self._rate is None:
            while self._free:
                self._send(self._free.popleft(), time.perf_counter())
            return
        while self._next <= self._now:
            self._due.append(self._next)
            self._next += random.expovariate(self._rate)
        while self._due and self._free:
            self._send(self._free.popleft(), self._due.popleft())

    def _send(self, c: Connection, since: float) -> None:
        if not c.send(since):
            self._sending.add(c)


def ask_grpc(port: int, method: str, request: bytes, seconds: float) -> Outcome:
    """Ask over gRPC for so many seconds, one request at a time; gRPC's asyncio client would take longer itself."""
    import grpc

    out = Outcome()
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        call: Callable[..., Any] = channel.unary_unary(method)
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end:
            out.reply = call(request)
            out.latencies.append(time.perf_counter() - started)
    return out


def main() -> None:
    """Do what standard input says, until it ends."""
    for line in sys.stdin:
        order = json.loads(line)
        with open(order["request"], "rb") as f:
            request = f.read()
        busy, started = time.process_time(), time.perf_counter()
        if order["method"]:
            out = ask_grpc(order["port"], order["method"], request, order["seconds"])
        else:
            try:
                out = ask_http(order["port"], request, order["connections"], order["seconds"], order["rate"])
            except OSError as e:  # it does not listen yet, or has ended
                out = Outcome(errors=1, reply=str(e).encode())
        took = time.perf_counter() - started
        np.save(order["latencies"], out.latencies)
        with open(order["reply"], "wb") as f:
            f.write(out.reply)
        said = {"seconds": took, "errors": out.errors, "late": out.late, "busy": (time.process_time() - busy) / took}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
