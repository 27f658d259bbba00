"""What a run of the embedded host has logged."""

import csv
from pathlib import Path

_ABOUT = ("epoch", "step")


def last_logged(file: Path) -> dict[str, float]:
    """Return the last value of each column of a log, the mean over the last epoch that has it.

    Args:
        file: ``metrics.csv``, as Lightning's ``CSVLogger`` writes it; nothing where it is not there.
    """
    if not file.is_file():
        return {}
    epochs: dict[str, float] = {}
    values: dict[str, list[float]] = {}
    with file.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            epoch = _number(row.get("epoch"))
            for name, text in row.items():
                value = _number(text)
                if name in (None, *_ABOUT) or value is None or epoch is None:
                    continue
                if epoch > epochs.get(name, -1):
                    epochs[name], values[name] = epoch, []
                if epoch == epochs[name]:
                    values[name].append(value)
    return {name: sum(found) / len(found) for name, found in values.items()}


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None
