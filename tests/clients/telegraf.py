"""Polls a supervisord as Telegraf's `inputs.supervisor` does: `telegraf.py PORT USER PASSWORD`.

Each request has the bytes of Go's HTTP client and of its XML-RPC library, and each answer is read by that library's rules:
a member that is known must have the type, and fit the width, of Telegraf's field. Prints the metrics, without the numbers
that differ from run to run.
"""
import base64
import re
import socket
import sys
import xml.etree.ElementTree as ElementTree

PORT, USER, PASSWORD = int(sys.argv[1]), sys.argv[2], sys.argv[3]

# Telegraf's fields: the bits of a number, or text.
PROCESS = {
    "name": str, "group": str, "description": str, "start": 32, "stop": 32, "now": 32, "state": 16, "statename": str,
    "stdout_logfile": str, "stderr_logfile": str, "spawnerr": str, "exitstatus": 8, "pid": 32,
}
STATE = {"statecode": 8, "statename": str}


class Connection:
    """Go keeps a connection for the next request unless it is told not to."""

    def __init__(self):
        self.opened = 0
        self.socket = None

    def post(self, body):
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=20)
            self.stream = self.socket.makefile("rb")
            self.opened += 1
        credentials = base64.b64encode(("%s:%s" % (USER, PASSWORD)).encode()).decode()
        self.socket.sendall((
            "POST /RPC2 HTTP/1.1\r\nHost: localhost:%d\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: %d\r\n"
            "Authorization: Basic %s\r\nContent-Type: text/xml\r\nAccept-Encoding: gzip\r\n\r\n%s"
            % (PORT, len(body), credentials, body)
        ).encode())
        status = self.stream.readline().split()
        assert status[0] in (b"HTTP/1.0", b"HTTP/1.1") and status[1][:1] == b"2", status
        headers = {}
        while True:
            line = self.stream.readline().decode().rstrip("\r\n")
            if not line:
                break
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        assert "content-encoding" not in headers, headers
        answer = self.stream.read(int(headers["content-length"]))
        if headers.get("connection", "").lower() == "close" or status[0] == b"HTTP/1.0":
            self.socket.close()
            self.socket = None
        return answer


def scalar(value, kind):
    assert value.tag == "value", value.tag
    if len(value) == 0:
        assert kind is str, "a value without a type is text"
        return (value.text or "").strip()
    typed = value[0]
    text = typed.text or ""
    if kind is str:
        assert typed.tag in ("string", "base64"), typed.tag
        return text
    assert typed.tag in ("int", "i4", "i8"), typed.tag
    assert re.fullmatch(r"[+-]?\d+", text), text
    assert -(1 << kind - 1) <= int(text) < 1 << kind - 1, "%s does not fit %d bits" % (text, kind)
    return int(text)


def struct(value, fields):
    members = {}
    for member in value[0]:
        assert member.tag == "member" and member[0].tag == "name", member.tag
        if member[0].text in fields:
            members[member[0].text] = scalar(member[1], fields[member[0].text])
    assert value[0].tag == "struct" and members.keys() == fields.keys(), members
    return members


connection = Connection()


def call(method):
    body = '<?xml version="1.0" encoding="UTF-8"?><methodCall><methodName>%s</methodName></methodCall>' % method
    answer = ElementTree.fromstring(connection.post(body))
    assert answer.tag == "methodResponse" and answer.find("fault") is None, ElementTree.tostring(answer)
    return answer.find("params/param/value")


processes = [struct(value, PROCESS) for value in call("supervisor.getAllProcessInfo").find("array/data")]
state = struct(call("supervisor.getState"), STATE)
identification = scalar(call("supervisor.getIdentification"), str)
for process in processes:
    uptime = process["now"] - process["start"]
    assert 0 <= uptime, process
    print("supervisor_processes,group=%(group)s,process=%(name)s,server={0} state=%(state)d,exitCode=%(exitstatus)d {1}"
          .format(identification, "running" if process["pid"] else "down") % process)
print("supervisor_instance,server=%s state=%d" % (identification, state["statecode"]))
print("%d connection" % connection.opened)
