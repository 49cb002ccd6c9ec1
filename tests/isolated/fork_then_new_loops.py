"""A fork below a running loop of a program without green threads: the child runs loops of its own, any number of them."""

import asyncio
import multiprocessing
import os
import signal
import socket
import sys

import eventlet_asyncio

signal.alarm(40)


async def gives(value):
    await asyncio.sleep(0.001)
    assert asyncio.get_running_loop() is not None
    return value


def one_loop():
    loop = eventlet_asyncio.new_event_loop()
    for value in range(3):
        assert loop.run_until_complete(gives(value)) == value
        assert asyncio._get_running_loop() is None
    loop.close()


def several_loops():
    for value in range(3):
        assert eventlet_asyncio.run(gives(value)) == value
        assert asyncio._get_running_loop() is None


def a_loop_that_fails():
    async def fails():
        raise ValueError("here")

    for _ in range(2):
        try:
            eventlet_asyncio.run(fails())
        except ValueError:
            pass
        else:
            raise AssertionError


def in_child(work):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    assert os.waitpid(child, 0) == (child, 0), work


def all_in_children():
    for work in (one_loop, several_loops, a_loop_that_fails):
        in_child(work)


class Forks(asyncio.Protocol):
    def __init__(self, done):
        self.done = done

    def data_received(self, data):
        all_in_children()
        self.done.set_result(None)


async def main():
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    all_in_children()
    child = multiprocessing.get_context("fork").Process(target=several_loops)
    child.start()
    child.join()
    assert child.exitcode == 0
    called = loop.create_future()
    loop.call_soon(lambda: (all_in_children(), called.set_result(None)))
    await called
    near, far = socket.socketpair()
    read = loop.create_future()
    loop.add_reader(near, lambda: (near.recv(1), all_in_children(), read.set_result(None)))
    far.send(b"x")
    await read
    loop.remove_reader(near)
    near.setblocking(False)
    received = loop.create_future()
    transport, _ = await loop.create_connection(lambda: Forks(received), sock=near)
    far.send(b"x")
    await received
    transport.close()
    far.close()
    # The parent still is what it was, and so is the child that goes on.
    assert asyncio.get_running_loop() is loop and asyncio.current_task() is task
    in_child(lambda: (several_loops(), in_child(several_loops)))


eventlet_asyncio.run(main())
in_child(several_loops)
print("pass")
