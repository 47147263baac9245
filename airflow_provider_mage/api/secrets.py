"""
Secrets are starred out of whatever a person may read.

Servers and proxies echo what they were sent: a password in an error, a token in a block's traceback. So what
is secret is told to :func:`learn` as soon as it is known, and every error of this package passes its texts
through :func:`star`. Like Airflow's own masker, this is one register for the whole process: an error of one
connection may quote what was sent by another.
"""

from __future__ import annotations

import base64
import html
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST_SECRET = 5
"""Shorter ones are not starred, as by Airflow's masker: they are in every other word."""

STARS = "***"
CUT = "…"
# More than a process has at a time; tokens that were renewed long ago go first.
MOST_SECRETS = 500

# Each secret with all the forms in which it may be quoted.
_forms: dict[str, list[str]] = {}


def learn(secret: object) -> None:
    """Take note of a secret; what is no text, or too short, is none."""
    if not isinstance(secret, str) or len(secret) < SHORTEST_SECRET or secret in _forms:
        return
    if len(_forms) >= MOST_SECRETS:
        _forms.pop(next(iter(_forms)), None)
    _forms[secret] = [form for form in dict.fromkeys(_quoted(secret)) if len(form) >= SHORTEST_SECRET]


def star(text: str) -> str:
    """Return a text with stars instead of every secret, quoted or not, and of what a cut has left of one."""
    known = [form for forms in tuple(_forms.values()) for form in forms]
    # The longest first: a short secret may be a part of a longer one.
    for form in sorted((form for form in known if form in text), key=len, reverse=True):
        text = text.replace(form, STARS)
    if CUT not in text:
        return text
    parts = text.split(CUT)
    last = len(parts) - 1
    return CUT.join(
        _star_ends(part, known, is_begun=number > 0, is_cut=number < last)
        for number, part in enumerate(parts)
    )


def _star_ends(part: str, known: list[str], *, is_begun: bool, is_cut: bool) -> str:
    """Star the end of a secret with which a text begins after a cut, and the beginning of one at its end."""
    if is_begun:
        length = max((_overlap(form, part) for form in known), default=0)
        part = STARS + part[length:] if length else part
    if is_cut:
        length = max((_overlap(part, form) for form in known), default=0)
        part = part[: len(part) - length] + STARS if length else part
    return part


def _overlap(left: str, right: str) -> int:
    """Return the length of the longest end of ``left`` with which ``right`` begins; 0 if it tells nothing."""
    start = left.find(right[:SHORTEST_SECRET], max(0, len(left) - len(right)))
    while start >= 0 and len(left) - start >= SHORTEST_SECRET:
        if right.startswith(left[start:]):
            return len(left) - start
        start = left.find(right[:SHORTEST_SECRET], start + 1)
    return 0


def _quoted(secret: str) -> Iterator[str]:
    """Yield a secret as it is, and as URLs, JSON, Python, HTML and base64 quote it."""
    try:
        raw = secret.encode()
    except UnicodeEncodeError:  # half a surrogate pair: no such text can be sent
        yield secret
        return
    for text in (secret, " ".join(secret.split())):  # a reason is shown on one line
        yield text
        for in_url in (quote(text), quote(text, safe=""), quote_plus(text)):
            yield in_url
            yield re.sub("%..", lambda match: match[0].lower(), in_url)
        in_json = json.dumps(text)[1:-1]
        yield in_json
        yield json.dumps(in_json)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]
        yield repr(text)[1:-1]
        yield html.escape(text)
        yield html.escape(text, quote=False)
        yield html.escape(text).replace("&#x27;", "&#39;")
    # Inside of `user:password`, say: what base64 makes of it depends on how many bytes are before it, and its
    # first and last characters on what these are.
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode()
        first = -(-before * 8 // 6)
        last = (before + len(raw)) * 8 // 6
        yield encoded[first:last]
        yield encoded[first:last].replace("+", "-").replace("/", "_")
    yield base64.b64encode(raw).decode()
