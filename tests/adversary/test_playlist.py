"""A file with the suffix of a video that is a playlist: no address in it is contacted, and no other file is read."""

from __future__ import annotations

import socket
import warnings
from pathlib import Path

import pytest

from regard.errors import RegardError
from regard.prediction.sources import frames

BODIES = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}/a.ts\n#EXT-X-ENDLIST\n",
    "HLS with a key": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}/k"\n#EXTINF:1,\n{url}/a.ts\n#EXT-X-ENDLIST\n',
    "concat": "ffconcat version 1.0\nfile {url}/a.mp4\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP/TCP 96\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation id="1" bandwidth="1"><BaseURL>{url}/a.mp4</BaseURL></Representation></AdaptationSet></Period>'
    "</MPD>",
}


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
@pytest.mark.parametrize("kind", BODIES)
def test_a_playlist_contacts_nobody(kind: str, suffix: str, tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.2)
        port = server.getsockname()[1]
        file = tmp_path / f"video{suffix}"
        file.write_text(BODIES[kind].format(url=f"http://127.0.0.1:{port}", port=port))
        with warnings.catch_warnings(), pytest.raises(RegardError):
            list(frames(file))
        with pytest.raises(TimeoutError):
            server.accept()
