"""A stand-in for the Hugging Face Hub: the parts of its HTTP interface that uploading and downloading a model use."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class StandIn(ThreadingHTTPServer):
    """Keeps repositories in memory.

    Attributes:
        files: content by repository and path.
        private: by repository.
        asked: method and path of every request.
        objects: uploaded large files by their SHA-256.
        instead: answers to requests of a path that contains the key.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.asked: list[tuple[str, str]] = []
        self.objects: dict[str, bytes] = {}
        self.instead: dict[str, Any] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def stand_in() -> Iterator[StandIn]:
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def hub_of_tests(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[StandIn]:
    """Let ``huggingface_hub`` use a stand-in, with a login and a cache of its own."""
    import huggingface_hub.constants as constants
    from huggingface_hub import close_session

    with stand_in() as server:
        for name, value in (("HF_TOKEN", "hf_good"), ("HF_HUB_DISABLE_TELEMETRY", "1")):
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(constants, "ENDPOINT", server.address)  # read from HF_ENDPOINT when it is imported
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # a protocol of its own, for large files
        yield server
        close_session()


class _Handler(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, value: Any = None, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append((self.command, self.path))
        known = re.fullmatch(r"/api/models/([^/]+/[^/]+)", self.path.partition("?")[0])
        if known and known[1] in self.server.files:
            return self._answer({"id": known[1], "private": self.server.private.get(known[1], False)})
        tree = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/main", self.path.partition("?")[0])
        if tree and tree[1] in self.server.files:
            files = self.server.files[tree[1]].items()
            listed = [{"type": "file", "path": path, "size": len(data), "oid": "0" * 40} for path, data in files]
            return self._answer(listed)
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path.partition("?")[0])
        if not found or found[1] not in self.server.files:
            return self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        if found[2] not in ("main", COMMIT):
            return self._answer({"error": "no such revision"}, 404, {"X-Error-Code": "RevisionNotFound"})
        data = self.server.files[found[1]].get(found[3])
        if data is None:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
            return self._answer({"error": "no such file"}, 404, headers)
        tag = hashlib.sha256(data).hexdigest()
        return self._answer(data, headers={"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})

    def do_PUT(self) -> None:
        self.server.asked.append((self.command, self.path))
        data = self._body()
        self.server.objects[hashlib.sha256(data).hexdigest()] = data
        self._answer({}, headers={"ETag": '"x"'})

    def do_POST(self) -> None:
        self.server.asked.append((self.command, self.path))
        body, path = self._body(), self.path.partition("?")[0]
        if self.headers.get("Authorization") != "Bearer hf_good":
            return self._answer({"error": "Invalid credentials"}, 401, {"X-Error-Message": "Invalid credentials"})
        for part, answer in self.server.instead.items():
            if part in path:
                return self._answer(answer)
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            if name in self.server.private:
                return self._answer({"error": "exists", "url": f"{self.server.address}/{name}"}, 409)
            self.server.private[name] = asked.get("private") or asked.get("visibility") == "private"
            self.server.files.setdefault(name, {})
            return self._answer({"url": f"{self.server.address}/{name}", "name": name, "id": name})
        if path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if path.endswith("/info/lfs/objects/batch"):
            return self._answer(self._batch(json.loads(body)))
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", path)
        if found and found[2] == "preupload":
            files = json.loads(body)["files"]
            modes = {file["path"]: "lfs" if file["path"].endswith(".safetensors") else "regular" for file in files}
            listed = [{"path": name, "uploadMode": mode, "shouldIgnore": False} for name, mode in modes.items()]
            return self._answer({"files": listed, "commitOid": COMMIT})
        if found:
            return self._answer(self._commit(found[1], body))
        return self._answer({"error": f"not in this stand-in: {path}"}, 501)

    def _batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.server.address}/lfs/{one['oid']}", "header": {}}}}
            for one in asked["objects"]
        ]
        return {"transfer": "basic", "objects": objects}

    def _commit(self, repository: str, body: bytes) -> dict[str, Any]:
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                self.server.files[repository][value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.server.files[repository][value["path"]] = self.server.objects[value["oid"]]
            elif entry["key"] == "deletedFile":
                del self.server.files[repository][value["path"]]
        return {
            "success": True,
            "commitOid": COMMIT,
            "commitUrl": f"{self.server.address}/{repository}/commit/{COMMIT}",
        }
