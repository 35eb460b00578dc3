import pathlib
import re
import sys
import time
from typing import Any

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "examples"))

from fastapi.testclient import TestClient  # noqa: E402
from fastapi_host import demo  # noqa: E402


TOKENS = {"ada": "a" * 32, "grace": "g" * 32}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("ARGUS_TOKENS", ",".join(f"{name}={token}" for name, token in TOKENS.items()))
    return TestClient(demo(), headers={"Authorization": f"Bearer {TOKENS['ada']}"})


def incident_of(host: TestClient) -> str:
    for _ in range(100):
        incidents: list[dict[str, Any]] = host.post("/api/scan").json()
        if incidents:
            return str(incidents[0]["incident_id"])
        time.sleep(0.05)
    raise AssertionError("nothing was found")


def test_the_three_routes(host: TestClient) -> None:
    plan = host.post(f"/api/remediate/{incident_of(host)}").json()
    assert plan["steps"][0]["command"].endswith("--limits=memory=256Mi")
    tried = host.post(f"/api/remediate/{plan['plan_id']}/dry-run").json()
    assert tried["changes"][0][0]["after"] == "256Mi"
    # Who approves is who logged in, whatever the request says.
    said = {"user": "grace", "digest": tried["digest"]}
    stale = host.post(f"/api/remediate/{plan['plan_id']}/apply", json={**said, "digest": "sha256:0"})
    assert stale.status_code == 409
    result = host.post(f"/api/remediate/{plan['plan_id']}/apply", json=said).json()
    assert result["success"] and re.fullmatch(r"Fixed: \d issues? resolved\. Remaining: no issues\.", result["summary"])
    records = host.get("/api/audit", params={"limit": 3}).json()
    assert records[0]["event"] == "finished" and len(records) == 3
    approved = host.get("/api/audit", params={"limit": 50}).json()
    assert [record["requested_by"] for record in approved if record["event"] == "approved"] == [{"kind": "user", "name": "ada"}]
    # What is fixed needs no second time.
    again = host.post(f"/api/remediate/{plan['plan_id']}/apply", json=said)
    assert again.status_code == 422 and "already is as the step wants it" in again.json()["detail"]


def test_what_is_not_there_is_said(host: TestClient) -> None:
    assert host.post("/api/remediate/INC-9").status_code == 404
    assert host.post(f"/api/remediate/PLAN-{'0' * 32}/dry-run").status_code == 404
    wrong = host.post("/api/remediate/1/dry-run")
    assert (wrong.status_code, wrong.json()["title"]) == (422, "PlanIdError")


def test_nobody_asks_without_a_token(host: TestClient) -> None:
    for sent in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {TOKENS['ada']}"}, {"Authorization": "Bearer"}):
        stranger = TestClient(host.app, headers=sent)
        for method, path in (("POST", "/api/scan"), ("POST", "/api/remediate/1/apply"), ("GET", "/api/audit")):
            assert stranger.request(method, path, json={"digest": "sha256:0"}).status_code == 401, (sent, path)


@pytest.mark.parametrize("tokens", ["", "ada", "ada=short", f"={'a' * 32}"])
def test_it_does_not_start_without_users(monkeypatch: pytest.MonkeyPatch, tokens: str) -> None:
    monkeypatch.setenv("ARGUS_TOKENS", tokens)
    with pytest.raises(ValueError, match="each user needs a name and a token"):
        demo()
