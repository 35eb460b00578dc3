# %% A script to run cell by cell: three broken apps, and a picture of the findings before and after each fix.
import sys
import tempfile
import time
from collections import Counter
from typing import Any

import argus
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# %% A cluster in memory with apps that have faults.
cluster = argus.TestCluster()
cluster.deployment("shop", "web", "registry.example/web:1", memory_limit="128Mi", needs_memory="200Mi")
cluster.deployment("shop", "api", "registry.example/api:1", memory_limit="64Mi", needs_memory="100Mi")
cluster.deployment("shop", "newsletter", "registry.example/newsletter:1", replicas=0)
remediator = argus.Remediator(
    scope=["shop"],
    llm=argus.Playbook(),
    policy=argus.PolicyEngine(),
    cluster=cluster,
    audit=argus.FileAudit(tempfile.mkdtemp()),
    enabled=True,
)

# %% What is wrong, once the apps were started and stopped for the first time.
findings: list[dict[str, Any]] = []
for _ in range(200):
    findings = remediator.scan()["findings"]
    if Counter(finding.get("cause") for finding in findings)["oom_killed"] == 2:
        break
    time.sleep(0.05)

# %% Each app's fix, one after another; a person would look at each dry run here.
SEVERITIES = ["critical", "high", "medium", "low", "info"]
steps = ["before"]
counts = [Counter(finding["severity"] for finding in findings)]
owners = {finding["owner"]["name"]: finding for finding in findings if finding.get("owner")}
for name in sorted(owners):
    about = [finding for finding in findings if (finding.get("owner") or {}).get("name") == name]
    plan = remediator.suggest({"incident_id": f"INC-{name}", "findings": about})
    outcome = remediator.execute(remediator.dry_run(remediator.review(plan)).approve("ada"))
    print(f"{plan.summary} {outcome['summary']}")
    steps.append(f"{name} fixed")
    counts.append(Counter(finding["severity"] for finding in remediator.scan()["findings"]))

# %% The picture.
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
bottom = [0] * len(steps)
for severity, colour in zip(SEVERITIES, ["#7f1d1d", "#dc2626", "#f59e0b", "#16a34a", "#94a3b8"], strict=True):
    heights = [count[severity] for count in counts]
    axes.bar(steps, heights, bottom=bottom, color=colour, label=severity)
    bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
axes.set_ylabel("findings")
axes.legend()
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "findings.png")
