"""The life of versions: found, loaded, serving, let go.

::

    START ──► LOADING ──► AVAILABLE ──► UNLOADING ──► END
                 └────────── error ─────────────────────┘   the status says why

A new version serves only once it is loaded and warm; only then does the old one go, when the last request that uses
it has its answer. A version that fails leaves the others alone; it is tried again when its files change, and a few
times without. States and policies are TensorFlow Serving's (``core/aspired_versions_manager.h``, its
"availability preserving" policy).
"""

from __future__ import annotations

import dataclasses
import enum
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final

from coldframe.errors import near_names
from coldframe.records import dataclass
from coldframe.serve.config import ModelConfig
from coldframe.serve.memory import give_back
from coldframe.serve.naming import ModelSpec
from coldframe.serve.servable import Servable
from coldframe.serve.sources import BasePath, Found
from coldframe.serve.status import Code, Redacted, RequestError, code_of

log = logging.getLogger("coldframe.serve")

Loader = Callable[[ModelConfig, int, Path], Servable]
_KEPT_ENDED: Final = 20  # versions of a model that are over and still listed
_PAUSES: Final = (0.0, 0.1, 1.0)  # seconds before each look whether an unloaded version is gone
_KEPT_GONE: Final = 64  # models that are served no more, whose versions are still told


class Phase(enum.IntEnum):
    """Where a version is in its life, by TensorFlow Serving's numbers."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """What is told of a version.

    Attributes:
        version: its number.
        phase: where it is in its life.
        code, message: what went wrong, if anything did.
    """

    version: int
    phase: Phase
    code: Code = Code.OK
    message: str = ""


@dataclass(slots=True, eq=False)
class _Version:
    model: str
    number: int
    found: Found
    phase: Phase = Phase.START
    code: Code = Code.OK
    message: str = ""
    servable: Servable | None = None
    leases: int = 0
    failures: int = 0
    retry_at: float = 0.0

    def status(self) -> VersionStatus:
        return VersionStatus(self.number, self.phase, self.code, self.message)


@dataclass(slots=True, eq=False)
class _Model:
    config: ModelConfig
    base: BasePath
    wanted: set[int] = dataclasses.field(default_factory=set)
    versions: dict[int, _Version] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    problem: str = ""  # why the base path could not be looked at, as last logged
    former: _Model | None = None  # the one at another base path that it takes over from

    def available(self) -> list[int]:
        return sorted(n for n, v in self.versions.items() if v.phase is Phase.AVAILABLE)


@dataclass(frozen=True, slots=True)
class CatalogOptions:
    """How versions are looked after.

    Attributes:
        retries: how often a version that fails is tried again.
        retry_wait: seconds between tries.
        load_threads: versions that load at the same time.
        unavailable_labels: whether labels may name versions that are not serving.
    """

    retries: int = 5
    retry_wait: float = 60.0
    load_threads: int = 1
    unavailable_labels: bool = False


class _Lease:
    """Gives out a version; see `Catalog.lease`."""

    __slots__ = ("_catalog", "_spec", "_version")

    def __init__(self, catalog: Catalog, spec: ModelSpec) -> None:
        self._catalog, self._spec = catalog, spec

    def __enter__(self) -> Servable:
        self._version, servable = self._catalog._take(self._spec)
        return servable

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        self._catalog._give_back(self._version)


class Catalog:
    """All models and versions that a server has.

    Args:
        loader: loads a version and makes it ready; it runs in a thread of its own.
        options: how versions are looked after.
        on_change: called with a model's name and a version's status whenever a version changes, and with None when a
            model is gone.
    """

    def __init__(
        self,
        loader: Loader,
        options: CatalogOptions = CatalogOptions(),  # noqa: B008 - it is immutable
        on_change: Callable[[str, VersionStatus | None], None] = lambda model, status: None,
    ) -> None:
        self._loader, self._options, self._on_change = loader, options, on_change
        self._lock = threading.RLock()
        self._looking = threading.Lock()  # one looks at base paths at a time, and not while others wait for `_lock`
        self._idle = threading.Condition(self._lock)
        self._models: dict[str, _Model] = {}
        self._gone: dict[str, dict[int, _Version]] = {}  # versions of models that are served no more
        self._pool = ThreadPoolExecutor(options.load_threads, "load")
        self._busy = 0
        self._closed = threading.Event()
        self._poller: threading.Thread | None = None

    # What is to be served

    def configure(self, configs: Iterable[ModelConfig], *, timeout: float | None = None) -> None:
        """Serve these models and no others, and wait until what is there of them is loaded or has failed.

        Labels come into force when all is loaded.

        Raises:
            RequestError: a label names a version that does not serve (FAILED_PRECONDITION). Models are as configured
                nevertheless; that model's labels are as they were.
        """
        chosen = {c.name: c for c in configs}
        with self._lock:
            for name, config in chosen.items():
                known = self._models.get(name)
                if known is None or known.config.path != config.path:
                    labels = known.labels if known is not None else {}
                    self._models[name] = _Model(config, BasePath(config.path), labels=labels, former=known)
                else:
                    known.config = config
            gone = [self._models.pop(name) for name in list(self._models) if name not in chosen]
            for model in gone:
                self._retire(model)
                self._gone[model.config.name] = model.versions
                self._on_change(model.config.name, None)
            for name in [*chosen, *list(self._gone)[:-_KEPT_GONE]]:
                self._gone.pop(name, None)
        self.poll()
        self.wait(timeout)
        self._set_labels()

    def replace(self, configs: Iterable[ModelConfig], *, timeout: float | None = None) -> None:
        """Serve these models and no others, as `configure`, for a client that waits for the outcome.

        Raises:
            RequestError: as `configure`; or models that were not served before are not serving now (UNKNOWN). They are
                configured nevertheless, and tried again.
        """
        chosen = list(configs)
        with self._lock:
            known = {name: model.config.path for name, model in self._models.items()}
        self.configure(chosen, timeout=timeout)
        missing = []
        with self._lock:
            for config in chosen:
                model = self._models.get(config.name)
                if model is None or known.get(config.name) == config.path or model.available():
                    continue
                failed = [v for v in model.versions.values() if v.message]
                missing += [
                    f"{{name: {v.model} version: {v.number}}} due to error: {v.code.name}: {v.message}" for v in failed
                ] or [f"{{name: {config.name}}} has no versions in its base path"]
        if missing:
            told = ", ".join(f"{{{m}}}" for m in missing)
            raise RequestError(Code.UNKNOWN, f"{len(missing)} model(s) did not become available: {{{told}}}")

    def _retire(self, model: _Model) -> None:
        model.wanted = set()
        self._settle(model)
        if model.former is not None:
            self._retire(model.former)
            model.former = None

    def _set_labels(self) -> None:
        wrong = []
        with self._lock:
            for model in self._models.values():
                lenient = set(model.config.labels) - set(model.labels) if self._options.unavailable_labels else set()
                unavailable = {
                    label: n
                    for label, n in model.config.labels.items()
                    if n not in model.available() and label not in lenient
                }
                wrong += [(label, n, model.config.name) for label, n in sorted(unavailable.items())]
                if not unavailable:
                    model.labels = dict(model.config.labels)
        if wrong:
            _, number, name = wrong[0]
            raise RequestError(
                Code.FAILED_PRECONDITION,
                f"Request to assign label to version {number} of model {name}, which is not currently available for "
                f"inference",
                found=", ".join(f"`{label}` -> {name} {n}" for label, n, name in wrong),
                hint="load the version first, and give it the label then",
            )

    # Looking after versions

    def poll(self) -> None:
        """Look what versions are there now; begin to load and to unload."""
        with self._looking:
            with self._lock:
                models = list(self._models.values())
            for model in models:
                try:
                    present = model.base.scan()
                except OSError as e:
                    self._complain(model, e)
                    continue
                with self._lock:
                    if self._models.get(model.config.name) is model:
                        self._take_in(model, present)

    def _take_in(self, model: _Model, present: Mapping[int, Found]) -> None:
        if not present and not model.problem:
            model.problem = "no versions"
            log.warning("no versions of model `%s` found under base path", model.config.name)
        elif present:
            model.problem = ""
        model.wanted = set(model.config.policy.choose(present))
        for number in sorted(model.wanted, reverse=True):
            self._aspire(model, number, present[number])
        self._settle(model)

    def _complain(self, model: _Model, error: OSError) -> None:
        """Say once that a base path cannot be read; what serves goes on."""
        if model.problem != error.__class__.__name__:
            model.problem = error.__class__.__name__
            log.warning("base path of model `%s` cannot be read: %s", model.config.name, error)

    def _aspire(self, model: _Model, number: int, found: Found) -> None:
        version = model.versions.get(number)
        if version is None or (version.phase is Phase.END and version.code is Code.OK):
            version = model.versions[number] = _Version(model.config.name, number, found)
        elif version.phase is Phase.END:
            changed = version.found.fingerprint != found.fingerprint
            if not changed and (version.failures > self._options.retries or time.monotonic() < version.retry_at):
                return
            version.failures = 0 if changed else version.failures
            version.found = found
        elif version.phase is not Phase.START or version.failures:
            return
        self._begin(version, Phase.LOADING)
        self._submit(self._load, model.config, version)

    def _submit(self, work: Callable[..., None], *args: object) -> None:
        self._busy += 1

        def done(future: Future[None]) -> None:
            with self._lock:
                self._busy -= 1
                self._idle.notify_all()
            if not future.cancelled() and (error := future.exception()) is not None:
                log.error("looking after versions failed", exc_info=error)

        self._pool.submit(work, *args).add_done_callback(done)

    def _load(self, config: ModelConfig, version: _Version) -> None:
        started = time.monotonic()
        try:
            servable = self._loader(config, version.number, version.found.path)
        except Exception as e:  # whatever a model does, the others go on
            told = Redacted({config.path, version.found.path, config.path.resolve(), version.found.path.resolve()})(e)
            log.error("version %d of model `%s` cannot be loaded: %s", version.number, version.model, e)
            with self._lock:
                version.failures += 1
                version.retry_at = time.monotonic() + self._options.retry_wait
                version.code, version.message = code_of(e), told
                self._begin(version, Phase.END)
            return
        log.info(
            "version %d of model `%s` is available, loaded in %.2f s",
            version.number, version.model, time.monotonic() - started,
        )  # fmt: skip
        with self._lock:
            version.servable, version.failures, version.code, version.message = servable, 0, Code.OK, ""
            self._begin(version, Phase.AVAILABLE)
            model = self._models.get(version.model)
            if model is None or model.versions.get(version.number) is not version:
                self._unload(version)  # it was taken out of the configuration while it was loading
            else:
                self._settle(model)

    def _settle(self, model: _Model) -> None:
        """Let versions go that are not wanted, but none while nothing else would answer."""
        available = model.available()
        if model.wanted and not model.wanted.intersection(available):
            return
        if model.former is not None and available:
            self._retire(model.former)
            model.former = None
        for number in available:
            if number not in model.wanted:
                self._unload(model.versions[number])

    def _unload(self, version: _Version) -> None:
        self._begin(version, Phase.UNLOADING)
        if not version.leases:
            self._drop(version)

    def _drop(self, version: _Version) -> None:
        assert version.servable is not None, "it served until now"
        left, version.servable = weakref.ref(version.servable), None
        self._begin(version, Phase.END)
        log.info("version %d of model `%s` is unloaded", version.number, version.model)
        model = self._models.get(version.model)
        if model is not None:
            ended = sorted(n for n, v in model.versions.items() if v.phase is Phase.END and n not in model.wanted)
            for number in ended[:-_KEPT_ENDED]:
                del model.versions[number]
        if not self._closed.is_set():
            self._submit(self._tidy, left)

    def _tidy(self, left: weakref.ref[Servable]) -> None:
        """Give memory back when an unloaded version is gone: the last request with it may be about to end."""
        for pause in _PAUSES:
            if self._closed.wait(pause) or give_back(left):
                return

    def _begin(self, version: _Version, phase: Phase) -> None:
        version.phase = phase
        self._on_change(version.model, version.status())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is loading; return whether that came about within `timeout` seconds."""
        with self._lock:
            return self._idle.wait_for(lambda: not self._busy, timeout)

    def start_polling(self, seconds: float) -> None:
        """Poll every so many seconds, in a thread, until `close`."""

        def work() -> None:
            while not self._closed.wait(seconds):
                try:
                    self.poll()
                except Exception:
                    log.exception("looking for versions failed")

        self._poller = threading.Thread(target=work, name="poll", daemon=True)
        self._poller.start()

    def close(self) -> None:
        """Stop polling and loading, and let all models go."""
        self._closed.set()
        if self._poller is not None:
            self._poller.join()
        self._pool.shutdown(cancel_futures=True)
        with self._lock:
            self._models.clear()

    # What requests ask for

    def config(self, name: str) -> ModelConfig | None:
        """Return a model's configuration, or None where there is no such model."""
        model = self._models.get(name)
        return None if model is None else model.config

    def lease(self, spec: ModelSpec) -> _Lease:
        """Return what gives out a version for as long as a ``with`` lasts.

        Raises:
            RequestError: there is none that serves (NOT_FOUND); upon ``with``.
        """
        return _Lease(self, spec)

    def _give_back(self, version: _Version) -> None:
        with self._lock:
            version.leases -= 1
            if version.phase is Phase.UNLOADING and not version.leases:
                self._drop(version)

    def _take(self, spec: ModelSpec) -> tuple[_Version, Servable]:
        with self._lock:
            model = self._models.get(spec.name)
            while model is not None:
                number = self._number(model, spec)
                version = model.versions.get(number) if number is not None else None
                if version is not None and version.phase is Phase.AVAILABLE and version.servable is not None:
                    version.leases += 1
                    return version, version.servable
                model = model.former
            raise self._absent(spec)

    def _number(self, model: _Model, spec: ModelSpec, *, latest: bool = True) -> int | None:
        if spec.label is not None:
            number = model.labels.get(spec.label)
            if number is None:
                raise RequestError(
                    Code.INVALID_ARGUMENT,
                    f"Unrecognized servable version label: {spec.label}",
                    hint=near_names(spec.label, model.labels),
                )
            return number
        if spec.version is not None:
            return spec.version
        available = model.available() if latest else ()
        return available[-1] if available else None

    def _absent(self, spec: ModelSpec) -> RequestError:
        asked = f"Latest({spec.name})" if spec.version is None else f"Specific({spec.name}, {spec.version})"
        model = self._models.get(spec.name)
        if model is None:
            hint = near_names(spec.name, self._models)
        else:
            hint = f"available: {', '.join(map(str, model.available()))}" if model.available() else ""
        return RequestError(Code.NOT_FOUND, f"Servable not found for request: {asked}", hint=hint)

    def statuses(self, spec: ModelSpec) -> list[VersionStatus]:
        """Return the states of a model's versions, or of the one that is asked for; newest first.

        Those of a model that is not served any more are told for a while.

        Raises:
            RequestError: there are none (NOT_FOUND).
        """
        with self._lock:
            model = self._models.get(spec.name)
            number = spec.version if model is None else self._number(model, spec, latest=False)
            versions = self._gone.get(spec.name, {}) if model is None else model.versions
            found = [v.status() for n, v in sorted(versions.items(), reverse=True) if number in (None, n)]
        if not found:
            which = f"version {spec.version} of " if spec.version is not None else "any versions of "
            hint = near_names(spec.name, self._models) if model is None else ""
            raise RequestError(Code.NOT_FOUND, f"Could not find {which}model {spec.name}", hint=hint)
        return found

    def models(self) -> dict[str, ModelConfig]:
        """The configured models by name."""
        with self._lock:
            return {name: model.config for name, model in self._models.items()}

    def labels(self, name: str) -> dict[str, int]:
        """The labels of a model that are in force."""
        with self._lock:
            return dict(self._models[name].labels) if name in self._models else {}

    def is_ready(self) -> bool:
        """Whether every model has a version that serves."""
        with self._lock:
            return all(model.available() for model in self._models.values())
