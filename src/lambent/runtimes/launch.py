"""How each family is started: the sandbox of a standby, what is mounted and limited at adoption, a function's variables. Pure.

Names, values and folders are those of sections 2 and 3 of the execution contract; a value that differs says why.
"""

from pathlib import Path, PurePosixPath

import msgspec

from lambent.runtimes.contract import Family, FunctionStart, Runtime
from lambent.sandbox.contract import Bind, Limits, Sandbox, SandboxError, SandboxSpec

TASK = "/var/task"
LANG = "/var/lang"
RUNTIME_DIR = "/var/runtime"
OPT = "/opt"
#: ES modules ignore NODE_PATH, but look into every `node_modules` above the code: so the SDK is there too.
ESM_MODULES = "/var/node_modules"

#: The platform's own AWS API, in every sandbox.
ENDPOINT_PORT = 4566
RUNTIME_API_PORT = 9001

#: While it belongs to no function: room for an interpreter, and a whole core so that it is up soon.
STANDBY_LIMITS = Limits(memory_mib=256, cpu_milli=1000)

#: AWS: "At 1,769 MB, a function has the equivalent of one vCPU" (developer guide, configuring memory).
_MEMORY_OF_A_CORE_MB = 1769
#: The init phase's least, see `init_limits`.
_INIT_CPU_MILLI = 1000
#: Below a tenth of a core the kernel's quota stalls a hello function for most of each period.
_CPU_MIN_MILLI = 100

#: Old space grows from here instead of from a share of the host's memory, and the young one stays small: otherwise V8 lets
#: garbage pile up past a small function's limit (measured: 204 MiB against 114 MiB for a live set of 60 MiB).
_NODE_FLAGS = ("--initial-old-space-size=32", "--max-semi-space-size=8")


def standby_spec(runtime: Runtime, sandbox_id: str, folder: Path | None) -> SandboxSpec:
    """The sandbox of a standby. `folder` is the host folder that appears as /var/runtime (guest and SDK)."""
    if runtime.family is Family.PROVIDED:
        return SandboxSpec(id=sandbox_id, limits=STANDBY_LIMITS, listen_ports=(RUNTIME_API_PORT, ENDPOINT_PORT))
    if folder is None:
        raise SandboxError(f"there is no runtime folder for {runtime.identifier}")
    binds = [Bind(str(folder), RUNTIME_DIR)]
    if runtime.prefix:
        binds.append(Bind(runtime.prefix, LANG))
    if runtime.family is Family.NODE:
        binds.append(Bind(str(folder / "node_modules"), ESM_MODULES))
    return SandboxSpec(
        id=sandbox_id,
        limits=STANDBY_LIMITS,
        argv=_argv(runtime),
        environment=_static(runtime),
        binds=tuple(binds),
        listen_ports=(ENDPOINT_PORT,),
    )


def _argv(runtime: Runtime) -> tuple[str, ...]:
    interpreter = _inside(runtime)
    if runtime.family is Family.PYTHON:
        # -u: what is printed is in the pipe at once. -S: the host's site-packages are not the function's. -B: code is read-only.
        return (interpreter, "-u", "-S", "-B", f"{RUNTIME_DIR}/bootstrap.py")
    return (interpreter, *_NODE_FLAGS, f"{RUNTIME_DIR}/bootstrap.cjs")


def _inside(runtime: Runtime) -> str:
    """The interpreter's path in the sandbox."""
    if not runtime.prefix:
        return runtime.interpreter
    return str(PurePosixPath(LANG) / PurePosixPath(runtime.interpreter).relative_to(runtime.prefix))


def attach_binds(start: FunctionStart) -> tuple[Bind, ...]:
    return (Bind(start.code_dir, TASK),)


def limits_of(start: FunctionStart) -> Limits:
    """No slack for the interpreter: AWS counts it into the function's memory too, and what the standby used stays counted."""
    cpu_milli = max(_CPU_MIN_MILLI, start.memory_mb * 1000 // _MEMORY_OF_A_CORE_MB)
    return Limits(memory_mib=start.memory_mb, cpu_milli=cpu_milli, tmp_mib=start.tmp_mb)


def init_limits(limits: Limits) -> Limits:
    """The init phase runs on a whole core at least, however little memory the function has: AWS lends CPU to it too (operator
    guide, "Static initialization"), and at 128 MB an import of 30 ms would take 400.
    """
    return msgspec.structs.replace(limits, cpu_milli=max(limits.cpu_milli, _INIT_CPU_MILLI))


def _static(runtime: Runtime) -> dict[str, str]:
    """What is the same for every function of a family and can be overridden by it."""
    values = {
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "LD_LIBRARY_PATH": (
            "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
        ),
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "SHLVL": "0",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        # There is no X-Ray daemon; datagrams to a closed local port disappear, where AWS's address would be an error.
        "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
        "_AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1",
        "_AWS_XRAY_DAEMON_PORT": "2000",
    }
    if runtime.family is Family.PYTHON:
        values["LC_CTYPE"] = "C.UTF-8"
    return values


def variables(runtime: Runtime, start: FunctionStart, sandbox: Sandbox, *, endpoint: bool) -> dict[str, str]:
    """The complete environment of a function: defaults, over them its own variables, over them the reserved ones.

    `endpoint` says whether the platform's API is served in the sandbox.
    """
    identifier = start.runtime or runtime.identifier
    task = sandbox.path_of(TASK)
    values = _static(runtime)
    values["PWD"] = task
    if endpoint:
        values["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{sandbox.port_of(ENDPOINT_PORT)}"
    runtime_dir = RUNTIME_DIR
    if runtime.family is Family.PYTHON:
        runtime_dir = sandbox.path_of(RUNTIME_DIR)
        values["PYTHONPATH"] = runtime_dir
    elif runtime.family is Family.NODE:
        runtime_dir = sandbox.path_of(RUNTIME_DIR)
        values["NODE_PATH"] = _node_path(identifier, sandbox.path_of(OPT), runtime_dir)
    values.update(start.variables)
    values.update(_reserved(start, task, runtime_dir))
    if runtime.family is Family.PROVIDED:
        values["AWS_LAMBDA_RUNTIME_API"] = f"127.0.0.1:{sandbox.port_of(RUNTIME_API_PORT)}"
    else:
        values["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{identifier}"
    if runtime.family is Family.PYTHON and sandbox.path_of(OPT) != OPT:
        values["_LAMBENT_OPT"] = sandbox.path_of(OPT)
    return values


def _reserved(start: FunctionStart, task: str, runtime_dir: str) -> dict[str, str]:
    return {
        "_HANDLER": start.handler,
        "LAMBDA_TASK_ROOT": task,
        "LAMBDA_RUNTIME_DIR": runtime_dir,
        "AWS_REGION": start.region,
        "AWS_DEFAULT_REGION": start.region,
        "AWS_LAMBDA_FUNCTION_NAME": start.name,
        "AWS_LAMBDA_FUNCTION_VERSION": start.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(start.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": start.initialization_type,
        "AWS_LAMBDA_LOG_GROUP_NAME": start.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": start.log_stream,
        "AWS_ACCESS_KEY_ID": start.access_key_id,
        "AWS_SECRET_ACCESS_KEY": start.secret_access_key,
        "AWS_SESSION_TOKEN": start.session_token,
    }


def sdk_v2(identifier: str) -> bool:
    """Whether AWS ships version 2 of its JavaScript SDK with this runtime: all before nodejs18.x."""
    return node_major(identifier) < 18


def node_major(identifier: str) -> int:
    """20 of `nodejs20.x`."""
    return int(identifier.removeprefix("nodejs").removesuffix(".x"))


def _node_path(identifier: str, opt: str, runtime_dir: str) -> str:
    sdk = f"{runtime_dir}/v2/node_modules" if sdk_v2(identifier) else f"{runtime_dir}/node_modules"
    major = node_major(identifier)
    return f"{opt}/nodejs/node{major}/node_modules:{opt}/nodejs/node_modules:{sdk}"
