"""The API's own description says all there is, and nothing else; docs/API.md is made of it."""

import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from typing import Any

import anyio
import jsonschema_rs
import pytest

from tests.api.test_api_routes import ROUTES, application, routes_of_the_application
from vera_supervisor.access import Scope
from vera_supervisor.api import documents
from vera_supervisor.api.guard import OPEN_PATHS
from vera_supervisor.api.openapi.document import document
from vera_supervisor.api.openapi.glossary import MEANINGS
from vera_supervisor.api.openapi.markdown import markdown
from vera_supervisor.api.openapi.page import HEADERS, api_page, index_page

ROOT = Path(__file__).parents[2]
DOCUMENT = document()
OPERATIONS = {
    (method.upper(), path): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def as_path(rule: str) -> str:
    return rule.replace("<", "{").replace(">", "}")


def test_every_route_is_described_and_nothing_else() -> None:
    routes = {(method, as_path(rule)) for method, rule in routes_of_the_application()}
    assert set(OPERATIONS) == routes


def test_every_operation_says_who_may_call_it() -> None:
    for (method, rule), scope in ROUTES.items():
        operation = OPERATIONS[method, as_path(rule)]
        expected = [] if scope is None else [{"token": [scope.value]}]
        assert operation["security"] == expected, (method, rule)
        assert ("401" in operation["responses"]) == (scope is not None)
    assert {path for _, path in OPERATIONS if path in OPEN_PATHS} == set(OPEN_PATHS)


def test_every_operation_has_its_own_name_and_words() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)
    for operation in OPERATIONS.values():
        assert operation["summary"]
        for response in operation["responses"].values():
            assert response.get("description") or response["$ref"].startswith("#/components/")
        for parameter in operation.get("parameters", ()):
            assert parameter["description"].endswith(".")
        for link in _links(operation):
            assert link["operationId"] in names


def _links(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for response in operation["responses"].values():
        yield from response.get("links", {}).values()


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def test_every_reference_leads_somewhere() -> None:
    for reference in set(_references(DOCUMENT)):
        target: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
        assert target["description"]


def test_every_shape_is_a_schema_and_every_field_is_explained() -> None:
    used = set()
    for name, shape in DOCUMENT["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(shape), name
        for field, schema in shape.get("properties", {}).items():
            where = f"{name}.{field} needs a sentence in api/openapi/glossary.py"
            assert schema["description"].endswith("."), where
            used.add(f"{name}.{field}" if f"{name}.{field}" in MEANINGS else field)
    assert set(MEANINGS) - used == set(), "words that no shape has"


def _answers(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for response in operation["responses"].values():
        yield from islice(response.get("content", {}).items(), 1)


def test_every_answer_has_an_example_and_so_has_every_body() -> None:
    for operation in OPERATIONS.values():
        body = operation.get("requestBody", {}).get("content", {})
        given = [*islice(body.items(), 1), *_answers(operation)]
        without = [media_type for media_type, media in given if "example" not in media]
        # The pages and the document are examples themselves.
        assert set(without) <= {"text/html"} or operation["operationId"] == "openapi", operation


def test_an_example_is_what_its_schema_says_and_leaves_no_field_out() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for operation in OPERATIONS.values():
        body = operation.get("requestBody", {}).get("content", {})
        for media_type, media in [*body.items(), *_answers(operation)]:
            if media_type == "application/json" and "example" in media:
                schema = media["schema"] | {"components": DOCUMENT["components"]}
                jsonschema_rs.validate(schema, media["example"])
        for _, media in _answers(operation):
            shape = schemas.get(media["schema"].get("$ref", "").rpartition("/")[2], {})
            for field in shape.get("properties", ()):
                assert field in media["example"], operation["operationId"]


def test_the_rule_for_ids_is_one_that_other_languages_know() -> None:
    pattern = DOCUMENT["components"]["schemas"]["Submission"]["properties"]["task_id"]["anyOf"][0]
    matches = re.compile(pattern["pattern"]).search
    assert matches("night.2026:a~b@c+d=e-f_1")
    assert not any(matches(bad) for bad in ("", ".", "..", "a/b", "a b", "é"))
    assert "\\" not in pattern["pattern"].replace("\\.", "")


def test_the_file_is_what_is_made_of_the_document() -> None:
    written = (ROOT / "docs" / "API.md").read_text()
    assert written == markdown(DOCUMENT), "make api-docs writes docs/API.md anew"


class _Tags(HTMLParser):
    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs


def test_the_page_tells_of_every_operation_and_field_and_needs_nothing_from_elsewhere() -> None:
    page = api_page(DOCUMENT)
    found = _Tags(page)
    ids = {value for name, value in found.attributes if name == "id"}
    assert {operation["operationId"] for operation in OPERATIONS.values()} <= ids
    assert set(DOCUMENT["components"]["schemas"]) <= ids
    targets = {value for name, value in found.attributes if name == "href"}
    assert targets <= {f"#{anchor}" for anchor in ids} | {"openapi.json"}
    assert not found.tags & {"script", "link", "img", "iframe", "form", "object"}
    assert not [name for name, _ in found.attributes if name.startswith("on") or name == "style"]


def test_a_page_may_have_its_own_style_and_nothing_else() -> None:
    style = re.search(rb"<style>(.*?)</style>", api_page(DOCUMENT), re.DOTALL)
    assert style
    digest = b64encode(sha256(style[1]).digest()).decode()
    policy = HEADERS["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}';" in policy
    assert "unsafe" not in policy


def test_the_name_of_a_worker_is_no_html() -> None:
    page = index_page("<script>alert(1)</script>", "1", [("/docs", "all")])
    assert b"<script>" not in page
    assert b"&lt;script&gt;" in page


def test_the_document_and_its_page_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(documents, "document", lambda: made.append("document") or DOCUMENT)
    monkeypatch.setattr(documents, "api_page", lambda _: made.append("page") or b"page")
    for rendered in (documents.rendered_document, documents.rendered_page):
        rendered.cache_clear()

    async def ask() -> list[bytes]:
        client = application().test_client()
        paths = ("/openapi.json", "/docs") * 2
        return [await (await client.get(path)).get_data(as_text=False) for path in paths]

    answers = anyio.run(ask)
    assert answers[:2] == answers[2:]
    assert sorted(made) == ["document", "document", "page"]
    for rendered in (documents.rendered_document, documents.rendered_page):
        rendered.cache_clear()


def test_a_scope_that_is_not_there_is_not_named() -> None:
    named = {
        scope for op in OPERATIONS.values() for way in op["security"] for scope in way["token"]
    }
    assert named == set(Scope)
