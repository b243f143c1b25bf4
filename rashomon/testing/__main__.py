"""The provider server as a program: ``python -m rashomon.testing --port 0 --print-url``."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

from .assistant import support_assistant
from .cassettes import load
from .faults import Fault
from .model import Model, echo
from .pacing import Seconds, jitter
from .server import ProviderServer

MODELS: dict[str, Model] = {"assistant": support_assistant, "echo": echo}


def parser() -> argparse.ArgumentParser:
    """The program's options."""
    options = argparse.ArgumentParser(
        prog="python -m rashomon.testing",
        description="Serve OpenAI's and Anthropic's APIs on 127.0.0.1, answered by a rule-based assistant.",
        epilog="Example: python -m rashomon.testing --port 8399 --chunk-delay 0.02 --fault 429:retry_after=1",
    )
    options.add_argument("--port", type=int, default=0, help="port; 0 picks a free one (default)")
    options.add_argument("--print-url", action="store_true", help="print the address as the first line")
    options.add_argument("--model", choices=sorted(MODELS), default="assistant", help="who answers")
    options.add_argument("--seed", type=int, help="make ids and sampled answers the same in every run")
    options.add_argument("--delay", type=float, default=0.0, metavar="S", help="seconds before an answer")
    options.add_argument("--chunk-delay", type=float, default=0.0, metavar="S", help="seconds between its pieces")
    options.add_argument("--jitter", type=float, default=0.0, metavar="S", help="add up to S seconds to both")
    options.add_argument("--chunk-size", type=int, metavar="N", help="pieces of N bytes; default one an event")
    options.add_argument("--compress", action="store_true", help="answer in gzip to clients that accept it")
    options.add_argument(
        "--cassette", metavar="PATH", help="serve this file, or folder, of recordings and nothing else"
    )
    options.add_argument("--fault", action="append", default=[], metavar="SPEC", help="spoil an answer, in order")
    options.add_argument("--keep", type=int, default=100, metavar="N", help="requests to remember (default 100)")
    options.add_argument("--until-eof", action="store_true", help="stop when standard input closes")
    return options


def build(arguments: argparse.Namespace) -> ProviderServer:
    """The server that the options describe. Raises ValueError or OSError for options that make no sense."""
    delay: Seconds = arguments.delay
    chunk_delay: Seconds = arguments.chunk_delay
    if arguments.jitter:
        seed = arguments.seed or 0
        delay = jitter(arguments.delay, arguments.delay + arguments.jitter, seed=seed)
        chunk_delay = jitter(arguments.chunk_delay, arguments.chunk_delay + arguments.jitter, seed=seed + 1)
    return ProviderServer(
        MODELS[arguments.model],
        seed=arguments.seed,
        faults=[Fault.parse(spec) for spec in arguments.fault],
        cassette=load(arguments.cassette) if arguments.cassette else None,
        delay=delay,
        chunk_delay=chunk_delay,
        chunking=arguments.chunk_size,
        compress=arguments.compress,
        keep=arguments.keep,
        port=arguments.port,
    )


def _wait_for_eof(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM, SIGINT or, with --until-eof, the end of standard input. 2 for bad options."""
    arguments = parser().parse_args(argv)
    try:
        server = build(arguments).start()
    except (ValueError, OSError) as exc:
        sys.stderr.write(f"rashomon.testing: {exc}\n")
        return 2
    over = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: over.set())
    with server:
        if arguments.print_url:
            sys.stdout.write(f"{server.url}\n")
            sys.stdout.flush()
        if arguments.until_eof:
            threading.Thread(target=_wait_for_eof, args=(over,), daemon=True).start()
        over.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
