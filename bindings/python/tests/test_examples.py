"""The examples besides the FastAPI host."""

import asyncio
import json
import os
import pathlib
import runpy
import sys
from typing import Any

import argus
import pytest

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))


@pytest.mark.filterwarnings("ignore")
def test_a_plan_by_whatever_litellm_knows(doors: dict[str, Any], incident: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    # Without it, litellm asks the internet for prices when it is imported.
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from litellm_provider import LiteLlm

    step = {"description": "Let it use more memory, because it needs it.", "command": "kubectl set resources deployment/web -n shop --limits=memory=256Mi"}
    plan = {"summary": "More memory.", "steps": [step], "risk_level": "low", "risk_reason": "Small.", "rollback_steps": []}
    llm = LiteLlm("openai/any", api_key="none", mock_response=json.dumps(plan))
    suggested = asyncio.run(argus.AsyncRemediator(llm=llm, **doors).suggest(incident))
    assert suggested.summary == "More memory." and suggested.model_used == "any"
    failing = argus.AsyncRemediator(llm=LiteLlm("openai/any", api_key="none", mock_response="litellm.RateLimitError"), **doors)
    with pytest.raises(argus.NoPlan) as error:
        asyncio.run(failing.suggest(incident))
    assert type(error.value.__cause__).__name__ == "RateLimitError"


@pytest.mark.filterwarnings("ignore")
def test_an_agent_can_look_and_suggest_but_not_apply() -> None:
    import mcp_tools
    from mcp import Client

    async def run() -> None:
        async with Client(mcp_tools.demo()) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            assert tools == {"scan", "suggest_fix", "try_fix"}

            async def call(name: str, **arguments: Any) -> Any:
                answer = await client.call_tool(name, arguments)
                assert not answer.is_error, answer
                structured: Any = answer.structured_content
                return structured.get("result", structured)

            findings: list[dict[str, Any]] = []
            for _ in range(200):
                findings = await call("scan")
                if any(finding.get("cause") == "oom_killed" for finding in findings):
                    break
                await asyncio.sleep(0.05)
            plan = await call("suggest_fix", finding_ids=[finding["finding_id"] for finding in findings])
            assert plan["steps"][0]["command"].startswith("kubectl set resources deployment/web -n shop")
            tried = await call("try_fix", plan_id=plan["plan_id"])
            assert tried["digest"].startswith("sha256:") and tried["changes"][0][0]["after"] == "256Mi"
            assert (await call("try_fix", plan_id="PLAN-none"))["refused"] == "there is no plan PLAN-none"

    asyncio.run(run())


@pytest.mark.filterwarnings("ignore")
def test_a_picture_of_before_and_after(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "findings.png"
    monkeypatch.setattr(sys, "argv", ["plot_findings.py", os.fspath(picture)])
    runpy.run_path(os.fspath(EXAMPLES / "plot_findings.py"))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.splitlines()[-1].endswith("Remaining: no issues.")
