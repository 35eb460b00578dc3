"""A provider that asks any model that litellm knows: `llm=LiteLlm("anthropic/claude-sonnet-4-5")`."""

from __future__ import annotations

from typing import Any

import argus
import litellm


class LiteLlm:
    """Whatever litellm takes as `model`; `options` go to litellm as they are, such as `api_base` or `timeout`."""

    def __init__(self, model: str, **options: Any) -> None:
        self.model = model
        self.options = {"timeout": 120, **options}

    async def complete(self, prompt: argus.Prompt) -> argus.Completion:
        messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
        for answer, problem in prompt.turns:
            messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": problem}]
        answered: Any = await litellm.acompletion(
            model=self.model,
            messages=messages,
            response_format={"type": "json_schema", "json_schema": {"name": "plan", "schema": prompt.schema}},
            **self.options,
        )
        usage = answered.usage if hasattr(answered, "usage") else None
        text = answered.choices[0].message.content or ""
        return argus.Completion(
            text,
            model=answered.model or self.model,
            input_tokens=usage.prompt_tokens if usage else 0,
            output_tokens=usage.completion_tokens if usage else 0,
        )
