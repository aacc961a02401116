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
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class StandIn(ThreadingHTTPServer):
    """Keeps repositories in memory.

    Attributes:
        files: content by repository and path.
        private: by repository.
        asked: method and path of every request.
        objects: uploaded large files by their SHA-256.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.asked: list[tuple[str, str]] = []
        self.objects: dict[str, bytes] = {}

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
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
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
        return {
            "success": True,
            "commitOid": COMMIT,
            "commitUrl": f"{self.server.address}/{repository}/commit/{COMMIT}",
        }
