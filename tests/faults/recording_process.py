"""Records steps and tells each serial as soon as it has it: `recording_process.py NAME COUNT [CHILDREN]`.

With CHILDREN it forks so many, in one trace, and each of them does that. A line is `name serial`.
"""

from __future__ import annotations

import os
import sys

import rashomon


@rashomon.tool
def serial(name: str, number: int) -> str:
    """What this process has at this number."""
    return f"{name} {number}"


def work(name: str, count: int) -> None:
    """Ask and tell, by one system call a line."""
    os.write(1, f"{name} started {os.getpid()}\n".encode())
    for number in range(count):
        os.write(1, f"{serial(name, number)}\n".encode())


def main() -> None:
    """Work alone, or in children."""
    name, count = sys.argv[1], int(sys.argv[2])
    with rashomon.trace(name):
        if len(sys.argv) < 4:
            work(name, count)
            return
        children = []
        for number in range(int(sys.argv[3])):
            child = os.fork()
            if child == 0:
                work(f"{name}-{number}", count)
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)


if __name__ == "__main__":
    main()
