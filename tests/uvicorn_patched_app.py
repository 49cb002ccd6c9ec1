"""The application once more, in a process whose standard library is green."""

import eventlet

eventlet.monkey_patch()

import requests  # noqa: E402
from starlette.responses import PlainTextResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402
from uvicorn_app import app  # noqa: E402


async def by_requests(request):
    """Looks blocking, and would be for ever: it is this very loop that has to answer."""
    answer = requests.get(str(request.url.replace(path="/about")), timeout=20)
    return PlainTextResponse(answer.text)


app.router.routes.append(Route("/requests", by_requests))
