import asyncio
import json
import os
import pathlib
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from typing import Any

import argus
import pytest

FIX = "kubectl set resources deployment/web -n shop -c app --limits=memory=256Mi"


def real_writes(cluster: argus.TestCluster) -> list[tuple[str, str]]:
    """What Argus wrote, by the cluster's own record."""
    return [(verb, path) for user, verb, path, dry_run, code in cluster.writes if user == "argus" and not dry_run]


def command(action: str) -> str:
    """A model's answer with one step."""
    step = {"description": "Do it.", "command": action}
    return json.dumps({"summary": "A fix.", "steps": [step], "risk_level": "low", "risk_reason": "Little changes.", "rollback_steps": []})


class Says:
    """A model that always answers the same."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[argus.Prompt] = []

    def complete(self, prompt: argus.Prompt, /) -> Any:
        self.asked.append(prompt)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_from_an_incident_to_proof(
    remediator: argus.Remediator, incident: dict[str, Any], cluster: argus.TestCluster, doors: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    plan = remediator.suggest(incident)
    assert [step["command"] for step in plan.steps] == [FIX]
    assert (plan.incident_id, plan.risk_level) == ("INC-1", "medium") and "no model" in plan.model_used
    assert plan.to_dict() == json.loads(plan.to_json())
    again = remediator.plan(plan.plan_id)
    assert again == plan and hash(again) == hash(plan) and plan.plan_id in repr(plan)
    permitted = remediator.review(plan)
    assert permitted.plan == plan and permitted.evaluation["violations"] == []
    dry_run = remediator.dry_run(permitted)
    assert dry_run.verdict == "require_approval" and (dry_run.people, dry_run.name_to_type) == (1, None)
    memory = [change for change in dry_run.changes[0] if change["field"].endswith("limits.memory")]
    assert memory and (memory[0]["before"], memory[0]["after"]) == ("128Mi", "256Mi"), dry_run.changes
    assert real_writes(cluster) == []
    approved = dry_run.approve("operator")
    assert approved.digest == dry_run.digest and approved.plan == plan
    outcome = remediator.execute(approved)
    assert outcome["success"] and outcome["ending"] == "succeeded" and outcome["rescan"]["recovery"] == "resolved"
    assert re.fullmatch(r"Fixed: \d issues? resolved\. Remaining: no issues\.", outcome["summary"])
    assert real_writes(cluster) == [("patch", "/apis/apps/v1/namespaces/shop/deployments/web")]
    records = doors["audit"].records(plan_id=plan.plan_id)
    assert records[0]["event"] == "finished" and [record["event"] for record in records[:-3:-1]] == ["asked", "suggested"]
    assert argus.FileAudit.verify(tmp_path / "audit") == {"records": len(records), "unproven": 0}
    with pytest.raises(RuntimeError, match="used already"):
        remediator.execute(approved)
    assert len(real_writes(cluster)) == 1
    assert remediator.unfinished() == []
    with pytest.raises(argus.NotUnfinished):
        remediator.resume(plan.plan_id)
    undone = remediator.undo(plan.plan_id)
    assert undone["success"] and undone["ending"] == "undone"
    assert len(real_writes(cluster)) == 2
    with pytest.raises(argus.NotUndoable, match=plan.plan_id):
        remediator.undo(plan.plan_id)


@pytest.fixture
def hungry(doors: dict[str, Any]) -> dict[str, Any]:
    """An app that needs more than twice what it may use."""
    cluster = argus.TestCluster()
    cluster.deployment("shop", "web", "registry.example/web:1", memory_limit="128Mi", needs_memory="400Mi", fails_after=0.3)
    return doors | {"cluster": cluster, "hold": {"min_seconds": 0.9, "max_seconds": 8}}


def test_a_plan_that_does_not_help_is_put_back_before_the_next(hungry: dict[str, Any], incident: dict[str, Any]) -> None:
    asked: list[argus.DryRun] = []

    def approver(dry_run: argus.DryRun) -> str:
        asked.append(dry_run)
        return "operator"

    remediator = argus.Remediator(llm=argus.Playbook(), **hungry)
    fixed = remediator.fix(incident, approver)
    assert (fixed["resolved"], fixed["reason"], fixed["left"]) == (True, "It is fixed, and it held.", None)
    assert len(asked) == 2 and all(isinstance(each, argus.DryRun) for each in asked)
    assert len(fixed["outcomes"]) == 2 and fixed["outcomes"][1]["ending"] == "succeeded"
    assert fixed["outcomes"][1]["summary"].startswith("Fixed: ")
    history = remediator.history(incident)
    amounts = [attempt["steps"][0]["command"].rsplit("=")[-1] for attempt in history]
    assert amounts == ["256Mi", "512Mi"] and [attempt["recovery"] == "resolved" for attempt in history] == [False, True]
    assert history[0]["plan_id"] == fixed["outcomes"][0]["plan_id"]


def test_the_playbook_gives_no_more_than_the_host_allows(hungry: dict[str, Any], incident: dict[str, Any]) -> None:
    remediator = argus.Remediator(llm=argus.Playbook(most_memory="200Mi"), **hungry)
    fixed = remediator.fix(incident, lambda dry_run: "operator")
    assert not fixed["resolved"] and len(fixed["outcomes"]) == 1
    assert "Argus may give an app 200Mi of memory at most" in fixed["left"]["steps"][0]["description"]
    with pytest.raises(ValueError, match="200MB"):
        argus.Playbook(most_memory="200MB")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "approver refused the plan: no answer"),
        ({"user": "ada", "refuse": "not today"}, "ada refused the plan: not today"),
        ({"users": ["ada"]}, "the answer is none"),
        ({"automatic": "nightly"}, "a person has to approve this plan"),
        (RuntimeError("the pager is off"), "the pager is off"),
    ],
)
def test_who_is_asked_may_say_no(remediator: argus.Remediator, incident: dict[str, Any], cluster: argus.TestCluster, answer: Any, reason: str) -> None:
    def approver(dry_run: argus.DryRun) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    fixed = remediator.fix(incident, approver)
    assert not fixed["resolved"] and reason in fixed["reason"], fixed["reason"]
    assert fixed["left"]["steps"][0]["command"] == FIX and fixed["outcomes"] == []
    assert real_writes(cluster) == []


def test_a_pydantic_model_and_json_text_are_incidents_too(remediator: argus.Remediator, incident: dict[str, Any]) -> None:
    class Model:
        def model_dump_json(self) -> str:
            return json.dumps(incident)

    for form in (Model(), json.dumps(incident)):
        assert remediator.suggest(form).steps[0]["command"] == FIX


def test_what_is_no_incident_is_named(remediator: argus.Remediator) -> None:
    with pytest.raises(argus.IncidentError, match=r"malformed at `findings\[0\]`") as caught:
        remediator.suggest({"incident_id": "INC-1", "findings": [{"finding_id": "F"}]})
    assert isinstance(caught.value, ValueError)


def test_policy_refuses_and_says_why(doors: dict[str, Any], cluster: argus.TestCluster) -> None:
    llm = Says(command("kubectl scale deployment/coredns -n kube-system --replicas=2"))
    remediator = argus.Remediator(llm=llm, **doors)
    plan = remediator.suggest({"incident_id": "INC-1"})
    with pytest.raises(argus.Denied) as caught:
        remediator.review(plan)
    ids = {violation["id"] for violation in caught.value.violations}
    assert {"floor-scope", "baseline-scope"} <= ids and caught.value.plan["plan_id"] == plan.plan_id
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.violations == caught.value.violations and str(again) == str(caught.value)
    assert doors["policy"].evaluate(plan, ["shop"])["verdict"] == "deny"
    assert doors["policy"].evaluate(plan, ["kube-system"])["verdict"] != "deny"
    assert llm.asked[0].schema["type"] == "object" and "UNTRUSTED" in llm.asked[0].user
    assert "floor-scope" in llm.asked[1].turns[0][1] or len(llm.asked[1].turns) == 1
    assert real_writes(cluster) == []


def test_high_risk_needs_the_switch_and_the_name(doors: dict[str, Any], incident: dict[str, Any]) -> None:
    llm = Says(command("kubectl scale deployment/web -n shop --replicas=0"))
    with pytest.raises(argus.Denied):
        remediator = argus.Remediator(llm=llm, **doors)
        remediator.review(remediator.suggest(incident))
    remediator = argus.Remediator(llm=llm, **doors, allow_high_risk=True)
    dry_run = remediator.dry_run(remediator.review(remediator.suggest(incident)))
    assert dry_run.name_to_type == "web"
    for wrong in (None, "api"):
        with pytest.raises(argus.NotApproved):
            dry_run.approve("operator", typed_name=wrong)
    with pytest.raises(argus.NotApproved, match="a person has to approve"):
        dry_run.approve_automatically("the host")
    with pytest.raises(argus.NotApproved):
        dry_run.approve()
    assert dry_run.approve("operator", typed_name="web").digest == dry_run.digest


def test_nothing_is_executed_unless_it_is_switched_on(
    doors: dict[str, Any], incident: dict[str, Any], cluster: argus.TestCluster
) -> None:
    remediator = argus.Remediator(llm=argus.Playbook(), **{**doors, "enabled": False})
    dry_run = remediator.dry_run(remediator.review(remediator.suggest(incident)))
    with pytest.raises(argus.Disabled):
        remediator.execute(dry_run.approve("operator"))
    assert real_writes(cluster) == []


def test_what_changed_after_the_approval_is_stale(
    remediator: argus.Remediator, incident: dict[str, Any], cluster: argus.TestCluster
) -> None:
    approved = remediator.dry_run(remediator.review(remediator.suggest(incident))).approve("operator")
    body = json.dumps({"spec": {"revisionHistoryLimit": 3}}).encode()
    headers = {"Content-Type": "application/merge-patch+json"}
    url = f"{cluster.url}/apis/apps/v1/namespaces/shop/deployments/web"
    urllib.request.urlopen(urllib.request.Request(url, body, headers, method="PATCH")).close()
    with pytest.raises(argus.Stale) as caught:
        remediator.execute(approved)
    assert "web" in caught.value.what and not caught.value.retryable
    assert real_writes(cluster) == []


def test_manual_steps_stay_with_people(doors: dict[str, Any]) -> None:
    remediator = argus.Remediator(llm=Says(command("kubectl drain node-1")), **doors)
    permitted = remediator.review(remediator.suggest({"incident_id": "INC-1"}))
    with pytest.raises(argus.ManualSteps) as caught:
        remediator.dry_run(permitted)
    assert list(caught.value.steps) == ["0"]


def test_a_step_that_would_not_work_is_named(doors: dict[str, Any]) -> None:
    remediator = argus.Remediator(llm=Says(command("kubectl scale deployment/gone -n shop --replicas=2")), **doors)
    with pytest.raises(argus.DryRunFailed, match="deployment/gone in namespace shop does not exist") as caught:
        remediator.dry_run(remediator.review(remediator.suggest({"incident_id": "INC-1"})))
    assert caught.value.step == 0


def test_what_a_provider_raises_is_the_cause(doors: dict[str, Any]) -> None:
    mine = LookupError("my own")
    with pytest.raises(argus.NoPlan) as caught:
        argus.Remediator(llm=Says(mine), **doors).suggest({"incident_id": "INC-1"})
    assert caught.value.__cause__ is mine and "my own" not in str(caught.value)
    with pytest.raises(argus.NoPlan) as caught:
        argus.Remediator(llm=Says(3), **doors).suggest({"incident_id": "INC-1"})
    assert isinstance(caught.value.__cause__, TypeError)


def test_an_answer_that_is_no_plan_is_asked_for_again(doors: dict[str, Any]) -> None:
    class Learns:
        def __init__(self) -> None:
            self.asked = 0

        async def complete(self, prompt: argus.Prompt, /) -> argus.Completion:
            self.asked += 1
            return argus.Completion("nonsense" if self.asked == 1 else command(FIX), "mine", 10, 2)

    llm = Learns()
    plan = argus.Remediator(llm=llm, **doors).suggest({"incident_id": "INC-1"})
    assert (plan.model_used, llm.asked) == ("mine", 2)


def test_a_diagnosis_is_asked_for_like_a_plan(doors: dict[str, Any], incident: dict[str, Any]) -> None:
    answer = {"root_cause": "Zu wenig Speicher.", "explanation": "Darum endet sie.", "confidence": 0.8, "recommendations": ["Mehr."]}

    class Asked:
        prompts: list[argus.Prompt] = []

        def complete(self, prompt: argus.Prompt, /) -> argus.Completion:
            self.prompts.append(prompt)
            return argus.Completion(json.dumps(answer), "mine", 900, 100)

    prices = {"mine": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5}}
    remediator = argus.Remediator(llm=Asked(), **doors, prices=prices, language="German")
    diagnosis = remediator.diagnose(incident)
    assert Asked.prompts[0].question == "diagnosis" and "German" in Asked.prompts[0].system
    assert diagnosis["root_cause"] == answer["root_cause"] and diagnosis["finding_ids"]
    assert (diagnosis["model_used"], diagnosis["tokens_used"], diagnosis["cost_usd"]) == ("mine", 1000, 0.0019)
    call = doors["audit"].records(event="asked")[0]["call"]
    assert (call["model"], call["input_tokens"], call["output_tokens"], call["cost_usd"]) == ("mine", 900, 100, 0.0019)
    argus.Remediator(llm=argus.Playbook(), **doors).suggest(incident | {"diagnosis": diagnosis})


def test_of_a_list_each_is_asked_where_the_one_before_gives_no_answer(doors: dict[str, Any], incident: dict[str, Any]) -> None:
    nobody = argus.GenAi("model", endpoint="http://127.0.0.1:1/v1/", anonymous=True)
    plan = argus.Remediator(llm=[nobody, Says(LookupError("my own")), argus.Playbook()], **doors).suggest(incident)
    assert "playbook" in plan.model_used
    with pytest.raises(argus.NoPlan) as caught:
        argus.Remediator(llm=[nobody, Says(LookupError("my own"))], **doors).suggest(incident)
    assert isinstance(caught.value.__cause__, LookupError)
    with pytest.raises(ValueError, match="empty list"):
        argus.Remediator(llm=[], **doors)

    async def both() -> argus.Plan:
        return await argus.AsyncRemediator(llm=[nobody, argus.Playbook()], **doors).suggest(incident)

    assert "playbook" in asyncio.run(both()).model_used


def test_a_budget_ends_the_asking(doors: dict[str, Any]) -> None:
    class Costs:
        def complete(self, prompt: argus.Prompt, /) -> argus.Completion:
            return argus.Completion(command(FIX), "mine", 900, 100)

    remediator = argus.Remediator(llm=Costs(), **doors, budget={"tokens_per_day": 1500})
    for _ in range(2):
        remediator.suggest({"incident_id": "INC-1"})
    with pytest.raises(argus.OverBudget, match="2000 of the day's 1500 tokens") as caught:
        remediator.suggest({"incident_id": "INC-1"})
    assert caught.value.what in str(caught.value) and not caught.value.retryable
    with pytest.raises(argus.OverBudget, match="price of `mine` is not known"):
        argus.Remediator(llm=Costs(), **doors, budget={"cost_usd": 0.1}).suggest({"incident_id": "INC-1"})
    with pytest.raises(ValueError, match="malformed: unknown field `cost`"):
        argus.Remediator(llm=Costs(), **doors, budget={"cost": 1})
    with pytest.raises(ValueError, match="`mine`"):
        argus.Remediator(llm=Costs(), **doors, prices={"mine": {"input_cost_per_token": -1, "output_cost_per_token": 1}})


def test_every_record_is_seen_and_a_failing_observer_hurts_nobody(
    doors: dict[str, Any], incident: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    seen: list[str] = []

    def observe(record: dict[str, Any]) -> None:
        seen.append(record["event"])
        if record["event"] == "approved":
            raise KeyError("the observer's own")

    remediator = argus.Remediator(llm=argus.Playbook(), **doors, observe=observe)
    approved = remediator.dry_run(remediator.review(remediator.suggest(incident))).approve("operator")
    assert remediator.execute(approved)["success"]
    assert [kind for kind in seen if kind.startswith("step")] == ["step_intended", "step_applied", "step_settled"]
    assert seen[:2] == ["asked", "suggested"] and seen[-1] == "finished"
    assert len(heard) == 1


def test_no_state_of_a_plan_can_be_forged() -> None:
    for state in (argus.Plan, argus.Permitted, argus.DryRun, argus.Approved):
        with pytest.raises(TypeError):
            state()
        with pytest.raises(TypeError):
            type("Mine", (state,), {})


def test_wrong_doors_are_refused(doors: dict[str, Any], tmp_path: pathlib.Path) -> None:
    with pytest.raises(TypeError, match="llm has to be"):
        argus.Remediator(llm=object(), **doors)
    with pytest.raises(TypeError, match="cluster has to be"):
        argus.Remediator(llm=argus.Playbook(), **{**doors, "cluster": object()})
    with pytest.raises(argus.ScopeError):
        argus.Remediator(llm=argus.Playbook(), **{**doors, "scope": ["No Namespace"]})
    with pytest.raises(ValueError, match="on_failure"):
        argus.Remediator(llm=argus.Playbook(), **doors, on_failure="shrug")
    with pytest.raises(argus.PackError):
        argus.PolicyEngine([tmp_path / "none"])
    with pytest.raises(argus.PackError):
        argus.PolicyEngine(parameters={"none": {}})
    with pytest.raises(argus.PackError, match="no public Ed25519 key"):
        argus.PolicyEngine(trusted_keys=["x"])
    with pytest.raises(argus.ClusterError):
        argus.Kube(tmp_path / "none")
    with pytest.raises(argus.AuditFailed):
        argus.FileAudit(tmp_path / "audit")
    with pytest.raises(ValueError, match="wire"):
        argus.GenAi("model", wire="none")


def test_a_kubeconfig_leads_to_the_same_cluster(
    doors: dict[str, Any], cluster: argus.TestCluster, incident: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    (tmp_path / "kubeconfig").write_text(cluster.kubeconfig)
    kube = argus.Kube(tmp_path / "kubeconfig", settle_within=30, unready_after=0, scan_within=30, seeing_cluster=True, across_namespaces=True)
    remediator = argus.Remediator(llm=argus.Playbook(), **{**doors, "cluster": kube})
    approved = remediator.dry_run(remediator.review(remediator.suggest(incident))).approve("operator")
    assert remediator.execute(approved)["rescan"]["recovery"] == "resolved"


def test_what_a_container_logged_last_is_evidence(
    cluster: argus.TestCluster, incident: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    (tmp_path / "kubeconfig").write_text(cluster.kubeconfig)
    kube = argus.Kube(tmp_path / "kubeconfig")
    heard = kube.with_last_words(incident, ["shop"])
    assert heard["incident_id"] == "INC-1"
    assert "log: listening on 0.0.0.0:8080" in [line for finding in heard["findings"] for line in finding["evidence"]]
    with pytest.raises(argus.IncidentError):
        kube.with_last_words("{", ["shop"])
    # Of what is out of scope nothing is read.
    assert kube.with_last_words(incident, ["other"])["findings"][0]["evidence"] == incident["findings"][0]["evidence"]
    with pytest.raises(argus.ScopeError):
        kube.with_last_words(incident, [])


def test_a_scan_becomes_incidents_and_logs(remediator: argus.Remediator) -> None:
    while not (scan := remediator.scan())["findings"]:
        time.sleep(0.05)
    incidents = argus.correlate(scan)
    assert sum(len(incident["findings"]) for incident in incidents) == len(scan["findings"]) > 0
    assert remediator.suggest(incidents[0]).incident_id == incidents[0]["incident_id"]
    results = argus.to_sarif(scan)["runs"][0]["results"]
    assert [result["partialFingerprints"]["argusFindingId/v1"] for result in results] == [f["finding_id"] for f in scan["findings"]]
    assert "argus_scan_complete 1\n" in argus.to_prometheus(json.dumps(scan))
    odd: list[Any] = [{"findings": 1}, "{", {"findings": [{}], "workloads": [], "incomplete": []}]
    for broken in odd:
        with pytest.raises(argus.IncidentError):
            argus.correlate(broken)


def test_the_gil_is_free_while_argus_waits(remediator: argus.Remediator, incident: dict[str, Any]) -> None:
    approved = remediator.dry_run(remediator.review(remediator.suggest(incident))).approve("operator")
    done = threading.Event()
    counted = 0

    def execute() -> None:
        remediator.execute(approved)
        done.set()

    thread = threading.Thread(target=execute)
    thread.start()
    while not done.is_set():
        counted += 1
        time.sleep(0.001)
    thread.join()
    assert counted > 20


def test_an_interrupt_ends_the_wait_and_not_the_plan(
    remediator: argus.Remediator, incident: dict[str, Any], doors: dict[str, Any]
) -> None:
    plan = remediator.suggest(incident)
    approved = remediator.dry_run(remediator.review(plan)).approve("operator")
    threading.Timer(0.02, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        remediator.execute(approved)
        time.sleep(5)
    for _ in range(200):
        if doors["audit"].records(plan_id=plan.plan_id)[0]["event"] == "finished":
            return
        time.sleep(0.05)
    raise AssertionError("the plan never came to its end")


def test_the_kill_switch(remediator: argus.Remediator, incident: dict[str, Any], cluster: argus.TestCluster) -> None:
    approved = remediator.dry_run(remediator.review(remediator.suggest(incident))).approve("operator")
    remediator.halt()
    with pytest.raises(argus.Halted) as caught:
        remediator.execute(approved)
    assert caught.value.standing == 0 and real_writes(cluster) == []
    remediator.lift_halt()


def test_after_a_fork_there_is_a_clear_error() -> None:
    code = """
import os, argus
cluster = argus.TestCluster()
child = os.fork()
if child == 0:
    try:
        argus.TestCluster()
    except RuntimeError as error:
        os._exit(7 if "forked" in str(error) else 8)
    os._exit(9)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=30).returncode == 7


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the module that makes interpreters has another name there")
def test_another_interpreter_of_the_process_is_refused() -> None:
    code = """
import argus
import _xxsubinterpreters as interpreters
try:
    interpreters.run_string(interpreters.create(), "import argus")
except interpreters.RunFailedError as error:
    raise SystemExit(7 if "supports one" in str(error) else str(error))
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 7


def test_the_demo_runs_to_its_end() -> None:
    demo = subprocess.run([sys.executable, "-m", "argus", "demo"], capture_output=True, text=True, timeout=60)
    assert demo.returncode == 0, demo.stderr
    assert demo.stdout.endswith(" resolved. Remaining: no issues.\n"), demo.stdout
