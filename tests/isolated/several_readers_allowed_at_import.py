"""The switch for several readers was taken by name at import; the first call of it makes the hub."""

import os
import sys
import threading

if "EVENTLET_HUB" not in os.environ:
    os.environ["EVENTLET_HUB"] = "eventlet_asyncio.hub"
    os.execv(sys.executable, [sys.executable, __file__])

import eventlet  # noqa: E402
import eventlet.hubs  # noqa: E402
import eventlet.hubs.asyncio  # noqa: E402
from eventlet.debug import hub_prevent_multiple_readers  # noqa: E402

asyncio_hub = eventlet.hubs.asyncio.Hub

hub_prevent_multiple_readers(False)

hub = eventlet.hubs.get_hub()
assert type(hub).__module__ == "eventlet_asyncio.hub", hub
assert eventlet.hubs.asyncio.Hub is asyncio_hub
assert isinstance(hub, asyncio_hub)


def read(fileno):
    eventlet.hubs.trampoline(fileno, read=True)
    return os.read(fileno, 1)


left, right = os.pipe()
readers = [eventlet.spawn(read, left) for _ in range(3)]
eventlet.sleep(0)
os.write(right, b"abc")
assert sorted(reader.wait() for reader in readers) == [b"a", b"b", b"c"]


# Again, now that the hub is there; and in a thread, which makes its own.
def switch():
    hub_prevent_multiple_readers(True)
    hub_prevent_multiple_readers(False)
    switched.append(eventlet.hubs.get_hub())


switched = []
switch()
thread = threading.Thread(target=switch)
thread.start()
thread.join()
assert [type(each) for each in switched] == [type(hub)] * 2
assert switched[0] is hub is not switched[1]
print("pass")
