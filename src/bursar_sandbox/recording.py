"""Writes every API answer and every webhook to a file, one JSON line each, for tests to check.

Owns that file's format. Never changes what it records.
"""

from __future__ import annotations

from pathlib import Path

import orjson


class Recorder:
    """Appends to `path`; without one it does nothing."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("ab", buffering=0) if path else None

    def response(self, method: str, path: str, status: int, body: bytes) -> None:
        """An API answer."""
        self._write("response", method, path, status, body)

    def webhook(self, url: str, status: int, body: bytes) -> None:
        """A webhook and its receiver's answer; status 0 when there was none."""
        self._write("webhook", "POST", url, status, body)

    def _write(self, kind: str, method: str, path: str, status: int, body: bytes) -> None:
        if self._file is None:
            return
        line = {
            "kind": kind,
            "method": method,
            "path": path,
            "status": status,
            "body": orjson.Fragment(body),
        }
        # One write per line, in append mode, so that lines of several writers never mix. Newlines
        # stand only between JSON tokens, never inside its strings, so they can simply go.
        self._file.write(orjson.dumps(line).replace(b"\n", b"") + b"\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
