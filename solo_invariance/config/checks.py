"""Checks that configurations share."""

from solo_invariance.errors import UserError


def require_positive(config: object, *keys: str, prefix: str = "") -> None:
    """Raise UserError unless each key that is set is at least 1."""
    require_at_least(1, config, *keys, prefix=prefix)


def require_at_least(least: int, config: object, *keys: str, prefix: str = "") -> None:
    """Raise UserError unless each key that is set is at least ``least``."""
    for key in keys:
        value = getattr(config, key)
        if value is not None and value < least:
            raise UserError(f"{prefix}{key}={value}: expected at least {least}")
