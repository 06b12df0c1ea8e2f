"""The letters that were taken: a table of the sandbox's file, each with its bytes as they came."""

from __future__ import annotations

from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

from bursar_sandbox.mailbox.server import Letter
from bursar_sandbox.store import Store


@dataclass(frozen=True, slots=True)
class Kept:
    """A letter as it lies in the box."""

    id: int
    at: int
    sender: str
    recipients: str
    data: bytes

    @property
    def message(self) -> EmailMessage:
        """The letter, read."""
        return BytesParser(EmailMessage, policy=policy.default).parsebytes(self.data)

    def header(self, name: str) -> str:
        """A header's text; empty when it is not there or can't be read."""
        try:
            return str(self.message.get(name, ""))
        except (ValueError, IndexError):
            return ""

    def body(self, kind: str) -> str:
        """The plain (`plain`) or the HTML (`html`) form; empty without one."""
        part = self.message.get_body(preferencelist=(kind,))
        return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""


def keep(store: Store, letter: Letter) -> None:
    """Put a letter into the box."""
    with store.transaction() as tx:
        tx.execute(
            "INSERT INTO letters (at, sender, recipients, data) VALUES (?, ?, ?, ?)",
            (tx.now, letter.sender, " ".join(letter.recipients), letter.data),
        )


def listed(store: Store, limit: int) -> list[Kept]:
    """The latest letters, newest first."""
    rows = store.read(
        "SELECT id, at, sender, recipients, data FROM letters ORDER BY id DESC LIMIT ?", (limit,)
    )
    return [Kept(*row) for row in rows.fetchall()]


def find(store: Store, letter_id: int) -> Kept | None:
    """One letter, if it is there."""
    row = store.read(
        "SELECT id, at, sender, recipients, data FROM letters WHERE id = ?", (letter_id,)
    ).fetchone()
    return Kept(*row) if row else None
