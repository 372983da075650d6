"""The genuine supervisorctl, many times: a fork of an interpreter that has it imported already runs its own main().

Reads a JSON array of arguments a line, answers with a JSON object a line: stdout, stderr, code. An interpreter of its
own for every command line would spend its time on imports.
"""

import json
import os
import sys
import tempfile
import traceback

PROGRAM = sys.argv[1]
sys.argv = [PROGRAM]

from supervisor import supervisorctl  # noqa: E402  (its options remember the program's name)


def child(args, out, err):
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    sys.argv = [PROGRAM] + args
    code = 0
    try:
        supervisorctl.main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


for line in sys.stdin:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            child(json.loads(line), out, err)
        _, status = os.waitpid(pid, 0)
        answer = {"code": os.waitstatus_to_exitcode(status)}
        for name, file in (("stdout", out), ("stderr", err)):
            file.seek(0)
            answer[name] = file.read().decode()
        print(json.dumps(answer), flush=True)
