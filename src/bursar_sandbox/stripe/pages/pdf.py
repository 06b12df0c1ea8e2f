"""A page of text as a PDF document, by hand: one font, lines one below the other.

Owns the file's syntax and nothing else. All pure.
"""

from __future__ import annotations

from collections.abc import Sequence

_LINES_PER_PAGE = 44
_LONGEST_LINE = 90


def document(lines: Sequence[str]) -> bytes:
    """The lines as a document of A4 pages. What the font hasn't is written as a question mark."""
    cut = [line[:_LONGEST_LINE] for line in lines] or [""]
    pages = [cut[n : n + _LINES_PER_PAGE] for n in range(0, len(cut), _LINES_PER_PAGE)]
    # The catalogue is object 1, the list of pages 2, the font 3; then each page and its text.
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, page in enumerate(pages):
        content = f"{5 + 2 * number} 0 R"
        parts.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842]"
            b" /Resources << /Font << /F1 3 0 R >> >> /Contents " + content.encode() + b" >>"
        )
        stream = _stream(page)
        parts.append(b"<< /Length %d >>\nstream\n" % len(stream) + stream + b"\nendstream")
    return _file(parts)


def _stream(lines: Sequence[str]) -> bytes:
    shown = b"".join(b"(" + _escaped(line) + b") Tj T*\n" for line in lines)
    return b"BT /F1 11 Tf 16 TL 56 780 Td\n" + shown + b"ET"


def _escaped(line: str) -> bytes:
    text = line.replace("\u2212", "-").replace("\u00a0", " ").encode("cp1252", "replace")
    for sign in (b"\\", b"(", b")"):
        text = text.replace(sign, b"\\" + sign)
    return text


def _file(parts: Sequence[bytes]) -> bytes:
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, part in enumerate(parts, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + part + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1)
    for place in places:
        out += b"%010d 00000 n \n" % place
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n" % (len(parts) + 1, start)
    return bytes(out + b"%%EOF\n")
