"""The keys that a run of solo-learn takes, from the configurations that are on its search path."""

from importlib.resources import files

from .markdown import table, text

_AUGMENTATIONS = "solo_invariance.plugin_configs.augmentations.invariance"
_INTRODUCTION = """
What `python main_pretrain.py ...` takes when this package is installed beside solo-learn. `solo-invariance pretrain`
takes the same keys, without the plus. [With solo-learn](../tutorials/solo_learn.md) goes through a whole run.

## Families

Choose one of these; `solo-invariance families` prints their numbers.
"""


def pages() -> dict[str, str]:
    """Return the page."""
    texts = {
        path.name.removesuffix(".yaml"): path.read_text(encoding="utf-8")
        for path in sorted(files(_AUGMENTATIONS).iterdir(), key=lambda path: path.name)
        if path.name.endswith(".yaml")
    }
    rows = [[f"`augmentations=invariance/{name}`", text(_first_sentences(one))] for name, one in texts.items()]
    folder = files("solo_invariance.plugin_configs.invariance")
    parts = ["# Keys of a solo-learn run", _INTRODUCTION, table(["key", "gives"], rows), ""]
    parts += ["## Keys that change them", "", table(["key", "does", "of"], _keys(texts)), ""]
    parts += ["## While it trains", ""]
    for name in ("monitor", "transfer"):
        watch = (folder / f"{name}.yaml").read_text(encoding="utf-8")
        parts += [f"`+invariance={name}` brings these keys, with their defaults:", "", f"```yaml\n{watch}```", ""]
    return {"reference/solo_learn_keys.md": "\n".join(parts)}


def comment_of(yaml: str) -> list[str]:
    """Return the lines of the comment that a configuration begins with."""
    lines = yaml.splitlines()
    return [line.removeprefix("#").removeprefix(" ") for line in lines[: _end_of_comment(lines)]]


def _end_of_comment(lines: list[str]) -> int:
    return next(index for index, line in enumerate(lines) if not line.startswith("#"))


def _first_sentences(yaml: str) -> str:
    """Return the first paragraph of the comment."""
    comment = comment_of(yaml)
    return " ".join(comment[: comment.index("")])


def _keys(texts: dict[str, str]) -> list[list[str]]:
    """Return each key that the comments name, what it does, and which families' comments name it."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, one in texts.items():
        for line in comment_of(one):
            if line.startswith("  "):
                key, _, meaning = line.strip().partition("  ")
                found.setdefault((key, meaning.strip()), []).append(name)
    everywhere = len(texts)
    return [
        [f"`{key}`", text(meaning), "all" if len(names) == everywhere else ", ".join(f"`{name}`" for name in names)]
        for (key, meaning), names in found.items()
    ]
