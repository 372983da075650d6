"""Server-Sent Events as a Flask application under gunicorn and eventlet has them: a queue for each client."""

import json
import time

from eventlet.queue import Queue
from flask import Flask, Response, request

app = Flask(__name__)
queues = {}
number = 0


@app.get("/sse")
def subscribe():
    topic, queue = request.args["topic"], Queue()
    queues.setdefault(topic, set()).add(queue)

    def stream():
        try:
            yield "event: connected\n\n"
            while True:
                yield queue.get()
        finally:
            queues[topic].discard(queue)

    return Response(stream(), mimetype="text/event-stream", headers={"Cache-Control": "no-store"})


@app.post("/sse/publish")
def publish():
    global number
    number += 1
    event = request.get_json()
    data = json.dumps(event["data"], separators=(",", ":"))
    frame = f"id: {int(time.time() * 1000)}-{number}\ndata: {data}\n\n"
    receivers = queues.get(event["topic"], ())
    for queue in receivers:
        queue.put(frame)
    return {"receivers": len(receivers)}
