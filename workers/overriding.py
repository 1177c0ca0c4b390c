"""Roles as the settings say: what `[roles.NAME]` names takes the place of the role's own."""

from dataclasses import replace
from typing import Any

from workers.limiting import limited
from workers.role_settings import RoleSettings
from workers.sdk.role import Role
from workers.settings import SettingsError

POLICY = (
    "concurrency",
    "timeout",
    "attempts",
    "backoff",
    "backoff_factor",
    "backoff_cap",
    "backoff_jitter",
)
"""What a role and its settings have in common."""


def overridden(role: Role, settings: RoleSettings) -> Role:
    """`role` with the values of its settings. Raises `SettingsError` for what it cannot have."""
    if role.once and (settings.attempts or 1) > 1:
        raise SettingsError(
            f"the setting roles.{role.name}.attempts cannot be {settings.attempts}",
            details=f'role {role.name} has delivery="once": a task is started at most once',
            actions=("leave it out", f"or change the role: {role.file}:{role.line}"),
        )
    given = {name: getattr(settings, name) for name in POLICY}
    found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(limited(role, settings), **found)
