"""Every snippet of the README runs and prints what it says; the page of patches lists all of them."""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = "a page"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def url():
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "http://127.0.0.1:{}/".format(server.server_address[1])
        server.shutdown()


def run(arguments, **environment):
    ended = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **environment},
        timeout=50,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout


def test_there_is_a_snippet_for_each_direction():
    assert len(blocks("python")) == 2


@pytest.mark.parametrize("snippet", blocks("python"))
def test_a_snippet_prints_what_its_comments_say(snippet, url, tmp_path):
    program = tmp_path / "snippet.py"
    program.write_text(snippet.replace("http://example.org/", url), encoding="utf-8")
    said = re.findall(r"^print\(.*\)  # (.*)$", snippet, re.MULTILINE)
    assert said
    assert run([program]).splitlines() == [PAGE if line == "the page" else line for line in said]


def environment_lines():
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("EVENTLET_HUB=")]


def test_the_environment_variable_runs_a_program_unchanged(tmp_path):
    (line,) = [line for line in environment_lines() if line.endswith(" -m your_service")]
    assignment, python, *arguments = shlex.split(line)
    assert python == "python"
    (tmp_path / "your_service.py").write_text(
        "import eventlet\n"
        "eventlet.monkey_patch()\n"
        "print(eventlet.spawn(lambda: type(eventlet.hubs.get_hub()).__module__).wait())\n",
        encoding="utf-8",
    )
    variable, value = assignment.split("=")
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {variable: value, "PYTHONPATH": os.pathsep.join(paths)}
    assert run(arguments, **environment) == "eventlet_asyncio.hub\n"


def test_the_line_that_shows_the_hub_shows_what_the_readme_says():
    (line,) = [line for line in environment_lines() if " -c " in line]
    assignment, _, *arguments = shlex.split(line)
    variable, value = assignment.split("=")
    shown = re.search(r"prints `(.*?)`", README).group(1)
    pattern = re.escape(shown).replace(r"\.\.\.", ".*")
    assert re.fullmatch(pattern, run(arguments, **{variable: value}).strip())


def test_files_that_are_linked_exist():
    ours = r"^\[.+\]: https://github\.com/evio-project/evio/blob/main/(\S+)$"
    links = re.findall(ours, README, re.MULTILINE)
    assert links
    for link in links:
        assert (ROOT / link).is_file(), link


def test_names_of_the_package_exist():
    import eventlet_asyncio

    for name in re.findall(r"\beventlet_asyncio\.(\w+)\(", README):
        assert callable(getattr(eventlet_asyncio, name)), name


def test_each_patch_has_a_section_of_its_own_in_the_order_of_the_table():
    from eventlet_asyncio import _patches

    page = (ROOT / "docs/patches.md").read_text(encoding="utf-8")
    sections = [part for part in re.split(r"^## ", page, flags=re.MULTILINE) if "*Undone:*" in part]
    assert len(sections) == len(_patches.TABLE)
    for section, row in zip(sections, _patches.TABLE):
        heading = section.splitlines()[0]
        if isinstance(row, (_patches.Attribute, _patches.Code, _patches.Function)):
            owner, name = row.places[0]
            assert name in heading
            assert name != "events" or owner in heading
        assert re.findall(r"^\*(\w+):\*", section, re.MULTILINE) == ["What", "Why", "Undone", "Test"]
        for file in re.findall(r"`((?:isolated/|test_)\w+\.py)`", section):
            assert (ROOT / "tests" / file).is_file(), file
