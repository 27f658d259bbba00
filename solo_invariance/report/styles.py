"""The style of figures: in the page, whose colours are variables, and in files of their own, with literal ones."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from solo_invariance.report.drawing.colours import LIGHT, Theme

FONTS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif'


def figure_style(theme: Theme | None) -> str:
    """Return the style sheet of figures.

    Args:
        theme: Whose colours are written out; None: they are the page's variables, ``--ink`` and the like.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True
    )
    if theme is None:
        return environment.get_template("figure.css.j2").render(
            colour=lambda name: f"var(--{name})", font="var(--sans)", lines=LIGHT.lines
        )
    named = {**theme.named, **{f"line-{index}": line for index, line in enumerate(theme.lines)}}
    style = environment.get_template("figure.css.j2").render(
        colour=named.__getitem__, font="Helvetica, Arial, sans-serif", lines=theme.lines
    )
    return f".paper {{ fill: {theme.paper} }}\n{style}"
