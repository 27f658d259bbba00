"""What scoring a backbone on a task is about to do."""

from dataclasses import dataclass

from solo_invariance.progress import bytes_in_words
from solo_invariance.regression.cross_validation import penalty_grid
from solo_invariance.transfer.probes.settings import ProbeSettings


@dataclass(frozen=True)
class TransferAhead:
    """The scoring of a backbone on one task, before it begins.

    Args:
        backbone: What is scored, in words.
        task: What the task is called.
        targets: What is to be predicted, in words.
        metric: Of the score.
        probe: Its kind.
        choices: What the probe leaves to cross-validation, in words; empty for nothing.
        num_train: Images that the probe is fitted to.
        num_test: Images that it is scored on.
        num_missing: Forward passes whose features are in no cache, for training and for the test.
        num_passes: All of them.
        memory: In bytes, about; None where there are no passes.
        device: Where.
        out: The directory, None for none.
        place: Which of how many tasks it is.
    """

    backbone: str
    task: str
    targets: str
    metric: str
    probe: str
    choices: str
    num_train: int
    num_test: int
    num_missing: int
    num_passes: int
    memory: int | None
    device: str
    out: str | None
    place: tuple[int, int]

    def facts(self) -> dict[str, str]:
        """Return it in words: titles, and a line for each; what all tasks share with the first alone."""
        number, count = self.place
        which = "" if count == 1 else f"{number} of {count}: "
        images = f"{self.num_train:,} training and {self.num_test:,} test images"
        choices = f", {self.choices}" if self.choices else ""
        return {
            **({"transfer": self.backbone} if number == 1 else {}),
            "task": f"{which}{self.task}, {self.targets}; {images}",
            "how": f"{self.metric} by {self.probe}{choices}",
            "work": self._work(),
            **({} if self.out is None else {"out": self.out}),
        }

    def _work(self) -> str:
        if not self.num_missing:
            return f"all {self.num_passes:,} features are in the cache"
        known = self.num_passes - self.num_missing
        cached = f" ({known:,} are in the cache)" if known else ""
        memory = "" if self.memory is None else f", about {bytes_in_words(self.memory)} of memory"
        return f"{self.num_missing:,} forward passes on {self.device}{cached}{memory}"


def choices_of(settings: ProbeSettings) -> str:
    """Return what a probe leaves to cross-validation, or what its episodes are, in words.

    Example:
        >>> choices_of(ProbeSettings("ridge", "regression", "r2"))
        '45 penalties in 5 folds'
    """
    folds = f"in {settings.folds} folds"
    if settings.probe == "few_shot":
        about = settings.few_shot
        return f"{about.episodes} episodes of {about.ways} ways, {about.shots} shots and {about.queries} queries"
    if settings.probe == "knn":
        return f"k chosen {folds}" if settings.knn.k is None else f"k {settings.knn.k}"
    if settings.probe == "kernel_ridge":
        return f"penalties and kernel widths {folds}"
    return f"{len(penalty_grid(settings.num_members, settings.protocol))} penalties {folds}"
