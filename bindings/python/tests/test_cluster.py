"""A cluster of the host's own: here a few documents in a dict, as a team has them in a repository."""

import copy
import pathlib
from typing import Any

import argus
import pytest


class Repository:
    """Deployments as documents; each method can be made to fail."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {"web": self.document("web"), "api": self.document("api")}
        self.commits: list[str] = []
        self.fails: dict[str, BaseException] = {}

    @staticmethod
    def document(name: str) -> dict[str, Any]:
        pods = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]}}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": pods},
        }

    def failing(self, method: str) -> None:
        if method in self.fails:
            raise self.fails[method]

    def name(self, step: dict[str, Any]) -> str:
        return str(step["action"]["target"]["name"])

    def missing_permissions(self, plan: dict[str, Any]) -> list[str]:
        self.failing("missing_permissions")
        return []

    async def dry_run(self, step: dict[str, Any]) -> dict[str, Any]:
        self.failing("dry_run")
        before = self.documents[self.name(step)]
        body = {"spec": {"replicas": step["action"]["replicas"]}}
        after = copy.deepcopy(before)
        after["spec"].update(body["spec"])
        write = {"method": "patch", "subresource": "scale", "patch_type": "merge", "body": body}
        return {"uid": before["metadata"]["uid"], "before": before, "after": after, "write": write}

    async def apply(self, step: dict[str, Any]) -> dict[str, Any]:
        self.failing("apply")
        name = self.name(step)
        if self.documents[name] != step["preview"]["before"]:
            raise argus.Stale(f"{name} was changed")
        self.documents[name] = step["preview"]["after"]
        self.commits.append(step["command"])
        return self.documents[name]

    def settle(self, step: dict[str, Any]) -> None:
        self.failing("settle")

    def is_in_force(self, step: dict[str, Any]) -> bool:
        return bool(self.documents[self.name(step)] == step["preview"]["after"])

    def undo(self, step: dict[str, Any]) -> str:
        self.failing("undo")
        name = self.name(step)
        if self.documents[name] != step["preview"]["after"]:
            raise argus.Stale("/spec/replicas")
        self.documents[name] = step["preview"]["before"]
        return "restored"

    def scan(self, namespaces: list[str]) -> dict[str, Any]:
        self.failing("scan")
        assert namespaces == ["shop"]
        workloads = [
            {"object": {"kind": "Deployment", "namespace": "shop", "name": name}, "desired": found["spec"]["replicas"], "ready": found["spec"]["replicas"]}
            for name, found in self.documents.items()
        ]
        return {"findings": [], "workloads": workloads, "incomplete": []}


@pytest.fixture
def repository() -> Repository:
    return Repository()


@pytest.fixture
def walk(repository: Repository, tmp_path: pathlib.Path) -> argus.Remediator:
    class Model:
        def complete(self, prompt: argus.Prompt) -> str:
            step = '{"description": "More copies, because of the load.", "command": "kubectl scale deployment/%s -n shop --replicas=3"}'
            steps = ", ".join(step % name for name in ("web", "api"))
            return '{"summary": "More copies.", "steps": [%s], "risk_level": "low", "risk_reason": "r", "rollback_steps": []}' % steps

    audit = argus.FileAudit(tmp_path / "audit")
    return argus.Remediator(scope=["shop"], llm=Model(), policy=argus.PolicyEngine(), cluster=repository, audit=audit, enabled=True)


def tried(walk: argus.Remediator, incident: str = "INC-1") -> argus.DryRun:
    return walk.dry_run(walk.review(walk.suggest({"incident_id": incident, "findings": []})))


def replicas(repository: Repository) -> list[int]:
    return [found["spec"]["replicas"] for found in repository.documents.values()]


def test_the_walk_and_back(walk: argus.Remediator, repository: Repository) -> None:
    dry_run = tried(walk)
    assert dry_run.changes == [[{"field": "spec.replicas", "before": "1", "after": "3"}]] * 2
    assert replicas(repository) == [1, 1]
    outcome = walk.execute(dry_run.approve("ada"))
    assert outcome["success"] and replicas(repository) == [3, 3]
    assert repository.commits == [step["command"] for step in dry_run.plan.steps]
    assert walk.undo(dry_run.plan.plan_id)["ending"] == "undone" and replicas(repository) == [1, 1]


def test_what_was_changed_meanwhile_is_stale(walk: argus.Remediator, repository: Repository) -> None:
    approved = tried(walk).approve("ada")
    repository.documents["web"]["spec"]["replicas"] = 2
    with pytest.raises(argus.Stale, match="web was changed"):
        walk.execute(approved)
    assert replicas(repository) == [2, 1]


@pytest.mark.parametrize("error", [argus.NotDone("the branch is protected"), OSError("no connection")])
def test_what_can_not_be_tried_is_not_carried_out(walk: argus.Remediator, repository: Repository, error: Exception) -> None:
    for method in ("missing_permissions", "dry_run"):
        repository.fails = {method: error}
        with pytest.raises(argus.DryRunFailed, match=str(error)):
            tried(walk)
    repository.fails = {}
    approved = tried(walk).approve("ada")
    repository.fails = {"scan": error}
    with pytest.raises(argus.ScanFailed, match=str(error)):
        walk.execute(approved)
    assert replicas(repository) == [1, 1]


@pytest.mark.parametrize("method", ["apply", "settle"])
def test_a_step_that_fails_is_undone(walk: argus.Remediator, repository: Repository, method: str) -> None:
    for number, error in enumerate((argus.NotDone("the branch is protected"), OSError("no connection"), KeyError("web"))):
        # Each its own: what did not help is not done again for the same incident.
        approved = tried(walk, f"INC-{number}").approve("ada")
        repository.fails = {method: error}
        outcome = walk.execute(approved)
        # Only `NotDone` says that nothing was written; after any other error of `apply` the write may still come.
        in_doubt = method == "apply" and not isinstance(error, argus.NotDone)
        assert outcome["ending"] == ("stuck" if in_doubt else "undone") and replicas(repository) == [1, 1]
        repository.fails = {}


def test_an_undo_that_fails_is_for_a_person(walk: argus.Remediator, repository: Repository) -> None:
    approved = tried(walk).approve("ada")
    repository.fails = {"settle": OSError("no connection"), "undo": argus.NotDone("the branch is protected")}
    outcome = walk.execute(approved)
    assert outcome["ending"] == "stuck" and outcome["steps"] == ["stuck", "untouched"]
    assert "the branch is protected" in outcome["output"]


@pytest.mark.parametrize("method", ["missing_permissions", "dry_run", "apply", "is_in_force", "undo", "scan"])
def test_an_answer_of_another_shape_is_never_a_success(
    walk: argus.Remediator, repository: Repository, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved = tried(walk).approve("ada")
    monkeypatch.setattr(repository, method, lambda *_: {"ok": "yes"})
    if method in ("missing_permissions", "dry_run"):
        with pytest.raises(argus.DryRunFailed, match="another shape"):
            tried(walk)
    elif method == "scan":
        with pytest.raises(argus.ScanFailed, match="another shape"):
            walk.execute(approved)
    elif method == "apply":
        # It says that it stored something else than what was approved.
        assert walk.execute(approved)["ending"] in ("undone", "stuck")
        assert repository.commits == []
    else:
        repository.fails = {"settle": OSError("no connection"), "apply": OSError("no connection")} if method == "is_in_force" else {"settle": OSError("x")}
        assert not walk.execute(approved)["success"]


def test_what_is_no_cluster_is_refused(tmp_path: pathlib.Path) -> None:
    class Half:
        def scan(self, namespaces: list[str]) -> dict[str, Any]:
            return {}

    audit = argus.FileAudit(tmp_path / "audit")
    with pytest.raises(TypeError, match="`missing_permissions` is missing"):
        argus.Remediator(scope=["shop"], llm=argus.Playbook(), policy=argus.PolicyEngine(), cluster=Half(), audit=audit)  # type: ignore[arg-type]
