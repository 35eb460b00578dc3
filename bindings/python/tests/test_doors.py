"""Doors that Python opens, and other programs of Python's world: sinks, PostgreSQL, the official client, argus-ops."""

import asyncio
import copy
import json
import os
import pathlib
import pickle
import resource
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import argus
import pytest
import yaml


def writes(cluster: argus.TestCluster) -> int:
    return sum(1 for user, _, _, dry, code in cluster.writes if user == "argus" and not dry and code == 200)


def walk(remediator: argus.Remediator, incident: dict[str, Any]) -> dict[str, Any]:
    return remediator.execute(remediator.dry_run(remediator.review(remediator.suggest(incident))).approve("ada"))


class Log:
    """A sink that may fail at one record."""

    def __init__(self, fails_at: int = 0) -> None:
        self.records: list[dict[str, Any]] = []
        self.fails_at = fails_at

    def append(self, record: dict[str, Any]) -> None:
        if len(self.records) + 1 == self.fails_at:
            raise OSError("the log's disk is full")
        self.records.append(record)


class AsyncLog(Log):
    async def append(self, record: dict[str, Any]) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().append(record)


@pytest.mark.parametrize("log", [Log(), AsyncLog()])
def test_a_sink_has_every_record_as_the_trail_has_it(log: Log, doors: dict[str, Any], incident: dict[str, Any], tmp_path: pathlib.Path) -> None:
    audit = argus.FileAudit(tmp_path / "copied", also=log)
    outcome = walk(argus.Remediator(llm=argus.Playbook(), **{**doors, "audit": audit}), incident)
    assert outcome["success"]
    assert log.records == list(reversed(audit.records()))
    assert audit.records(event="approved", limit=1)[0]["requested_by"] == log.records[4]["requested_by"]
    with pytest.raises(ValueError, match="evnt"):
        audit.records(evnt="approved")


@pytest.mark.parametrize("fails_at", range(1, 9))
def test_nothing_is_done_that_relies_on_a_record_that_the_sink_lacks(
    fails_at: int, doors: dict[str, Any], incident: dict[str, Any], cluster: argus.TestCluster, tmp_path: pathlib.Path
) -> None:
    log = Log(fails_at)
    audit = argus.FileAudit(tmp_path / "copied", also=log)
    remediator = argus.Remediator(llm=argus.Playbook(), **{**doors, "audit": audit})
    with pytest.raises(argus.AuditFailed, match="the log's disk is full"):
        walk(remediator, incident)
    assert len(log.records) == fails_at - 1
    # The sixth record is the step's intent.
    assert writes(cluster) == (1 if fails_at > 6 else 0)
    with pytest.raises(argus.AuditFailed):
        remediator.suggest(incident)


def test_what_never_runs_is_said_before_anybody_is_asked(doors: dict[str, Any], incident: dict[str, Any]) -> None:
    class Reckless:
        def complete(self, prompt: argus.Prompt) -> argus.Completion:
            step = {"description": "All of it.", "command": "kubectl delete namespace shop"}
            answer = {"summary": "Clean up.", "steps": [step], "risk_level": "low", "risk_reason": "Small.", "rollback_steps": []}
            return argus.Completion(json.dumps(answer), "reckless")

    remediator = argus.Remediator(llm=Reckless(), **doors)
    plan = remediator.suggest(incident)
    assert plan.risk_level == "high" and plan.steps[0]["is_destructive"]
    refusals = remediator.refusals(plan)
    assert [(refusal["id"], refusal["step"]) for refusal in refusals] == [("floor-manual", 0)]
    assert remediator.refusals(argus.Remediator(llm=argus.Playbook(), **doors).suggest(incident)) == []


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A server of its own; where its socket is."""
    programs = os.environ.get("ARGUS_TEST_POSTGRES")
    if programs is None:
        assert "ARGUS_TEST_ALL" not in os.environ, "no PostgreSQL: use `make test`"
        pytest.skip("the trail in PostgreSQL: install its server (`apt-get install postgresql`)")
    folder = pathlib.Path(subprocess.run(["mktemp", "-d"], check=True, capture_output=True, text=True).stdout.strip())
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] if os.geteuid() == 0 else []
    if user:
        subprocess.run(["chown", "postgres", folder], check=True)

    def run(program: str, *arguments: str) -> None:
        subprocess.run([*user, f"{programs}/{program}", *arguments], check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    data = str(folder / "data")
    run("initdb", "-A", "trust", "-U", "owner", "--no-sync", "-D", data)
    run("pg_ctl", "start", "-w", "-D", data, "-l", str(folder / "log"), "-o", f"-c listen_addresses= -c unix_socket_directories={folder}")
    try:
        run("psql", "-h", str(folder), "-U", "owner", "-d", "postgres", "-c", "CREATE ROLE argus LOGIN")
        yield str(folder)
    finally:
        run("pg_ctl", "stop", "-m", "immediate", "-D", data)
        subprocess.run(["rm", "-rf", folder], check=True)


def test_the_trail_and_the_plans_in_postgresql(postgres: str, doors: dict[str, Any], incident: dict[str, Any]) -> None:
    url = "postgres://{}@localhost/postgres?host=" + postgres
    with pytest.raises(argus.AuditFailed):
        argus.PostgresAudit(url.format("argus"))
    argus.PostgresAudit.migrate(url.format("owner"), "argus")
    log = Log()
    audit = argus.PostgresAudit(url.format("argus"), also=log)
    shared = {**doors, "audit": audit, "plans": None}
    remediator = argus.Remediator(llm=argus.Playbook(), **shared)
    plan = remediator.suggest(incident)
    # Another host has the plan too.
    other = argus.Remediator(llm=argus.Playbook(), **{**shared, "audit": argus.PostgresAudit(url.format("argus"))})
    again = other.plan(plan.plan_id)
    assert again == plan
    assert other.execute(other.dry_run(other.review(again)).approve("grace"))["success"]
    verified = argus.PostgresAudit.verify(url.format("argus"))
    assert verified == {"records": len(audit.records()), "unproven": 0} and verified["records"] >= 9
    assert [record["sequence"] for record in log.records] == ["1", "2"]
    assert audit.records(text="set resources", limit=1)[0]["plan_id"] == plan.plan_id


def test_progress_as_it_happens(doors: dict[str, Any], incident: dict[str, Any]) -> None:
    told: list[str] = []

    async def run() -> list[str]:
        remediator = argus.AsyncRemediator(llm=argus.Playbook(), observe=lambda record: told.append(record["event"]), **doors)
        seen: list[str] = []

        async def watch() -> None:
            async for record in remediator.progress():
                seen.append(record["event"])
                if record["event"] == "finished":
                    return

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)
        plan = await remediator.suggest(incident)
        dry_run = await remediator.dry_run(await remediator.review(plan))
        await remediator.execute(dry_run.approve("ada"))
        await asyncio.wait_for(watching, 10)
        return seen

    seen = asyncio.run(run())
    assert seen == told
    assert seen[:2] == ["asked", "suggested"] and seen[-1] == "finished" and "step_settled" in seen


def test_a_plan_is_a_value(remediator: argus.Remediator, incident: dict[str, Any]) -> None:
    plan = remediator.suggest(incident)
    same = [pickle.loads(pickle.dumps(plan)), copy.deepcopy(plan), argus.Plan.from_json(plan.to_json())]
    for other in same:
        assert other == plan and hash(other) == hash(plan) and other.to_dict() == plan.to_dict()
    match plan:
        case argus.Plan(summary, [step], "medium"):
            assert summary and step["command"].startswith("kubectl ")
        case _:
            raise AssertionError(plan)
    with pytest.raises(AttributeError):
        plan.summary = "another"  # type: ignore[misc]
    forged = json.loads(plan.to_json())
    forged["steps"][0]["command"] = "kubectl delete namespace shop"
    with pytest.raises(ValueError, match="this is no plan"):
        argus.Plan.from_json(json.dumps(forged))
    # What says that doors were passed can't be made of data.
    permitted = remediator.review(same[0])
    with pytest.raises(TypeError):
        pickle.dumps(permitted)


@pytest.mark.filterwarnings("ignore")
def test_the_official_client_works_with_the_cluster_in_memory(cluster: argus.TestCluster) -> None:
    from kubernetes import client, config

    config.load_kube_config_from_dict(yaml.safe_load(cluster.kubeconfig))
    apps, core = client.AppsV1Api(), client.CoreV1Api()
    assert [found.metadata.name for found in apps.list_namespaced_deployment("shop").items] == ["web"]
    assert apps.patch_namespaced_deployment_scale("web", "shop", {"spec": {"replicas": 2}}).spec.replicas == 2
    for _ in range(100):
        pods = core.list_namespaced_pod("shop", label_selector="app=web").items
        if len(pods) == 2:
            break
        time.sleep(0.05)
    assert len(pods) == 2
    core.delete_namespaced_pod(pods[0].metadata.name, "shop")
    with pytest.raises(client.ApiException) as error:
        apps.read_namespaced_deployment("none", "shop")
    assert error.value.status == 404
    assert {namespace.metadata.name for namespace in core.list_namespace().items} >= {"shop", "default"}


@pytest.mark.filterwarnings("ignore")
def test_what_argus_ops_finds_is_fixed(
    doors: dict[str, Any], incident: dict[str, Any], cluster: argus.TestCluster, tmp_path: pathlib.Path
) -> None:
    from argus_ops import models
    from argus_ops.analyzers.pod_health import PodHealthAnalyzer
    from argus_ops.collectors.k8s import KubernetesCollector

    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig)
    kubeconfig.chmod(0o600)
    snapshots = KubernetesCollector({"kubeconfig": str(kubeconfig), "namespaces": ["shop"]}).collect()
    findings = PodHealthAnalyzer({"crashloop_restart_threshold": 1}).analyze(snapshots)
    assert findings
    # Its models as they are, to a model that reads them, and back.
    theirs = models.Incident(incident_id="INC-ops", findings=findings)
    asked: list[str] = []

    class Model:
        def complete(self, prompt: argus.Prompt) -> str:
            asked.append(prompt.user)
            step = {"description": "More memory, because it needs it.", "command": "kubectl set resources deployment/web -n shop --limits=memory=256Mi"}
            return json.dumps({"summary": "More memory.", "steps": [step], "risk_level": "low", "risk_reason": "Small.", "rollback_steps": []})

    remediator = argus.Remediator(llm=Model(), **doors)
    plan = remediator.suggest(theirs)
    assert plan.incident_id == "INC-ops"
    for finding in findings:
        assert finding.finding_id in asked[0] and finding.title in asked[0]
    assert remediator.suggest(theirs.model_dump_json()).steps == plan.steps
    outcome = remediator.execute(remediator.dry_run(remediator.review(plan)).approve("ada"))
    assert outcome["success"] and outcome["rescan"]["recovery"] == "resolved"
    for finding in incident["findings"]:
        assert models.Finding(**finding).finding_id == finding["finding_id"]


def test_memory_is_steady_over_many_calls(remediator: argus.Remediator, incident: dict[str, Any]) -> None:
    plan = remediator.suggest(incident)
    policy = argus.PolicyEngine()

    def calls(count: int) -> int:
        for turn in range(count):
            argus.parse_command("kubectl scale deployment/web -n shop --replicas=2")
            argus.Plan.from_json(plan.to_json())
            if turn % 100 == 0:
                policy.evaluate(plan, ["shop"])
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = calls(10_000)
    assert calls(90_000) - before < 8 * 1024, "in KiB"
