"""Argus: lets an AI fix a Kubernetes cluster without letting it break it."""

import json
from typing import Any

from argus import _argus

__all__ = ["ArgusError", "CommandError", "__version__", "parse_command"]
__version__: str = _argus.__version__


class ArgusError(Exception):
    """Whatever Argus refuses or fails at."""


class CommandError(ArgusError, ValueError):
    """A text that is no command which Argus would show or run."""

    def __init__(self, message: str, position: int, hint: str) -> None:
        super().__init__(message, position, hint)
        self.position = position
        """Where in the text, in characters from 0."""
        self.hint = hint
        """What to write instead, in plain English."""

    def __str__(self) -> str:
        return str(self.args[0])


def parse_command(text: str) -> dict[str, Any]:
    """Read one kubectl command.

    >>> parse_command("kubectl drain node-1")["kind"]
    'manual'

    :raises CommandError: for what isn't exactly one clean kubectl command.
    """
    action: dict[str, Any] = json.loads(_argus.parse_command(text))
    return action
