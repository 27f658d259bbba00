"""The one exception that means: the input is wrong, and here is what to do."""


class UserError(Exception):
    """Bad input. The message is one line that names the culprit (file, key or image) and what was expected.

    The command line prints the message and exits with code 2; library code raises it for what the person who runs
    the software can mend, and lets every other exception keep its traceback.
    """


def reason_of(error: BaseException) -> str:
    """Return why another library refused something, for a line of ours: the first of its own, or the error's kind."""
    return next(iter(str(error).splitlines()), type(error).__name__)
