"""Hydra's overrides, made kind to the names that solo-learn gives its checkpoints."""

import re

_PLAIN = r"[^\[\]{}(),'\"\s]*"
_WITH_EQUALS = re.compile(f"{_PLAIN}={_PLAIN}")


def quote_equals(override: str) -> str:
    """Quote the parts of an override's value that hold an equals sign, which Hydra's grammar wants quoted.

    Solo-learn calls its checkpoints ``NAME-VERSION-ep=E.ckpt``. Flags, and values that are quoted already, stay.

    Example:
        >>> quote_equals("members=[a-ep=9.ckpt,b.ckpt]")
        "members=['a-ep=9.ckpt',b.ckpt]"
    """
    key, separator, value = override.partition("=")
    if not separator or key.startswith("-") or "'" in value or '"' in value:
        return override
    return f"{key}={_WITH_EQUALS.sub(lambda match: repr(match.group()), value)}"
