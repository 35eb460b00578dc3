"""Secrets leave texts and JSON alike, and nothing else does."""

import argus
import pytest


def test_a_text_stays_a_text() -> None:
    assert argus.redact("DB_PASSWORD=hunter2 is wrong") == "DB_PASSWORD=[redacted] is wrong"
    assert argus.redact("- name: DB_PASSWORD\n  value: hunter2\n") == "- name: DB_PASSWORD\n  value: [redacted]\n"
    assert argus.redact("") == ""


def test_json_is_judged_by_its_names() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "db"}, "data": {"pin": "NDgx"}}
    assert argus.redact(secret) == {**secret, "data": {"pin": "[redacted]"}}
    assert argus.redact({"password": 83746512, "n": 3}) == {"password": "[redacted]", "n": 3}
    assert argus.redact(["--password", "hunter2", "--verbose"]) == ["--password", "[redacted]", "--verbose"]
    reference = {"secretKeyRef": {"name": "db-credentials", "key": "password"}}
    assert argus.redact(reference) == reference


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        argus.redact(object())
    with pytest.raises(ValueError, match="this is no JSON"):
        argus.redact(float("nan"))
