"""What REST says of itself: a valid OpenAPI document, and a page that needs nobody else."""

import re
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.support.inprocess import running

pytestmark = pytest.mark.anyio


async def document() -> dict[str, Any]:
    async with running() as stage:
        found: dict[str, Any] = (await stage.public.get("/openapi.json")).raise_for_status().json()
        return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_the_document_is_valid() -> None:
    validate(await document())


async def test_bodies_problems_and_the_key_are_described() -> None:
    found = await document()
    assert found["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    create = found["paths"]["/api/rooms"]["post"]
    assert create["security"] == [{"HTTPBearer": []}]
    body = create["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"roomId", "pin", "maxParticipants", "metadata"}
    assert {"201", "400", "401", "409", "413", "415", "422"} <= set(create["responses"])
    problem = create["responses"]["409"]["content"]["application/problem+json"]["schema"]
    assert problem == {"$ref": "#/components/schemas/Problem"}
    start = found["paths"]["/api/rooms/{roomId}/start"]["post"]
    assert {"200", "401", "404", "409", "422", "503", "504"} <= set(start["responses"])
    assert "security" not in found["paths"]["/api/rooms/{roomId}/listen"]["post"]
    assert "HTTPValidationError" not in found["components"]["schemas"]


async def test_what_hosts_may_do_is_described() -> None:
    paths = (await document())["paths"]
    people = "/api/rooms/{roomId}/participants"
    for path, method in (
        *((people, "get"), (f"{people}/{{userId}}/mute", "post"), ("/api/live", "get")),
        *((f"{people}/{{userId}}/kick", "post"), ("/api/rooms/{roomId}/start", "post")),
        ("/api/rooms/{roomId}/revocations", "post"),
    ):
        operation = paths[path][method]
        assert operation["security"] == [{"HTTPBearer": []}]
        assert {"401", "403", "503"} <= set(operation["responses"])
        assert operation["description"]
    assert list(paths["/api/live"]["get"]["responses"]["200"]["content"]) == ["text/event-stream"]
    asked = paths["/api/rooms/{roomId}/tokens"]["post"]["requestBody"]["content"]
    assert "grants" in asked["application/json"]["schema"]["properties"]
    assert "security" not in paths["/pages/config"]["get"]


async def test_every_operation_has_an_id_of_its_own() -> None:
    operations = [o for path in (await document())["paths"].values() for o in path.values()]
    assert len({o["operationId"] for o in operations}) == len(operations)


async def test_the_page_names_no_other_host_and_finds_its_files() -> None:
    async with running() as stage:
        page = await stage.public.get("/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert not re.search(r"https?:|//", page.text)
        found = re.findall(r'(?:src|href)="(docs/[^"]*)"', page.text)
        assert len(found) == 3
        for name in found:
            answer = await stage.public.get(f"/{name}")
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith(("text/javascript", "text/css"))
            assert len(answer.content) > 50
