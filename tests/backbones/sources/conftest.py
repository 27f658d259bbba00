"""A hub of models on this machine, which answers as Hugging Face's does, and one that does not answer."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from solo_invariance.backbones.sources.online import why_unreachable

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Its models are the folders ``ORG/NAME`` of ``root``; those of ``gated`` are shown to nobody."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.gated: set[str] = set()
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, to: BaseHTTPRequestHandler, body: bool) -> None:
        path = to.path.partition("?")[0]
        self.asked.append(path)
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        model = "/".join(parts[2:4] if api else parts[:2])
        revision = parts[5] if api and len(parts) > 5 else parts[3] if len(parts) > 3 else "main"
        folder = self.root / model
        if path == "/":
            return self._send(to, 200, b"a hub", body)
        if model in self.gated:
            return self._send(to, 403, b"", body, {"X-Error-Code": "GatedRepo"})
        if not folder.is_dir():
            return self._send(to, 401, b"", body, {"X-Error-Code": "RepoNotFound"})
        if revision not in ("main", COMMIT):
            return self._send(to, 404, b"", body, {"X-Error-Code": "RevisionNotFound"})
        if api:
            files = [{"rfilename": one.name, "size": one.stat().st_size} for one in sorted(folder.iterdir())]
            tree = [{"type": "file", "path": one["rfilename"], "size": one["size"], "oid": "0"} for one in files]
            content = tree if parts[4] == "tree" else {"id": model, "modelId": model, "sha": COMMIT, "siblings": files}
            return self._send(to, 200, json.dumps(content).encode(), body, {"Content-Type": "application/json"})
        file = folder / "/".join(parts[4:])
        if not file.is_file():
            return self._send(to, 404, b"", body, {"X-Error-Code": "EntryNotFound"})
        content = file.read_bytes()
        tag = hashlib.sha256(content).hexdigest()
        return self._send(to, 200, content, body, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})

    @staticmethod
    def _send(
        to: BaseHTTPRequestHandler, status: int, content: bytes, body: bool, headers: dict[str, str] | None = None
    ) -> None:
        to.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            to.send_header(name, value)
        to.end_headers()
        if body:
            to.wfile.write(content)


def _use(hub: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", hub)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    why_unreachable.cache_clear()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub without models yet."""
    (tmp_path / "hub").mkdir()
    one = Hub(tmp_path / "hub")
    _use(one.url, tmp_path / "cache", monkeypatch)
    yield one
    one.server.shutdown()
    one.server.server_close()
    why_unreachable.cache_clear()


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a hub that nobody has."""
    _use("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    yield "127.0.0.1"
    why_unreachable.cache_clear()
