"""Reads a stream with a client library from PyPI; prints one JSON line for each event.

readers.py sseclient|httpx URL COUNT [LAST_EVENT_ID]
"""

import json
import sys


def show(event):
    print(json.dumps({"id": event.id, "event": event.event, "data": event.data}), flush=True)


def with_sseclient(url, headers):
    import requests
    import sseclient

    response = requests.get(url, stream=True, headers=headers, timeout=30)
    response.raise_for_status()
    yield from sseclient.SSEClient(response).events()


def with_httpx(url, headers):
    import httpx
    from httpx_sse import connect_sse

    with httpx.Client(timeout=30) as client:
        with connect_sse(client, "GET", url, headers=headers) as source:
            source.response.raise_for_status()
            yield from source.iter_sse()


def main():
    library, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    headers = {"Accept": "text/event-stream"}
    if len(sys.argv) > 4:
        headers["Last-Event-ID"] = sys.argv[4]
    read = {"sseclient": with_sseclient, "httpx": with_httpx}[library]
    seen = 0
    for event in read(url, headers):
        show(event)
        if event.event not in ("connected", "heartbeat"):
            seen += 1
        if seen == count:
            return


main()
