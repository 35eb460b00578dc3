import doctest
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


def test_the_examples_run() -> None:
    assert doctest.testmod(argus).failed == 0
