"""/openapi.json's rendering at /docs: Swagger UI, served from here, nothing from elsewhere.

The files are those of the package fastapi-offline (docs/decisions/0007). The content security
policy holds the page to this origin, whatever its script would like to load.
"""

import json
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from roommanager.problems import described
from roommanager.schemas import Problem

FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Onair: REST</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# Addresses are relative, so that the page also works below a proxy's prefix.
SETTINGS = {"dom_id": "#swagger-ui", "url": "openapi.json", "validatorUrl": None}
START = f"SwaggerUIBundle({json.dumps(SETTINGS)});\n"


def add_docs(app: FastAPI) -> None:
    folder = files("fastapi_offline") / "static"
    found: dict[str, tuple[bytes, str]] = {
        "/docs": (PAGE.encode(), "text/html; charset=utf-8"),
        "/docs/start.js": (START.encode(), "text/javascript"),
    }
    for name, kind in FILES.items():
        found[f"/docs/{name}"] = ((folder / name).read_bytes(), f"{kind}; charset=utf-8")

    async def serve(request: Request) -> Response:
        body, kind = found[request.url.path]
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "public, max-age=600"}
        return Response(body, media_type=kind, headers=headers)

    for path in found:
        app.add_route(path, serve, methods=["GET"], include_in_schema=False)


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the problems that any call of its shape may get."""
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        for path, operations in found["paths"].items():
            for operation in operations.values():
                for status, problem in described(*_usual(path, operation)).items():
                    operation["responses"].setdefault(str(status), problem)
                operation["responses"].pop("4XX", None)
        schemas = found.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema()
        app.openapi_schema = found
    return app.openapi_schema


def _usual(path: str, operation: dict[str, Any]) -> list[int]:
    usual = [405]
    if "security" in operation:
        usual += [401, 403, 503]
    if "requestBody" in operation:
        usual += [400, 408, 413, 415, 422]
    if "{" in path:
        usual += [404]
    if operation.get("parameters"):
        usual += [422]
    return usual
