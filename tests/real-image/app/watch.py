"""A listener that keeps what went FATAL, and ends the container when that was vital."""
import os
import signal
import sys

from supervisor import childutils

options = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
while True:
    headers, payload = childutils.listener.wait(sys.stdin, sys.stdout)
    with open(options["keep"], "a") as kept:
        print(headers["eventname"], headers["pool"], payload, file=kept)
    said = childutils.get_headers(payload)
    childutils.listener.ok(sys.stdout)
    if said["processname"] == options["vital"]:
        print("ending everything for", said["processname"], file=sys.stderr, flush=True)
        os.kill(os.getppid(), signal.SIGQUIT)
