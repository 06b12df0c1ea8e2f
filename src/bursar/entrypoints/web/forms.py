"""What a browser posts: read with bounds, and only from our own pages.

Owns the reading of url-encoded forms, the check of where a post comes from, and which addresses
a form may lead back to. Knows no field by name.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from bursar import errors
from bursar.config import origin_of

BODY_BYTES_MAX = 16 * 1024
FIELDS_MAX = 20
FORM_TYPE = "application/x-www-form-urlencoded"

# A path of ours: no host in any browser's reading, which takes a backslash for a slash.
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]{0,500}", re.ASCII)


def check_origin(request: Request, own_url: str) -> None:
    """Raise errors.Denied unless the request comes from a page of ours.

    Browsers say so themselves in Sec-Fetch-Site; older ones, and all on plain HTTP, in Origin. A
    post that says neither comes from no page of ours.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        trusted = site == "same-origin"
    else:
        try:
            trusted = origin_of(request.headers.get("origin", "")) == origin_of(own_url)
        except ValueError:
            trusted = False
    if not trusted:
        raise errors.Denied(
            "This form was not sent from our own page. Open the page and try again."
        )


async def read(request: Request) -> dict[str, str]:
    """The fields of a posted form; of a field sent twice the last.

    Raises HTTPException 413 and 415, and errors.Invalid for what is not UTF-8 text.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        raise HTTPException(415)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise HTTPException(413)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=FIELDS_MAX,
        )
    except ValueError as error:
        raise errors.Invalid("This form can't be read.") from error
    if any("\0" in text for pair in pairs for text in pair):
        raise errors.Invalid("This form can't be read.")
    return dict(pairs)


def local_path(path: str | None, default: str) -> str:
    """`path` if it is a path on this server, else `default`: a redirect leads nowhere else."""
    return path if path and _LOCAL.fullmatch(path) else default
