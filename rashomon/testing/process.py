"""A provider server in a process of its own, so that it shares neither the interpreter lock nor a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from .server import TEST_KEY


class ProviderProcess:
    """`python -m rashomon.testing` as a context manager; `arguments` are its options, like ["--seed", "7"].

    The process ends with the block, and by itself when this process dies, since its standard input closes.
    Raises RuntimeError when it does not start.
    """

    def __init__(self, arguments: Sequence[str] = (), *, python: str = sys.executable) -> None:
        self._command = [python, "-m", "rashomon.testing", "--print-url", "--until-eof", *arguments]
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def openai_url(self) -> str:
        """What to give the openai SDK as `base_url`."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """What to give the anthropic SDK as `base_url`."""
        return self.url

    @property
    def pid(self) -> int:
        """The process's id; known once started."""
        if self._process is None:
            raise RuntimeError("The provider process is not running. Start it first.")
        return self._process.pid

    def environ(self) -> dict[str, str]:
        """The variables that point an unchanged program's SDKs at this server."""
        return {
            "OPENAI_BASE_URL": self.openai_url,
            "OPENAI_API_KEY": TEST_KEY,
            "ANTHROPIC_BASE_URL": self.anthropic_url,
            "ANTHROPIC_API_KEY": TEST_KEY,
        }

    def start(self) -> Self:
        """Launch it and wait for its address."""
        # The child has to find this very package, also when it is imported from a folder on sys.path.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            self.stop()
            raise RuntimeError(f"{' '.join(self._command)} printed no address. Run it by hand to see why.")
        return self

    def stop(self) -> None:
        """End it and wait for it. A second call does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
