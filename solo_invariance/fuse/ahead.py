"""What fusing is about to do."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class FusionAhead:
    """A fusion before it is made.

    Args:
        members: Each in words.
        mode: How they are fused.
        images: How many images the fusion is fitted to or chosen by, by what they are; none for a mode without.
        num_missing: Forward passes of members whose features are in no cache.
        num_passes: All of them.
        device: Where.
        out: The checkpoint, None for none.
        export: The network that needs no solo-invariance, None for none.
    """

    members: tuple[str, ...]
    mode: str
    images: Mapping[str, int]
    num_missing: int
    num_passes: int
    device: str
    out: str | None
    export: str | None

    def facts(self) -> dict[str, str]:
        """Return it in words: titles, and a line for each."""
        files = ", ".join(file for file in (self.out, self.export) if file is not None)
        return {
            "fuse": f"{len(self.members)} members by {self.mode}: {'; '.join(self.members)}",
            **({"images": self._images(), "work": self._work()} if self.images else {}),
            **({"out": files} if files else {}),
        }

    def _images(self) -> str:
        return ", ".join(f"{count:,} {what}" for what, count in self.images.items())

    def _work(self) -> str:
        if not self.num_missing:
            return f"all {self.num_passes:,} features are in the cache"
        known = self.num_passes - self.num_missing
        return f"{self.num_missing:,} forward passes on {self.device}" + (
            f" ({known:,} are in the cache)" if known else ""
        )
