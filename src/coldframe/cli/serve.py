"""``coldframe serve --model NAME=PATH``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coldframe import __version__
from coldframe.cli import serve_flags
from coldframe.cli.terminal import say
from coldframe.errors import MisuseError

if TYPE_CHECKING:
    from coldframe.serve.server import ServeOptions

HELP = "serve models with TensorFlow Serving's protocol"
DESCRIPTION = (
    "Serve frozen graphs, SavedModels, and checkpoints with their graph, over TensorFlow Serving's REST and gRPC APIs."
    " Flags of TensorFlow Serving's own server are understood, with dashes or underscores."
)
_MICRO: Final = 1e-6


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    _models(parser.add_argument_group("models"))
    _network(parser.add_argument_group("network"))
    _running(parser.add_argument_group("running"))
    parser.add_argument("--version", action="version", version=f"coldframe {__version__}", help=argparse.SUPPRESS)
    serve_flags.declare(parser)


def _flag(group: argparse._ArgumentGroup, name: str, help: str, **more: object) -> None:
    """Add a flag that can be written with dashes, and with underscores as TensorFlow Serving writes it."""
    names = [f"--{name}"] if "_" not in name else [f"--{name.replace('_', '-')}", f"--{name}"]
    group.add_argument(*names, help=help, **more)  # type: ignore[arg-type]


def _models(group: argparse._ArgumentGroup) -> None:
    _flag(group, "model", "a model; may be given several times", metavar="NAME=PATH", action="append", default=[])
    _flag(group, "model_name", "the name of the model at --model-base-path", metavar="NAME", default="default")
    _flag(group, "model_base_path", "a folder of versions, or a model", metavar="PATH")
    _flag(group, "checkpoint", "where variables' values are, for one graph without them", metavar="PREFIX")
    _flag(group, "model_config_file", "which models to serve, as a ModelServerConfig in text format", metavar="FILE")
    _flag(
        group,
        "model_config_file_poll_wait_seconds",
        "look for a new one; 0: on SIGHUP only",
        metavar="S",
        type=float,
        default=0.0,
    )
    _flag(
        group,
        "file_system_poll_wait_seconds",
        "look for new versions; 0: on SIGHUP only",
        metavar="S",
        type=float,
        default=1.0,
    )
    _flag(group, "saved_model_tags", "which meta graph of SavedModels", metavar="A,B")
    _flag(
        group,
        "enable_model_warmup",
        "answer recorded warm-up requests first (default: true)",
        metavar="BOOL",
        type=_truth,
        default=True,
        nargs="?",
        const=True,
    )
    _flag(group, "num_request_iterations_for_warmup", "how often", metavar="N", type=int, default=1)
    _flag(
        group,
        "enable_signature_method_name_check",
        "classify, and regress, only where a signature's method says so",
        metavar="BOOL",
        type=_truth,
        default=False,
        nargs="?",
        const=True,
    )
    _flag(
        group, "max_num_load_retries", "how often a version that fails is tried again", metavar="N", type=int, default=5
    )
    _flag(group, "load_retry_interval_micros", "time between tries", metavar="US", type=float, default=60e6)
    _flag(group, "num_load_threads", "versions that load at the same time", metavar="N", type=int, default=1)
    _flag(
        group,
        "allow_version_labels_for_unavailable_models",
        "labels may be given before the version serves",
        metavar="BOOL",
        type=_truth,
        default=False,
        nargs="?",
        const=True,
    )


def _network(group: argparse._ArgumentGroup) -> None:
    _flag(group, "host", "the address to listen on; 0.0.0.0 for all", metavar="ADDRESS", default="127.0.0.1")
    _flag(group, "rest_api_port", "for REST; 0 for none", metavar="N", type=int, default=8501)
    _flag(group, "port", "for gRPC; 0 for none", metavar="N", type=int, default=8500)
    _flag(group, "grpc_socket_path", "a Unix socket for gRPC, besides", metavar="PATH")
    _flag(
        group,
        "grpc_channel_arguments",
        "arguments of gRPC's channels",
        metavar="NAME=VALUE,...",
        type=serve_flags.channel_arguments,
        default=(),
    )
    _flag(group, "ssl_config_file", "keys and certificates, as an SSLConfig in text format", metavar="FILE")
    _flag(
        group,
        "rest_api_enable_cors_support",
        "let pages of other origins call",
        metavar="BOOL",
        type=_truth,
        default=False,
        nargs="?",
        const=True,
    )
    _flag(
        group,
        "rest_api_timeout_in_ms",
        "how long a request may take that sets no deadline",
        metavar="MS",
        type=float,
        default=30000.0,
    )
    _flag(group, "token_file", "tokens of who may ask, one a line; clients send Authorization: Bearer", metavar="FILE")
    _flag(group, "max_requests_in_flight", "HTTP requests at the same time; 0: any", metavar="N", type=int, default=0)
    _flag(
        group,
        "slow_client_timeout",
        "close HTTP connections after so long without a byte",
        metavar="S",
        type=float,
        default=20.0,
    )
    _flag(
        group,
        "max_expansion_bytes",
        "what a request's tensors may take beyond what was sent",
        metavar="N",
        type=int,
        default=1 << 28,
    )
    _flag(group, "max_body_bytes", "how large a request may be", metavar="N", type=int, default=1 << 30)
    _flag(
        group,
        "max_bodies_bytes",
        "how large all requests at the same time may be; 0: an eighth of the memory",
        metavar="N",
        type=int,
        default=0,
    )


def _running(group: argparse._ArgumentGroup) -> None:
    _flag(group, "engine", "auto, onnxruntime, openvino, xla or reference", metavar="E", default="auto")
    _flag(
        group,
        "tensorflow_intra_op_parallelism",
        "threads within an op; 0: the engine chooses",
        metavar="N",
        type=int,
        default=0,
    )
    _flag(group, "tensorflow_session_parallelism", "the same", metavar="N", type=int, default=0)
    _flag(group, "spin", "such threads spin while they wait: quicker where processors are idle", action="store_true")
    _flag(
        group,
        "threads",
        "requests that run at the same time; 0: one for each processor",
        metavar="N",
        type=int,
        default=0,
    )
    _flag(group, "workers", "processes that share the ports", metavar="N", type=int, default=1)
    _flag(group, "max_queued_requests", "requests that may wait", metavar="N", type=int, default=1000)
    _flag(
        group,
        "enable_batching",
        "run requests together",
        metavar="BOOL",
        type=_truth,
        default=False,
        nargs="?",
        const=True,
    )
    _flag(group, "batching_parameters_file", "how, as BatchingParameters in text format", metavar="FILE")
    _flag(group, "log_requests", "a line of JSON for each request", action="store_true")
    _flag(group, "monitoring_config_file", "where metrics are, as a MonitoringConfig in text format", metavar="FILE")
    _flag(
        group,
        "enable_serialization_as_tensor_content",
        "gRPC replies in tensor_content",
        metavar="BOOL",
        type=_truth,
        default=False,
        nargs="?",
        const=True,
    )


def _truth(text: str) -> bool:
    if text.lower() in ("true", "1", "yes"):
        return True
    if text.lower() in ("false", "0", "no"):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, found {text!r}")


def options(args: argparse.Namespace) -> ServeOptions:
    """Return what the arguments mean.

    Raises:
        MisuseError: no model is named, or one in a way that cannot be.
        NotFoundError, CorruptError: a configuration file is not there, or damaged.
    """
    from coldframe.serve import config
    from coldframe.serve.lifecycle import CatalogOptions
    from coldframe.serve.servable import LoadOptions
    from coldframe.serve.server import ServeOptions

    if args.batching_parameters_file and not args.enable_batching:
        raise MisuseError("--batching-parameters-file without --enable-batching")
    batching = None
    if args.enable_batching:
        file = args.batching_parameters_file
        batching = config.read_batching_options(file) if file else config.BatchingOptions()
    tags = tuple(args.saved_model_tags.split(",")) if args.saved_model_tags else None
    return ServeOptions(
        models=_named(args),
        config_file=Path(args.model_config_file) if args.model_config_file else None,
        config_poll=args.model_config_file_poll_wait_seconds,
        version_poll=args.file_system_poll_wait_seconds,
        host=args.host,
        rest_port=args.rest_api_port or None,
        grpc_port=args.port or None,
        grpc_socket=args.grpc_socket_path,
        load=LoadOptions(
            args.engine,
            args.tensorflow_intra_op_parallelism or args.tensorflow_session_parallelism,
            tags,
            spin=args.spin,
        ),
        catalog=CatalogOptions(
            args.max_num_load_retries,
            args.load_retry_interval_micros * _MICRO,
            args.num_load_threads,
            args.allow_version_labels_for_unavailable_models,
        ),
        warm_up=args.num_request_iterations_for_warmup if args.enable_model_warmup else 0,
        check_methods=args.enable_signature_method_name_check,
        grpc_arguments=args.grpc_channel_arguments,
        batching=batching,
        threads=args.threads,
        queued=args.max_queued_requests,
        timeout=args.rest_api_timeout_in_ms / 1000,
        patience=args.slow_client_timeout,
        max_body=args.max_body_bytes,
        max_bodies=args.max_bodies_bytes,
        max_expansion=args.max_expansion_bytes,
        as_content=args.enable_serialization_as_tensor_content,
        cors=args.rest_api_enable_cors_support,
        metrics_path=config.read_metrics_path(args.monitoring_config_file)
        if args.monitoring_config_file
        else config.METRICS_PATH,
        workers=args.workers,
        log_requests=args.log_requests,
        tokens=config.read_tokens(args.token_file) if args.token_file else (),
        max_in_flight=args.max_requests_in_flight,
        tls=config.read_tls_options(args.ssl_config_file) if args.ssl_config_file else None,
    )


def _named(args: argparse.Namespace) -> tuple:  # type: ignore[type-arg]
    from coldframe.serve.config import ModelConfig, check_local
    from coldframe.serve.naming import check_model_name

    pairs = [text.partition("=")[::2] for text in args.model]
    if args.model_base_path:
        pairs.append((args.model_name, args.model_base_path))
    if args.model_config_file:
        if pairs:
            raise MisuseError("models are named twice", expected="--model-config-file, or --model", found="both")
        return ()
    if not pairs:
        raise MisuseError("nothing to serve", hint="name a model: `--model NAME=PATH`")
    found: dict[str, ModelConfig] = {}
    for name, path in pairs:
        if not path:
            raise MisuseError("a model has a name and a path", expected="`--model NAME=PATH`", found=f"`{name}`")
        check_model_name(name)
        check_local(path, where=f"of model `{name}`")
        if name in found:
            raise MisuseError(f"two models are called `{name}`")
        found[name] = ModelConfig(name, Path(path), checkpoint=args.checkpoint)
    return tuple(found.values())


def command(args: argparse.Namespace) -> None:
    """Serve until a signal ends it."""
    from coldframe.errors import UnsupportedError

    try:
        from coldframe.serve.server import run_server
        from coldframe.serve.workers import serve_with_workers
    except ModuleNotFoundError as e:
        raise UnsupportedError(
            f"serving needs {e.name}", hint="install what it needs: pip install 'coldframe[serve]'"
        ) from e
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("coldframe.serve.access").setLevel(logging.INFO if args.log_requests else logging.WARNING)
    chosen = options(args)
    for line in serve_flags.passed_over(args):
        logging.getLogger("coldframe.serve").warning(line)
    if chosen.workers > 1:
        serve_with_workers(chosen, lambda rest, rpc: _say_where(chosen, rest, rpc))
    else:
        run_server(chosen, lambda server: _say_where(chosen, server.rest_port, server.grpc_port))


def _say_where(options: ServeOptions, rest: int | None, rpc: int | None) -> None:
    from coldframe.serve.naming import host_and_port

    for model in options.models:
        say(f"serving {model.name}")
    if rest is not None:
        say(f"REST  {'http' if options.tls is None else 'https'}://{host_and_port(options.host, rest)}/v1/models")
    if rpc is not None:
        say(f"gRPC  {host_and_port(options.host, rpc)}")
