"""Asks a supervisord what the dashboards cesi and supervisord-monitor ask: `dashboards.py cesi|monitor PORT USER PASSWORD`.

cesi uses Python's xmlrpc.client with the credentials in the URL; supervisord-monitor uses CodeIgniter's client: HTTP/1.0,
line ends everywhere, and every argument a string, numbers too. Prints a line per call, without what differs from run to run.
"""
import base64
import re
import socket
import sys
import xmlrpc.client

WHO, PORT, USER, PASSWORD = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]


def tell(call, answer):
    if isinstance(answer, list) and answer and "statename" in answer[0]:
        answer = ["%(group)s:%(name)s %(statename)s" % process for process in answer]
    if isinstance(answer, dict):
        answer = "%(group)s:%(name)s %(statename)s" % answer
    print("%s -> %s" % (call, re.sub(r"/[^ ']*/", ".../", str(answer))))


def cesi():
    supervisor = xmlrpc.client.ServerProxy("http://%s:%s@127.0.0.1:%d/RPC2" % (USER, PASSWORD, PORT)).supervisor
    methods = xmlrpc.client.ServerProxy("http://%s:%s@127.0.0.1:%d/RPC2" % (USER, PASSWORD, PORT)).system.listMethods()
    tell("listMethods", "supervisor.getAllProcessInfo" in methods)
    for name, *arguments in [
        ("getSupervisorVersion",),
        ("getAllProcessInfo",),
        ("getProcessInfo", "web"),
        ("getProcessInfo", "pair:one"),
        ("getProcessInfo", "nosuch"),
        ("stopProcess", "web"),
        ("stopProcess", "web"),
        ("startProcess", "web"),
        ("startProcess", "web"),
        ("startProcess", "pair:nosuch"),
        ("tailProcessStdoutLog", "talk", 0, 10),
        ("readProcessStdoutLog", "talk", 0, 4),
    ]:
        try:
            answer = getattr(supervisor, name)(*arguments)
            tell("%s%r" % (name, tuple(arguments)), answer if name != "getSupervisorVersion" else bool(answer))
        except xmlrpc.client.Fault as fault:
            tell("%s%r" % (name, tuple(arguments)), "%d %s" % (fault.faultCode, fault.faultString))
    try:
        xmlrpc.client.ServerProxy("http://%s:wrong@127.0.0.1:%d/RPC2" % (USER, PORT)).supervisor.getState()
    except xmlrpc.client.ProtocolError as error:
        tell("with a wrong password", error.errcode)


def post(method, arguments):
    body = '<?xml version="1.0"?>\r\n<methodCall>\r\n<methodName>supervisor.%s</methodName>\r\n<params>\r\n' % method
    for argument in arguments:
        body += "<param>\r\n<value>\n<string>%s</string>\n</value>\n</param>\r\n" % argument
    body += "</params>\r\n</methodCall>\r\n"
    credentials = base64.b64encode(("%s:%s" % (USER, PASSWORD)).encode()).decode()
    with socket.create_connection(("127.0.0.1", PORT), timeout=20) as connection:
        connection.sendall((
            "POST /RPC2 HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: text/xml\r\nUser-Agent: XML-RPC for CodeIgniter\r\n"
            "Content-Length: %d\r\nAuthorization: Basic %s\r\n\r\n%s" % (len(body), credentials, body)
        ).encode())
        data = b""
        # It reads until the server closes, and knows no chunks.
        while True:
            piece = connection.recv(4096)
            if not piece:
                break
            data += piece
    head, answer = data.decode().split("\r\n\r\n", 1)
    assert re.match(r"HTTP/[0-9.]+ 200 ", head), head
    assert "chunked" not in head.lower(), head
    return xmlrpc.client.loads(answer)[0][0]


def monitor():
    for name, *arguments in [
        ("getSupervisorVersion",),
        ("getAllProcessInfo",),
        ("stopProcess", "web", "1"),
        ("startProcess", "web", "1"),
        ("startProcess", "web", "1"),
        ("readProcessStdoutLog", "talk", "-4", "0"),
        ("readProcessStderrLog", "talk", "-1000", "0"),
        ("tailProcessStdoutLog", "talk", "0", "4"),
        ("clearProcessLogs", "talk"),
        ("stopAllProcesses", "1"),
        ("startAllProcesses", "1"),
        ("getProcessInfo", "off"),
    ]:
        try:
            answer = post(name, arguments)
            if name.endswith("AllProcesses"):
                # Those that end at once may have done so before the answer, or not.
                answer = sorted(
                    "%(group)s:%(name)s %(status)d %(description)s" % process
                    for process in answer if process["name"] not in ("seven", "shot")
                )
            tell("%s%r" % (name, tuple(arguments)), answer if name != "getSupervisorVersion" else bool(answer))
        except xmlrpc.client.Fault as fault:
            tell("%s%r" % (name, tuple(arguments)), "%d %s" % (fault.faultCode, fault.faultString))


{"cesi": cesi, "monitor": monitor}[WHO]()
