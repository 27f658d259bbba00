"""What is fetched: in seconds it is said whether a server answers, and what is in a cache is taken without one."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import constants, snapshot_download
from huggingface_hub import errors as hub_errors
from huggingface_hub.utils import disable_progress_bars

from solo_invariance.errors import UserError, reason_of

_PATIENCE = 5
"""Seconds that a server has for its first answer."""


@lru_cache(maxsize=32)
def why_unreachable(url: str) -> str | None:
    """Return why a server does not answer within seconds; None where it does, whatever it answers.

    Args:
        url: Of anything on it.
    """
    found = ["it does not answer"]

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_PATIENCE):
                found[0] = ""
        except urllib.error.HTTPError:  # an answer
            found[0] = ""
        except urllib.error.URLError as error:  # of name resolution, a proxy, a certificate, ...
            found[0] = getattr(error.reason, "strerror", None) or str(error.reason)
        except Exception as error:  # of what answers, but not as a server does
            found[0] = reason_of(error)

    # Looking up a name has no time limit of its own.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_PATIENCE + 1)
    return found[0] or None


def require_reachable(url: str, what: str) -> None:
    """Raise UserError where a server does not answer within seconds.

    Args:
        url: Of what is to be fetched.
        what: What that is, to begin the message with.
    """
    if (reason := why_unreachable(url)) is not None:
        raise UserError(f"{what} cannot be downloaded: {urlsplit(url).hostname} cannot be reached ({reason})")


@contextmanager
def only_what_is_cached() -> Iterator[None]:
    """Within it, huggingface_hub takes what its cache has, and does not ask whether there is something newer."""
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def hub_folder(model: str, files: Sequence[str], called: str) -> Path:
    """Return the folder of a model of the Hugging Face hub: fetched, or what the cache has where no hub is reached.

    Args:
        model: ``ORG/NAME``, or ``ORG/NAME@REVISION``.
        files: Patterns of the names of those that are wanted; some may be there.
        called: What messages call the model.

    Raises:
        UserError: The hub has no such model or does not show it to everybody; or it cannot be reached, and the model
            is not in the cache.
    """
    repository, _, revision = model.partition("@")
    hub = constants.ENDPOINT
    host = urlsplit(hub).hostname
    offline = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else why_unreachable(hub)
    disable_progress_bars()
    try:
        folder = snapshot_download(
            repository, revision=revision or None, allow_patterns=list(files), local_files_only=offline is not None
        )
    except hub_errors.HFValidationError as error:
        raise UserError(f"{called}: is neither a folder nor the name ORG/NAME of a model on {host}") from error
    except hub_errors.GatedRepoError as error:
        raise UserError(f"{called}: {host} shows it to who agreed to its terms; do so, then `hf auth login`") from error
    except hub_errors.RevisionNotFoundError as error:
        raise UserError(f"{called}: {host} has no revision {revision!r} of {repository}") from error
    except hub_errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{called}: {host} has no such model; correct its name, or `hf auth login` for one that is private"
        ) from error
    except (OSError, ValueError) as error:  # among them, that it is not in the cache
        if offline is None:
            raise UserError(f"{called}: cannot be fetched from {host} ({reason_of(error)})") from error
        raise UserError(
            f"{called}: is not in the cache {constants.HF_HUB_CACHE}, and {host} cannot be reached ({offline}); "
            f"fetch it elsewhere by `hf download {repository}`, or name its folder"
        ) from error
    return Path(folder)
