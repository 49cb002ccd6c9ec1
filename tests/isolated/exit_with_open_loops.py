"""Loops that modules keep open are freed after much of asyncio: nothing is said, as of asyncio's own loops."""

import asyncio
import os
import sys
import threading

from eventlet import hubs

import eventlet_asyncio

hubs.get_hub()
# Modules are cleared in an order that differs between versions of Python.
for keeper in (asyncio.tasks, threading, os, sys.stdout):
    keeper.kept = eventlet_asyncio.new_event_loop()
print("pass")
