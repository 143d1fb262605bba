"""The real huggingface_hub client against a hub on the loopback that speaks its protocol, or misbehaves."""

import errno
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dofa_cli.errors import DamagedWeights, NoSpace, NoWeights, UnknownWeights, WrongWeights
from dofa_cli.weights import checksum, hub, manifest, store
from dofa_cli.weights.manifest import Checkpoint, OldLayout

CONTENT = bytes(range(256)) * 64
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REVISION = "a" * 40
FILE = "tiny.pth"


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it was asked."""

    content: bytes = CONTENT
    status: int = 200
    drop_after: int | None = None  # bytes, once
    short: bool = False
    url: str = ""
    asked: list = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """HEAD and GET of /{repo}/resolve/{revision}/{file}, with Range."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self):
        self._answer(send=False)

    def do_GET(self):
        self._answer(send=True)

    def log_message(self, *args):
        pass

    def _answer(self, send):
        if self.path != f"/someone/tiny/resolve/{REVISION}/{FILE}":
            return self._refuse(404)
        self.hub.asked.append((self.command, self.headers.get("Range")))
        return self._send(send) if self.hub.status == 200 else self._refuse(self.hub.status)

    def _refuse(self, status):
        self.send_response(status)
        self.send_header("X-Error-Code", "EntryNotFound" if status == 404 else "")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, send):
        content = self.hub.content
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        body = content[start:-100] if send and self.hub.short else content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        for name, value in [("ETag", etag), ("X-Linked-ETag", etag), ("X-Linked-Size", str(len(content)))]:
            self.send_header(name, value)
        self.send_header("X-Repo-Commit", REVISION)
        self.end_headers()
        if send:
            self._send_body(body)

    def _send_body(self, body):
        stop, self.hub.drop_after = self.hub.drop_after, None
        self.wfile.write(body[:stop])
        self.close_connection = stop is not None


@pytest.fixture
def server():
    state = Hub()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": state}))
    state.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """User folders of this test alone, and no proxy between the client and the loopback."""
    for name in ("DOFA_WEIGHTS", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(store, "user_cache_path", lambda app: tmp_path / "cache" / app)
    monkeypatch.setattr(checksum, "user_cache_path", lambda app: tmp_path / "cache" / app)
    return tmp_path


@pytest.fixture
def client(home, server, monkeypatch):
    """huggingface_hub pointed at ``server``, without waiting between attempts."""
    from huggingface_hub import close_session, constants

    point_at(monkeypatch, server.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    yield server
    close_session()


def point_at(monkeypatch, url):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def tiny(**changes):
    fields = {
        "name": "tiny",
        "repo": "someone/tiny",
        "file": FILE,
        "revision": REVISION,
        "sha256": SHA256,
        "size": len(CONTENT),
        "licence": "CC0-1.0",
        "source": "a test",
        "citation": "nobody",
        "architecture": {"version": 1},
    }
    return Checkpoint(**{**fields, **changes})


@pytest.fixture
def published(monkeypatch):
    """Make ``tiny`` (with changes) the only published checkpoint."""

    def publish(**changes):
        only = {"tiny": tiny(**changes)}
        monkeypatch.setattr(manifest, "checkpoints", lambda: only)
        monkeypatch.setattr(store, "checkpoints", lambda: only)
        return only["tiny"]

    publish()
    return publish


def offline(monkeypatch):
    from huggingface_hub import close_session, constants

    close_session()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


# download


def test_downloads_once_and_checks(client, published):
    path = store.find("tiny")
    assert path.read_bytes() == CONTENT
    assert client.asked == [("HEAD", None), ("GET", None)]


def test_second_find_asks_nobody_and_reads_nothing(client, published, monkeypatch):
    first = store.find("tiny")
    client.asked.clear()
    monkeypatch.setattr(checksum, "_digest", lambda _: pytest.fail("hashed again"))
    assert store.find("tiny") == first
    assert client.asked == []


def test_download_of_what_is_here_asks_nobody(client, published):
    store.download(tiny())
    client.asked.clear()
    store.download(tiny())
    assert client.asked == []


def test_broken_transfer_is_taken_up_where_it_stopped(client, published):
    client.drop_after = 4096
    assert store.find("tiny").read_bytes() == CONTENT
    assert client.asked == [("HEAD", None), ("GET", None), ("GET", "bytes=4096-")]


def test_wrong_checksum_names_both_and_a_later_download_heals(client, published):
    client.content = CONTENT[::-1]
    found = hashlib.sha256(client.content).hexdigest()
    with pytest.raises(DamagedWeights, match=f"expected sha256 {SHA256}, found {found}.*dofa weights download tiny"):
        store.find("tiny")
    client.content = CONTENT
    assert store.download(tiny()).read_bytes() == CONTENT


def test_wrong_prefix(client, published):
    wanted = published(sha256=None, sha256_prefix="00000000")
    with pytest.raises(DamagedWeights, match=f"expected sha256 00000000, found {SHA256}"):
        store.download(wanted)


def test_short_transfer(client, published):
    client.short = True
    with pytest.raises(DamagedWeights, match=rf"size {len(CONTENT)} but has size {len(CONTENT) - 100}"):
        store.find("tiny")


def test_cached_file_truncated_later(client, published):
    path = store.find("tiny")
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(DamagedWeights, match=rf"expected {len(CONTENT)} bytes, found {len(CONTENT) - 1}\. Run"):
        store.find("tiny")
    assert store.download(tiny()).read_bytes() == CONTENT


def test_progress_can_be_silenced(client, published, capfd):
    store.download(tiny(), progress=False)
    assert capfd.readouterr().err == ""


# no network


def test_offline_names_file_address_and_folder(client, published, monkeypatch, home):
    offline(monkeypatch)
    with pytest.raises(NoWeights) as caught:
        store.find("tiny")
    message = str(caught.value)
    assert "offline mode is on (HF_HUB_OFFLINE)" in message
    assert f"Download {FILE} from {client.url}/someone/tiny/resolve/{REVISION}/{FILE}" in message
    assert f"put it into {home / 'cache' / 'dofa' / 'weights'}" in message
    assert client.asked == []


def test_offline_uses_what_is_cached(client, published, monkeypatch):
    first = store.find("tiny")
    offline(monkeypatch)
    assert store.find("tiny") == first


def test_offline_follows_its_own_advice(client, published, monkeypatch):
    offline(monkeypatch)
    store.cache_folder().mkdir(parents=True)
    (store.cache_folder() / FILE).write_bytes(CONTENT)
    assert store.find("tiny") == store.cache_folder() / FILE


@pytest.mark.parametrize("status", [404, 403, 503])
def test_refusal_names_the_status(client, published, status):
    client.status = status
    with pytest.raises(NoWeights, match=f"cannot be fetched: the server answered {status}"):
        store.find("tiny")


def test_unreachable(client, published, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    point_at(monkeypatch, url)
    with pytest.raises(NoWeights, match=rf"cannot be fetched: .*refused.*Download tiny\.pth from {url}/"):
        store.find("tiny")


def test_transfer_that_never_gets_through(client, published, monkeypatch):
    monkeypatch.setattr(Handler, "_send_body", lambda self, _: setattr(self, "close_connection", True))
    with pytest.raises(NoWeights, match="cannot be fetched: peer closed connection"):
        store.find("tiny")


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), NoSpace, "No room for tiny.pth in"),
        (
            OSError(errno.EROFS, "Read-only file system"),
            NoWeights,
            "Cannot keep tiny.pth in .*Read-only.*HF_HOME",
        ),
        (
            RuntimeError("CAS service error\nmore"),
            NoWeights,
            "cannot be fetched: CAS service error. Download",
        ),
    ],
)
def test_failures_that_cannot_be_staged(client, published, monkeypatch, error, kind, says):
    import huggingface_hub

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(kind, match=says):
        store.find("tiny")


def test_environment_of_the_client_is_honoured(server, tmp_path):
    code = (
        "import sys; from dofa_cli.weights import store; from dofa_cli.weights.manifest import Checkpoint\n"
        "assert 'torch' not in sys.modules and 'huggingface_hub' not in sys.modules\n"
        "print(store.download(Checkpoint.model_validate_json(sys.argv[1])))"
    )
    settings = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), "XDG_CACHE_HOME": str(tmp_path)}
    settings |= {"HF_HUB_CACHE": str(tmp_path / "hf" / "hub"), "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    settings |= {"DOFA_WEIGHTS": ""}
    command = [sys.executable, "-c", code, tiny().model_dump_json()]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "hf"))
    assert server.asked == [("HEAD", None), ("GET", None)]


# files


def test_path_is_returned_as_it_is(home):
    file = home / "mine.pth"
    file.write_bytes(b"x")
    assert store.find(str(file)) == file


@pytest.mark.parametrize("missing", ["mine.pth", "folder/mine", "/nowhere/mine.safetensors"])
def test_missing_path(home, missing):
    with pytest.raises(NoWeights, match=f"No file '{missing}'"):
        store.find(missing)


def test_unknown_name(home):
    with pytest.raises(UnknownWeights, match=r"Did you mean 'dofa-base'\?"):
        store.find("dofa-bose")


def test_folder_from_the_environment(home, published, monkeypatch):
    monkeypatch.setenv("DOFA_WEIGHTS", str(home / "mine"))
    (home / "mine").mkdir()
    (home / "mine" / FILE).write_bytes(CONTENT)
    assert store.find("tiny") == home / "mine" / FILE


def test_damaged_file_placed_by_hand_is_left_to_its_owner(client, published):
    placed = store.cache_folder() / FILE
    placed.parent.mkdir(parents=True)
    placed.write_bytes(CONTENT[:10])
    with pytest.raises(DamagedWeights, match=r"found 10\. Delete it and run 'dofa weights download tiny'"):
        store.download(tiny())
    assert placed.exists()
    assert client.asked == []


def test_here_does_not_download(client, published):
    with pytest.raises(NoWeights, match=r"'tiny' is not on this machine\. Run 'dofa weights download tiny'"):
        store.here("tiny")
    assert client.asked == []


# no published checksum


def test_announced_checksum_stands_in_for_a_published_one(client, published):
    wanted = published(sha256=None, size=None)
    path = store.download(wanted)
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(DamagedWeights, match=f"expected sha256 {SHA256}"):
        store.find("tiny")


def test_name_without_a_published_checksum_comes_from_the_cache(client, published, home):
    path = store.download(published(sha256=None))
    copy = home / FILE
    copy.write_bytes(CONTENT)
    assert store.name_of(path) == "tiny"
    assert store.name_of(copy) is None


def test_name_by_checksum(client, published, home):
    copy = home / "renamed.pth"
    copy.write_bytes(CONTENT)
    assert store.name_of(copy) == "tiny"


# verify


def test_verify_a_name_and_a_path(client, published):
    path = store.find("tiny")
    assert store.verify("tiny") == store.verify(str(path)) == store.Verified(path, SHA256, "tiny")


def test_verify_reads_the_file_again(client, published, monkeypatch):
    store.find("tiny")
    monkeypatch.setattr(checksum, "_digest", lambda _: "0" * 64)
    with pytest.raises(DamagedWeights, match=f"found {'0' * 64}"):
        store.verify("tiny")


def test_verify_an_unpublished_file(client, published, home):
    mine = home / "mine.pth"
    mine.write_bytes(b"mine")
    assert store.verify(str(mine)).name is None


def test_verify_a_published_file_name_with_other_content(client, published, home):
    (home / FILE).write_bytes(CONTENT[::-1])
    with pytest.raises(DamagedWeights, match=f"expected sha256 {SHA256}"):
        store.verify(str(home / FILE))


def test_verify_the_old_layout(client, published, home, monkeypatch):
    old = OldLayout(file="old.pth", sha256=SHA256, reason="replaced by new.pth")
    monkeypatch.setattr(manifest, "old_layouts", lambda: (old,))
    (home / "renamed.pth").write_bytes(CONTENT)
    with pytest.raises(WrongWeights, match=r"old\.pth, which has the old kernel layout: replaced by new\.pth"):
        store.verify(str(home / "renamed.pth"))


# the memory of checksums


def test_sha256_is_that_of_hashlib(home):
    (home / "file").write_bytes(CONTENT)
    assert store.sha256(home / "file") == SHA256


def test_changed_file_is_read_again_even_with_the_same_size_and_time(home):
    file = home / "file"
    file.write_bytes(CONTENT)
    before = file.stat()
    store.sha256(file)
    file.write_bytes(CONTENT[::-1])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.sha256(file) == hashlib.sha256(CONTENT[::-1]).hexdigest()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"%s": 3}', '{"%s": ["1", 2]}'])
def test_damaged_memory_counts_as_empty(home, damage):
    (home / "file").write_bytes(CONTENT)
    memory = home / "cache" / "dofa" / "checksums.json"
    memory.parent.mkdir(parents=True)
    memory.write_text(damage.replace("%s", str(home / "file")))
    assert store.sha256(home / "file") == SHA256


def test_memory_that_cannot_be_written_is_done_without(home):
    (home / "file").write_bytes(CONTENT)
    (home / "cache").write_text("a file where the folder should be")
    assert store.sha256(home / "file") == SHA256


def test_memory_forgets_files_that_are_gone(home):
    for name in ("one", "two"):
        (home / name).write_bytes(CONTENT)
    store.sha256(home / "one")
    (home / "one").unlink()
    store.sha256(home / "two")
    memory = home / "cache" / "dofa" / "checksums.json"
    assert list(json.loads(memory.read_text())) == [str(home / "two")]
    assert list(memory.parent.iterdir()) == [memory]


def test_address_is_the_hubs(monkeypatch):
    point_at(monkeypatch, "https://huggingface.co")
    assert hub.address(tiny()) == f"https://huggingface.co/someone/tiny/resolve/{REVISION}/{FILE}"
