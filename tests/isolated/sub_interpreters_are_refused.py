"""In an interpreter that is not the first one of the process the import fails, and the first one goes on as if there was none."""

import asyncio
import os

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

READER, WRITER = os.pipe()
IMPORT = f"""
import os
try:
    import {{}}
except ImportError as error:
    answer = str(error)
else:
    answer = "imported"
os.write({WRITER}, answer.encode())
"""


def imported_elsewhere(name):
    interpreter = interpreters.create()
    interpreters.run_string(interpreter, IMPORT.format(name))
    interpreters.destroy(interpreter)
    return os.read(READER, 1000).decode()


assert imported_elsewhere("asyncio") == "imported"
assert "subinterpreter" in imported_elsewhere("eventlet_asyncio").replace("-", "")

import eventlet_asyncio  # noqa: E402

for _ in range(2):
    assert eventlet_asyncio.run(asyncio.sleep(0.001, "here")) == "here"
    assert "subinterpreter" in imported_elsewhere("eventlet_asyncio").replace("-", "")
print("pass")
