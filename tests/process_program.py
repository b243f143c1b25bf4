"""A program of many processes, for tests of lanes: `process_program.py SCENARIO [START METHOD]`.

Each call of `ask` gets another answer to the same request, so that only lanes can say whose answer is whose.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import rashomon

JOBS = 40


@rashomon.tool
def ask(question: str = "?") -> str:
    """Answer a question, differently each time."""
    return os.urandom(4).hex()


def say(*words: object) -> None:
    """One whole line, by one system call."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def job(number: int) -> str:
    """A job of a pool."""
    return f"{number} {ask()}"


def _in_child(queue: Any, name: str, context: Any, depth: int) -> None:
    queue.put(f"{name} {ask()}")

    def deeper() -> None:
        queue.put(f"{name} thread {ask()}")
        if depth:
            inner = context.Process(target=_in_child, args=(queue, f"{name} deeper", context, depth - 1))
            inner.start()
            inner.join()

    thread = threading.Thread(target=deeper)
    thread.start()
    thread.join()


def started(method: str) -> None:
    """Two processes, in each a thread, in each of those a process with a thread."""
    context: Any = multiprocessing.get_context(method)
    queue: Any = context.SimpleQueue()
    children = [context.Process(target=_in_child, args=(queue, str(n), context, 1)) for n in range(2)]
    for child in children:
        child.start()
    print("\n".join(sorted(queue.get() for _ in range(8))))
    for child in children:
        child.join()
    print("last", ask())


def executor(method: str) -> None:
    """A pool of four workers; which of them does which job depends on scheduling."""
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context(method)) as pool:
        futures = [pool.submit(job, number) for number in range(JOBS)]
        print("\n".join(future.result() for future in futures))
        print(list(pool.map(job, range(4), chunksize=2)))


def awaited(method: str) -> None:
    """Jobs of a pool of processes that an event loop waits for, and that are looked at as they end."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor, as_completed

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        return list(await asyncio.gather(*[loop.run_in_executor(workers, job, number) for number in range(4)]))

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as workers, ThreadPoolExecutor(1):
        print(asyncio.run(main()))
        print([future.result() for future in as_completed({workers.submit(job, number) for number in range(4)})])


def pool(method: str) -> None:
    """multiprocessing's own pool, in each of its ways."""
    with multiprocessing.get_context(method).Pool(2) as workers:
        print(workers.map(job, range(6)), workers.apply(job, (6,)), workers.starmap(job, [(7,), (8,)]))
        print(list(workers.imap(job, range(3))), sorted(workers.imap_unordered(job, range(3))))


def commands(_: str) -> None:
    """Other Python programs, started in several ways."""
    own = [sys.executable, __file__, "leaf"]
    print(_output(own))
    print(_output(own, env={"PATH": os.environ.get("PATH", "")}))
    print(_output(["uname"]))
    print(_output(f"{' '.join(own)}; {' '.join(own)}; true", shell=True))
    print(_output([sys.executable, __file__, "becomes"]))
    print(_output(own, preexec_fn=os.getpid))
    print(_awaiting(own), flush=True)
    child = os.posix_spawn(sys.executable, own, {"PATH": os.environ.get("PATH", "")})
    assert os.waitpid(child, 0)[1] == 0
    print("last", ask())


def _output(command: Any, **options: Any) -> str:
    return str(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout).strip()


def _awaiting(command: list[str]) -> list[str]:
    import asyncio  # not for all: most of these processes live for a few milliseconds

    return asyncio.run(_awaited(command))


async def _awaited(command: list[str]) -> list[str]:
    import asyncio

    async def one() -> str:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        return out.decode().strip()

    return list(await asyncio.gather(one(), one(), one()))


def leaf(_: str) -> None:
    """A program that is started by others."""
    print("leaf", ask(), *sorted(name for name in os.environ if name == "RASHOMON_LANE"))


def becomes(_: str) -> None:
    """A program that turns into another one."""
    say("before", ask())
    try:
        os.execv("/nowhere/at/all", ["nothing"])
    except FileNotFoundError:
        say("still", ask())
    os.execv(sys.executable, [sys.executable, __file__, "leaf"])


def threads(_: str) -> None:
    """Threads that fork at the same time."""

    def forking(name: int) -> None:
        for number in range(2):
            child = os.fork()
            if child == 0:
                say("child", name, number, ask())
                os._exit(0)
            os.waitpid(child, 0)
        say("parent", name, ask())

    running = [threading.Thread(target=forking, args=(n,)) for n in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


@rashomon.tool
def delegate(method: str) -> list[str]:
    """A tool that has its work done by other processes."""
    context: Any = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    child = context.Process(target=_delegated, args=(theirs,))
    child.start()
    found = [ours.recv()]
    child.join()
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        found.extend(pool.map(job, range(3)))
    return [*found, _output([sys.executable, __file__, "leaf"])]


def _delegated(pipe: Any) -> None:
    pipe.send(ask())


def delegating(method: str) -> None:
    """Tools that start processes, one after the other."""
    print(delegate(method), delegate(method), ask())


@rashomon.tool
def counting(last: int) -> Generator[str]:
    """A stream of numbers."""
    for number in range(last):
        yield f"number {number}"


def streaming(_: str) -> None:
    """A fork while two streams are under way; the child drops one and reads the other to its end."""
    first, second = counting(3), counting(4)
    print(next(first), next(second), flush=True)
    child = os.fork()
    if child == 0:
        first.close()
        say("child", ask(), *second)
        os._exit(0)
    os.waitpid(child, 0)
    print("parent", ask(), *first, *second)


def _until_killed(pipe: Any) -> None:
    pipe.send(ask())
    pipe.send(ask())
    signal.pause()


def killed(method: str) -> None:
    """A daemon that is terminated, and a worker that is killed and replaced."""
    context: Any = multiprocessing.get_context(method)
    for end in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        ours, theirs = context.Pipe()
        child = context.Process(target=_until_killed, args=(theirs,), daemon=True)
        child.start()
        theirs.close()
        print(end.name, ours.recv(), ours.recv())
        assert child.pid is not None
        os.kill(child.pid, end)
        child.join()
    print("last", ask())


def prefork(_: str) -> None:
    """A master with workers that share a listening socket; one is killed, and the master starts another."""
    listening = socket.create_server(("127.0.0.1", 0))

    def worker() -> int:
        child = os.fork()
        if child:
            return child
        while True:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1)
                connection.sendall(f"{os.getpid()} {ask()}".encode())

    def visit() -> str:
        with socket.create_connection(listening.getsockname()) as connection:
            connection.sendall(b"?")
            answer = b""
            while piece := connection.recv(100):
                answer += piece
            return answer.decode()

    def visits() -> None:
        seen: set[int] = set()
        for number in range(5000):
            if number >= 20 and seen.issuperset(workers):  # on a busy machine one of them may be late
                break
            answer = visit()
            seen.add(int(answer.split()[0]))
            print(answer)

    workers = [worker() for _ in range(3)]
    visits()
    os.kill(workers[0], signal.SIGKILL)
    os.waitpid(workers[0], 0)
    workers[0] = worker()
    visits()
    for one in workers:
        os.kill(one, signal.SIGKILL)
        os.waitpid(one, 0)


SCENARIOS: dict[str, Callable[[str], None]] = {
    one.__name__: one
    for one in (
        started,
        executor,
        awaited,
        pool,
        commands,
        leaf,
        becomes,
        threads,
        killed,
        prefork,
        delegating,
        streaming,
    )
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](sys.argv[2] if len(sys.argv) > 2 else "")
