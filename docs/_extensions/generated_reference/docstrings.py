"""What Google's docstrings say of each argument."""

import inspect
import re

_SECTION = re.compile(r"(?:Args|Attributes):\n((?:(?: {4}.*)?\n)+)")
_ENTRY = re.compile(r"^ {4}(\w+): (.*(?:\n(?: {8}.*)?(?=\n|$))*)", re.MULTILINE)


def arguments_of(cls: type) -> dict[str, str]:
    """Return what the docstrings of a class and its bases say of their arguments and attributes.

    Args:
        cls: What is said nearest to it counts.
    """
    said: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        text = f"{inspect.cleandoc(one.__doc__ or '')}\n"
        for section in _SECTION.findall(text):
            said |= {name: " ".join(meaning.split()) for name, meaning in _ENTRY.findall(section)}
    return said
