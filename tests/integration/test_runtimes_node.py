"""The Node.js guest, as functions see it. Texts are those of aws-lambda-ric 3.3.0; section 8 of the execution contract."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lambent.runtimes.contract import AnswerKind, InitFailed, Runtime
from runtimes_fixtures import REQUEST_ID, Bench, node_runtime, run, write_code


def interpreters() -> dict[str, Runtime]:
    """The wheel's Node.js, and the host's where there is one."""
    found = {"wheel": node_runtime("nodejs24.x")}
    host = shutil.which("node")
    if host:
        found["host"] = node_runtime("nodejs20.x", host)
    return found


@pytest.fixture(params=sorted(interpreters()))
def node(request: pytest.FixtureRequest) -> Runtime:
    return interpreters()[request.param]


def answer_of(
    folder: Path,
    code: str | dict[str, str],
    payload: bytes = b"{}",
    handler: str = "app.handler",
    runtime: Runtime | None = None,
    log: list[str] | None = None,
    seconds: float = 30.0,
    variables: dict[str, str] | None = None,
    **changes: Any,
) -> Any:
    files = {"app.js": code} if isinstance(code, str) else code

    async def body() -> Any:
        made = Bench(runtime or node_runtime(), write_code(folder, files), handler, variables=variables or {})
        async with made as given:
            answer = await given.call(payload, seconds, **changes)
            if log is not None:
                log.extend(given.log.events)
            return answer

    return run(body)


def init_failure(folder: Path, files: dict[str, str], handler: str = "app.handler") -> tuple[Any, list[str]]:
    given = Bench(node_runtime(), write_code(folder, files), handler)

    async def body() -> None:
        async with given:
            pass

    with pytest.raises(InitFailed) as failed:
        run(body)
    return failed.value.answer, given.log.events


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        ("async (event) => ({got: event})", b'{"got":{"a":1}}'),
        ("async () => {}", b"null"),
        ("(event, context, callback) => callback(null, 1)", b"1"),
        ("(event, context, callback) => { setTimeout(() => callback(null, 'late'), 5); }", b'"late"'),
        ("(event, context) => context.succeed('s')", b'"s"'),
        ("(event, context) => context.success('alias')", b'"alias"'),
        ("(event, context) => context.done(null, 'd')", b'"d"'),
        ("() => {}", b"null"),
        ("() => 'ignored'", b"null"),
        ("() => { setTimeout(() => {}, 5); }", b"null"),
        ("() => new Promise(() => {})", b"null"),
        (
            "(event, context, callback) => { callback(null, 'first'); callback(null, 'second'); context.fail('x'); }",
            b'"first"',
        ),
        ("() => ({then(resolve) { resolve('thenable'); }})", b'"thenable"'),
        ("async () => () => 1", b"null"),
    ],
)
def test_handler_may_complete_in_every_way(node: Runtime, tmp_path: Path, body: str, payload: bytes) -> None:
    answer = answer_of(tmp_path, f"exports.handler = {body};", b'{"a": 1}', runtime=node)
    assert (answer.kind, answer.payload) == (AnswerKind.RESULT, payload)


@pytest.mark.parametrize(
    ("body", "error_type", "message"),
    [
        ("async () => { throw new TypeError('no'); }", "TypeError", "no"),
        ("() => { throw new RangeError('sync'); }", "RangeError", "sync"),
        ("(event, context, callback) => callback(new Error('cb'))", "Error", "cb"),
        ("(event, context, callback) => callback('text')", "string", "text"),
        ("(event, context) => context.fail(new Error('f'))", "Error", "f"),
        ("(event, context) => context.fail()", "string", "handled"),
        ("(event, context) => context.done('d')", "string", "d"),
        (
            "async () => { const loop = {}; loop.loop = loop; return loop; }",
            "Error",
            "Unable to stringify response body",
        ),
        ("async () => 10n", "Error", "Unable to stringify response body"),
        ("async () => { const e = new Error('del\\x7f'); e.name = 'Own'; throw e; }", "Own", "del%7F"),
    ],
)
def test_failure_is_awss_error_object(tmp_path: Path, body: str, error_type: str, message: str) -> None:
    log: list[str] = []
    answer = answer_of(tmp_path, f"exports.handler = {body};", log=log)
    found = json.loads(answer.payload)
    assert (answer.kind, found["errorType"], found["errorMessage"]) == (AnswerKind.ERROR, error_type, message)
    assert isinstance(found["trace"], list)
    assert log[0].split("\t")[1:4] == [REQUEST_ID, "ERROR", "Invoke Error "]


def test_callback_answers_once_the_event_loop_is_empty(tmp_path: Path) -> None:
    log: list[str] = []
    code = "exports.handler = (e, c, cb) => { setTimeout(() => console.log('later'), 20); cb(null, 1); };"
    answer = answer_of(tmp_path, code, log=log)
    assert answer.payload == b"1"
    assert len(log) == 1 and log[0].endswith("\tINFO\tlater\n")


def test_callback_with_an_event_loop_that_never_empties_times_out(tmp_path: Path) -> None:
    code = "exports.handler = (e, c, cb) => { setInterval(() => {}, 1000); cb(null, 1); };"
    assert answer_of(tmp_path, code, seconds=0.5).kind is AnswerKind.TIMEOUT


def test_leftovers_stand_still_between_calls_when_the_loop_is_not_waited_for(tmp_path: Path) -> None:
    code = """
let ticks = 0;
exports.handler = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = false;
  if (event.start) setInterval(() => ticks++, 1);
  if (event.wait) return void setTimeout(() => callback(null, ticks > event.wait), 30);
  callback(null, ticks);
};"""

    async def body() -> None:
        import asyncio

        async with Bench(node_runtime(), write_code(tmp_path, {"app.js": code}), "app.handler") as given:
            await given.call(b'{"start": true}')
            first = json.loads((await given.call()).payload)
            await asyncio.sleep(0.1)
            second = json.loads((await given.call()).payload)
            # A hundred would have passed if timers ran while no call did.
            assert second - first <= 2
            assert (await given.call(b'{"wait": 1}')).payload == b"true"

    run(body)


@pytest.mark.parametrize(
    ("files", "handler"),
    [
        ({"app.js": "exports.handler = async () => 'ok';"}, "app.handler"),
        ({"app.cjs": "exports.handler = async () => 'ok';"}, "app.handler"),
        ({"app.mjs": "export const handler = async () => 'ok';"}, "app.handler"),
        ({"app.mjs": "const ok = await Promise.resolve('ok'); export const handler = async () => ok;"}, "app.handler"),
        ({"app.js": "export const handler = async () => 'ok';", "package.json": '{"type": "module"}'}, "app.handler"),
        ({"src/deep/app.js": "exports.handler = async () => 'ok';"}, "src/deep/app.handler"),
        (
            {"src/app.js": "export const handler = async () => 'ok';", "package.json": '{"type":"module"}'},
            "src/app.handler",
        ),
        ({"app.js": "exports.a = {b: {handler: async () => 'ok'}};"}, "app.a.b.handler"),
        ({"app/index.js": "exports.handler = async () => 'ok';"}, "app.handler"),
        ({"node_modules/app/index.js": "exports.handler = async () => 'ok';"}, "app.handler"),
        (
            {
                "app.mjs": "import x from 'dep'; export const handler = async () => x;",
                "node_modules/dep/index.js": "module.exports = 'ok';",
            },
            "app.handler",
        ),
    ],
)
def test_handler_is_found_in_every_kind_of_module(
    node: Runtime, tmp_path: Path, files: dict[str, str], handler: str
) -> None:
    assert answer_of(tmp_path, files, handler=handler, runtime=node).payload == b'"ok"'


@pytest.mark.parametrize(
    ("files", "handler", "error_type", "message"),
    [
        ({}, "app.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'app'"),
        ({"app.js": "require('nope')"}, "app.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'nope'"),
        ({"app.js": ""}, "app.handler", "Runtime.HandlerNotFound", "app.handler is undefined or not exported"),
        ({"app.js": "exports.handler = 5"}, "app.handler", "Runtime.HandlerNotFound", "app.handler is not a function"),
        ({"app.js": "("}, "app.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
        ({}, "app", "Runtime.MalformedHandlerName", "Bad handler"),
        ({}, "../app.handler", "Runtime.MalformedHandlerName", "'../app.handler' is not a valid handler name."),
        ({"app.js": "throw new Error('top')"}, "app.handler", "Error", "top"),
        (
            {"app.js": "exports.handler = awslambda.streamifyResponse(async () => {})"},
            "app.handler",
            "Runtime.MalformedStreamingHandler",
            "Response streaming is not available here yet.",
        ),
        (
            {"app.mjs": "await new Promise(() => {})"},
            "app.handler",
            "Runtime.ExitError",
            "the module waits at its top level",
        ),
        (
            {"app.js": "Promise.reject(new Error('r')); setTimeout(() => {}, 50); exports.handler = 1;"},
            "app.handler",
            None,
            "",
        ),
    ],
)
def test_init_failure_has_awss_type_and_text(
    tmp_path: Path, files: dict[str, str], handler: str, error_type: str | None, message: str
) -> None:
    answer, events = init_failure(tmp_path, files, handler)
    assert answer.kind is AnswerKind.ERROR
    found = json.loads(answer.payload)
    if error_type is not None:
        assert found["errorType"] == answer.error_type == error_type
    assert found["errorMessage"].startswith(message)
    assert any("\tundefined\tERROR\t" in event for event in events)


@pytest.mark.parametrize(
    ("body", "status", "error_type", "title"),
    [
        ("setTimeout(() => { throw new TypeError('thrown'); }, 1)", 129, "TypeError", "Uncaught Exception "),
        (
            "Promise.reject(new Error('rejected'))",
            128,
            "Runtime.UnhandledPromiseRejection",
            "Unhandled Promise Rejection ",
        ),
    ],
)
def test_error_outside_the_handlers_promise_is_answered_and_ends_the_process(
    tmp_path: Path, body: str, status: int, error_type: str, title: str
) -> None:
    async def check() -> None:
        code = f"exports.handler = () => new Promise(() => {{ {body}; setTimeout(() => {{}}, 5000); }});"
        async with Bench(node_runtime(), write_code(tmp_path, {"app.js": code}), "app.handler") as given:
            answer = await given.call()
            assert (answer.kind, answer.error_type) == (AnswerKind.ERROR, error_type)
            assert json.loads(answer.payload)["errorType"] == error_type
            assert not given.environment.alive
            assert (await given.sandbox.exited).status == status
            assert f"\t{REQUEST_ID}\tERROR\t{title}" in given.log.text

    run(check)


CONTEXT = "exports.handler = async (event, context) => { const f = {...context, w3c: context.w3c()}; context.leak = 1; return f; };"


def test_context_object_has_awss_fields(node: Runtime, tmp_path: Path) -> None:
    answer = answer_of(
        tmp_path,
        CONTEXT,
        runtime=node,
        client_context='{"custom":{"k":1},"w3c":{"traceparent":"00-1","other":"x"}}',
        identity='{"cognitoIdentityId":"i"}',
    )
    assert json.loads(answer.payload) == {
        "callbackWaitsForEmptyEventLoop": True,
        "functionVersion": "$LATEST",
        "functionName": "probe",
        "memoryLimitInMB": "128",
        "logGroupName": "/aws/lambda/probe",
        "logStreamName": "2026/01/02/[$LATEST]0123456789abcdef0123456789abcdef",
        "clientContext": {"custom": {"k": 1}},
        "identity": {"cognitoIdentityId": "i"},
        "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:probe",
        "awsRequestId": REQUEST_ID,
        "w3c": {"traceparent": "00-1"},
    }


def test_nothing_of_one_call_is_in_the_next_context(tmp_path: Path) -> None:
    async def body() -> None:
        async with Bench(node_runtime(), write_code(tmp_path, {"app.js": CONTEXT}), "app.handler") as given:
            await given.call(client_context='{"custom":{"secret":1}}', identity='{"cognitoIdentityId":"i"}')
            found = json.loads((await given.call(request_id="next")).payload)
            assert not {"clientContext", "identity", "leak"} & set(found)
            assert (found["awsRequestId"], found["w3c"]) == ("next", {})

    run(body)


def test_console_has_awss_format_and_the_order_of_writing(tmp_path: Path) -> None:
    log: list[str] = []
    code = """
exports.handler = async () => {
  console.log('a\\nb', {x: 1}, '%s'); process.stdout.write('raw\\n'); console.warn('%s-%d', 'w', 5); console.error('e');
  console.debug('d'); console.trace('t'); console.info('i');
};"""
    answer_of(tmp_path, code, log=log)
    assert log[1] == "raw\n"
    shown = [event.split("\t", 1)[1] for event in log if event != "raw\n"]
    assert shown == [
        f"{REQUEST_ID}\tINFO\ta\nb {{ x: 1 }} %s\n",
        f"{REQUEST_ID}\tWARN\tw-5\n",
        f"{REQUEST_ID}\tERROR\te\n",
        f"{REQUEST_ID}\tDEBUG\td\n",
        f"{REQUEST_ID}\tTRACE\tt\n",
        f"{REQUEST_ID}\tINFO\ti\n",
    ]


def test_json_log_format_and_level(tmp_path: Path) -> None:
    log: list[str] = []
    code = "exports.handler = async () => { console.info('hidden'); console.warn({a: 1}); console.error('x', new TypeError('t')); };"
    answer_of(tmp_path, code, log=log, variables={"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "WARN"})
    events = [json.loads(event) for event in log]
    assert [(event["level"], event["requestId"]) for event in events] == [("WARN", REQUEST_ID), ("ERROR", REQUEST_ID)]
    assert events[0]["message"] == {"a": 1}
    assert (events[1]["errorType"], events[1]["errorMessage"]) == ("TypeError", "t")


def test_node_options_get_a_new_process(node: Runtime, tmp_path: Path) -> None:
    code = "exports.handler = async () => [process.env.NODE_OPTIONS, typeof gc, process.env.QUOTED];"
    variables = {"NODE_OPTIONS": "--expose-gc", "QUOTED": 'a "b" \n c'}
    if node.identifier == "nodejs20.x":
        variables["NODE_OPTIONS"] = "--stack-trace-limit=7"
        code = "exports.handler = async () => [process.env.NODE_OPTIONS, String(Error.stackTraceLimit), process.env.QUOTED];"
        expected = ["--stack-trace-limit=7", "7", variables["QUOTED"]]
    else:
        variables["NODE_OPTIONS"] = "--stack-trace-limit=8"
        code = "exports.handler = async () => [process.env.NODE_OPTIONS, String(Error.stackTraceLimit), process.env.QUOTED];"
        expected = ["--stack-trace-limit=8", "8", variables["QUOTED"]]
    assert json.loads(answer_of(tmp_path, code, runtime=node, variables=variables).payload) == expected


def test_exit_of_a_process_that_was_started_again_is_told(tmp_path: Path) -> None:
    code = "exports.handler = async () => process.exit(6);"
    answer = answer_of(tmp_path, code, variables={"NODE_OPTIONS": "--stack-trace-limit=7"})
    assert (answer.kind, answer.exit_text) == (AnswerKind.EXIT, "exit status 6")


def test_sdk_is_found_by_require(tmp_path: Path) -> None:
    from lambent.runtimes.contract import Family
    from lambent.runtimes.sdk import GUESTS, prepare_node

    async def body() -> None:
        folder = prepare_node(tmp_path / "cache")
        write_code(folder, {"node_modules/the-sdk/index.js": "exports.version = 3;"})
        write_code(folder, {"v2/node_modules/the-sdk/index.js": "exports.version = 2;"})
        code = write_code(tmp_path / "code", {"app.js": "exports.handler = async () => require('the-sdk').version;"})
        folders = {Family.PYTHON: GUESTS / "python", Family.NODE: folder}
        for identifier, version in (("nodejs20.x", b"3"), ("nodejs16.x", b"2")):
            made = Bench(node_runtime(), code, "app.handler", runtime_of=identifier, made_with={"folders": folders})
            async with made as given:
                assert (await given.call()).payload == version

    (tmp_path / "cache").mkdir()
    run(body)
