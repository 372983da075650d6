"""A consumer of a queue: works until it is told to stop."""
import os
import signal
import sys


def stop(number, frame):
    print("worker ends in order", flush=True)
    sys.exit(0)


signal.signal(signal.SIGINT, stop)
print("worker works", *sys.argv[1:], os.environ["SUPERVISOR_GROUP_NAME"], flush=True)
print("nothing to do yet", file=sys.stderr, flush=True)
while True:
    signal.pause()
