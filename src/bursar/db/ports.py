"""The port of the embedded server: kept over restarts, moved when somebody else has it.

Owns the choice. It never holds a port: between the look and the server's start another program
may take it, and the server's refusal is what tells.
"""

from __future__ import annotations

import random
import socket

from bursar.db.home import HOST, Home

# Below the range from which systems take ports for outgoing calls, so that ours stays free.
PORTS = range(20_000, 32_000)
TRIES = 50


def choose_port(home: Home) -> int:
    """Return the port of the last start if it is free, so that other processes find us again."""
    if home.port_file.exists() and is_free(last := int(home.port_file.read_text())):
        return last
    for port in random.sample(PORTS, TRIES):
        if is_free(port):
            return port
    return _any_port()


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Tell whether nobody listens on the port; one of a server that ended just now is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
