"""What a measurement is about to do: how much of what, on what, and where it goes."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from solo_invariance.measure.loop.plan import Plan
from solo_invariance.progress import bytes_in_words

# Below, a full measurement is quick enough for nobody to need advice.
_MANY_PASSES = 100_000
_NAMED = 4


@dataclass(frozen=True)
class MeasurementAhead:
    """A measurement before it begins.

    Args:
        backbone: What is measured, in words.
        images: What on, in words.
        num_images: How many of the images.
        num_available: How many there are.
        num_asked: How many were asked for, None where that was left open.
        reference: Which images whiten, in words.
        protocol: ``clean`` or ``paper``.
        budget: ``full`` or ``adaptive``.
        k: Parameters of a transform, where it has a choice.
        target_se: Where the budget is ``adaptive``, the standard error to reach.
        metrics: Their names.
        transforms: How many rows of each are left to measure, by name; those that are done are not there.
        views: How many views each view set that is left has.
        num_done: How many transforms and view sets are done.
        passes: Images and views that go through a backbone, at least.
        adaptive_passes: How many would with ``budget=adaptive``, at least.
        twin: Whether an untrained twin sees all of it, too.
        memory: In bytes, about.
        device: Where.
        out: The directory, None for none.
        goes_on: Whether an earlier run is gone on with.
    """

    backbone: str
    images: str
    num_images: int
    num_available: int
    num_asked: int | None
    reference: str
    protocol: str
    budget: str
    k: int
    target_se: float
    metrics: tuple[str, ...]
    transforms: tuple[str, ...]
    views: Mapping[str, int]
    num_done: int
    passes: int
    adaptive_passes: int
    twin: bool
    memory: int | None
    device: str
    out: str | None
    goes_on: bool

    def facts(self) -> dict[str, str]:
        """Return it in words: titles, and a line for each."""
        return {
            "measure": f"{self.backbone}{' and its untrained twin' if self.twin else ''}",
            "images": self._images(),
            "how": f"protocol {self.protocol}, budget {self._budget()}; {', '.join(self.metrics)}",
            "work": self._work(),
            **({} if self.out is None else {"out": f"{self.out}{self._done()}"}),
        }

    def _images(self) -> str:
        if not self.transforms and self.views:
            counted = f"{', '.join(f'{count} views of {name}' for name, count in self.views.items())}"
        else:
            counted = f"{self.num_images} of {self.num_available}" if self.num_images != self.num_available else "all "
            counted += f"{self.num_available}" if counted == "all " else ""
            if self.num_asked is not None and self.num_asked > self.num_images:
                counted += f" ({self.num_asked} asked for: there are no more)"
        return f"{counted} in {self.images}; whitened by {self.reference}"

    def _budget(self) -> str:
        if self.budget == "full":
            return f"full, k {self.k}"
        return f"adaptive, k {self.k}, until the standard error is {self.target_se:g}"

    def _work(self) -> str:
        if not self.transforms and not self.views and self.goes_on:
            return "nothing is left to do"
        parts = [_counted("transform", self.transforms)] if self.transforms else []
        parts += [_counted("view set", self.views)] if self.views else []
        parts = parts or ["features alone"]
        least = "at least " if self.budget == "adaptive" and self.transforms else ""
        said = f"{', '.join(parts)}: {least}{_grouped(self.passes)} forward passes on {self.device}"
        if self.memory is not None:
            said += f", about {bytes_in_words(self.memory)} of memory"
        if self.budget == "full" and self.passes > max(_MANY_PASSES, 10 * self.adaptive_passes):
            said += f" (budget=adaptive begins with {_grouped(self.adaptive_passes)})"
        return said

    def _done(self) -> str:
        if not self.goes_on:
            return ""
        return f" (goes on with an earlier run: {self.num_done} of {self.num_done + self._num_left} done)"

    @property
    def _num_left(self) -> int:
        return len(self.transforms) + len(self.views)


def passes_of(plan: Plan, done: Mapping[str, Collection[int]], budget: str | None = None) -> int:
    """Return how many clean images and views of them a plan gives to a backbone at first, the rows done left out.

    Args:
        plan: Of transforms.
        done: The rows of each that were measured.
        budget: The plan's by default.
    """
    if budget is not None and budget != plan.settings.budget:
        settings = replace(plan.settings, budget=budget)  # type: ignore[arg-type]
        plan = Plan(plan.transforms, plan.source, plan.metrics, settings, plan.geometry)
    rows = {name: max(0, plan.first_rows(name) - len(done.get(name, ()))) for name in plan.transforms}
    views = sum(count * plan.samplings[name].num_views for name, count in rows.items())
    return views + max(rows.values(), default=0)


def _counted(what: str, names: Iterable[str]) -> str:
    names = list(names)
    listed = ", ".join(names) if len(names) <= _NAMED else f"{', '.join(names[: _NAMED - 1])}, ..."
    return f"{len(names)} {what}{'' if len(names) == 1 else 's'} ({listed})"


def _grouped(number: int) -> str:
    return f"{number:,}"
