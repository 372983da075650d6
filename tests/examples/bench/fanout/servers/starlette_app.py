"""Server-Sent Events with Starlette and sse-starlette under uvicorn: a queue for each client."""

import asyncio
import json
import time

from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

queues = {}
number = 0


async def subscribe(request):
    topic, queue = request.query_params["topic"], asyncio.Queue()
    queues.setdefault(topic, set()).add(queue)

    async def stream():
        try:
            yield {"event": "connected", "data": ""}
            while True:
                yield await queue.get()
        finally:
            queues[topic].discard(queue)

    return EventSourceResponse(stream(), ping=3600)


async def publish(request):
    global number
    number += 1
    event = await request.json()
    data = json.dumps(event["data"], separators=(",", ":"))
    frame = {"id": f"{int(time.time() * 1000)}-{number}", "data": data}
    receivers = queues.get(event["topic"], ())
    for queue in receivers:
        queue.put_nowait(frame)
    return JSONResponse({"receivers": len(receivers)})


app = Starlette(routes=[Route("/sse", subscribe), Route("/sse/publish", publish, methods=["POST"])])
