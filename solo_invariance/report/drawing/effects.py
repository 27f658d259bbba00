"""Effects over seeds side by side on one axis: each seed a dot, the mean, its interval, zero and what would matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.etree import ElementTree as ET

from solo_invariance.report.drawing import svg
from solo_invariance.report.drawing.axis import Axis, round_domain
from solo_invariance.report.verdicts import bounds, signed
from solo_invariance.results.estimate import Interval
from solo_invariance.results.study import Effect, StudyResult

WIDTH, HEIGHT, AXIS_HEIGHT, MARGIN = 420, 26, 22, 14
SMALL_WIDTH, SMALL_HEIGHT, SMALL_MARGIN = 176, 34, 8
_SEEDS, _MEAN = 7, 18
_THICK = 3.2


class Scale(NamedTuple):
    """What some effects are drawn on: an axis, their unit, and the smallest effect that would matter."""

    axis: Axis
    unit: str
    smallest: float | None


def scale_of(effects: Iterable[Effect], unit: str, smallest: float | None = None) -> Scale:
    """Return an axis on which all seeds and intervals of some effects lie, and 0 and the smallest effect."""
    values = [0.0, smallest or 0.0]
    for one in effects:
        values += [seed.effect for seed in one.seeds]
        holm: Interval | None = getattr(one, "holm_interval", None)
        for ends in (one.ci95, one.images_ci95, holm):
            values += ends or ()
    return Scale(_axis(values), unit, smallest)


def _axis(values: Sequence[float]) -> Axis:
    return Axis(*round_domain(values), MARGIN, WIDTH - MARGIN)


def scales_of(study: StudyResult) -> dict[str, Scale]:
    """Return an axis for each unit of a study's claims, on which the 95 % intervals of all claims of that unit lie."""
    values: dict[str, list[float]] = {}
    for claim in study.claims:
        ends = (*(claim.ci95 or ()), *([] if claim.effect is None else [claim.effect]))
        values.setdefault(claim.unit, [0.0]).extend((*ends, claim.smallest))
    return {unit: Scale(_axis(of_unit), unit, None) for unit, of_unit in values.items()}


def draw_axis(scale: Scale) -> ET.Element:
    """The axis over some effects: numbers, and where 0 and the smallest effect are."""
    root = _picture(AXIS_HEIGHT)
    y = AXIS_HEIGHT - 4
    for tick in scale.axis.ticks(5):
        svg.line(root, (tick.position, y), (tick.position, AXIS_HEIGHT), "axis")
        svg.text(root, tick.text, (tick.position, y - 4))
    svg.line(root, (scale.axis.start, y), (scale.axis.end, y), "axis")
    return root


def draw_effect(scale: Scale, effect: Effect) -> ET.Element:
    """The seeds' dots, and below them the mean with its interval over seeds."""
    root = _picture(HEIGHT)
    _references(root, scale, HEIGHT)
    _interval(root, scale, effect.ci95, "over-seeds")
    for one in effect.seeds:
        _dot(root, scale, one.effect, f"seed {one.seed}: {signed(one.effect, scale.unit)}")
    if effect.effect is not None:
        x, r = scale.axis.position(effect.effect), _THICK + 1.6
        said = f"mean of {effect.num_seeds}: {signed(effect.effect, scale.unit)} {bounds(effect.ci95, scale.unit)}"
        svg.path(root, f"M{svg.shown(x)} {_MEAN - r}l{r} {r}l-{r} {r}l-{r} -{r}z", "mean-mark", said.strip())
    return root


def draw_interval(scale: Scale, ends: Interval | None) -> ET.Element:
    """An interval alone."""
    root = _picture(HEIGHT - 12)
    _references(root, scale, HEIGHT - 12)
    _interval(root, scale, ends, "further", (HEIGHT - 12) / 2)
    return root


def draw_small(scale: Scale, effect: Effect) -> ET.Element:
    """The mean and its interval, with zero and the smallest effect: for a cell."""
    axis = scale.axis._replace(start=SMALL_MARGIN, end=SMALL_WIDTH - SMALL_MARGIN)
    scale = scale._replace(axis=axis, smallest=getattr(effect, "smallest", None))
    root = _picture(SMALL_HEIGHT, SMALL_WIDTH)
    _references(root, scale, SMALL_HEIGHT)
    _interval(root, scale, effect.ci95, "over-seeds", SMALL_HEIGHT / 2)
    if effect.effect is not None:
        place = {"cx": svg.shown(axis.position(effect.effect)), "cy": svg.shown(SMALL_HEIGHT / 2), "r": "3.6"}
        ET.SubElement(root, "circle", {"class": "mean-mark", **place})
    return root


def _picture(height: float, width: float = WIDTH) -> ET.Element:
    return ET.Element("svg", {"viewBox": f"0 0 {width:g} {height:g}", "aria-hidden": "true"})


def _references(root: ET.Element, scale: Scale, height: float) -> None:
    zero = scale.axis.position(0.0)
    if scale.smallest is not None:
        x = scale.axis.position(scale.smallest)
        svg.path(root, svg.around([(zero, 0), (x, 0)], [(zero, height), (x, height)]), "too-small")
        svg.line(root, (x, 0), (x, height), "smallest")
    svg.line(root, (zero, 0), (zero, height), "null")


def _interval(root: ET.Element, scale: Scale, ends: Interval | None, style: str, y: float = _MEAN) -> None:
    if ends is None:
        return
    low, high = map(scale.axis.position, ends)
    svg.line(root, (low, y), (high, y), f"interval {style}")
    for x in (low, high):
        svg.line(root, (x, y - _THICK), (x, y + _THICK), f"interval {style}")


def _dot(root: ET.Element, scale: Scale, value: float, said: str) -> None:
    place = {"cx": svg.shown(scale.axis.position(value)), "cy": str(_SEEDS), "r": "3.6"}
    svg.write(ET.SubElement(ET.SubElement(root, "circle", {"class": "seed", **place}), "title"), said)
