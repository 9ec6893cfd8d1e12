"""The Python guest: runs one function inside a sandbox, speaking frames on descriptor 3.

A program of its own, started by `bootstrap.py`: standard library only, Python 3.8 to 3.14, as little memory as it can. Facts
about AWS's behaviour (texts, types, formats, the search path) are those of the published `awslambdaric` 4.2.2 and of sections 4
to 6 of the execution contract; the frames are told in `docs/reference/frames.md`.
"""

import importlib
import json
import logging
import os
import sys
import time
import traceback

CHANNEL = 3
INIT, INVOKE = 1, 2
HELLO, STARTED, INIT_ERROR, RESULT, ERROR, BAD_EVENT = 16, 17, 18, 19, 20, 21

#: Variables that the interpreter or the loader read only when a process starts: a function that sets one gets a new process.
AT_EXEC = (
    "AWS_LAMBDA_EXEC_WRAPPER", "LD_LIBRARY_PATH", "LD_PRELOAD", "LANG", "LC_ALL", "LC_CTYPE", "MALLOC_ARENA_MAX",
    "PYTHONHASHSEED", "PYTHONMALLOC", "PYTHONOPTIMIZE", "PYTHONUTF8", "PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONTRACEMALLOC",
    "PYTHONFAULTHANDLER", "PYTHONASYNCIODEBUG", "PYTHONINTMAXSTRDIGITS",
)  # fmt: skip
#: Carries the INIT meta through that exec.
HANDED_ON = "_LAMBENT_INIT"


class Fault(Exception):
    """A failure that the runtime detects itself and names."""

    def __init__(self, kind, message, trace=None):
        Exception.__init__(self, message)
        self.kind = kind
        self.message = message
        self.trace = trace


# --- the channel ---------------------------------------------------------------------------------------------------------


def send(kind, payload=b"", meta=b""):
    """One frame, whole."""
    head = (len(meta) + len(payload)).to_bytes(4, "big") + bytes((kind,)) + len(meta).to_bytes(3, "big") + meta
    write_all(CHANNEL, head + payload)


def receive():
    """(kind, meta bytes, payload bytes); ends the process when the node is gone."""
    data = os.read(CHANNEL, 65536)
    while len(data) < 8:
        data += read_some(8 - len(data)) if data else leave()
    end = 8 + int.from_bytes(data[:4], "big")
    if len(data) < end:
        parts = [data]
        missing = end - len(data)
        while missing:
            part = read_some(min(missing, 1 << 20))
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
    body = 8 + int.from_bytes(data[5:8], "big")
    return data[4], data[8:body], data[body:end]


def read_some(size):
    data = os.read(CHANNEL, size)
    return data if data else leave()


def leave():
    os._exit(0)


def write_all(fd, data):
    written = os.write(fd, data)
    while written < len(data):
        data = data[written:]
        written = os.write(fd, data)


# --- the log -------------------------------------------------------------------------------------------------------------

#: Before a log event that may have several lines: this mark and its length. It goes through the output pipe like what is
#: printed, so that the log has the order in which things were written. 0xFF is in no UTF-8 text.
EVENT_MARK = b"\xffLE\xff"


def log_event(text):
    """One log event, its line end added."""
    data = text.encode("utf-8", "replace")
    if not data.endswith(b"\n"):
        data += b"\n"
    write_all(1, EVENT_MARK + len(data).to_bytes(4, "big") + data)


class RequestFilter(logging.Filter):
    """Puts the request id on each record, for any format that wants it."""

    def filter(self, record):
        record.aws_request_id = Current.request_id or ""
        record.tenant_id = None
        return True


class EventHandler(logging.Handler):
    """The root logger's handler on AWS: one event a record."""

    def emit(self, record):
        try:
            log_event(self.format(record))
        except Exception:
            self.handleError(record)


LEVELS = (logging.NOTSET, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
#: What `logging` itself puts on a record; anything else came from `extra` and goes into the JSON event.
OWN_FIELDS = frozenset(
    [
        "name",
        "msg",
        "args",
        "levelname",
        "levelno",
        "pathname",
        "filename",
        "module",
        "exc_info",
        "exc_text",
        "stack_info",
        "lineno",
        "funcName",
        "created",
        "msecs",
        "relativeCreated",
        "thread",
        "threadName",
        "processName",
        "process",
        "taskName",
        "aws_request_id",
        "tenant_id",
    ]
)


class JsonFormatter(logging.Formatter):
    """AWS_LAMBDA_LOG_FORMAT=JSON: an object a record; members that are None are left out."""

    def format(self, record):
        level = logging.getLevelName(LEVELS[min(50, max(0, record.levelno)) // 10])
        plain = isinstance(record.msg, dict) and not record.args
        event = {
            "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": level,
            "message": record.msg if plain else record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info:
            kind, value, trace = record.exc_info
            event["stackTrace"] = traceback.format_tb(trace)
            event["errorType"] = kind.__name__ if kind else None
            event["errorMessage"] = str(value)
            event["location"] = "%s:%s:%s" % (record.pathname, record.funcName, record.lineno)
        event["requestId"] = getattr(record, "aws_request_id", None)
        for key, value in record.__dict__.items():
            if key not in OWN_FIELDS and key not in event:
                event[key] = value
        return json.dumps({k: v for k, v in event.items() if v is not None}, ensure_ascii=False, default=str)


def set_up_logging():
    logging.Formatter.converter = time.gmtime
    handler = EventHandler()
    if Current.json_log:
        handler.setFormatter(JsonFormatter())
    else:
        text = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
        handler.setFormatter(logging.Formatter(text, "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(RequestFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    level = "DEBUG" if level == "TRACE" else "CRITICAL" if level == "FATAL" else level
    if level in ("DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL"):
        root.setLevel(level)


def log_error(error):
    """The log event of an error object."""
    if Current.json_log:
        event = {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": "ERROR"}
        event.update(error)
        log_event(json.dumps(event, ensure_ascii=False))
        return
    lines = ["[ERROR] " + ": ".join(part for part in (error["errorType"], error["errorMessage"]) if part)]
    lines.append("Traceback (most recent call last):")
    for entry in error["stackTrace"]:
        for line in entry.splitlines() or [""]:
            text = line.lstrip(" ")
            # Leading blanks as NO-BREAK SPACE, so that log viewers keep the indentation.
            lines.append("\u00a0" * (len(line) - len(text)) + text)
    log_event("\n".join(lines))


# --- errors --------------------------------------------------------------------------------------------------------------


def error_object(message, kind, trace, request_id=""):
    return {"errorMessage": message or "", "errorType": kind or "", "requestId": request_id, "stackTrace": trace or []}


def error_of(exception, request_id=""):
    """The error object of what the function raised, without the frames of this file."""
    if isinstance(exception, Fault):
        return error_object(exception.message, exception.kind, exception.trace, request_id)
    # Plain tuples, as AWS formats them: without the marks under the failing expression that newer versions add.
    entries = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(exception.__traceback__)]
    first = 0
    while first < len(entries) and entries[first][0] == __file__:
        first += 1
    try:
        message = str(exception)
    except Exception as error:
        message = "<the message of this %s cannot be read: %s>" % (type(exception).__name__, type(error).__name__)
    return error_object(message, type(exception).__name__, traceback.format_list(entries[first:]), request_id)


def post_error(frame_kind, error):
    log_error(error)
    payload = json.dumps(error, ensure_ascii=Current.ascii).encode("utf-8", "replace")
    send(frame_kind, payload, json.dumps({"type": error["errorType"]}).encode())


# --- JSON ----------------------------------------------------------------------------------------------------------------


def refuse_constant(text):
    raise ValueError("%s is not JSON" % text)


#: Strict, unlike Python's own: NaN and Infinity are not JSON, and the caller gets told so.
decode_event = json.JSONDecoder(parse_constant=refuse_constant).decode
decode = json.JSONDecoder().decode


class ResultEncoder(json.JSONEncoder):
    """What AWS's encoder (simplejson) can do beyond Python's: Decimal as a number, bytes as UTF-8 text."""

    numbers = None

    def default(self, value):
        if isinstance(value, bytes):
            return value.decode("utf-8")
        if type(value).__module__ in ("decimal", "_decimal", "_pydecimal") and type(value).__name__ == "Decimal":
            if value.is_nan():
                return float("nan")
            # JSONEncoder cannot write a number as text, so a private token takes its place until the end.
            if self.numbers is None:
                self.numbers = {}
                self.token = "decimal-" + os.urandom(12).hex() + "-"
            token = self.token + str(len(self.numbers))
            self.numbers['"' + token + '"'] = str(value)
            return token
        return json.JSONEncoder.default(self, value)


def encode_result(value):
    """The result as bytes. Raises `Fault`: Runtime.MarshalError."""
    if isinstance(value, bytes):
        return value
    try:
        encoder = Current.encoder
        text = encoder.encode(value)
        if encoder.numbers:
            import re

            numbers, encoder.numbers = encoder.numbers, None
            text = re.sub('"%s[0-9]+"' % encoder.token, lambda match: numbers[match.group()], text)
        return text.encode("utf-8")
    except Exception as error:
        Current.encoder.numbers = None
        raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % error) from error


# --- the context object --------------------------------------------------------------------------------------------------


class _Fields:
    """An object with a fixed set of fields that prints them."""

    __slots__ = ()

    def __init__(self, values):
        for name in self.__slots__:
            setattr(self, name, values.get(name))

    def __repr__(self):
        return "%s([%s])" % (type(self).__name__, ",".join("%s=%s" % (n, getattr(self, n)) for n in self.__slots__))


class CognitoIdentity(_Fields):
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")


class Client(_Fields):
    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")  # noqa: RUF023


class ClientContext(_Fields):
    __slots__ = ("custom", "env", "client")  # noqa: RUF023


class LambdaContext:
    """The second argument of a handler. A new one for each call."""

    def __init__(self, request_id, client_context, identity, deadline_ms, arn):
        self.aws_request_id = request_id
        self.log_group_name = Current.facts["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = Current.facts["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.function_name = Current.facts["AWS_LAMBDA_FUNCTION_NAME"]
        self.memory_limit_in_mb = Current.facts["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.function_version = Current.facts["AWS_LAMBDA_FUNCTION_VERSION"]
        self.invoked_function_arn = arn
        self.tenant_id = None
        self._w3c = {}
        self.client_context = None
        if client_context is not None:
            w3c = client_context.pop("w3c", None)
            if isinstance(w3c, dict):
                names = ("traceparent", "tracestate", "baggage")
                self._w3c = {name: w3c[name] for name in names if isinstance(w3c.get(name), str)}
            self.client_context = ClientContext(client_context)
            if self.client_context.client is not None:
                self.client_context.client = Client(self.client_context.client)
        identity = identity or {}
        self.identity = CognitoIdentity(
            {
                "cognito_identity_id": identity.get("cognitoIdentityId"),
                "cognito_identity_pool_id": identity.get("cognitoIdentityPoolId"),
            }
        )
        self._epoch_deadline_time_in_ms = deadline_ms

    def get_remaining_time_in_millis(self):
        return max(0, self._epoch_deadline_time_in_ms - int(time.time() * 1000))

    def w3c(self):
        return dict(self._w3c)

    def log(self, message):
        log_event(str(message))

    def __repr__(self):
        names = (
            "aws_request_id", "log_group_name", "log_stream_name", "function_name", "memory_limit_in_mb", "function_version",
            "invoked_function_arn", "client_context", "identity", "tenant_id",
        )  # fmt: skip
        return "LambdaContext([%s])" % ",".join("%s=%s" % (name, getattr(self, name)) for name in names)


def context_json(text, name):
    """Decodes a client context or identity. Raises `Fault`."""
    if not text:
        return None
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise ValueError("it is not an object")
        return value
    except Exception as error:
        raise Fault("Runtime.LambdaContextUnmarshalError", "Unable to parse %s JSON: %s" % (name, error)) from error


# --- init ----------------------------------------------------------------------------------------------------------------


class Current:
    """What changes while the process lives."""

    request_id = None
    trace = ""
    #: The function's variables as they were at its start; a look into os.environ costs a microsecond each.
    facts = {}
    json_log = False
    ascii = True
    encoder = ResultEncoder()


def load_handler(name):
    """The function's handler. Raises `Fault`, or whatever the module raises."""
    try:
        module_name, function_name = name.rsplit(".", 1)
    except ValueError as error:
        raise Fault("Runtime.MalformedHandlerName", "Bad handler '%s': %s" % (name, error)) from error
    if module_name.split(".")[0] in sys.builtin_module_names:
        message = "Cannot use built-in module %s as a handler module" % module_name
        raise Fault("Runtime.BuiltInModuleConflict", message)
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = "Unable to import module '%s': %s" % (module_name, error)
        raise Fault("Runtime.ImportModuleError", message) from error
    except SyntaxError as error:
        trace = ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text)]
        message = "Syntax error in module '%s': %s" % (module_name, error)
        raise Fault("Runtime.UserCodeSyntaxError", message, trace) from error
    try:
        return getattr(module, function_name)
    except AttributeError as error:
        message = "Handler '%s' missing on module '%s'" % (function_name, module_name)
        raise Fault("Runtime.HandlerNotFound", message) from error


def search_path(task_root, runtime_dir, opt):
    """`sys.path` as on AWS: the code, layers, the SDK, the standard library, layers again."""
    layers = ["%s/python/lib/python%d.%d/site-packages" % ((opt, *sys.version_info[:2])), opt + "/python"]
    here = os.path.dirname(os.path.abspath(__file__))
    library = [entry for entry in sys.path if entry and os.path.abspath(entry) not in (here, runtime_dir)]
    extra = [entry for entry in os.environ.get("PYTHONPATH", "").split(":") if entry and entry != runtime_dir]
    return [task_root, *layers, *extra, runtime_dir, *library]


def apply(environment):
    """Makes the process the function's: variables, folder, time zone, search path."""
    os.environ.update(environment)
    Current.facts = environment
    time.tzset()
    task_root = environment["LAMBDA_TASK_ROOT"]
    os.chdir(task_root)
    library = set(sys.path)
    sys.path[:] = search_path(task_root, environment["LAMBDA_RUNTIME_DIR"], environment.get("_LAMBENT_OPT", "/opt"))
    os.environ.pop("_LAMBENT_OPT", None)
    # What was mounted since is looked at anew. Not `importlib.invalidate_caches`: from Python 3.13 on it imports
    # `importlib.metadata` and 54 modules more, 30 ms and 3 MiB.
    for folder in set(sys.path_importer_cache) - library:
        del sys.path_importer_cache[folder]
    Current.json_log = environment.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
    # AWS writes non-ASCII characters as they are from 3.12 on, escaped before.
    Current.ascii = sys.version_info < (3, 12)
    Current.encoder = ResultEncoder(ensure_ascii=Current.ascii)


def start_again(meta, environment, own):
    """Replaces this process by one that has the variables from its very start; returns if there is no need to."""
    if not any(name in AT_EXEC for name in own):
        return
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bootstrap.py")
    command = [sys.executable, "-u", "-S", "-B", program]
    wrapper = environment.get("AWS_LAMBDA_EXEC_WRAPPER")
    variables = dict(environment)
    if wrapper:
        command.insert(0, wrapper)
    variables[HANDED_ON] = meta.decode("utf-8")
    os.set_inheritable(CHANNEL, True)
    os.chdir(environment["LAMBDA_TASK_ROOT"])
    try:
        os.execve(command[0], command, variables)
    except OSError as error:
        message = "fork/exec %s: %s" % (command[0], os.strerror(error.errno or 0).lower())
        raise Fault("Runtime.InvalidEntrypoint", message) from error


#: A little of everything, see `warm_up`.
SAMPLE = """
import os
class A:
    def f(self, *values, **named):
        try:
            return [f"{value!r}" for value in values if value is not None]
        except ValueError as error:
            raise KeyError({1: 2, **named}) from error
with open(__file__) as file:
    A().f(lambda: file)
"""


def warm_up():
    """The first use of the compiler costs 1 to 3 ms, a call's own steps some tenths: not on the first call's time."""
    compile(SAMPLE, "<sample>", "exec")
    ResultEncoder().encode({"a": [1, "b", None]})
    decode_event('{"a": [1, "b", null]}')


def initialise():
    """Takes INIT and loads the handler, or ends the process with INIT_ERROR."""
    handed_on = os.environ.pop(HANDED_ON, None)
    if handed_on is None:
        warm_up()
        version = "%d.%d.%d" % sys.version_info[:3]
        send(HELLO, b"", json.dumps({"runtime": "python", "version": version}).encode())
        kind, meta, _ = receive()
        if kind != INIT:
            sys.exit("the first frame has kind %d, not INIT" % kind)
    else:
        meta = handed_on.encode("utf-8")
    os.set_inheritable(CHANNEL, False)
    start = json.loads(meta)
    try:
        if handed_on is None:
            start_again(meta, start["environment"], start["own"])
            # What a wrapper has added stays; what the standby had goes.
            os.environ.clear()
        apply(start["environment"])
        set_up_logging()
        handler = load_handler(start["handler"])
    except Exception as error:
        post_error(INIT_ERROR, error_of(error))
        sys.exit(1)
    send(STARTED)
    return handler


# --- calls ---------------------------------------------------------------------------------------------------------------


def call(handler, call_facts, payload):
    """One call, from event to answer. SystemExit and its like pass through and end the process, as on AWS."""
    request_id = call_facts["id"]
    Current.request_id = request_id
    trace = call_facts.get("trace", "")
    if trace:
        os.environ["_X_AMZN_TRACE_ID"] = trace
    elif Current.trace:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
    Current.trace = trace
    try:
        event = decode_event(payload.decode("utf-8")) if payload else {}
    except ValueError as error:
        send(BAD_EVENT, ("Could not parse request body into json: %s" % error).encode("utf-8", "replace"))
        return
    try:
        context = LambdaContext(
            request_id,
            context_json(call_facts.get("client_context"), "Client Context"),
            context_json(call_facts.get("identity"), "Cognito Identity"),
            call_facts["deadline_ms"],
            call_facts["arn"],
        )
        result = encode_result(handler(event, context))
    except Exception as error:
        post_error(ERROR, error_of(error, request_id))
        return
    send(RESULT, result)


def main():
    handler = initialise()
    while True:
        kind, meta, payload = receive()
        if kind != INVOKE:
            sys.exit("a frame has kind %d, not INVOKE" % kind)
        call(handler, decode(meta.decode("utf-8")), payload)
        # Nothing of a call outlives it here.
        del meta, payload
