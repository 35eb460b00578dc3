"""The walk for asyncio."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

from argus._argus import Approved, DryRun, GenAi, Permitted, Plan, Playbook, Remediator
from argus._doors import Approver, OnLoop, _answered


class AsyncRemediator:
    """`Remediator` with awaitable calls; the same arguments, the same exceptions.

    A call that is cancelled goes on to its end: an execution is never left half-way by it. Async providers run on the
    loop of the caller.
    """

    def __init__(self, *, llm: Any, observe: Callable[[dict[str, Any]], object] | None = None, **doors: Any) -> None:
        several = [each if isinstance(each, (Playbook, GenAi)) else OnLoop(each) for each in (llm if isinstance(llm, list) else [llm])]
        self._on_loop = [each for each in several if isinstance(each, OnLoop)]
        self._listening: set[tuple[asyncio.AbstractEventLoop, asyncio.Queue[dict[str, Any]]]] = set()

        def tell(record: dict[str, Any]) -> None:
            for loop, queue in tuple(self._listening):
                if not loop.is_closed():
                    loop.call_soon_threadsafe(queue.put_nowait, record)
            if observe is not None:
                observe(record)

        self._remediator = Remediator(llm=several if isinstance(llm, list) else several[0], observe=tell, **doors)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Each record of the trail from now on, as soon as it is durable: `async for record in remediator.progress()`."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        listener = (asyncio.get_running_loop(), queue)
        self._listening.add(listener)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listening.discard(listener)

    async def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        for provider in self._on_loop:
            provider.loop = asyncio.get_running_loop()
        return await asyncio.to_thread(method, *arguments)

    async def scan(self) -> dict[str, Any]:
        """See `Remediator.scan`."""
        scan: dict[str, Any] = await self._call(self._remediator.scan)
        return scan

    async def diagnose(self, incident: Any) -> dict[str, Any]:
        """See `Remediator.diagnose`."""
        diagnosis: dict[str, Any] = await self._call(self._remediator.diagnose, incident)
        return diagnosis

    async def suggest(self, incident: Any) -> Plan:
        """See `Remediator.suggest`."""
        plan: Plan = await self._call(self._remediator.suggest, incident)
        return plan

    async def review(self, plan: Plan) -> Permitted:
        """See `Remediator.review`."""
        permitted: Permitted = await self._call(self._remediator.review, plan)
        return permitted

    async def dry_run(self, permitted: Permitted) -> DryRun:
        """See `Remediator.dry_run`."""
        dry_run: DryRun = await self._call(self._remediator.dry_run, permitted)
        return dry_run

    async def execute(self, approved: Approved) -> dict[str, Any]:
        """See `Remediator.execute`."""
        outcome: dict[str, Any] = await self._call(self._remediator.execute, approved)
        return outcome

    async def fix(self, incident: Any, approver: Approver) -> dict[str, Any]:
        """See `Remediator.fix`; an `async` approver runs on the loop of the caller."""
        loop = asyncio.get_running_loop()

        def decide(dry_run: DryRun) -> Any:
            answer = approver(dry_run)
            return asyncio.run_coroutine_threadsafe(_answered(answer), loop).result() if inspect.isawaitable(answer) else answer

        fixed: dict[str, Any] = await self._call(self._remediator.fix, incident, decide)
        return fixed

    async def history(self, incident: Any) -> list[dict[str, Any]]:
        """See `Remediator.history`."""
        history: list[dict[str, Any]] = await self._call(self._remediator.history, incident)
        return history

    async def unfinished(self) -> list[str]:
        """See `Remediator.unfinished`."""
        plans: list[str] = await self._call(self._remediator.unfinished)
        return plans

    async def undo(self, plan_id: str) -> dict[str, Any]:
        """See `Remediator.undo`."""
        outcome: dict[str, Any] = await self._call(self._remediator.undo, plan_id)
        return outcome

    async def resume(self, plan_id: str) -> dict[str, Any]:
        """See `Remediator.resume`."""
        outcome: dict[str, Any] = await self._call(self._remediator.resume, plan_id)
        return outcome

    async def plan(self, plan_id: str) -> Plan | None:
        """See `Remediator.plan`."""
        plan: Plan | None = await self._call(self._remediator.plan, plan_id)
        return plan

    def halt(self) -> None:
        """See `Remediator.halt`."""
        self._remediator.halt()

    def lift_halt(self) -> None:
        """See `Remediator.lift_halt`."""
        self._remediator.lift_halt()
