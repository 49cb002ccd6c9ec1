"""Drives the bridge: timers in order and never early, a pipe, and a refused descriptor."""

import os
import time

import consumer

loop = consumer.Loop()
begin = time.monotonic()
events = []


def note(event):
    events.append((event, time.monotonic() - begin))


read_end, write_end = os.pipe()
loop.call_later(0.20, note, "last")
loop.call_later(0.05, note, "first")
loop.call_later(0.05, note, "second")
loop.call_later(0.10, os.write, write_end, b"through the pipe")
loop.call_when_readable(read_end, lambda: note(os.read(read_end, 100).decode()))
loop.run()

names = [name for name, _ in events]
assert names == ["first", "second", "through the pipe", "last"], names
for (name, when), due in zip(events, [0.05, 0.05, 0.10, 0.20]):
    assert due <= when < due + 5, (name, when)

os.close(read_end)
try:
    loop.call_when_readable(read_end, print)
except OSError as error:
    assert str(error), "it says nothing"
else:
    raise AssertionError("a closed descriptor was watched")

print("the consumer ran:", ", ".join(names))
