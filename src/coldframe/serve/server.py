"""A server: the catalog of models, REST and gRPC in front of it, signals.

::

    one event loop      REST (uvicorn) and gRPC (grpc.aio): reading requests, writing replies
    threads `run-*`     models that compute
    threads `load-*`    versions that load
    thread `poll`       looks for new versions; another for a new configuration file

SIGTERM and SIGINT end it gracefully: no new requests, those in flight are answered. SIGHUP looks for new versions and a
new configuration at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import os
import signal
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import uvicorn
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

from coldframe.errors import ColdframeError, MisuseError
from coldframe.formats import messages
from coldframe.records import dataclass
from coldframe.serve import connections, memory, warmup
from coldframe.serve.access import LogInterceptor, TokenInterceptor
from coldframe.serve.app import application
from coldframe.serve.batching import BatchRunner
from coldframe.serve.bodies import Budget
from coldframe.serve.callers import Callers, Lookout
from coldframe.serve.config import METRICS_PATH, BatchingOptions, ModelConfig, TlsOptions, read_model_configs
from coldframe.serve.core import Core, DirectRunner, Runner
from coldframe.serve.lifecycle import Catalog, CatalogOptions, Phase, VersionStatus
from coldframe.serve.metrics import Metrics
from coldframe.serve.naming import ModelSpec, host_and_port
from coldframe.serve.open_inference import SERVICE, OpenInference
from coldframe.serve.recording import Recorder
from coldframe.serve.rpc import SERVICES, TensorFlowServing
from coldframe.serve.servable import LoadOptions, Servable, load_servable

log = logging.getLogger("coldframe.serve")

_GRPC_UNLIMITED: Final = -1
_GRPC_CHUNK: Final = 1 << 20  # bytes read at once where there are as many; large tensors take less processor time
_TAKING: Final = 0.05  # seconds in which gRPC requests that have come are taken, before no more are
_GRPC_FRAME: Final = 1 << 18  # bytes of a frame, where clients take more than HTTP/2's 16 KiB for one
_SHARING: Final = 0.5  # seconds until other workers see what a request added to metrics


@dataclass(frozen=True)
class ServeOptions:
    """What a server is told.

    Attributes:
        models: what to serve.
        config_file: a ModelServerConfig file, instead of `models`.
        config_poll: seconds between looks at it; 0: only on SIGHUP.
        version_poll: seconds between looks for new versions; 0: only on SIGHUP.
        host: the address to listen on.
        rest_port, grpc_port: the ports; None for none, 0 for any.
        grpc_socket: a Unix socket's path for gRPC, besides.
        load: how models are loaded.
        catalog: how versions are looked after.
        warm_up: how often versions answer their recorded warm-up requests before they serve.
        check_methods: whether signatures classify, and are regressions, only if their method says so.
        grpc_arguments: further arguments of gRPC's channels.
        batching: how requests are put together; None: each runs by itself.
        threads: requests that run at the same time; 0: one for each processor.
        queued: requests that may wait.
        timeout: seconds that a request may take.
        patience: seconds without a byte from, or to, an HTTP client, after which its connection is closed.
        max_body: bytes of a request.
        max_bodies: bytes that the bodies of all requests may have at the same time, of all workers together; 0: an
            eighth of the memory, but no less than one of `max_body` for each worker.
        max_expansion: bytes that a request's tensors may take beyond those that were sent: one value stands for many.
        as_content: whether numbers in gRPC replies go into ``tensor_content``.
        cors: whether browsers may call from pages of other origins.
        metrics_path: where Prometheus finds metrics; None for nowhere.
        tls: keys and certificates; None for plain connections.
        tokens: who may ask, by the token that they send; none: everybody.
        workers: processes that share the ports.
        reuse_port: whether other processes may listen on the same ports.
        log_requests: whether there is a line of JSON in the log for each request.
        max_in_flight: HTTP requests that are worked on at the same time; beyond, 429; 0: any number.
        grace: seconds that requests in flight have when the server ends.
    """

    models: tuple[ModelConfig, ...] = ()
    config_file: Path | None = None
    config_poll: float = 0.0
    version_poll: float = 1.0
    host: str = "127.0.0.1"
    rest_port: int | None = 8501
    grpc_port: int | None = 8500
    grpc_socket: str | None = None
    load: LoadOptions = dataclasses.field(default_factory=LoadOptions)
    catalog: CatalogOptions = dataclasses.field(default_factory=CatalogOptions)
    warm_up: int = 1
    check_methods: bool = False
    grpc_arguments: tuple[tuple[str, int | str], ...] = ()
    batching: BatchingOptions | None = None
    threads: int = 0
    queued: int = 1000
    timeout: float = 30.0
    patience: float = 20.0
    max_body: int = 1 << 30
    max_bodies: int = 0
    max_expansion: int = 1 << 28
    as_content: bool = False
    cors: bool = False
    metrics_path: str | None = METRICS_PATH
    tls: TlsOptions | None = None
    tokens: tuple[str, ...] = ()
    max_in_flight: int = 0
    workers: int = 1
    reuse_port: bool = False
    log_requests: bool = False
    grace: float = 30.0

    @property
    def budget(self) -> int:
        """Bytes that the bodies of all requests to one worker may have at the same time."""
        return self.max_bodies // self.workers or max(self.max_body, memory.available() // 8 // self.workers)


class _Http(uvicorn.Server):
    """uvicorn without its own signal handlers: ours end gRPC as well. It takes its leave of clients that knock."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server`. Connections that only the kernel has taken are answered, too."""
        waiting = [conn for listening in sockets or () for conn in _accepted(listening)]
        for server in self.servers:  # before anything is awaited, so that none comes after
            server.close()
        loop, config = asyncio.get_running_loop(), self.config
        kind: Any = config.http_protocol_class
        make = functools.partial(kind, config=config, server_state=self.server_state, app_state=self.lifespan.state)
        for conn in waiting:
            with contextlib.suppress(OSError):  # it has gone away
                await loop.connect_accepted_socket(make, conn, ssl=config.ssl)
        await super().shutdown(sockets)


class Server:
    """A server, from `start` to `stop`.

    Attributes:
        core: what answers.
        rest_port, grpc_port: the ports it listens on, once started.
    """

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        self.rest_port: int | None = None
        self.grpc_port: int | None = None
        threads = options.threads or os.cpu_count() or 1
        self.catalog = Catalog(self._load, options.catalog, self._changed)
        self.metrics = Metrics(lambda name: name in self.catalog.models())
        self.recorder = Recorder(self.catalog.config)
        self._callers = Callers()
        self.core = Core(
            self.catalog,
            self._runner(threads),
            timeout=options.timeout,
            metrics=self.metrics,
            recorder=self.recorder,
            budget=Budget(options.budget),
            callers=self._callers,
            check_methods=options.check_methods,
        )
        self._health = health.HealthServicer()
        self._http: _Http | None = None
        self._http_task: asyncio.Task[None] | None = None
        self._rpc: grpc.aio.Server | None = None
        self._config_time = 0
        self._watchers: list[asyncio.Task[None]] = []

    def _runner(self, threads: int) -> Runner:
        direct = DirectRunner(threads, self.options.queued, self._callers)
        return (
            direct if self.options.batching is None else BatchRunner(self.options.batching, direct, self.metrics.batch)
        )

    def _load(self, config: ModelConfig, version: int, path: Path) -> Servable:
        started = time.perf_counter()
        load = self.options.load
        if load.mapped and path == config.path:  # a model that is no folder of versions is changed where it is
            load = dataclasses.replace(load, mapped=False)
        servable = load_servable(config.name, version, path, load, checkpoint=config.checkpoint)
        answered = 0
        for _ in range(self.options.warm_up):
            answered = warmup.replay(servable)
        for refused in servable.try_out() if not answered else ():
            log.info("version %d of model `%s` refused made-up inputs: %s", version, config.name, refused)
        memory.give_back()  # what compiling it took
        self.metrics.loaded(config.name, time.perf_counter() - started)
        return servable

    def _changed(self, model: str, status: VersionStatus | None) -> None:
        """Hear of a version's new state."""
        if status is not None:
            self.metrics.version(model, status.version, status.phase)
            self.metrics.measure_memory()

    # Configuration

    def _configs(self, *, again: bool = False) -> list[ModelConfig]:
        if self.options.config_file is None:
            return list(self.options.models)
        self._config_time = self.options.config_file.stat().st_mtime_ns
        return read_model_configs(self.options.config_file, again=again)

    def load_models(self) -> None:
        """Load what is configured, and wait for it.

        Raises:
            MisuseError: no model at all can be served; the reasons are told.
        """
        configs = self._configs()
        self.catalog.configure(configs)
        if configs and not any(self._available(c.name) for c in configs):
            reasons = [f"{c.name}: {self._reason(c.name)}" for c in configs]
            raise MisuseError("no model can be served", found="\n  " + "\n  ".join(reasons))

    def _available(self, name: str) -> bool:
        return any(s.phase is Phase.AVAILABLE for s in self._statuses(name))

    def _reason(self, name: str) -> str:
        failed = [s for s in self._statuses(name) if s.message]
        return failed[0].message if failed else "no versions in its base path"

    def _statuses(self, name: str) -> list[VersionStatus]:
        try:
            return self.catalog.statuses(ModelSpec(name))
        except ColdframeError:
            return []

    def reload(self) -> None:
        """Read the configuration again, and look for new versions; what is wrong with it is logged."""
        try:
            if self.options.config_file is not None:
                self.catalog.configure(self._configs(again=True))
            else:
                self.catalog.poll()
        except (ColdframeError, OSError) as e:
            log.error("the configuration was not taken over: %s", e)
        except Exception:  # whatever it is, what serves goes on, and the next configuration is looked at
            log.exception("the configuration was not taken over")

    async def _watch_config(self) -> None:
        path = self.options.config_file
        while path is not None and self.options.config_poll > 0:
            await asyncio.sleep(self.options.config_poll)
            with contextlib.suppress(OSError):
                if path.stat().st_mtime_ns != self._config_time:
                    await asyncio.to_thread(self.reload)

    # Life

    async def start(self) -> None:
        """Load models, then listen.

        Raises:
            MisuseError: no model can be served, or a port is taken.
        """
        await asyncio.to_thread(self.load_models)
        if self.options.version_poll > 0:
            self.catalog.start_polling(self.options.version_poll)
        if self.options.grpc_port is not None or self.options.grpc_socket:
            await self._start_rpc()
        if self.options.rest_port is not None:
            await self._start_http()
        self._watchers.append(asyncio.create_task(self._watch_config()))
        self._watchers.append(asyncio.create_task(self._share_metrics()))

    async def _share_metrics(self) -> None:
        while True:
            await asyncio.sleep(_SHARING)
            self.metrics.flush()

    async def _start_rpc(self) -> None:
        options = [
            ("grpc.max_send_message_length", _GRPC_UNLIMITED),
            ("grpc.max_receive_message_length", self.options.max_body),
            ("grpc.so_reuseport", int(self.options.reuse_port)),
            ("grpc.experimental.tcp_min_read_chunk_size", _GRPC_CHUNK),
            ("grpc.http2.max_frame_size", _GRPC_FRAME),
            *self.options.grpc_arguments,
        ]
        guards: list[grpc.aio.ServerInterceptor] = [LogInterceptor()] if self.options.log_requests else []
        if self.options.tokens:
            guards.append(TokenInterceptor(self.options.tokens))
        self._rpc = grpc.aio.server(options=options, interceptors=guards)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._rpc)
        names = (*SERVICES, SERVICE, HEALTH, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._rpc, messages.pool())
        self._rpc.add_generic_rpc_handlers(
            (
                *TensorFlowServing(
                    self.core, as_content=self.options.as_content, max_expansion=self.options.max_expansion
                ).handlers(),
                OpenInference(self.core).handler(),
            )
        )
        try:
            if self.options.grpc_port is not None:
                address, keys = host_and_port(self.options.host, self.options.grpc_port), self._credentials()
                self.grpc_port = (
                    self._rpc.add_insecure_port(address) if keys is None else self._rpc.add_secure_port(address, keys)
                )
            if self.options.grpc_socket:
                self._rpc.add_insecure_port(f"unix:{self.options.grpc_socket}")
        except RuntimeError as e:
            raise MisuseError(f"port {self.options.grpc_port} cannot be used", found=str(e)) from e
        await self._rpc.start()
        for name in ("", *SERVICES, SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def _credentials(self) -> grpc.ServerCredentials | None:
        tls = self.options.tls
        if tls is None:
            return None
        return grpc.ssl_server_credentials(
            [(tls.key, tls.certificate)], tls.authorities or None, require_client_auth=tls.verify_client
        )

    async def _start_http(self) -> None:
        listening = _listen(self.options.host, self.options.rest_port or 0, shared=self.options.reuse_port)
        self.rest_port = listening.getsockname()[1]
        config = uvicorn.Config(
            application(self.core, self.options),
            http=self._connection(),
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=max(1, int(self.options.grace)),
        )
        config.load()
        config.ssl = _tls_context(self.options.tls)
        self._http = _Http(config)
        self._http_task = asyncio.create_task(self._http.serve([listening]))
        while not self._http.started and not self._http_task.done():
            await asyncio.sleep(0.005)
        watching = connections.watch(self._http.server_state.connections, self.options.patience)
        self._watchers.append(asyncio.create_task(watching))

    def _connection(self) -> Any:
        options = self.options
        return functools.partial(
            connections.Reader,
            patience=options.patience,
            max_body=options.max_body,
            lookout=Lookout(self._callers),
        )

    async def stop(self) -> None:
        """Take no more requests, answer those in flight, and let the models go."""
        for watcher in self._watchers:
            watcher.cancel()
        await self._health.enter_graceful_shutdown()
        if self._http is not None:
            self._http.should_exit = True
        if self._rpc is not None:
            await self._stop_rpc(self._rpc)
        if self._http_task is not None:
            await self._http_task
        await asyncio.to_thread(self.core.runner.close)
        await asyncio.to_thread(self.recorder.close)
        await asyncio.to_thread(self.catalog.close)

    async def _stop_rpc(self, rpc: grpc.aio.Server) -> None:
        """End gRPC. It cancels requests that wait to be taken, so all are taken first, and answered afterwards."""
        pause = self.core.budget.pause = asyncio.Event()
        await asyncio.sleep(_TAKING)
        stopping = asyncio.ensure_future(rpc.stop(self.options.grace))
        await asyncio.sleep(0)  # it refuses requests from here on
        pause.set()
        await stopping


def _tls_context(tls: TlsOptions | None) -> ssl.SSLContext | None:
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory() as folder:  # the ssl module reads keys from files only; this one is private
        pem = Path(folder) / "pem"
        pem.write_bytes(tls.key.rstrip() + b"\n" + tls.certificate)
        context.load_cert_chain(pem)
    if tls.authorities:
        context.load_verify_locations(cadata=tls.authorities.decode())
    context.verify_mode = ssl.CERT_REQUIRED if tls.verify_client else ssl.CERT_NONE
    return context


def _accepted(listening: socket.socket) -> Iterator[socket.socket]:
    """Accept the connections that wait at a socket."""
    while True:
        try:
            conn, _ = listening.accept()
        except OSError:  # there are no more
            return
        conn.setblocking(False)
        yield conn


def _listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listening.bind((host, port))
    except OSError as e:
        listening.close()
        raise MisuseError(f"port {port} cannot be used", found=e.strerror) from e
    listening.setblocking(False)
    return listening


async def _serve(options: ServeOptions, on_start: Callable[[Server], Any], on_made: OnMade) -> None:
    server = Server(options)
    ending = asyncio.Event()
    on_made(server, ending.set)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: asyncio.ensure_future(asyncio.to_thread(server.reload)))
    started = time.monotonic()
    try:
        await server.start()
        log.info("started in %.2f s", time.monotonic() - started)
        on_start(server)
        await ending.wait()
    finally:
        await server.stop()


OnMade = Callable[[Server, Callable[[], None]], Any]


def run_server(
    options: ServeOptions,
    on_start: Callable[[Server], Any] = lambda server: None,
    on_made: OnMade = lambda server, end: None,
) -> None:
    """Serve, in this process, until a signal ends it.

    Args:
        options: what to serve, and how.
        on_start: called once it listens.
        on_made: called before it loads models, with what ends it.

    Raises:
        MisuseError: no model can be served, or a port is taken.
    """
    memory.keep_freed()
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(_serve(options, on_start, on_made))


def _loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # there is none on Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
