import pathlib
import re
import sys
import time
from typing import Any

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "examples"))

from fastapi.testclient import TestClient  # noqa: E402
from fastapi_host import demo  # noqa: E402


@pytest.fixture
def host() -> TestClient:
    return TestClient(demo())


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
    said = {"user": "operator", "digest": tried["digest"]}
    stale = host.post(f"/api/remediate/{plan['plan_id']}/apply", json={**said, "digest": "sha256:0"})
    assert stale.status_code == 409
    result = host.post(f"/api/remediate/{plan['plan_id']}/apply", json=said).json()
    assert result["success"] and re.fullmatch(r"Fixed: \d issues? resolved\. Remaining: no issues\.", result["summary"])
    records = host.get("/api/audit", params={"limit": 3}).json()
    assert records[0]["event"] == "finished" and len(records) == 3
    # What is fixed needs no second time.
    again = host.post(f"/api/remediate/{plan['plan_id']}/apply", json=said)
    assert again.status_code == 422 and "already is as the step wants it" in again.json()["detail"]


def test_what_is_not_there_is_said(host: TestClient) -> None:
    assert host.post("/api/remediate/INC-9").status_code == 404
    assert host.post(f"/api/remediate/PLAN-{'0' * 32}/dry-run").status_code == 404
    wrong = host.post("/api/remediate/1/dry-run")
    assert (wrong.status_code, wrong.json()["title"]) == (422, "PlanIdError")
