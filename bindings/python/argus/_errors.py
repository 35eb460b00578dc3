"""One tree of exceptions. What a host has to know of one stands in its attributes."""

from __future__ import annotations

from typing import Any


class ArgusError(Exception):
    """Whatever Argus refuses or fails at."""

    retryable: bool = False
    """Whether the same call may work later."""

    def __init__(self, message: str, **attributes: Any) -> None:
        super().__init__(message)
        self.__dict__.update(attributes)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), str(self), self.__dict__)


def _again(kind: type[ArgusError], message: str, attributes: dict[str, Any]) -> ArgusError:
    return kind(message, **attributes)


class CommandError(ArgusError, ValueError):
    """A text that is no command which Argus would show or run."""

    position: int
    """Where in the text, in characters from 0."""
    hint: str
    """What to write instead, in plain English."""


class IncidentError(ArgusError, ValueError):
    """JSON that is no incident; the message names the field."""


class PlanIdError(ArgusError, ValueError):
    """A text that is no plan's id."""


class ScopeError(ArgusError, ValueError):
    """What can't be a list of namespaces."""


class PackError(ArgusError, ValueError):
    """A folder that is no policy pack, or a pack that its own tests don't hold."""


class ClusterError(ArgusError, ConnectionError):
    """A cluster that can't be reached as configured."""


class ScanFailed(ArgusError, ConnectionError):
    """Nothing of the cluster could be read; nothing was written."""


class NoPlan(ArgusError):
    """The model gave no answer that is a plan. What a provider in Python raised is the `__cause__`."""

    attempts: int = 1
    """How often it was asked."""


class OverBudget(ArgusError):
    """No model is asked: the budget is spent, or what is spent can't be known."""

    what: str
    """Which limit, and what to do."""


class PolicyFailed(ArgusError):
    """There is no verdict; never an allow."""


class Denied(ArgusError):
    """Policy refuses the plan."""

    violations: list[dict[str, Any]]
    """Each with `id`, `message`, `step` and `hint`."""
    plan: dict[str, Any]
    """The plan, to show it."""


class ManualSteps(ArgusError):
    """The plan has steps that only a person may do, so nothing of it is executed."""

    steps: dict[str, str]
    """The reason by the step's index."""


class MissingPermissions(ArgusError, PermissionError):
    """The cluster does not give the host what the plan needs; nothing was tried."""

    missing: list[str]
    """Each in words."""


class DryRunFailed(ArgusError):
    """A step would not work; nothing was changed."""

    step: int
    """From 0."""


class NotApproved(ArgusError):
    """The answer is no approval of this dry run."""


class Disabled(ArgusError):
    """Executing plans is switched off."""


class Stale(ArgusError):
    """Something changed after the approval; nothing was written."""

    what: str
    """What changed."""


class Busy(ArgusError):
    """Another plan, or another host, is changing the same object right now."""

    target: str
    """The object, or the plan that another host executes."""


class Halted(ArgusError):
    """The kill switch was pulled."""

    standing: int
    """How many steps may stand in the cluster."""


class AuditFailed(ArgusError):
    """The trail failed, so nothing more is done."""

    standing: int = 0
    """How many steps may stand in the cluster and were not undone: a person has to look."""


class StoreFailed(ArgusError):
    """A plan could not be kept or read."""


class NotDone(ArgusError):
    """For a cluster of the host's own to raise: the change was refused, and nothing was written."""


class NotUndoable(ArgusError):
    """There is nothing of the plan to undo."""

    plan_id: str
    """The plan."""


class NotUnfinished(ArgusError):
    """There is nothing to resume."""

    plan_id: str
    """The plan."""
