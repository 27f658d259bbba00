"""When and by which command a page was made."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import NamedTuple


class Made(NamedTuple):
    """The date of a page, in UTC, and the command that makes it again; empty where nobody said it."""

    date: str
    command: str

    @classmethod
    def now(cls, command: str) -> Made:
        """Return the present; builds that are to be the same again set ``SOURCE_DATE_EPOCH``, in seconds since 1970."""
        epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
        now = datetime.fromtimestamp(int(epoch), timezone.utc) if epoch.isdecimal() else datetime.now(timezone.utc)
        return cls(f"{now:%Y-%m-%d %H:%M} UTC", command)
