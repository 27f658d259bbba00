"""What shaping did to a backbone, and what it cost, on one page: measured and scored before and after."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from solo_invariance.backbones import Backbone
from solo_invariance.config.measure import DataConfig
from solo_invariance.config.task import TaskConfig
from solo_invariance.data.sources import Images
from solo_invariance.measure import MeasureSettings, measure
from solo_invariance.progress import Announce, Progress, no_progress, say_nothing
from solo_invariance.report import build_report
from solo_invariance.results.files import SCHEMA, versions
from solo_invariance.results.run_directory import locked
from solo_invariance.results.shaping import DialCurve
from solo_invariance.shape.run import Shaped
from solo_invariance.transfer import transfer

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class PageSettings:
    """What the page of a shaped backbone has.

    Args:
        transforms: Which are measured before and after; what nobody asked for may have come along.
        measuring: How.
        tasks: That the backbone is scored on, before and after, by name or with their settings.
        strengths: At which the dial is shown, where the mode has a ``strength``; fewer than two show nothing.
        device: To compute on.
    """

    transforms: Sequence[str] | Literal["all"] = "all"
    measuring: MeasureSettings = field(default_factory=lambda: MeasureSettings(k=8, num_images=256))
    tasks: Sequence[str | TaskConfig] = ()
    strengths: Sequence[float] = STRENGTHS
    device: str = "auto"


_USUAL = PageSettings()


def write_page(
    shaped: Shaped,
    images: Images | DataConfig,
    out: Path | str,
    settings: PageSettings = _USUAL,
    *,
    progress: Progress = no_progress,
    announce: Announce = say_nothing,
) -> Path:
    """Measure and score a backbone before and after it was shaped, and write one page of it.

    What has been done below ``out`` is not done again.

    Args:
        shaped: What ``shape`` returned.
        images: To measure on, as for ``measure``; none of those that it was shaped by.
        out: A folder: ``before`` and ``after``, ``shaped.json``, ``dial.json`` and ``report.html``.
        settings: What the page has.
        progress: Told how far the work is.
        announce: Told what is to be done, each in its turn.

    Returns:
        The page's path.

    Raises:
        UserError: An image is one that the backbone was shaped by, or cannot be read; a task is wrong; or ``out`` has
            results of something else.
    """
    page = _Page(shaped, images, Path(out), settings, progress, announce)
    with locked(page.out, "page"):
        shaped.result.write(page.out / type(shaped.result).usual_name)
        page.measure()
        page.score()
        page.dial()
    return build_report([page.out], page.out, baseline=shaped.before.provenance.label)


class _Passed(Exception):
    """Everything that can be refused was looked at, and nothing was."""


@dataclass(frozen=True)
class _Page:
    shaped: Shaped
    images: Images | DataConfig
    out: Path
    settings: PageSettings
    progress: Progress
    announce: Announce

    @property
    def asked(self) -> list[str]:
        """The transforms that the backbone was shaped by."""
        factors = self.shaped.result.factors
        return [name for name, one in factors.items() if one.kind == "transform"]

    def measure(self) -> None:
        """Measure what the backbone ignores before, and after against it."""
        with suppress(_Passed):  # before the first is measured
            self._measured(self.shaped.backbone, self.settings.transforms, announce=_pass)
        before = self.out / "before" / "invariance"
        self._measured(self.shaped.before, self.settings.transforms, out=before)
        self._measured(
            self.shaped.backbone, self.settings.transforms, out=self.out / "after" / "invariance", against=before
        )

    def score(self) -> None:
        """Score it on the tasks before, and after against it."""
        if self.settings.tasks:
            before = self.out / "before" / "transfer"
            self._scored(self.shaped.before, out=before)
            self._scored(self.shaped.backbone, out=self.out / "after" / "transfer", against=before)

    def dial(self) -> None:
        """Follow the dial, where there is one."""
        strengths = sorted(set(self.settings.strengths))
        options = self.shaped.result.options
        if "strength" not in options or len(strengths) < 2 or not (self.asked or self.settings.tasks):
            return
        points, metrics = [], {}
        for done, strength in enumerate(strengths):
            self.progress("strengths", done, len(strengths))
            shaped = self.shaped.again({"strength": strength, "directions": None})
            one = shaped.backbone
            measured = (
                self._measured(one, self.asked, views=[], announce=say_nothing).only.transforms if self.asked else {}
            )
            scored = self._scored(one, announce=say_nothing) if self.settings.tasks else {}
            metrics = {name: result.metric for name, result in scored.items()}
            points.append(
                {
                    "strength": strength,
                    "directions": one.num_features - int(shaped.result.options["rank"]),
                    "share": {name: shaped.result.factors[name].share_after for name in self.asked},
                    "similarity": {name: result.similarity.as_content() for name, result in measured.items()},
                    "scores": {name: result.score.as_content() for name, result in scored.items()},
                }
            )
        self.progress("strengths", len(strengths), len(strengths))
        curve = DialCurve.from_content(
            {
                "schema": SCHEMA,
                "kind": DialCurve.kind,
                "label": self.shaped.result.label,
                "options": {name: value for name, value in options.items() if name not in ("strength", "rank")},
                "points": points,
                "metrics": metrics,
                "seed": self.shaped.result.seed,
                "versions": versions(),
            }
        )
        curve.write(self.out / DialCurve.usual_name)

    def _measured(self, backbone: Backbone, transforms: Sequence[str] | Literal["all"], **how: Any) -> Any:
        usual = {"device": self.settings.device, "progress": self.progress, "announce": self.announce}
        return measure(backbone, self.images, transforms, self.settings.measuring, **{**usual, **how})

    def _scored(self, backbone: Backbone, **how: Any) -> Any:
        usual = {"device": self.settings.device, "progress": self.progress, "announce": self.announce}
        return transfer(backbone, list(self.settings.tasks), **{**usual, **how})


def _pass(ahead: object) -> None:
    raise _Passed
