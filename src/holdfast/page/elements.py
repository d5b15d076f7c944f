"""HTML as values: text becomes plain and escaped wherever it is put in, so that nothing from outside is ever markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from urllib.parse import urlsplit

from holdfast.core.redact import plain

_VOID = frozenset({"link", "meta"})


class Html(str):
    """Text that is HTML already; only this module makes it."""

    __slots__ = ()


Child = str | None | Iterable["Child"]


def element(tag: str, *children: Child, **attributes: str | None) -> Html:
    """One element. `class_` stands for `class`, `data_key` for `data-key`; an attribute that is None is left out."""
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_text(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Html(f"<{tag}{given}>")
    return Html(f"<{tag}{given}>{together(children)}</{tag}>")


def together(children: Child) -> Html:
    """All of them, one behind the other."""
    match children:
        case None:
            return Html("")
        case Html():
            return children
        case str():
            return Html(_text(children))
        case _:
            return Html("".join(map(together, children)))


def document(title: str, head: Child, body: Html) -> bytes:
    """A whole document around a `body` element."""
    top = element("head", element("meta", charset="utf-8"), element("title", title), head)
    return f"<!doctype html>\n{element('html', top, body, lang='en')}\n".encode("utf-8", "replace")


def link(address: str | None, *children: Child) -> Html:
    """A link that leads out of here, if the address is one of the web; else only what it says."""
    if address is None or not _is_web(address):
        return together(children)
    return element("a", children, href=address, rel="noreferrer noopener")


def _is_web(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _text(value: str) -> str:
    return escape(plain(value), quote=True)
