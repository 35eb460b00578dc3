"""Doors that are Python objects."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Protocol

from argus._argus import Prompt


@dataclass(frozen=True)
class Completion:
    """What a model answered."""

    text: str
    """The answer, as it came."""
    model: str = ""
    """Who gave it; the name of the provider's class by default."""
    tokens: int = 0
    """Read and written together; 0 where that isn't known."""


class LlmProvider(Protocol):
    """Whoever writes plans: any object with this one method, which may be `async`."""

    def complete(self, prompt: Prompt, /) -> str | Completion | Awaitable[str | Completion]:
        """Answer `prompt` with the JSON that `prompt.schema` describes."""


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


def complete(provider: Any, prompt: Prompt) -> tuple[str, str, int]:
    """Asks a provider; what the native half calls."""
    on_loop = provider if isinstance(provider, OnLoop) else OnLoop(provider)
    answer = on_loop.complete(prompt)
    if isinstance(answer, str):
        answer = Completion(answer)
    if not isinstance(answer, Completion):
        raise TypeError(f"complete() has to give a str or an argus.Completion, not {type(answer).__name__}")
    return answer.text, answer.model or on_loop.name, answer.tokens
