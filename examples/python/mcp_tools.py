"""Argus as tools for an agent (MCP): it can look, suggest and try. What changes the cluster is no tool: a person does that.

    python mcp_tools.py            # on a cluster in memory; speaks MCP on its standard input and output
"""

from __future__ import annotations

import tempfile
from typing import Any

import argus
from mcp.server import MCPServer


def server(remediator: argus.AsyncRemediator) -> MCPServer:
    """The tools. An error of Argus is an answer that says what was refused and why."""
    tools = MCPServer("argus", instructions="Find what is wrong in a cluster and suggest fixes. Nothing here changes the cluster.")
    plans: dict[str, argus.Plan] = {}

    @tools.tool()
    async def scan() -> list[dict[str, Any]]:
        """What is wrong in the cluster, in plain English."""
        findings: list[dict[str, Any]] = (await remediator.scan())["findings"]
        return findings

    @tools.tool()
    async def suggest_fix(finding_ids: list[str]) -> dict[str, Any]:
        """Suggest a fix for findings of the last scan. Nothing is executed."""
        findings = [found for found in (await remediator.scan())["findings"] if found["finding_id"] in finding_ids]
        if not findings:
            return {"refused": "no such finding: scan again"}
        plan = await remediator.suggest({"incident_id": f"INC-{findings[0]['finding_id']}", "findings": findings})
        plans[plan.plan_id] = plan
        return plan.to_dict()

    @tools.tool()
    async def try_fix(plan_id: str) -> dict[str, Any]:
        """Try a suggested fix without doing it: what it would change, or why it is refused."""
        if plan_id not in plans:
            return {"refused": f"there is no plan {plan_id}"}
        try:
            dry_run = await remediator.dry_run(await remediator.review(plans[plan_id]))
        except argus.Denied as denied:
            return {"refused": str(denied), "violations": denied.violations}
        except argus.ArgusError as error:
            return {"refused": str(error)}
        return {"changes": dry_run.changes, "digest": dry_run.digest, "next": "a person has to confirm this digest"}

    return tools


def demo() -> MCPServer:
    """The tools on a cluster in memory with a broken app."""
    cluster = argus.TestCluster()
    cluster.deployment("shop", "web", "registry.example/web:1", memory_limit="128Mi", needs_memory="200Mi")
    remediator = argus.AsyncRemediator(
        scope=["shop"],
        llm=argus.Playbook(),
        policy=argus.PolicyEngine(),
        cluster=cluster,
        audit=argus.FileAudit(tempfile.mkdtemp()),
    )
    return server(remediator)


if __name__ == "__main__":
    demo().run()
