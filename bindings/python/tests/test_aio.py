import asyncio
import json
from typing import Any

import argus
import pytest

FIX = "kubectl set resources deployment/web -n shop -c app --limits=memory=256Mi"


def test_the_walk_with_await(doors: dict[str, Any], incident: dict[str, Any]) -> None:
    async def walk() -> dict[str, Any]:
        remediator = argus.AsyncRemediator(llm=argus.Playbook(), **doors)
        plan = await remediator.suggest(incident)
        assert await remediator.plan(plan.plan_id) == plan
        dry_run = await remediator.dry_run(await remediator.review(plan))
        outcome = await remediator.execute(dry_run.approve("operator"))
        assert await remediator.unfinished() == []
        assert (await remediator.scan())["findings"] == []
        return outcome

    assert asyncio.run(walk())["rescan"]["recovery"] == "resolved"


def test_an_async_provider_runs_on_the_callers_loop(doors: dict[str, Any]) -> None:
    loops = []

    class Model:
        async def complete(self, prompt: argus.Prompt, /) -> str:
            loops.append(asyncio.get_running_loop())
            await asyncio.sleep(0)
            step = {"description": "More memory.", "command": FIX}
            return json.dumps({"summary": "A fix.", "steps": [step], "risk_level": "low", "risk_reason": "Little changes.", "rollback_steps": []})

    async def suggest() -> argus.Plan:
        loops.append(asyncio.get_running_loop())
        return await argus.AsyncRemediator(llm=Model(), **doors).suggest({"incident_id": "INC-1"})

    assert asyncio.run(suggest()).model_used == "Model"
    assert len(loops) == 2 and loops[0] is loops[1]


def test_an_async_approver_runs_on_the_callers_loop(doors: dict[str, Any], incident: dict[str, Any]) -> None:
    loops = []

    async def approver(dry_run: argus.DryRun, /) -> dict[str, str]:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return {"user": "operator"}

    async def fix() -> dict[str, Any]:
        loops.append(asyncio.get_running_loop())
        remediator = argus.AsyncRemediator(llm=argus.Playbook(), **doors)
        fixed = await remediator.fix(incident, approver)
        assert len(await remediator.history(incident)) == 1
        return fixed

    assert asyncio.run(fix())["resolved"]
    assert len(loops) == 2 and loops[0] is loops[1]


def test_what_is_cancelled_goes_on_to_its_end(doors: dict[str, Any], incident: dict[str, Any]) -> None:
    async def cancel() -> str:
        remediator = argus.AsyncRemediator(llm=argus.Playbook(), **doors)
        plan = await remediator.suggest(incident)
        dry_run = await remediator.dry_run(await remediator.review(plan))
        execution = asyncio.create_task(remediator.execute(dry_run.approve("operator")))
        await asyncio.sleep(0.01)
        execution.cancel()
        with pytest.raises(asyncio.CancelledError):
            await execution
        return plan.plan_id

    plan_id = asyncio.run(cancel())
    records = doors["audit"].records(plan_id=plan_id)
    assert [record["event"] for record in records][:3] == ["finished", "rescanned", "held"]


def test_errors_are_the_same(doors: dict[str, Any]) -> None:
    async def suggest() -> None:
        await argus.AsyncRemediator(llm=argus.Playbook(), **doors).suggest("{}")

    with pytest.raises(argus.IncidentError):
        asyncio.run(suggest())
