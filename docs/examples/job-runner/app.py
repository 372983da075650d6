"""Jobs that run in the background, and a page for each that shows how far it is.

What belongs to live events: publish() below, and static/job.js.
"""

import itertools
import os
import threading
import time
import uuid

import requests
from flask import Flask, abort, redirect, render_template, url_for
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

SSE_URL = os.environ.get("SSE_URL", "http://localhost:5001")
PART_SECONDS = float(os.environ.get("PART_SECONDS", "0.2"))
PARTS = 100

app = Flask(__name__)
# An application that must not forget its jobs keeps them in its database.
jobs = {}
numbers = itertools.count(1)
hub = threading.local()


def session():
    """The calling thread's connection to the hub; what is not answered is sent again."""
    if not hasattr(hub, "session"):
        hub.session = requests.Session()
        hub.session.headers["Authorization"] = f"Bearer {os.environ['SSE_PUBLISH_TOKEN']}"
        again = Retry(8, backoff_factor=0.25, status_forcelist=[429, 500, 502, 503, 504], allowed_methods=["POST"])
        hub.session.mount("http", HTTPAdapter(max_retries=again))
    return hub.session


def publish(topic, event, data):
    """Publishes one event, and returns its id. With its key it is one event, however often it is sent."""
    body = {"topic": topic, "event": event, "data": data, "idempotency_key": uuid.uuid4().hex}
    answer = session().post(f"{SSE_URL}/sse/publish", json=body, timeout=10)
    answer.raise_for_status()
    return answer.json()["id"]


def tell(number, state):
    """Tells the readers, then keeps the state together with the id of the event that told it."""
    event_id = publish(f"job:{number}", "job_progress", state)
    jobs[number] = {**state, "event_id": event_id}


def work(number):
    for part in range(1, PARTS + 1):
        time.sleep(PART_SECONDS)  # the work of one part
        tell(number, {"progress": 100 * part // PARTS, "done": part == PARTS})


@app.get("/")
def index():
    return render_template("index.html", jobs=jobs)


@app.post("/jobs")
def start():
    number = next(numbers)
    tell(number, {"progress": 0, "done": False})
    threading.Thread(target=work, args=(number,), daemon=True).start()
    return redirect(url_for("job", number=number), 303)


@app.get("/jobs/<int:number>")
def job(number):
    return render_template("job.html", number=number, state=jobs.get(number) or abort(404))
