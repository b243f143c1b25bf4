"""The shims for `requests`, `urllib3` and `aiohttp`: their calls cross the boundary.

What vcrpy calls a cassette is here a `Cassette`: it keeps an answer while the program consumes it, and
plays it on a replay, in the boundary's terms instead of a YAML file's. vcrpy's own stubs read every answer
to its end before the program sees it, and decode it; so for recording the libraries' own connections are
used and their answers are teed, and vcrpy's stand-ins (a socket and a response that reach nobody) serve
when an answer is played. They are loaded at the first played answer (`vcr_stubs`). Recording does not need them.

`requests` stands on `urllib3` and is recorded there, once for each hop of a redirect and each retry.

Not recorded, and therefore in the trace as connections without a call: urllib3 before 2.0, aiohttp before
3.12, WebSockets and other upgraded connections.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from rashomon import interruptions, values
from rashomon.boundary import Witness, end_of
from rashomon.errors import Missed
from rashomon.model import End, Response
from rashomon.recorders.complaints import complain
from rashomon.recorders.httpx_streams import ran_out

_said: set[str] = set()


def say_once(sentence: str) -> None:
    """`complain`, once for each process and sentence."""
    if sentence not in _said:
        _said.add(sentence)
        complain(sentence)


def patch_urllib3(module: ModuleType) -> None:
    """Let every pool of `urllib3` cross the boundary; `module` is `urllib3.connectionpool`."""
    from rashomon.recorders import vcr_urllib3

    vcr_urllib3.patch(module)


def patch_aiohttp(module: ModuleType) -> None:
    """Let every session of `aiohttp` cross the boundary; `module` is `aiohttp.client`."""
    from rashomon.recorders import vcr_aiohttp

    vcr_aiohttp.patch(module)


class Cassette:
    """Keeps the answer to one request, or plays it: the `Codec` of these libraries.

    A subclass says how (`keep`, `rebuild`) and what a rebuilt exception lacks (`repair`).
    """

    __slots__ = ()

    def tee(self, answer: Any, witness: Witness) -> Any:
        """The live answer, watched. What cannot be watched reaches the program all the same."""
        try:
            return self.keep(answer, witness)
        except Exception as error:  # recording must not break the program
            interruptions.pass_on(error)
            say_once(f"an answer is not recorded: {type(error).__name__}: {error}. The program goes on.")
            witness.ended(End.LEAKED)
            return answer

    def play(self, response: Response, witness: Witness) -> Any:
        """The recorded answer as the library's own object; raises the recorded failure."""
        if response.head is None:
            error = self.failure(response)
            witness.ended(end_of(error), error)
            raise error
        witness.began(response.head)
        try:
            return self.rebuild(response, witness)
        except ImportError as error:  # only a replay needs vcrpy
            missed = Missed(f"This answer cannot be played: {error}. Run `pip install 'rashomon[http]'`.")
            witness.ended(End.ERROR, missed)
            raise missed from error

    async def discard(self, answer: Any) -> None:
        """Close an answer that nobody will get."""
        try:
            answer.close()
        except Exception:
            pass  # its connection is gone: there is nothing left to release

    def failure(self, response: Response) -> BaseException:
        """What the program gets where the recording ends in a failure, or before its end."""
        streaming = response.head is not None
        if response.failure is None or (streaming and response.end is not End.ERROR):
            return ran_out(response)
        try:
            error = values.decode_failure(response.failure)
        except values.NotRebuildable as gone:
            return Missed(f"The recorded failure of this call cannot be served: {gone}.")
        self.repair(error)
        return error

    def keep(self, answer: Any, witness: Witness) -> Any:
        """Report the head of a live answer, and watch the rest of it."""
        raise NotImplementedError

    def rebuild(self, response: Response, witness: Witness) -> Any:
        """A recorded answer as the library's own object, watched."""
        raise NotImplementedError

    def repair(self, error: BaseException) -> None:
        """Give a rebuilt exception the objects of this process that it had at recording."""
