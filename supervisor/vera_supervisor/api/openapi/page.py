"""Pages for a browser: no script, nothing from elsewhere, and a policy that says so."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any, Final

from vera_supervisor.api.openapi.reading import Route, Row, Shape, sections, shapes, usual_problems
from vera_supervisor.api.problems import KINDS

_STYLE: Final = files(__package__).joinpath("page.css").read_text()
_DIGEST: Final = b64encode(sha256(_STYLE.encode()).digest()).decode()
#: What goes with a page: it may have this one style, and nothing else at all.
HEADERS: Final = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def api_page(document: Mapping[str, Any]) -> bytes:
    """Return the whole API as a page."""
    return _page("vera-worker: the API", _api(document))


def index_page(worker_id: str, version: str, links: Iterable[tuple[str, str]]) -> bytes:
    """Return where to go from here: a page of links, each with what is there."""
    items = "".join(f'<li><a href="{href}">{href}</a> {_text(says)}</li>' for href, says in links)
    title = f"<h1>vera-worker <small>{escape(worker_id)}, version {escape(version)}</small></h1>"
    return _page(f"vera-worker: {worker_id}", [title, f"<ul>{items}</ul>"])


def _page(title: str, body: Iterable[str]) -> bytes:
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            *body,
            "</body></html>",
        ]
    ).encode()


def _api(document: Mapping[str, Any]) -> Iterator[str]:
    info, named = document["info"], shapes(document)
    link = _Links(named)
    yield f"<h1>vera-worker <small>version {escape(info['version'])}</small></h1>"
    yield f"<p>{_text(info['summary'])}</p>"
    yield from (f"<p>{_text(paragraph)}</p>" for paragraph in info["description"].split("\n\n"))
    yield '<p><a href="openapi.json">openapi.json</a></p><nav><ul>'
    for section in sections(document):
        for route in section.routes:
            yield f'<li><a href="#{route.anchor}">{escape(route.summary)}</a></li>'
    yield "</ul></nav>"
    for section in sections(document):
        yield f"<h2>{escape(section.name)}</h2><p>{_text(section.says)}</p>"
        for route in section.routes:
            yield from _route(route, link)
    usual = ", ".join(usual_problems(document))
    yield f"<h2>Problems</h2><p>Any request can meet {usual}.</p><table>"
    yield from (f"<tr><td>{status}<td>{escape(title)}" for status, (_, title) in KINDS.items())
    yield "</table><h2>Shapes</h2>"
    for shape in named:
        yield from _shape(shape, link)


def _route(route: Route, link: "_Links") -> Iterator[str]:
    yield f'<section id="{route.anchor}"><h3><b class="{route.method}">{route.method}</b> '
    yield f"<code>{escape(route.path)}</code> {escape(route.summary)}</h3>"
    if route.description:
        yield f"<p>{_text(route.description)}</p>"
    if route.parameters:
        yield from _table(route.parameters, link)
    if route.body:
        kinds = "; ".join(
            f"<code>{escape(m)}</code> {link(kind)}" for m, kind in route.body.items()
        )
        yield f"<p>Body: {kinds}</p><pre>{escape(route.example)}</pre>"
    yield "<table>"
    for answer in route.answers:
        kinds = "; ".join(dict.fromkeys(map(link, answer.kinds.values())))
        example = f"<pre>{escape(answer.example)}</pre>" if answer.example else ""
        yield f'<tr><td>{answer.status}<td>{_text(answer.says)}{example}<td class="kind">{kinds}'
    needs = f"Needs a token for <code>{route.scope}</code>." if route.scope else "Needs no token."
    problems = f"Problems: {', '.join(route.problems)}." if route.problems else ""
    yield f'</table><p class="quiet">{needs} {problems}</p></section>'


def _shape(shape: Shape, link: "_Links") -> Iterator[str]:
    yield f'<section id="{shape.name}"><h3>{escape(shape.name)}</h3><p>{_text(shape.says)}</p>'
    if shape.words:
        yield "<p>" + ", ".join(f"<code>{escape(word)}</code>" for word in shape.words) + "</p>"
    if shape.rows:
        yield from _table(shape.rows, link)
    yield "</section>"


def _table(rows: Iterable[Row], link: "_Links") -> Iterator[str]:
    yield "<table>"
    for row in rows:
        needed = " (required)" if row.needed else ""
        yield f'<tr><td><code>{escape(row.name)}</code><td class="kind">{link(row.kind)}{needed}'
        yield f"<td>{_text(row.says)}"
    yield "</table>"


class _Links:
    """Makes the names of shapes in a kind lead to them."""

    def __init__(self, named: Iterable[Shape]) -> None:
        self._names = re.compile(r"\b(" + "|".join(shape.name for shape in named) + r")\b")

    def __call__(self, kind: str) -> str:
        return self._names.sub(r'<a href="#\1">\1</a>', _text(kind))


def _text(words: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(words))
