"""``solo-invariance families``: every family that can be named, and pictures of what they do."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from rich.text import Text

from solo_invariance.commands.outcome import Outcome, deliver
from solo_invariance.commands.terminal import console
from solo_invariance.config.composed import as_dict, as_object
from solo_invariance.config.families import CanvasName
from solo_invariance.config.families import FamiliesConfig as Config
from solo_invariance.errors import UserError, reason_of
from solo_invariance.families import Family, with_operations
from solo_invariance.families.from_config import family_from_config
from solo_invariance.plugins import discover

__all__ = ["Config", "run"]


def run(config: Any) -> None:
    """Print families as a configuration would write them; with ``out``, draw a contact sheet of those in ``show``."""
    settings = as_object(config, Config)
    chosen = as_dict(config)["show"]
    if chosen is None or chosen == []:
        needing = {"out": settings.out, "operations": settings.operations, "data.path": settings.data.path}
        for key in (key for key, value in needing.items() if value):
            raise UserError(f"{key}: needs show=[...], the families to print or draw")
        deliver(_outcome(_list_all()))
        return
    families = _changed(
        [family_from_config(choice, where="show: ") for choice in (chosen if isinstance(chosen, list) else [chosen])],
        settings.operations,
    )
    if settings.out is not None:
        _draw(families, settings, Path(settings.out))
    else:
        for family in families:
            _print(family)
    deliver(_outcome(families, settings.out))


def _outcome(families: Sequence[Family], sheet: str | None = None) -> Outcome:
    """Return what was drawn or printed; of what was printed, the names are what a script may want."""
    document = {"contact_sheet": sheet, "families": [family.describe() for family in families]}
    return Outcome(sheet or "\n".join(family.name for family in families), document)


def _changed(families: list[Family], operations: dict[str, Any]) -> list[Family]:
    """Change the numbers of operations wherever they are; each must be somewhere."""
    changed = []
    for family in families:
        names = {operation.name for operation in family.operations}
        mine = {name: numbers for name, numbers in operations.items() if name in names}
        try:
            changed.append(with_operations(family, mine))
        except ValueError as error:
            raise UserError(f"operations.{error}") from error
    present = {operation.name for family in families for operation in family.operations}
    for name in operations:
        if name not in present:
            raise UserError(f"operations.{name}: none of the families in show has it; they have {', '.join(present)}")
    return changed


def _list_all() -> list[Family]:
    """Print every family that can be named, and return those that can be used."""
    families = []
    for plugin in discover("families"):
        try:
            family = plugin.load()
        except UserError as error:
            _print_name(plugin.name, str(error), "red")
            console.print()
            continue
        if not isinstance(family, Family):
            _print_name(plugin.name, f"of {plugin.distribution} is no Family", "red")
            console.print()
            continue
        _print(family, plugin.distribution)
        families.append(family)
    hint = "Train with one: pretrain augmentations=invariance/NAME; draw some: families show=[NAME,...] out=sheet.png"
    console.print(hint, soft_wrap=True, highlight=False)
    return families


def _print(family: Family, source: str = "") -> None:
    _print_name(family.name, source, "dim")
    console.print(f"  invariant to {family.invariant_to or '(not said)'}", soft_wrap=True, highlight=False)
    for line in _operations(family):
        console.print(f"  - {line}", soft_wrap=True, highlight=False)
    console.print()


def _print_name(name: str, remark: str, style: str) -> None:
    about = Text.assemble("  ", (remark, style)) if remark else ""
    console.print(Text.assemble((name, "bold"), about), soft_wrap=True)


def _operations(family: Family) -> Iterator[str]:
    """The operations as YAML has them, one a line."""
    for operation in family.operations:
        numbers = ", ".join(f"{name}: {_yaml(value)}" for name, value in operation.numbers.items())
        units = ", ".join(
            f"{name} in {unit}" for name, unit in getattr(operation, "units", {}).items() if unit != "probability"
        )
        yield f"{operation.name}: {{{numbers}}}{f'  # {units}' if units else ''}"


def _yaml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def _draw(families: list[Family], settings: Config, out: Path) -> None:
    from solo_invariance.families.contact_sheet import canvases_of, contact_sheet
    from solo_invariance.results.files import write_bytes

    kind = Image.registered_extensions().get(out.suffix.lower())
    if kind not in ("PNG", "JPEG", "WEBP"):
        raise UserError(f"out={out}: expected a picture, .png, .jpg or .webp")
    canvases = canvases_of(
        settings.data.path,
        settings.num_images,
        settings.crop_size,
        settings.canvas_size,
        settings.seed,
        whole=settings.canvas is CanvasName.whole,
    )
    sheet = contact_sheet(canvases, families, settings.crop_size, settings.draws, settings.seed)
    buffer = io.BytesIO()
    try:
        sheet.save(buffer, kind)
    except (OSError, ValueError) as error:  # each format has a largest size
        raise UserError(f"out={out}: a picture of {sheet.width} x {sheet.height} pixels: {reason_of(error)}") from error
    write_bytes(out, buffer.getvalue())
    console.print(f"contact sheet: {out.resolve()}", soft_wrap=True, highlight=False)
