'use strict';
// The Node.js guest: runs one function inside a sandbox, speaking frames on descriptor 3. Node.js 12 and later, no packages.
//
// Facts about AWS's behaviour (texts, types, order of loading) are those of the published `aws-lambda-ric` 3.3.0 and of sections 4, 5,
// 6 and 8 of the execution contract; the frames are told in docs/reference/frames.md.
//
// Between two calls the process waits in a blocking read: timers and sockets that a call left behind stand still, as in AWS's
// frozen environment, and go on in the next call. During a call nothing is read, so an empty event loop is really empty.

const channel = require('./channel.cjs');
const { Kind } = channel;
const log = require('./log.cjs');
const errors = require('./errors.cjs');
const { Call } = require('./call.cjs');
const { start } = require('./start.cjs');

/** The running call, or null during init. */
let current = null;
/** What to do when the event loop is empty. */
let whenEmpty = null;
let handler = null;

function postError(error) {
  const payload = errors.toPayload(error);
  channel.send(Kind.ERROR, errors.stringify(payload), { type: payload.errorType || '' });
}

function postErrorAndExit(error, code) {
  const payload = errors.toPayload(error);
  const kind = current === null && handler === null ? Kind.INIT_ERROR : Kind.ERROR;
  if (kind === Kind.INIT_ERROR || current !== null) {
    channel.send(kind, errors.stringify(payload), { type: payload.errorType || '', exiting: true });
  }
  process.exit(code);
}

function scheduleNext() {
  whenEmpty = null;
  current = null;
  setImmediate(takeNext);
}

function takeNext() {
  const frame = channel.receive();
  if (frame.kind !== Kind.INVOKE) {
    throw new Error(`a frame has kind ${frame.kind}, not INVOKE`);
  }
  const facts = JSON.parse(frame.meta);
  log.setRequestId(facts.id);
  if (facts.trace) {
    process.env._X_AMZN_TRACE_ID = facts.trace;
  } else {
    delete process.env._X_AMZN_TRACE_ID;
  }
  let event;
  try {
    event = frame.payload === '' ? {} : JSON.parse(frame.payload);
  } catch (error) {
    channel.send(Kind.BAD_EVENT, `Could not parse request body into json: ${error.message}`);
    scheduleNext();
    return;
  }
  run(event, facts);
}

function run(event, facts) {
  const call = new Call(facts, {
    result(value) {
      let text;
      try {
        text = errors.stringify(value === undefined ? null : value);
      } catch (error) {
        this.error(error);
        return;
      }
      channel.send(Kind.RESULT, text);
      scheduleNext();
    },
    error(error) {
      log.error('Invoke Error', error);
      postError(error);
      scheduleNext();
    },
    waitForEmptyLoop(action) {
      whenEmpty = action;
    },
  });
  current = call;
  // A handler that completes nothing: null, once nothing is left that could.
  whenEmpty = () => call.completeEmpty();
  try {
    const returned = handler(event, call.context(), call.callback);
    if (returned && typeof returned.then === 'function') {
      returned.then(call.succeed, call.fail);
    }
  } catch (error) {
    call.done(error === undefined || error === null ? new Error(String(error)) : error);
  }
}

process.on('beforeExit', () => {
  if (whenEmpty !== null) {
    const action = whenEmpty;
    whenEmpty = null;
    setImmediate(action);
  }
});

process.on('uncaughtException', (error) => {
  log.error('Uncaught Exception', error);
  postErrorAndExit(error, 129);
});

process.on('unhandledRejection', (reason, promise) => {
  const error = new errors.UnhandledPromiseRejection(reason, promise);
  log.error('Unhandled Promise Rejection', error);
  postErrorAndExit(error, 128);
});

function failInit(error) {
  log.error('Uncaught Exception', error);
  const payload = errors.toPayload(error);
  channel.send(Kind.INIT_ERROR, errors.stringify(payload), { type: payload.errorType || '', exiting: true });
  process.exit(1);
}

// Top-level await in a module that never resolves would end the process without a word.
whenEmpty = () => {
  if (handler === null) {
    failInit(new errors.UserCodeStuck('the module waits at its top level for something that never happens'));
  }
};

start().then((loaded) => {
  handler = loaded;
  channel.send(Kind.STARTED, '');
  scheduleNext();
}, failInit);
