"""monkey_patch() in a green thread: the main thread is the main greenlet, and the program ends."""

import threading

import eventlet
import eventlet_asyncio

eventlet_asyncio.use_hub()
eventlet.spawn(eventlet.monkey_patch).wait()

assert threading.current_thread() is threading.main_thread()
assert not eventlet.spawn(lambda: threading.current_thread() is threading.main_thread()).wait()

thread = threading.Thread(target=eventlet.sleep, args=(0.01,))
thread.start()
assert thread.is_alive()
thread.join()

import mixture  # noqa: E402

mixture.check()
print("pass")
