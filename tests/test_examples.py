"""The two programs of the main job and the demo run as their users would run them."""

import json
import pathlib
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"
BODY = "a page, and its ümlauts"


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        body = BODY.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def url():
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "http://127.0.0.1:{}/".format(server.server_address[1])
        server.shutdown()


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-X", "utf8", *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        timeout=50,
    )


@pytest.mark.parametrize("program", ["eventlet_calls_asyncio.py", "asyncio_calls_eventlet.py"])
def test_an_example_prints_the_page(program, url):
    ended = run(EXAMPLES / program, url)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == BODY + "\n"
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("program", ["eventlet_calls_asyncio.py", "asyncio_calls_eventlet.py"])
def test_an_example_without_a_page_says_what_it_wants(program):
    ended = run(EXAMPLES / program)
    assert ended.returncode == 1
    assert f"{program} URL" in ended.stderr


def test_the_demo_serves_every_request_in_one_thread():
    ended = run(EXAMPLES / "demo", "--requests", 100, "--clients", 20, "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    outcome = json.loads(ended.stdout)
    assert [part["requests"] for part in outcome["parts"]] == [100, 100, 20]
    for part in outcome["parts"]:
        assert (part["done"], part["errors"]) == (part["requests"], 0), part
    assert outcome["threads"] == 1
    assert outcome["crossings"] == 220
    assert set(outcome["longest_wait_ms"]) == {"green", "asyncio"}


@pytest.mark.parametrize(
    "hub, outcomes",
    [("asyncio", ["ok", "ok", "FAILED"]), ("epolls", ["FAILED", "FAILED", "STALLED"])],
)
def test_the_demo_shows_what_the_hubs_of_eventlet_cannot_do(hub, outcomes):
    arguments = ["--requests", 20, "--clients", 5, "--patience", 1, "--json"]
    ended = run(EXAMPLES / "demo", "--hub", hub, *arguments)
    assert ended.returncode == 1, ended.stderr
    parts = json.loads(ended.stdout)["parts"]
    assert [part["outcome"] for part in parts] == outcomes
