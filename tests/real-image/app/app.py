"""The application: says what it was started with."""
import os

NAMES = ["GREETING", "LANG", "RATE", "STAGE", "SUPERVISOR_ENABLED", "SUPERVISOR_GROUP_NAME", "SUPERVISOR_PROCESS_NAME", "SUPERVISOR_SERVER_URL"]


def application(request, start_response):
    lines = [request["REQUEST_METHOD"] + " " + request["PATH_INFO"] + " of " + request["HTTP_HOST"]]
    lines += [name + "=" + os.environ.get(name, "(unset)") for name in NAMES]
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Folder", os.path.basename(os.getcwd()))])
    return [("\n".join(lines) + "\n").encode()]
