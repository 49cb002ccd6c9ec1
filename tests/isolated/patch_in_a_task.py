"""monkey_patch() in a task: the main thread is the main greenlet, and the program ends."""

import asyncio

import eventlet
import eventlet_asyncio

eventlet_asyncio.use_hub()


def is_main():
    return threading.current_thread() is threading.main_thread()


async def main():
    eventlet.monkey_patch()
    await asyncio.sleep(0.001)
    eventlet.sleep(0.001)
    assert is_main()
    thread = threading.Thread(target=lambda: found.append(is_main()))
    thread.start()
    thread.join()


import threading  # noqa: E402

found = []
eventlet_asyncio.run(main())
assert found == [False]
assert is_main()
print("pass")
