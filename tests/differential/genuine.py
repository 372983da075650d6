"""Runs the genuine programs to their end, each in a fork of this process, which has read their code once for all.

A line is a request: {"program", "args", "env", "folder", "stdin", "stdout", "stderr", "seconds"}; the answer is its exit code, or
"killed".
"""
import json
import os
import signal
import sys

from supervisor import supervisorctl, supervisord

MAINS = {"supervisorctl": supervisorctl.main, "supervisord": supervisord.main}


def child(request):
    signal.setitimer(signal.ITIMER_REAL, request["seconds"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["env"])
    for fd, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_WRONLY), (2, "stderr", os.O_WRONLY)):
        opened = os.open(request[name], flags)
        os.dup2(opened, fd)
        os.close(opened)
    sys.argv = [request["program"]] + request["args"]
    code = 0
    try:
        MAINS[os.path.basename(request["program"])]()
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 0 if ending.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


answers = os.fdopen(os.dup(1), "w")
requests = os.fdopen(os.dup(0), "r")
os.set_inheritable(answers.fileno(), False)
for line in requests:
    pid = os.fork()
    if pid == 0:
        for closed in (answers, requests):
            os.close(closed.fileno())
        child(json.loads(line))
    _, status = os.waitpid(pid, 0)
    answers.write("%s\n" % (os.WEXITSTATUS(status) if os.WIFEXITED(status) else "killed"))
    answers.flush()
