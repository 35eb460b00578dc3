import pathlib
import time
from collections.abc import Callable
from typing import Any

import argus
import pytest

Make = Callable[..., argus.Remediator]


@pytest.fixture
def cluster() -> argus.TestCluster:
    """A cluster with an app that is killed again and again for using too much memory."""
    cluster = argus.TestCluster()
    cluster.deployment("shop", "web", "registry.example/web:1", memory_limit="128Mi", needs_memory="200Mi")
    return cluster


@pytest.fixture
def doors(cluster: argus.TestCluster, tmp_path: pathlib.Path) -> dict[str, Any]:
    """What a remediator needs besides who writes the plans."""
    return {
        "scope": ["shop"],
        "policy": argus.PolicyEngine(),
        "cluster": cluster,
        "audit": argus.FileAudit(tmp_path / "audit"),
        "plans": tmp_path / "plans",
        "enabled": True,
        "hold": {"min_seconds": 0.05, "max_seconds": 0.05},
    }


@pytest.fixture
def remediator(doors: dict[str, Any]) -> argus.Remediator:
    return argus.Remediator(llm=argus.Playbook(), **doors)


@pytest.fixture
def incident(remediator: argus.Remediator) -> dict[str, Any]:
    """What the scanner found, as an incident."""
    for _ in range(200):
        findings = remediator.scan()["findings"]
        if any(finding.get("cause") == "oom_killed" for finding in findings):
            return {"incident_id": "INC-1", "findings": findings}
        time.sleep(0.05)
    raise AssertionError("the app was never seen to run out of memory")
