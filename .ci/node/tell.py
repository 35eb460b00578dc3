"""Gives the container that runc is to create what the annotations of its pod tell it; see `runc` beside it."""
import json
import sys

bundle = sys.argv[sys.argv.index("--bundle") + 1] + "/config.json"
with open(bundle) as file:
    config = json.load(file)
annotations = config.get("annotations", {})
if annotations.get("io.kubernetes.cri.container-type") == "container":
    name = annotations.get("io.kubernetes.cri.container-name")
    told = {}
    # Sorted, so that what is told to one container comes after what is told to all.
    for key in sorted(annotations):
        prefix, _, option = key.partition("/")
        option, _, container = option.partition(".")
        if prefix in ("app", "fake-kubelet") and container in ("", name):
            told[option] = annotations[key]
    config["process"]["env"] += [f"app/{option}={value}" for option, value in told.items()]
    with open(bundle, "w") as file:
        json.dump(config, file)
