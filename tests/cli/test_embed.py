"""What ``dofa embed`` prints, and that it reads over HTTP."""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path

import pytest
import rasterio
from typer.testing import CliRunner

from dofa_cli.cli.main import app


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def embed(*arguments: str):
    result = CliRunner().invoke(app, ["embed", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result


def test_stdout_is_the_path_and_nothing_else(here, scene, weights):
    result = embed(scene, "--sensor", "sentinel2", "--weights", weights)
    assert result.stdout == "scene_patch.tif\n"
    assert "windows" in result.stderr
    assert Path("scene_patch.tif").exists()


def test_json_is_one_object_on_stdout(here, scene, weights):
    result = embed(scene, "--sensor", "sentinel2", "--weights", weights, "--json")
    report = json.loads(result.stdout)
    assert report["written"]
    assert report["output"] == "scene_patch.tif"
    assert report["windows"] == 12
    assert report["rules"][0]["band"] == "B04"
    assert len(report["tags"]["weights_sha256"]) == 64
    assert result.stderr == ""


def test_dry_run_shows_rules_grid_and_cost_and_writes_nothing(here, scene, weights):
    shown = embed(scene, "--sensor", "sentinel2", "--weights", weights, "--dry-run").stdout
    assert "clip(0.0713884·x + 1, 1, 255)" in shown
    assert "12 of 64 px, overlap 16 px; 2.5 km²" in shown
    assert "10 × 11 cells × 24" in shown
    assert "memory" in shown
    assert "time" in shown
    assert list(here.iterdir()) == []


def test_dry_run_does_not_mind_an_existing_output(here, scene, weights):
    Path("scene_patch.tif").touch()
    embed(scene, "--sensor", "sentinel2", "--weights", weights, "--dry-run")


def test_overwrite_replaces_the_output(here, scene, weights):
    Path("scene_patch.tif").write_text("old")
    embed(scene, "--sensor", "sentinel2", "--weights", weights, "--overwrite")
    with rasterio.open("scene_patch.tif") as file:
        assert file.count == 24


def test_weights_may_come_from_the_environment(here, scene, weights, monkeypatch):
    monkeypatch.setenv("DOFA_DEFAULT_WEIGHTS", weights)
    embed(scene, "--sensor", "sentinel2")


def test_notes_and_warnings_go_to_stderr(here, scene, weights):
    result = embed(scene, "--sensor", "sentinel2", "--bands", "rgb", "--weights", weights)
    assert "6 bands of the file left out" in result.stderr


class Ranges(http.server.BaseHTTPRequestHandler):
    """Serve one file by byte ranges, as object stores do."""

    content = b""

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()

    def do_GET(self):
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = self.content[int(first) : int(last or len(self.content) - 1) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(self.content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def address(scene):
    Ranges.content = Path(scene).read_bytes()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/far/scene.tif"
    server.shutdown()
    thread.join()
    server.server_close()


def test_scene_over_http_gives_what_the_file_gives(here, scene, weights, address):
    options = ["--sensor", "sentinel2", "--weights", weights]
    embed(address, *options, "-o", "far.tif")
    embed(scene, *options, "-o", "near.tif")
    with rasterio.open("far.tif") as far, rasterio.open("near.tif") as near:
        assert (far.read() == near.read()).all()
        assert far.tags()["source"] == "scene.tif"
