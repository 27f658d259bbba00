"""Every command with its keys, from the schema and the commented YAML: what ``--help`` shows."""

from itertools import groupby

from solo_invariance.config.reference import COMMANDS, COMPLETION, FLAGS, Key, keys_of

from .markdown import from_docstring, table, text, toctree

_FOLDER = "reference/commands"
_INTRODUCTION = """
`solo-invariance COMMAND key=value ...`. `solo-invariance COMMAND --help` prints these pages, and `--help KEY` a part of
one. Every command is a function of the same name [in Python](../api/index.rst).
"""


def pages() -> dict[str, str]:
    """Return the page of each command, and their list."""
    rows = [[f"[`{name}`]({name}.md)", text(command.summary)] for name, command in COMMANDS.items()]
    flags = [[f"`{flag}`", from_docstring(meaning)] for flag, meaning in FLAGS.items()]
    index = ["# Commands", _INTRODUCTION, table(["command", "does"], rows), ""]
    index += ["## Flags of all commands", "", table(["flag", "does"], flags), "", f"{text(COMPLETION)}.", ""]
    index += [toctree(COMMANDS)]
    return {
        f"{_FOLDER}/index.md": "\n".join(index),
        **{f"{_FOLDER}/{name}.md": command_page(name) for name in COMMANDS},
    }


def command_page(name: str) -> str:
    """Return the page of one command: examples, and its keys in groups."""
    command = COMMANDS[name]
    parts = [f"# {name}", f"{text(command.summary).capitalize()}.", "\n".join(["```sh", *command.examples, "```"])]
    for group, keys in groupby(keys_of(name), key=lambda key: key.group):
        parts += [f"## {group}"] if group else []
        parts += [_definition(name, key) for key in keys]
    return "\n\n".join(parts) + "\n"


def anchor(command: str, key: str) -> str:
    """Return where on its page a key is."""
    return f"{command}-{key.lstrip('+').replace('.', '-').replace('_', '-')}"


def _definition(command: str, key: Key) -> str:
    choices = ", ".join(f"`{choice}`" for choice in key.choices)
    facts = [f"*{key.kind}*", *([f"one of {choices}"] if choices else []), f"default `{key.default or 'none'}`"]
    meaning = [text(key.meaning), ""] if key.meaning else []
    lines = [*meaning, f"[{' · '.join(facts)}]{{.facts}}"]
    body = "\n".join(f"  {line}" if line else "" for line in lines).strip()
    return f"[`{key.name}`]{{#{anchor(command, key.name)} .key}}\n: {body}"
