"""Several processes that serve on the same ports.

::

    supervisor ──spawns──► worker 0, 1, ...      each a whole server; the kernel shares connections out (SO_REUSEPORT)
        ▲  │  pipe to each: "ready", "failed", new configurations, and what came of them
        └──┴─ signals: SIGTERM and SIGHUP are passed on; a worker that dies is replaced

Python runs one thread at a time, so that more than one process is needed to use more than one processor for reading and
writing requests. Variables of SavedModels are read where their files are mapped, so that the workers share that memory;
and what an engine makes of weights is made by one of them, in a folder that the supervisor keeps, and mapped by all.
A configuration that comes to one worker by RPC is taken over by all.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from prometheus_client import multiprocess

from coldframe.engines.shared_files import shared_folder
from coldframe.errors import ColdframeError, MisuseError
from coldframe.records import dataclass
from coldframe.serve.config import ModelConfig
from coldframe.serve.server import ServeOptions, Server, run_server
from coldframe.serve.status import Code, Redacted, RequestError, code_of

log = logging.getLogger("coldframe.serve")

_METRICS, _PROGRAMS = "metrics", "programs"  # in the folder that the workers share
_METRICS_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's name for it
_FIRST_PAUSE: Final = 0.2  # seconds before a worker that died is replaced; each time twice as long
_LONGEST_PAUSE: Final = 10.0
_SETTLED: Final = 30.0  # seconds of life after which a worker counts as well


@dataclass(slots=True, eq=False)
class _Worker:
    number: int
    process: BaseProcess
    pipe: Connection
    started: float
    reloads: int  # how many there had been when it was spawned
    is_ready: bool = False


class Supervisor:
    """Keeps workers alive.

    Args:
        options: what each serves; `workers` says how many.
        on_start: told the ports once all workers are ready.
    """

    def __init__(self, options: ServeOptions, on_start: Callable[[int | None, int | None], Any]) -> None:
        self._options, self._on_start = options, on_start
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[int, _Worker] = {}
        self._due: dict[int, float] = {}  # when a worker that died is to be replaced
        self._pauses: dict[int, float] = {}
        self._asked: dict[int, list[Any]] = {}  # reloads under way: who asked, who has yet to answer, what is wrong
        self._reloads = 0
        self._started = False
        self._ending = False

    def run(self) -> None:
        """Serve until a signal ends it.

        Raises:
            MisuseError: the workers cannot start: no model can be served, or a port is taken.
        """
        with contextlib.ExitStack() as stack:
            shared = stack.enter_context(shared_folder())
            (shared / _PROGRAMS).mkdir(0o700)
            (shared / _METRICS).mkdir(0o700)
            folder = os.environ[_METRICS_DIR] = str(shared / _METRICS)
            stack.callback(os.environ.pop, _METRICS_DIR)
            rest, rpc = (self._reserve(stack, p) for p in (self._options.rest_port, self._options.grpc_port))
            load = dataclasses.replace(self._options.load, mapped=True, shared=str(shared / _PROGRAMS))
            self._options = dataclasses.replace(
                self._options, reuse_port=True, rest_port=rest, grpc_port=rpc, load=load
            )
            wake, woken = os.pipe()
            stack.callback(os.close, wake)
            stack.callback(os.close, woken)
            stack.enter_context(_signals(woken))
            try:
                for number in range(self._options.workers):
                    self._spawn(number)
                self._watch(wake, folder)
            finally:
                self._end()

    def _reserve(self, stack: contextlib.ExitStack, port: int | None) -> int | None:
        """Keep a port for the workers; return its number, which is new where any will do."""
        if port is None:
            return None
        return int(stack.enter_context(_reserved(self._options.host, port)).getsockname()[1])

    def _spawn(self, number: int) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(self._options, theirs), name=f"worker-{number}")
        process.start()
        theirs.close()
        self._workers[number] = _Worker(number, process, ours, time.monotonic(), self._reloads)

    def _watch(self, wake: int, folder: str) -> None:
        while not self._ending:
            now = time.monotonic()
            for number in [n for n, at in self._due.items() if at <= now]:
                del self._due[number]
                self._spawn(number)
            watched: list[Any] = [wake, *(w.pipe for w in self._workers.values())]
            watched += [w.process.sentinel for w in self._workers.values()]
            timeout = max(0.0, min(self._due.values()) - now) if self._due else None
            for event in wait(watched, timeout):
                if event == wake:
                    self._on_signals(os.read(wake, 64))
                elif isinstance(event, Connection):
                    self._hear(next(w for w in self._workers.values() if w.pipe is event))
            for worker in [w for w in self._workers.values() if not w.process.is_alive()]:
                self._mourn(worker, folder)

    def _on_signals(self, numbers: bytes) -> None:
        if signal.SIGHUP in numbers:
            for worker in self._workers.values():
                os.kill(worker.process.pid or 0, signal.SIGHUP)
        self._ending = self._ending or signal.SIGTERM in numbers or signal.SIGINT in numbers

    def _mourn(self, worker: _Worker, folder: str) -> None:
        while worker.pipe.poll():  # its last words
            if not self._hear(worker):
                break
        del self._workers[worker.number]
        worker.pipe.close()
        multiprocess.mark_process_dead(worker.process.pid, folder)  # type: ignore[no-untyped-call]
        for number in list(self._asked):
            self._answered(number, worker.number, Code.UNAVAILABLE, "a worker died")
        if not self._started:
            raise MisuseError("a worker ended before it served", found=f"exit code {worker.process.exitcode}")
        lived = time.monotonic() - worker.started
        pause = _FIRST_PAUSE if lived > _SETTLED else min(_LONGEST_PAUSE, self._pauses.get(worker.number, _FIRST_PAUSE))
        self._pauses[worker.number] = pause * 2
        self._due[worker.number] = time.monotonic() + pause
        log.error("worker %d died (exit code %s); it is replaced", worker.number, worker.process.exitcode)

    def _hear(self, worker: _Worker) -> bool:
        """Act on what a worker says; return False where it has nothing more to say."""
        try:
            said, *more = worker.pipe.recv()
        except (EOFError, OSError):
            return False
        if said == "ready":
            worker.is_ready = True
            if worker.reloads != self._reloads:  # it began with the configuration before the last
                self._configure(worker, 0)
            if not self._started and len(self._workers) == self._options.workers:
                self._started = all(w.is_ready for w in self._workers.values())
                if self._started:
                    self._on_start(self._options.rest_port, self._options.grpc_port)
        elif said == "failed":
            if not self._started:
                raise MisuseError(more[0])
            log.error("worker %d cannot serve: %s", worker.number, more[0])
        elif said == "reload":
            self._reload(worker, *more)
        elif said == "configured":
            number, code, message = more
            self._answered(number, worker.number, code, message)
        return True

    def _reload(self, worker: _Worker, token: int, configs: Sequence[ModelConfig]) -> None:
        self._reloads += 1
        everyone = [w for w in self._workers.values() if w.is_ready]
        self._asked[self._reloads] = [worker.number, token, {w.number for w in everyone}, (Code.OK, "")]
        self._options = dataclasses.replace(self._options, models=tuple(configs), config_file=None)
        for each in everyone:
            self._configure(each, self._reloads)

    def _configure(self, worker: _Worker, number: int) -> None:
        """Tell a worker to take over the configuration; a number of 0: nobody waits for its answer."""
        with contextlib.suppress(OSError):  # it has just died, which is heard of later
            worker.pipe.send(("configure", number, list(self._options.models)))

    def _answered(self, number: int, worker: int, code: Code, message: str) -> None:
        """Note what came of a reload in one worker; tell who asked once all have answered."""
        asked = self._asked.get(number)
        if asked is None or worker not in asked[2]:
            return
        asker, token, waiting, outcome = asked
        waiting.discard(worker)
        if outcome[0] is Code.OK and code is not Code.OK:
            outcome = asked[3] = (code, message)
        if not waiting:
            del self._asked[number]
            if asker in self._workers:
                with contextlib.suppress(OSError):
                    self._workers[asker].pipe.send(("reloaded", token, *outcome))

    def _end(self) -> None:
        """Have the workers answer what is in flight, and wait for them."""
        for worker in self._workers.values():
            if worker.process.is_alive():
                worker.process.terminate()
        end = time.monotonic() + self._options.grace + 5
        for worker in self._workers.values():
            worker.process.join(max(0.1, end - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


@contextlib.contextmanager
def _signals(woken: int) -> Any:
    """Write the numbers of signals that come to `woken`."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def tell(number: int, frame: object) -> None:
        os.write(woken, bytes([number]))

    before = {n: signal.signal(n, tell) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _reserved(host: str, port: int) -> socket.socket:
    """Return a socket that keeps a port for the workers: bound, never listening."""
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a server before may still be ending
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        found.bind((host, port))
    except OSError as e:
        found.close()
        raise MisuseError(f"port {port} cannot be used", found=e.strerror) from e
    return found


# In a worker


class _Line:
    """A worker's line to its supervisor."""

    def __init__(self, server: Server, pipe: Connection, end: Callable[[], None]) -> None:
        self._server, self._pipe, self._end = server, pipe, end
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._tokens = 0
        server.core.reconfigure = self.reconfigure
        asyncio.get_running_loop().add_reader(pipe.fileno(), self._hear)
        self._tasks: set[asyncio.Task[None]] = set()

    def ready(self) -> None:
        """Say that this worker serves."""
        self._pipe.send(("ready",))

    async def reconfigure(self, configs: Sequence[ModelConfig], timeout: float | None) -> None:
        """Have all workers take over a configuration."""
        self._tokens += 1
        done = self._waiting[self._tokens] = asyncio.get_running_loop().create_future()
        self._pipe.send(("reload", self._tokens, list(configs)))
        await asyncio.wait_for(done, timeout)

    def _hear(self) -> None:
        try:
            said, *more = self._pipe.recv()
        except (EOFError, OSError):  # the supervisor is gone
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            self._end()
            return
        if said == "configure":
            task = asyncio.ensure_future(self._configure(*more))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif said == "reloaded":
            token, code, message = more
            done = self._waiting.pop(token)
            if done.done():
                return
            if code is Code.OK:
                done.set_result(None)
            else:
                done.set_exception(RequestError(code, message))

    async def _configure(self, number: int, configs: Sequence[ModelConfig]) -> None:
        try:
            await asyncio.to_thread(self._server.catalog.replace, configs)
        except ColdframeError as e:
            self._pipe.send(("configured", number, code_of(e), Redacted()(e)))
        else:
            self._pipe.send(("configured", number, Code.OK, ""))


def _work(options: ServeOptions, pipe: Connection) -> None:
    """Be a worker."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s")
    logging.getLogger("coldframe.serve.access").setLevel(logging.INFO if options.log_requests else logging.WARNING)
    lines: list[_Line] = []

    def on_made(server: Server, end: Callable[[], None]) -> None:
        lines.append(_Line(server, pipe, end))

    try:
        run_server(options, on_start=lambda server: lines[0].ready(), on_made=on_made)
    except ColdframeError as e:
        pipe.send(("failed", str(e)))
        sys.exit(1)
    finally:
        supervisor = multiprocessing.parent_process()
        if supervisor is not None and not supervisor.is_alive():
            shutil.rmtree(Path(options.load.shared).parent, ignore_errors=True)  # which it would have done


def threads_for(workers: int, asked: int) -> int:
    """Return the threads of each worker: what was asked for, or a share of the processors."""
    return asked or max(1, (os.cpu_count() or 1) // workers)


def serve_with_workers(options: ServeOptions, on_start: Callable[[int | None, int | None], Any]) -> None:
    """Serve with several processes until a signal ends it.

    Args:
        options: what to serve, and how; `workers` says how many.
        on_start: told the REST and gRPC ports once all workers serve.

    Raises:
        MisuseError: no model can be served, or a port is taken.
    """
    load = dataclasses.replace(options.load, threads=threads_for(options.workers, options.load.threads))
    threads = threads_for(options.workers, options.threads)
    Supervisor(dataclasses.replace(options, load=load, threads=threads), on_start).run()
