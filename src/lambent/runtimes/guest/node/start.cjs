'use strict';
// From standby to a loaded handler: takes INIT, makes the process the function's, finds and loads the handler.

const fs = require('fs');
const { Module } = require('module');
const path = require('path');
const url = require('url');
// Loaded while standing by: in a function's cold start it would take 4 ms.
const v8 = require('v8');
const channel = require('./channel.cjs');
const errors = require('./errors.cjs');
const log = require('./log.cjs');

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
/** Read by Node.js or the loader only when a process starts: a function that sets one gets a new process. */
const AT_EXEC = [
  'AWS_LAMBDA_EXEC_WRAPPER', 'LD_LIBRARY_PATH', 'LD_PRELOAD', 'LANG', 'LC_ALL', 'NODE_OPTIONS', 'NODE_EXTRA_CA_CERTS', 'NODE_ICU_DATA',
  'NODE_NO_WARNINGS', 'NODE_PENDING_DEPRECATION', 'NODE_V8_COVERAGE', 'SSL_CERT_DIR', 'SSL_CERT_FILE', 'UV_THREADPOOL_SIZE',
];
/** Carries the INIT meta into the new process. */
const HANDED_ON = '_LAMBENT_INIT';
/** Below this size V8's habit of doubling its heap does not fit (docs/decisions/frames.md). */
const SMALL_MEMORY_MB = 512;
const SMALL_GROWTH_PERCENT = 20;

/** The handler function. Rejects with a fault, or with what the module threw. */
async function start() {
  const handedOn = process.env[HANDED_ON];
  let meta = handedOn;
  if (handedOn === undefined) {
    await warmModuleLoader();
    channel.send(channel.Kind.HELLO, '', { runtime: 'node', version: process.versions.node });
    const frame = channel.receive();
    if (frame.kind !== channel.Kind.INIT) {
      throw new Error(`the first frame has kind ${frame.kind}, not INIT`);
    }
    meta = frame.meta;
  }
  const init = JSON.parse(meta);
  if (handedOn === undefined && init.own.some((name) => AT_EXEC.includes(name))) {
    becomeNewProcess(meta, init.environment);
  }
  if (handedOn === undefined) {
    // What a wrapper has added stays; what the standby had goes.
    Object.keys(process.env).forEach((name) => delete process.env[name]);
  } else {
    delete process.env[HANDED_ON];
  }
  apply(init.environment);
  log.patchConsole();
  offerStreaming();
  const handler = await load(init.environment.LAMBDA_TASK_ROOT, init.handler);
  refuseStreaming(handler);
  return handler;
}

/** Before Node.js 22 the first ES module costs 10 ms: they are spent while standing by. */
async function warmModuleLoader() {
  if (Number(process.versions.node.split('.')[0]) < 22) {
    await import('data:text/javascript,').catch(() => {});
  }
}

/** Runs this program again with the variables from the start, and ends as it ends. */
function becomeNewProcess(meta, environment) {
  const variables = Object.assign({}, environment, { [HANDED_ON]: meta });
  const command = [process.execPath, ...process.execArgv, __filename.replace(/start\.cjs$/, 'bootstrap.cjs')];
  const wrapper = environment.AWS_LAMBDA_EXEC_WRAPPER;
  if (wrapper) {
    command.unshift(wrapper);
    try {
      fs.accessSync(wrapper, fs.constants.X_OK);
    } catch (error) {
      throw new errors.InvalidEntrypoint(`fork/exec ${wrapper}: ${error.code === 'ENOENT' ? 'no such file or directory' : 'permission denied'}`);
    }
  }
  process.chdir(environment.LAMBDA_TASK_ROOT);
  const { spawnSync } = require('child_process');
  const ended = spawnSync(command[0], command.slice(1), { env: variables, stdio: [0, 1, 2, channel.CHANNEL] });
  if (ended.error) {
    throw new errors.InvalidEntrypoint(`fork/exec ${command[0]}: ${ended.error.message}`);
  }
  if (ended.signal) {
    process.kill(process.pid, ended.signal);
  }
  process.reallyExit(ended.status === null ? 1 : ended.status);
}

function apply(environment) {
  Object.assign(process.env, environment);
  process.chdir(environment.LAMBDA_TASK_ROOT);
  // NODE_PATH is read once at start; this is how it is read again.
  Module._initPaths();
  if (Number(environment.AWS_LAMBDA_FUNCTION_MEMORY_SIZE) < SMALL_MEMORY_MB) {
    v8.setFlagsFromString(`--heap-growing-percent=${SMALL_GROWTH_PERCENT}`);
  }
}

/** `awslambda.streamifyResponse`, so that modules that use it load; calling such a handler is refused by name. */
function offerStreaming() {
  const off = process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA;
  if (off === '1' || off === 'true') {
    return;
  }
  global.awslambda = {
    streamifyResponse(handler) {
      handler[STREAMING] = 'response';
      return handler;
    },
    HttpResponseStream: class HttpResponseStream {
      static from() {
        throw new errors.MalformedStreamingHandler('Response streaming is not available here yet.');
      }
    },
  };
}

function refuseStreaming(handler) {
  const streaming = handler[STREAMING];
  if (streaming === undefined || streaming === null || streaming === false) {
    return;
  }
  throw new errors.MalformedStreamingHandler(
    streaming === 'response' ? 'Response streaming is not available here yet.' : 'Only response streaming is supported.',
  );
}

async function load(root, name) {
  if (name.includes('..')) {
    throw new errors.MalformedHandlerName(
      `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const base = path.basename(name);
  const folder = name.substring(0, name.indexOf(base));
  const match = /^([^.]*)\.(.*)$/.exec(base);
  if (match === null) {
    throw new errors.MalformedHandlerName('Bad handler');
  }
  let loaded;
  try {
    loaded = await loadModule(root, folder, match[1]);
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new errors.UserCodeSyntaxError(error);
    }
    if (error && error.code === 'MODULE_NOT_FOUND') {
      throw new errors.ImportModuleError(error);
    }
    throw error;
  }
  const handler = match[2].split('.').reduce((value, key) => value && value[key], loaded);
  if (!handler) {
    throw new errors.HandlerNotFound(`${name} is undefined or not exported`);
  }
  if (typeof handler !== 'function') {
    throw new errors.HandlerNotFound(`${name} is not a function`);
  }
  return handler;
}

/** AWS's order: the name as it stands, .js (by the nearest package.json), .mjs, .cjs, then as Node.js finds packages. */
async function loadModule(root, folder, name) {
  const file = path.resolve(root, folder, name);
  if (fs.existsSync(file)) {
    // A folder too: its index.js.
    return require(file);
  }
  if (isFile(file + '.js')) {
    return isModuleType(path.dirname(file)) ? importFile(file + '.js') : require(file + '.js');
  }
  if (isFile(file + '.mjs')) {
    return importFile(file + '.mjs');
  }
  if (isFile(file + '.cjs')) {
    return require(file + '.cjs');
  }
  return require(require.resolve(name, { paths: [root, path.join(root, folder)] }));
}

function importFile(file) {
  return import(url.pathToFileURL(file).href);
}

function isFile(file) {
  try {
    return fs.statSync(file).isFile();
  } catch (_) {
    return false;
  }
}

/** Whether the nearest package.json says `"type": "module"`. */
function isModuleType(folder) {
  for (let at = folder; !at.endsWith('/node_modules'); at = path.dirname(at)) {
    let text;
    try {
      text = fs.readFileSync(path.join(at, 'package.json'), 'utf8');
    } catch (_) {
      if (at === path.dirname(at)) {
        return false;
      }
      continue;
    }
    try {
      return JSON.parse(text).type === 'module';
    } catch (error) {
      console.warn(`${path.join(at, 'package.json')} cannot be read, it will be ignored for ES module detection purposes.`, error);
      return false;
    }
  }
  return false;
}

module.exports = { start };
