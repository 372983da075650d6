"""Prints, as one JSON object a line, what the genuine supervisord understands of each configuration file named."""
import json
import os
import shlex
import sys

from supervisor import events, loggers
from supervisor.datatypes import Automatic
from supervisor.options import EventListenerPoolConfig, FastCGIGroupConfig, ServerOptions


class Refused(Exception):
    pass


def usage(message):
    raise Refused(str(message))


def plain(value):
    if value is Automatic:
        return "auto"
    if isinstance(value, type):
        return value.__name__
    return value if value != "" else None


def process(config):
    found = {name: plain(getattr(config, name)) for name in config.req_param_names + config.optional_param_names}
    try:
        found["argv"] = shlex.split(config.command)
    except ValueError:
        found["argv"] = None
    return found


def group(config):
    found = {"name": config.name, "priority": config.priority}
    found["processes"] = [process(one) for one in config.process_configs]
    if isinstance(config, EventListenerPoolConfig):
        found["events"] = sorted(events.getEventNameByType(event) for event in config.pool_events)
        found["buffer_size"] = config.buffer_size
    if isinstance(config, FastCGIGroupConfig):
        socket = config.socket_config
        mode = socket.get_mode() if socket.url.startswith("unix") else None
        found["socket"] = {"url": socket.url, "mode": mode, "backlog": socket.get_backlog()}
    return found


def server(config):
    return {name: config.get(name) for name in ("host", "port", "file", "chmod", "username", "password")}


def read(path):
    options = ServerOptions()
    options.usage = usage
    try:
        options.realize(["-c", path], doc="", progname="supervisord")
    except Refused as why:
        return {"refused": str(why)}
    section = options.configroot.supervisord
    names = ("logfile", "logfile_maxbytes", "logfile_backups", "pidfile", "identifier", "umask", "minfds", "minprocs")
    daemon = {name: getattr(options, name) for name in names}
    for name in ("nodaemon", "silent", "nocleanup", "strip_ansi"):
        daemon[name] = bool(getattr(options, name))
    for name in ("directory", "childlogdir"):
        value = getattr(options, name)
        daemon[name] = value and os.path.abspath(value)
    daemon["loglevel"] = loggers.LOG_LEVELS_BY_NUM[options.loglevel]
    daemon["uid"] = options.uid
    daemon["environment"] = section.environment
    return {
        "supervisord": daemon,
        "serverurl": options.serverurl,
        "servers": [server(one) for one in section.server_configs],
        "groups": [group(one) for one in options.process_group_configs],
        "warnings": options.parse_warnings,
        "infos": options.parse_infos,
    }


for path in sys.argv[1:]:
    try:
        found = read(path)
    except Exception as why:  # what it does not even refuse
        found = {"refused": repr(why)}
    print(json.dumps(found))
