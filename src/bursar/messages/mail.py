"""A letter as bytes: headers that nobody can add to, plain text and HTML, names of any script.

It decides neither who gets a letter nor what it says, and sends nothing: smtp does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

from bursar.messages.outbox import DeliveryFailed
from bursar.messages.smtp import Envelope

NAME_LENGTH_MAX = 200
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.I)


@dataclass(frozen=True, slots=True)
class Mail:
    """A letter to one person. `key` is the same for every try, so that doubles can be folded."""

    sender: Address
    to_email: str
    to_name: str | None
    subject: str
    text: str
    html: str
    key: str
    at: datetime


def read_sender(text: str, name: str) -> Address:
    """`Acme <billing@acme.com>`, or the address alone, which then goes by `name`.

    Raises ValueError for what is no address.
    """
    given, address = parseaddr(text)
    if CONTROL.search(text) or not address:
        raise ValueError("write Acme <billing@example.com>, or the address alone")
    return address_of(address, given or name)


def address_of(email: str, name: str | None) -> Address:
    """An address with its name; the domain as the network knows it. Raises ValueError."""
    local, at, domain = email.rpartition("@")
    if not at or not local or CONTROL.search(email) or re.search(r"\s", email):
        raise ValueError(f"{email!r} is no e-mail address")
    try:
        host = domain.encode("idna").decode()
    except UnicodeError as error:
        raise ValueError(f"{domain!r} is no domain") from error
    if not DOMAIN.fullmatch(host) and not re.fullmatch(r"\[[0-9a-fA-F:.]+\]", host):
        raise ValueError(f"{domain!r} is no domain")
    return Address(_clean(name or ""), local, host)


def compose(mail: Mail) -> Envelope:
    """The letter and its envelope. Raises DeliveryFailed, for good, where no letter can be made."""
    try:
        to = address_of(mail.to_email, mail.to_name)
        message = _message(mail, to)
        utf8 = not (to.addr_spec.isascii() and mail.sender.addr_spec.isascii())
        data = message.as_bytes(policy=policy.SMTPUTF8 if utf8 else policy.SMTP)
    except (ValueError, UnicodeError, MessageError) as error:
        raise DeliveryFailed(f"no letter can be made: {error}", dead=True) from error
    return Envelope(mail.sender.addr_spec, to.addr_spec, data, utf8)


def _message(mail: Mail, to: Address) -> EmailMessage:
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = mail.sender
    message["To"] = to
    message["Subject"] = _clean(mail.subject)
    message["Date"] = format_datetime(mail.at)
    message["Message-ID"] = f"<{mail.key}@{mail.sender.domain}>"
    # No holiday notice is wanted in answer (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    return message


def _clean(text: str) -> str:
    """One line for a header, cut to what people read."""
    return " ".join(CONTROL.sub(" ", text).split())[:NAME_LENGTH_MAX]
