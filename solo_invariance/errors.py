"""The one exception that means: the input is wrong, and here is what to do."""

import difflib
import re
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. The message is one line that names the culprit (file, key or image) and what was expected.

    The command line prints the message and exits with code 2; library code raises it for what the person who runs
    the software can mend, and lets every other exception keep its traceback.
    """


class SharedUserError(UserError):
    """A wrong input of which all processes that share a piece of work know."""


def reason_of(error: BaseException) -> str:
    """Return why another library refused something, for a line of ours: the first of its own, or the error's kind."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def did_you_mean(word: str, known: Iterable[object]) -> str:
    """Return what goes behind a line of ours that names a word nobody knows: nothing, or what is close to it.

    Example:
        >>> did_you_mean("ventrl", ["default", "ventral"])
        "; did you mean 'ventral'?"
    """
    close = difflib.get_close_matches(word, [str(one) for one in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def none_of(word: str, known: Iterable[str]) -> str:
    """Return what goes behind a line of ours that names a word that is none of some: what is close, and what there is.

    Example:
        >>> none_of("ventrl", ["default", "ventral"]), none_of("x", [])
        ("; did you mean 'ventral'? known: default, ventral", '; known: none')
    """
    names = [*known]
    return f"{did_you_mean(word, names) or ';'} known: {', '.join(names) or 'none'}"


def install_command(*libraries: str) -> str:
    """Return the command that installs optional libraries, each in a version that this package was tried with.

    It names the libraries themselves and not an extra of this package, which is on no index: what an index has under
    its name is somebody else's.

    Args:
        libraries: Names of distributions.

    Example:
        >>> install_command("lightly")
        "pip install 'lightly>=1.5.22'"
    """
    return f"pip install {' '.join(map(_requirement, libraries))}"


def _requirement(library: str) -> str:
    """A library with the bound that this package's metadata has for it, quoted for a shell."""
    from importlib.metadata import PackageNotFoundError, requires  # which few who import this module need

    try:
        declared = requires("solo-invariance") or []
    except PackageNotFoundError:
        declared = []
    for one in declared:
        found = re.match(r"([\w.-]+)\s*([^;]*?)\s*(;|$)", one)
        if found and found[1].lower() == library and found[2]:
            return f"'{library}{found[2].strip('() ')}'"
    return library
