"""A host: the mission's three routes, and the dry run that a person looks at before they say yes.

    ARGUS_TOKENS="ada=$(openssl rand -hex 32)" uvicorn --factory fastapi_host:demo

Whoever asks sends their token as `Authorization: Bearer TOKEN`; the trail has the name that goes with it.
"""

from __future__ import annotations

import hmac
import os
import tempfile
from typing import Annotated, Any

import argus
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
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

    digest: str
    typed_name: str | None = None


BEARER = HTTPBearer(auto_error=False)


def user(request: Request, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> str:
    """The name of whoever asks, by their token; nothing in a request says it."""
    token = sent.credentials if sent else ""
    tokens: dict[str, str] = request.app.state.tokens
    known = [name for name, own in tokens.items() if hmac.compare_digest(own.encode(), token.encode())]
    if not known:
        raise HTTPException(401, "send your token: `Authorization: Bearer TOKEN`", {"WWW-Authenticate": "Bearer"})
    return known[0]


User = Annotated[str, Depends(user)]


def app(remediator: argus.AsyncRemediator, audit: argus.FileAudit, tokens: dict[str, str]) -> FastAPI:
    """The host. It has no rule of its own but that whoever asks is one of those who have a token, by their name."""
    if not tokens or not all(tokens) or not all(len(token) >= 32 for token in tokens.values()):
        raise ValueError("each user needs a name and a token of 32 characters or more, such as of `openssl rand -hex 32`")
    api = FastAPI(title="Argus host", dependencies=[Depends(user)])
    api.state.tokens = tokens
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
    async def apply(plan_id: str, said: Confirmation, user: User) -> dict[str, Any]:
        tried_now = await tried(plan_id)
        if tried_now.digest != said.digest:
            raise HTTPException(409, "something changed since the dry run that was confirmed: look at it again")
        return await remediator.execute(tried_now.approve(user, typed_name=said.typed_name))

    @api.get("/api/audit")
    async def records(before: int | None = None, limit: int = 50) -> list[dict[str, Any]]:
        return audit.records(before=before, limit=limit)

    return api


def demo() -> FastAPI:
    """The host on a cluster in memory with a broken app, for the users of ARGUS_TOKENS: `NAME=TOKEN`, several with commas between."""
    users = (user.partition("=") for user in os.environ.get("ARGUS_TOKENS", "").split(",") if user)
    tokens = {name: token for name, _, token in users}
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
    return app(remediator, audit, tokens)
