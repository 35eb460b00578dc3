"""Doors that are Python objects."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Protocol

from argus._argus import DryRun, Prompt


@dataclass(frozen=True)
class Completion:
    """What a model answered."""

    text: str
    """The answer, as it came."""
    model: str = ""
    """Who gave it; the name of the provider's class by default."""
    input_tokens: int = 0
    """Tokens that it read; 0 where that isn't known."""
    output_tokens: int = 0
    """Tokens that it wrote; 0 where that isn't known."""


class LlmProvider(Protocol):
    """Whoever writes plans: any object with this one method, which may be `async`."""

    def complete(self, prompt: Prompt, /) -> str | Completion | Awaitable[str | Completion]:
        """Answer `prompt` with the JSON that `prompt.schema` describes."""


class Approver(Protocol):
    """Whoever is asked about a plan: any callable, which may be `async`."""

    def __call__(self, dry_run: DryRun, /) -> Any:
        """Who says yes, or a dict: `user`, with `typed_name` or `refuse`; or `automatic`. `None` is a no."""


def decide(approver: Any, dry_run: DryRun) -> str:
    """Asks an approver; what the native half calls."""
    answer = approver(dry_run)
    if inspect.isawaitable(answer):
        answer = asyncio.run(_answered(answer))
    if answer is None:
        answer = {"user": "approver", "refuse": "no answer"}
    return json.dumps({"user": answer} if isinstance(answer, str) else answer)


class RecordSink(Protocol):
    """One more place for the records of a trail: any object with this one method, which may be `async`."""

    def append(self, record: dict[str, Any], /) -> Awaitable[None] | None:
        """Keep `record`; return only when it is durable."""


def append(sink: RecordSink, record: dict[str, Any]) -> None:
    """Hands a record on; what the native half calls."""
    kept = sink.append(record)
    if inspect.isawaitable(kept):
        asyncio.run(_kept(kept))


async def _kept(kept: Awaitable[None]) -> None:
    await kept


class Cluster(Protocol):
    """A cluster of the host's own: what tries, applies and undoes steps, and looks. Every method may be `async`.

    A step is a dict with `action`, `command`, and, once it was approved, `plan_id`, `index` and `preview`. Raise `argus.NotDone` where
    something was refused and nothing was written, `argus.Stale` where an object isn't as it was approved, or as the step left it;
    anything else that is raised means that nobody knows.
    """

    def missing_permissions(self, plan: dict[str, Any], /) -> Any:
        """What the plan and its undo need and the host lacks: a list of texts."""

    def dry_run(self, step: dict[str, Any], /) -> Any:
        """Try `step` without doing it: `uid`, the object `before` and `after` (None if it would be gone), the request `write`."""

    def apply(self, step: dict[str, Any], /) -> Any:
        """Send `step["preview"]["write"]` if the object is still as approved; the object as it was stored."""

    def settle(self, step: dict[str, Any], /) -> Any:
        """Return when what was written has come to rest."""

    def is_in_force(self, step: dict[str, Any], /) -> Any:
        """Whether what the step wrote is there now."""

    def undo(self, step: dict[str, Any], /) -> Any:
        """Put back what the step changed: "restored", or "nothing_to_restore"."""

    def scan(self, namespaces: list[str], /) -> Any:
        """What is wrong: `findings`, `workloads`, and what couldn't be looked at, `incomplete`."""


def cluster(door: Any, method: str, request: dict[str, Any]) -> tuple[str, str]:
    """Asks a cluster; what the native half calls."""
    from argus._errors import NotDone, Stale

    whole = {"missing_permissions": "plan", "scan": "namespaces"}
    try:
        answer = getattr(door, method)(request[whole[method]] if method in whole else request)
        if inspect.isawaitable(answer):
            answer = asyncio.run(_answered(answer))
    except NotDone as refused:
        return "not_done", str(refused)
    except Stale as stale:
        return "stale", str(stale)
    return "answer", json.dumps(answer)


async def _answered(answer: Awaitable[Any]) -> Any:
    return await answer


class OnLoop:
    """A provider whose coroutines run on the event loop of whoever waits for them."""

    def __init__(self, provider: LlmProvider) -> None:
        self.provider = provider
        self.loop: asyncio.AbstractEventLoop | None = None

    def complete(self, prompt: Prompt, /) -> str | Completion:
        answer = self.provider.complete(prompt)
        if not inspect.isawaitable(answer):
            return answer
        if self.loop is not None and self.loop.is_running():
            return asyncio.run_coroutine_threadsafe(_wait(answer), self.loop).result()
        return asyncio.run(_wait(answer))

    @property
    def name(self) -> str:
        return type(self.provider).__name__


async def _wait(answer: Awaitable[str | Completion]) -> str | Completion:
    return await answer


def complete(provider: Any, prompt: Prompt) -> tuple[str, str, int, int]:
    """Asks a provider; what the native half calls."""
    on_loop = provider if isinstance(provider, OnLoop) else OnLoop(provider)
    answer = on_loop.complete(prompt)
    if isinstance(answer, str):
        answer = Completion(answer)
    if not isinstance(answer, Completion):
        raise TypeError(f"complete() has to give a str or an argus.Completion, not {type(answer).__name__}")
    return answer.text, answer.model or on_loop.name, answer.input_tokens, answer.output_tokens
