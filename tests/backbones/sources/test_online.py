"""Whether a server answers is said in seconds."""

import socket
import threading
from collections.abc import Iterator

import pytest

from solo_invariance.backbones.sources import online
from solo_invariance.backbones.sources.online import require_reachable, why_unreachable
from solo_invariance.errors import UserError

from .conftest import Hub


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    why_unreachable.cache_clear()
    yield
    why_unreachable.cache_clear()


def test_any_answer_is_one(hub: Hub) -> None:
    assert why_unreachable(hub.url) is None
    assert why_unreachable(f"{hub.url}/org/none") is None


def test_nobody_is_there() -> None:
    assert why_unreachable("http://127.0.0.1:9") == "Connection refused"
    with pytest.raises(UserError, match=r"weights cannot be downloaded: 127\.0\.0\.1 cannot be reached \(Conn"):
        require_reachable("http://127.0.0.1:9/file", "its weights")


def test_one_that_takes_the_call_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "_PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert why_unreachable(f"http://127.0.0.1:{silent.getsockname()[1]}") is not None


def test_a_name_that_is_looked_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking up names heeds no time limit."""
    monkeypatch.setattr(online, "_PATIENCE", 0.1)
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: done.wait(5))
    assert why_unreachable("http://nowhere.invalid") == "it does not answer"
    done.set()
