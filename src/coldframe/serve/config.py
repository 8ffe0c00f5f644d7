"""What to serve: models, where their versions are, and TensorFlow Serving's configuration files.

The files are protocol buffers in text format: ``ModelServerConfig`` (which models), ``BatchingParameters``,
``MonitoringConfig`` and ``SSLConfig``, as ``tensorflow_serving/config`` defines them.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from coldframe.errors import CorruptError, MisuseError, NotFoundError, UnsupportedError
from coldframe.formats import messages
from coldframe.records import dataclass
from coldframe.serve.naming import check_model_name

_PLATFORMS: Final = ("", "tensorflow")
_TYPES: Final = (0, 1)  # unspecified, and TENSORFLOW: the field that came before `model_platform`


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which of the versions that are there are served.

    Attributes:
        kind: ``latest``, ``all`` or ``specific``.
        count: how many of the latest.
        versions: the specific ones.
    """

    kind: Literal["latest", "all", "specific"] = "latest"
    count: int = 1
    versions: tuple[int, ...] = ()

    def choose(self, present: Iterable[int]) -> list[int]:
        """Return which of the versions `present` are to be served, ascending."""
        found = sorted(present)
        if self.kind == "all":
            return found
        if self.kind == "specific":
            return [v for v in found if v in self.versions]
        return found[-self.count :]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model to serve.

    Attributes:
        name: what clients call it.
        path: its base path: a folder with a subfolder per version, or one SavedModel, ``.pb`` or ``.meta``.
        policy: which versions.
        labels: version numbers by label.
        checkpoint: where variables' values are, for a graph that is kept without them.
        sampling: the share of requests that is logged, 0 to 1.
        log_prefix: the files that they are logged to.
    """

    name: str
    path: Path
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    checkpoint: str | None = None
    sampling: float = 0.0
    log_prefix: str = ""


@dataclass(frozen=True, slots=True)
class BatchingOptions:
    """How requests are put together, in TensorFlow Serving's terms.

    Attributes:
        max_batch_size: rows of a batch.
        timeout_micros: how long a batch waits for more, microseconds.
        max_enqueued_batches: how many batches may wait; a request beyond is refused.
        threads: batches that run at the same time; 0: one for each processor.
        allowed_sizes: the only sizes of batches, ascending; a batch is filled up to the next.
        pad_variable_lengths: whether inputs of different lengths are padded to the longest.
        split_large: whether a request of more rows than a batch is split.
        max_execution_batch_size: rows of what runs at once, where requests are split; 0: `max_batch_size`. Where they
            are not, it means nothing.
    """

    max_batch_size: int = 1000
    timeout_micros: int = 0
    max_enqueued_batches: int = 10
    threads: int = 0
    allowed_sizes: tuple[int, ...] = ()
    pad_variable_lengths: bool = False
    split_large: bool = True
    max_execution_batch_size: int = 0

    def __post_init__(self) -> None:
        for field, value, least in (
            ("max_batch_size", self.max_batch_size, 1),
            ("batch_timeout_micros", self.timeout_micros, 0),
            ("max_enqueued_batches", self.max_enqueued_batches, 1),
            ("num_batch_threads", self.threads, 0),
            ("max_execution_batch_size", self.max_execution_batch_size, 0),
        ):
            if value < least:
                raise MisuseError(f"wrong `{field}`", expected=f"at least {least}", found=value)
        if self.split_large and self.max_execution_batch_size > self.max_batch_size:
            raise MisuseError(
                "wrong `max_execution_batch_size`",
                expected=f"at most `max_batch_size`, {self.max_batch_size}",
                found=self.max_execution_batch_size,
            )
        sizes, lasts = self.allowed_sizes, sorted({self.at_once, self.max_batch_size})
        if sizes and (list(sizes) != sorted(set(sizes)) or sizes[0] < 1 or sizes[-1] not in lasts):
            raise MisuseError(
                "wrong `allowed_batch_sizes`",
                expected=f"increasing numbers that end with {' or '.join(map(str, lasts))}",
                found=list(sizes),
            )

    @property
    def at_once(self) -> int:
        """Rows of what runs at once."""
        return (self.max_execution_batch_size if self.split_large else 0) or self.max_batch_size


def model_configs(message: Any, *, where: str) -> list[ModelConfig]:
    """Return the models of a ModelServerConfig.

    Args:
        message: the ModelServerConfig.
        where: the place, as errors name it.

    Raises:
        MisuseError: two models of a name, a model without a path, a wrong policy, a platform other than ``tensorflow``.
        UnsupportedError: a custom config.
    """
    if message.WhichOneof("config") == "custom_model_config":
        raise UnsupportedError("custom model configurations are not known here", where=where)
    found: dict[str, ModelConfig] = {}
    for entry in message.model_config_list.config:
        config = _model_config(entry, where)
        if config.name in found:
            raise MisuseError(f"Illegal to list model {config.name} multiple times in config list", where=where)
        found[config.name] = config
    return list(found.values())


def _model_config(entry: Any, where: str) -> ModelConfig:
    here = f"of model `{entry.name}` {where}"
    check_model_name(entry.name, where=where)
    if not entry.base_path:
        raise MisuseError(f"Expected model {entry.name} to have an absolute path or URI; got base_path()=", where=where)
    check_local(entry.base_path, where=here)
    if entry.model_type and entry.model_platform:
        raise MisuseError(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform, "
            f"model name is {entry.name}",
            where=where,
        )
    if entry.model_type not in _TYPES:
        raise MisuseError(f"ModelServerConfig::model_type choice {entry.model_type} not supported.", where=where)
    if entry.model_platform not in _PLATFORMS:
        raise MisuseError(
            f"Model {entry.name} requests unsupported platform {entry.model_platform}",
            where=where,
            expected="`tensorflow`",
        )
    logging = entry.logging_config
    return ModelConfig(
        entry.name,
        Path(entry.base_path),
        _policy(entry.model_version_policy, here),
        dict(entry.version_labels),
        sampling=logging.sampling_config.sampling_rate,
        log_prefix=logging.log_collector_config.filename_prefix,
    )


def check_local(path: str, *, where: str = "") -> None:
    """Refuse a base path that is a URL.

    Raises:
        UnsupportedError: it is one.
    """
    scheme, is_url, _ = path.partition("://")
    if is_url and scheme.isalnum():
        raise UnsupportedError(
            "base paths at URLs are not read",
            where=where,
            found=path,
            hint="mount or copy the models, and name the folder",
        )


def _policy(message: Any, where: str) -> VersionPolicy:
    kind = message.WhichOneof("policy_choice")
    if kind == "all":
        return VersionPolicy("all")
    if kind == "specific":
        versions = tuple(message.specific.versions)
        if not versions:
            raise MisuseError("a specific version policy without versions", where=where)
        return VersionPolicy("specific", versions=versions)
    return VersionPolicy("latest", count=max(1, message.latest.num_versions))


def read_model_configs(path: str | os.PathLike[str], *, again: bool = False) -> list[ModelConfig]:
    """Read a model config file.

    Args:
        path: the file.
        again: whether it is to replace what is served. Then a file that says nothing is none: it may be being written.

    Raises:
        NotFoundError: there is no such file.
        CorruptError: it is no ModelServerConfig in text format.
        MisuseError, UnsupportedError: as `model_configs`.
    """
    message, where = _read("tensorflow.serving.ModelServerConfig", path), f"in {os.fspath(path)}"
    if again and message.WhichOneof("config") is None:
        raise MisuseError(
            "Cannot transition to requested config. It is only legal to transition from one ModelConfigList to "
            "another.",
            where=where,
            found="an empty file",
        )
    return model_configs(message, where=where)


def read_batching_options(path: str | os.PathLike[str]) -> BatchingOptions:
    """Read a batching parameters file; what it does not name has TensorFlow Serving's defaults.

    Raises:
        NotFoundError, CorruptError: as `read_model_configs`.
        MisuseError: the numbers do not go together.
    """
    m = _read("tensorflow.serving.BatchingParameters", path)
    known = BatchingOptions()

    def number(field: str, default: int) -> int:
        return int(getattr(m, field).value) if m.HasField(field) else default

    return BatchingOptions(
        number("max_batch_size", known.max_batch_size),
        number("batch_timeout_micros", known.timeout_micros),
        number("max_enqueued_batches", known.max_enqueued_batches),
        number("num_batch_threads", known.threads),
        tuple(m.allowed_batch_sizes),
        m.pad_variable_length_inputs,
        m.enable_large_batch_splitting.value if m.HasField("enable_large_batch_splitting") else known.split_large,
        number("max_execution_batch_size", 0),
    )


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """Keys and certificates, PEM.

    Attributes:
        key, certificate: the server's.
        authorities: certificates of who may sign clients' certificates; empty for none.
        verify_client: whether clients must have one.
    """

    key: bytes
    certificate: bytes
    authorities: bytes = b""
    verify_client: bool = False


def read_tls_options(path: str | os.PathLike[str]) -> TlsOptions:
    """Read an SSLConfig file.

    Raises:
        NotFoundError, CorruptError: as `read_model_configs`.
        MisuseError: key or certificate are missing, or clients are to be verified with nothing to verify them by.
    """
    m = _read("tensorflow.serving.SSLConfig", path)
    where = f"in {os.fspath(path)}"
    if not m.server_key or not m.server_cert:
        raise MisuseError("`server_key` and `server_cert` are needed", where=where)
    if m.client_verify and not m.custom_ca:
        raise MisuseError("`client_verify` needs a `custom_ca` to verify clients by", where=where)
    return TlsOptions(m.server_key.encode(), m.server_cert.encode(), m.custom_ca.encode(), m.client_verify)


def read_tokens(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read a file of tokens, one a line; empty lines and those that begin with # are comments.

    Raises:
        NotFoundError: there is no such file.
        MisuseError: it has no tokens: nobody could ask.
    """
    lines = [line.strip() for line in _text(path).splitlines()]
    found = tuple(line for line in lines if line and not line.startswith("#"))
    if not found:
        raise MisuseError("no tokens", where=f"in {os.fspath(path)}")
    return found


def read_metrics_path(path: str | os.PathLike[str]) -> str | None:
    """Read a MonitoringConfig file: return where metrics are to be had, or None where they are switched off."""
    m = _read("tensorflow.serving.MonitoringConfig", path).prometheus_config
    return (m.path or METRICS_PATH) if m.enable else None


METRICS_PATH: Final = "/monitoring/prometheus/metrics"


def _read(kind: str, path: str | os.PathLike[str]) -> Any:
    # A name that is misspelt must not go unnoticed: it may be the one that asks for clients' certificates.
    return messages.parse_text(kind, _text(path), where=f"in {os.fspath(path)}", strict=True)


def _text(path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text()
    except FileNotFoundError as e:
        raise NotFoundError("no such file", where=os.fspath(path)) from e
    except UnicodeDecodeError as e:
        raise CorruptError("no text", where=f"in {os.fspath(path)} at byte {e.start}") from e
