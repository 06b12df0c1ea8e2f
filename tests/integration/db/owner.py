"""A process of its own that opens the embedded server, says what it got, and waits.

Run as `python owner.py HOME`. It prints one line of JSON, closes the server when its input ends,
and lets the tests kill it at any moment.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bursar.db.embedded import EmbeddedServer


def main() -> None:
    with EmbeddedServer.open(Path(sys.argv[1])) as server:
        print(json.dumps({"url": server.url, "owned": server.owned}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
