"""What pre-training is about to do, and what it has done."""

from dataclasses import dataclass
from pathlib import Path

from solo_invariance.progress import about


@dataclass(frozen=True)
class PretrainingAhead:
    """A run before it begins.

    Args:
        method: Its name.
        families: Crops and the families that make them, in words.
        backbone: The architecture's name.
        num_features: D.
        num_images: In the training data.
        data: What they are called, or their folder.
        canvas_size: Side of what crops are taken from, in pixels.
        batch_size: Images in a step.
        steps: In an epoch.
        epochs: In all.
        epochs_done: Of an earlier run that is gone on with.
        accelerator: Where.
        directory: Where checkpoints go.
    """

    method: str
    families: str
    backbone: str
    num_features: int
    num_images: int
    data: str
    canvas_size: int
    batch_size: int
    steps: int
    epochs: int
    epochs_done: int
    accelerator: str
    directory: Path

    def facts(self) -> dict[str, str]:
        """Return it in words: titles, and a line for each."""
        left = self.epochs - self.epochs_done
        work = f"{left} epoch{'' if left == 1 else 's'} of {self.steps} steps of {self.batch_size} images"
        if self.epochs_done:
            work += f" (goes on with an earlier run: {self.epochs_done} of {self.epochs} done)"
        return {
            "pretrain": f"{self.backbone} ({self.num_features} features) by {self.method}",
            "images": f"{self.num_images:,} of {self.data}; {self.families} crops of {self.canvas_size} px canvases",
            "work": f"{work} on {self.accelerator}",
            "out": str(self.directory),
        }


@dataclass(frozen=True)
class Pretrained:
    """A run that has ended.

    Args:
        checkpoint: The last one.
        families: Crops and the families that made them, in words.
        epochs: In all.
        loss: The mean over the last epoch's steps; None where nothing was left to do, as are the next two.
        seconds: Spent on this part of it.
        images_per_second: Trained on.
        best: The checkpoint of the best epoch, by ``checkpoint.monitor``; None where that is not set.
    """

    checkpoint: Path
    families: str
    epochs: int
    loss: float | None = None
    seconds: float | None = None
    images_per_second: float | None = None
    best: Path | None = None

    def facts(self) -> dict[str, str]:
        """Return it in words: titles, and a line for each."""
        if self.loss is None or self.seconds is None or self.images_per_second is None:
            how = f"{self.families}: all {self.epochs} epochs were done before"
        else:
            how = (
                f"{self.families}: {self.epochs} epochs in {about(self.seconds)}, {self.images_per_second:,.0f} images "
                f"a second, loss {self.loss:.3f} in the last"
            )
        files = {"log": self.checkpoint.parent / "metrics.csv", "checkpoint": self.checkpoint, "best": self.best}
        return {"trained": how, **{title: str(path) for title, path in files.items() if path is not None}}
