"""`python -m argus demo`: the main job on a cluster in memory, to its end."""

import argparse
import tempfile
import time
from typing import Any

import argus


def demo() -> None:
    """Breaks an app, lets Argus fix it, and says what happened."""

    def told(record: dict[str, Any]) -> None:
        if record["event"] in ("holding", "held", "relapsed"):
            print("Watch:  ", record["outcome"])

    cluster = argus.TestCluster()
    cluster.deployment("shop", "web", "registry.example/web:1", memory_limit="128Mi", needs_memory="200Mi")
    with tempfile.TemporaryDirectory() as folder:
        remediator = argus.Remediator(
            scope=["shop"],
            llm=argus.Playbook(),
            policy=argus.PolicyEngine(),
            cluster=cluster,
            audit=argus.FileAudit(folder),
            enabled=True,
            hold={"min_seconds": 3, "max_seconds": 10},
            observe=told,
        )
        findings = remediator.scan()["findings"]
        while not findings:
            time.sleep(0.1)
            findings = remediator.scan()["findings"]
        for finding in findings:
            print("Found:  ", finding["title"])
        plan = remediator.suggest({"incident_id": "INC-1", "findings": findings})
        for step in plan.steps:
            print("Plan:   ", step["description"])
            print("        ", step["command"])
        dry_run = remediator.dry_run(remediator.review(plan))
        for change in dry_run.changes[0]:
            print("Change: ", f"{change['field']}: {change['before']} -> {change['after']}")
        outcome = remediator.execute(dry_run.approve("you"))
        print("Outcome:", outcome["summary"])


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m argus", description=__doc__)
    parser.add_argument("command", choices=["demo"], help="what to do")
    parser.parse_args()
    demo()


if __name__ == "__main__":
    main()
