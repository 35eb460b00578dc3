import os
import pathlib
import pickle

import argus
import pytest


def test_an_action_is_a_dict() -> None:
    action = argus.parse_command("kubectl scale deploy/web -n shop --replicas=2")
    assert action == {"kind": "scale", "target": {"kind": "Deployment", "namespace": "shop", "name": "web"}, "replicas": 2}


def test_what_only_people_do_is_manual() -> None:
    assert argus.parse_command("kubectl drain node-1")["kind"] == "manual"


def test_an_error_has_a_position_and_a_hint() -> None:
    with pytest.raises(argus.CommandError, match="nothing is ever forced") as caught:
        argus.parse_command("kubectl delete pod/web-1 -n shop --force")
    assert caught.value.position == 33
    assert caught.value.hint
    assert isinstance(caught.value, argus.ArgusError) and isinstance(caught.value, ValueError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.position, again.hint) == (str(caught.value), 33, caught.value.hint)


def test_every_field_of_an_action_is_there() -> None:
    action = argus.parse_command("kubectl set resources deploy/web -n shop -c app --limits=memory=512Mi,ephemeral-storage=1Gi")
    assert action["limits"] == {"memory": "512Mi", "ephemeral-storage": "1Gi"}
    patch = argus.parse_command("kubectl patch deploy/web -n shop -p 'spec: {paused: true}'")
    assert (patch["patch_type"], patch["patch"]) == ("strategic", {"spec": {"paused": True}})


def test_the_table_of_commands_means_the_same_here() -> None:
    """The core's own table, with its outcomes."""
    core = pathlib.Path(os.environ["ARGUS_CHECKOUT"]) / "argus-core" / "tests"
    expected = (core / "snapshots" / "commands__each_command_of_the_table_is_taken_left_or_refused_as_it_says.snap").read_text()
    counts = {"taken": 0, "left": 0, "refused": 0}
    for line in (core / "data" / "commands.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        try:
            action = argus.parse_command(line)
        except argus.CommandError as error:
            assert 0 <= error.position <= len(line) and error.hint, line
            counts["refused"] += 1
        else:
            counts["left" if action["kind"] == "manual" else "taken"] += 1
    assert expected.rstrip().endswith("{taken} taken, {left} left to people, {refused} refused".format(**counts))
