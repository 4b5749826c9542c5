"""Runs `cellvjepa pretrain` in forks of one process that has done its imports, so that a run starts at once and can be killed alone.

Each line of standard input starts one, with these arguments; its process id, and when it has ended its exit status, are printed.
"""

from __future__ import annotations

import os
import shlex
import sys

import cellvjepa.movies.readers
import cellvjepa.stories.run
import cellvjepa.training.pretrain  # noqa: F401 - imported here so that the forks need not
from cellvjepa.cli import run


def serve() -> None:
    """Fork for each line of standard input, until it ends."""
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # standard output belongs to the parent
            os._exit(run(["pretrain", *shlex.split(line)]))
        print(child, flush=True)  # noqa: T201
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    serve()
