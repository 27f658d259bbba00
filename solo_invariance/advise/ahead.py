"""What seeking advice is about to do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AdviceAhead:
    """The search for advice on a task, before it begins.

    Args:
        task: What it is called.
        targets: What is to be predicted, in words.
        backbone: Whose frozen features are read, in words.
        families: That are ranked.
        num_transforms: That are looked at, too.
        num_train: Images that probes are fitted to.
        num_test: Images that they are scored on.
        k: Views of each training image.
        num_known: Backbones that are scored on the task.
        device: Where.
        out: The directory, None for none.
    """

    task: str
    targets: str
    backbone: str
    families: tuple[str, ...]
    num_transforms: int
    num_train: int
    num_test: int
    k: int
    num_known: int
    device: str
    out: str | None

    def facts(self) -> dict[str, str]:
        """Return it in words: titles, and a line for each."""
        views = (len(self.families) + self.num_transforms) * (self.k * self.num_train + self.num_test)
        transforms = f" and {self.num_transforms} transforms" if self.num_transforms else ""
        known = f"; {self.num_known} backbones to score" if self.num_known else ""
        return {
            "advise": f"{self.task}, {self.targets}; {self.num_train:,} training and {self.num_test:,} test images",
            "how": f"views by {', '.join(self.families)}{transforms}, read by {self.backbone}{known}",
            "work": f"up to {views:,} views and forward passes on {self.device}",
            **({} if self.out is None else {"out": self.out}),
        }
