"""What shaping is about to do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ShapingAhead:
    """A backbone before it is shaped.

    Args:
        backbone: In words.
        mode: How it is shaped.
        factors: What is asked for: transforms with their numbers of steps, a column with its number of values.
        images: Where the images are, None where none are looked at.
        num_images: How many of them.
        num_held_out: How many of these are held out.
        num_passes: Forward passes.
        passes_per_image: How many each image will take of the shaped backbone.
        device: Where.
        out: The checkpoint, None for none.
    """

    backbone: str
    mode: str
    factors: dict[str, int]
    images: str | None
    num_images: int
    num_held_out: int
    num_passes: int
    passes_per_image: int
    device: str
    out: str | None

    def facts(self) -> dict[str, str]:
        """Return it in words: titles, and a line for each."""
        factors = ", ".join(f"{name} ({count})" for name, count in self.factors.items())
        found = {"shape": f"{self.backbone} by {self.mode}: {factors}"}
        if self.images is not None:
            found["images"] = f"{self.num_images:,} in {self.images}, {self.num_held_out:,} of them held out"
            found["work"] = f"{self.num_passes:,} forward passes on {self.device}"
        if self.passes_per_image > 1:
            found["cost"] = f"{self.passes_per_image} forward passes for each image, from now on"
        return {**found, **({"out": self.out} if self.out is not None else {})}
