"""The description of the API matches the routes and their answers."""

from __future__ import annotations

import re

from jsonschema import Draft202012Validator

from app.web.auth import Scope
from app.web.openapi import document
from app.web.routes import ROUTES

# For browsers, not for programs.
PAGES = {"/", "/login", "/logout", "/static/{name}"}


def test_every_route_for_programs_is_described_and_nothing_else() -> None:
    described = {(method.upper(), path) for path, item in document()["paths"].items() for method in item}
    assert described == {(route.method, route.path) for route in ROUTES if route.path not in PAGES}


def test_every_parameter_of_a_path_is_described() -> None:
    for path, item in document()["paths"].items():
        for operation in item.values():
            named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path)), path


def test_every_guarded_operation_names_a_scope_and_its_refusals() -> None:
    for path, item in document()["paths"].items():
        for operation in item.values():
            if path.startswith("/api/"):
                ((scheme, scopes),) = operation["security"][0].items()
                assert scheme == "bearer"
                assert set(scopes) <= set(Scope)
                assert {"401", "403"} <= operation["responses"].keys()
            else:
                assert operation["security"] == [], f"{path} is open"


def test_every_schema_is_a_schema_and_every_reference_leads_somewhere() -> None:
    described = document()
    schemas = described["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    for name in re.findall(r"#/components/schemas/(\w+)", str(described)):
        assert name in schemas


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for item in document()["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))
