"""A server of Flask-SocketIO's on eventlet, whose handlers call async code, and asyncio clients, in one thread."""

import os

os.environ["EVENTLET_HUB"] = "eventlet_asyncio.hub"

import eventlet

eventlet.monkey_patch()

import asyncio

import aiohttp
import eventlet.wsgi
import eventlet_asyncio
import flask
import flask_socketio
import socketio

CLIENTS, QUESTIONS = 20, 5
flask_app = flask.Flask("program")
server = flask_socketio.SocketIO(flask_app, async_mode="eventlet")


async def twice(number):
    await asyncio.sleep(0.01)
    return 2 * number


@flask_app.get("/<int:number>")
def page(number):
    return str(eventlet_asyncio.await_(twice(number)))


@server.on("join")
def join(room):
    flask_socketio.join_room(room)


@server.on("ask")
def ask(number):
    flask_socketio.emit("answer", asyncio.run(twice(number)))
    server.emit("news", number, room="all")
    return number + 1


async def client(address):
    answers, news = [], []
    connection = socketio.AsyncClient()
    connection.on("answer", answers.append)
    connection.on("news", news.append)
    # Answers to its long polls get lost now and then, on every hub.
    await connection.connect(address, transports=["websocket"])
    await connection.call("join", "all")
    for question in range(QUESTIONS):
        assert await connection.call("ask", question) == question + 1
    assert answers == [2 * question for question in range(QUESTIONS)]
    # A handler that blocks greenly does not stop the loop of the others.
    eventlet.sleep(0.2)
    await connection.disconnect()
    assert sum(news.count(question) >= 1 for question in range(QUESTIONS)) == QUESTIONS


async def main(address):
    await asyncio.gather(*(client(address) for _ in range(CLIENTS)))
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{address}/21") as response:
            assert await response.text() == "42"


listener = eventlet.listen(("127.0.0.1", 0))
serving = eventlet.spawn(eventlet.wsgi.server, listener, flask_app, log_output=False)
asyncio.run(main(f"http://127.0.0.1:{listener.getsockname()[1]}"))
serving.kill()
print("pass")
