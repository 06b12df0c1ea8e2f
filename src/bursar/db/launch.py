"""A script: become the server's user, tie one's life to the parent, then become the program.

Run as `python launch.py PARENT_PID UID GID PROGRAM ARGUMENT…` with the standard library only. It
exists because this must happen between fork and exec, where Python code in a process that has
threads may deadlock. It never starts a second process: the program keeps this one's id.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def tied(program: list[str]) -> list[str]:
    """The command that runs `program` as our own user, with its life tied to this process."""
    script = [sys.executable, "-I", "-S", __file__]
    return [*script, str(os.getpid()), str(os.getuid()), str(os.getgid()), *program]


def main(arguments: list[str]) -> None:
    """Replace this process by the program; return never."""
    parent, uid, gid = (int(number) for number in arguments[:3])
    program = arguments[3:]
    if uid != os.getuid():
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After the change of user, which would clear it. SIGINT is PostgreSQL's fast shutdown.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
        if os.getppid() != parent:
            # The parent died before the line above: its death will not be signalled any more.
            sys.exit("the parent process ended")
    os.execv(program[0], program)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
