"""After monkey_patch() a program finds that it runs in its main thread: who handles signals asks first."""

import eventlet
import eventlet_asyncio

eventlet_asyncio.use_hub()
eventlet.monkey_patch()

import asyncio  # noqa: E402
import os  # noqa: E402
import threading  # noqa: E402

from eventlet import patcher  # noqa: E402
from eventlet_asyncio import _patches  # noqa: E402


def is_main():
    return threading.current_thread() is threading.main_thread()


async def task():
    before = is_main()
    eventlet.sleep(0)
    await asyncio.sleep(0)
    return before, is_main(), await asyncio.get_running_loop().run_in_executor(None, is_main)


assert is_main()
child = os.fork()
if not child:
    os._exit(0 if is_main() else 1)
assert os.waitpid(child, 0)[1] == 0

assert eventlet_asyncio.run(task()) == (True, True, False)
assert not eventlet.spawn(is_main).wait()

found = []
thread = patcher.original("threading").Thread(target=lambda: found.append(is_main()))
thread.start()
thread.join()
assert found == [False]

original = _patches.original("threading", "main_thread")
assert original is not threading.main_thread
_patches.undo()
assert original is threading.main_thread
print("pass")
