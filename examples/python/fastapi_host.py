"""A host: the mission's three routes, and the dry run that a person looks at before they say yes.

    uvicorn --factory fastapi_host:demo
"""

from __future__ import annotations

import tempfile
from typing import Any

import argus
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

STATUS: dict[type[argus.ArgusError], int] = {
    argus.Denied: 403,
    argus.Disabled: 403,
    argus.MissingPermissions: 403,
    argus.NotApproved: 403,
    argus.Stale: 409,
    argus.Busy: 423,
    argus.NoPlan: 502,
    argus.ScanFailed: 502,
}


class Confirmation(BaseModel):
    """What a person says to a dry run: "I understand this will change my cluster"."""

    user: str
    digest: str
    typed_name: str | None = None


def app(remediator: argus.AsyncRemediator, audit: argus.FileAudit) -> FastAPI:
    """The host. It has no rule of its own."""
    api = FastAPI(title="Argus host")
    incidents: dict[str, dict[str, Any]] = {}

    @api.exception_handler(argus.ArgusError)
    async def problem(_: Request, error: Exception) -> JSONResponse:
        body: dict[str, Any] = {"title": type(error).__name__, "detail": str(error)}
        if isinstance(error, argus.Denied):
            body["violations"] = error.violations
        return JSONResponse(body, STATUS.get(type(error), 422), media_type="application/problem+json")  # type: ignore[arg-type]

    async def tried(plan_id: str) -> argus.DryRun:
        """Every door again: an id is worth nothing by itself."""
        plan = await remediator.plan(plan_id)
        if plan is None:
            raise HTTPException(404, f"there is no plan {plan_id}")
        return await remediator.dry_run(await remediator.review(plan))

    @api.post("/api/scan")
    async def scan() -> list[dict[str, Any]]:
        for finding in (await remediator.scan())["findings"]:
            incident_id = f"INC-{finding['finding_id']}"
            incidents[incident_id] = {"incident_id": incident_id, "findings": [finding]}
        return list(incidents.values())

    @api.post("/api/remediate/{incident_id}")
    async def suggest(incident_id: str) -> dict[str, Any]:
        if incident_id not in incidents:
            raise HTTPException(404, f"there is no incident {incident_id}")
        return (await remediator.suggest(incidents[incident_id])).to_dict()

    @api.post("/api/remediate/{plan_id}/dry-run")
    async def dry_run(plan_id: str) -> dict[str, Any]:
        tried_now = await tried(plan_id)
        return {"digest": tried_now.digest, "changes": tried_now.changes, "name_to_type": tried_now.name_to_type}

    @api.post("/api/remediate/{plan_id}/apply")
    async def apply(plan_id: str, said: Confirmation) -> dict[str, Any]:
        tried_now = await tried(plan_id)
        if tried_now.digest != said.digest:
            raise HTTPException(409, "something changed since the dry run that was confirmed: look at it again")
        return await remediator.execute(tried_now.approve(said.user, typed_name=said.typed_name))

    @api.get("/api/audit")
    async def records(before: int | None = None, limit: int = 50) -> list[dict[str, Any]]:
        return audit.records(before=before, limit=limit)

    return api


def demo() -> FastAPI:
    """The host on a cluster in memory with a broken app."""
    cluster = argus.TestCluster()
    cluster.deployment("shop", "web", "registry.example/web:1", memory_limit="128Mi", needs_memory="200Mi")
    audit = argus.FileAudit(tempfile.mkdtemp())
    remediator = argus.AsyncRemediator(
        scope=["shop"],
        llm=argus.Playbook(),
        policy=argus.PolicyEngine(),
        cluster=cluster,
        audit=audit,
        enabled=True,
    )
    return app(remediator, audit)
