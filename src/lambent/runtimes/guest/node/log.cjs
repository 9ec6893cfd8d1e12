'use strict';
// console.* as log events. They go through the output pipe behind a mark and a length, so that an event may have several lines
// and the log has the order of writing.

const util = require('util');
const { writeAll } = require('./channel.cjs');
const errors = require('./errors.cjs');

const STDOUT = 1;
// 0xFF is in no UTF-8 text.
const MARK = Buffer.from([0xff, 0x4c, 0x45, 0xff]);
// What the node takes as one event.
const EVENT_MAX = 1024 * 1024;
const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];

let requestId;
let json = false;

function setRequestId(id) {
  requestId = id;
  // Where AWS's runtime keeps it, for log libraries that look there.
  global[Symbol.for('aws.lambda.runtime.requestId')] = id;
}

function writeEvent(text) {
  const body = Buffer.from(text + '\n', 'utf8');
  for (let from = 0; from < body.length; from += EVENT_MAX) {
    const part = body.subarray(from, Math.min(from + EVENT_MAX, body.length));
    const event = Buffer.allocUnsafe(8 + part.length);
    MARK.copy(event, 0);
    event.writeUInt32BE(part.length, 4);
    part.copy(event, 8);
    writeAll(STDOUT, event, event.length);
  }
}

function describeErrors(_key, value) {
  if (!(value instanceof Error)) {
    return value;
  }
  const stackTrace = typeof value.stack === 'string' ? value.stack.split('\n') : value.stack;
  const errorType = (value.constructor && value.constructor.name) || 'UnknownError';
  return Object.assign({ errorType, errorMessage: value.message, stackTrace }, value);
}

function jsonText(level, parameters) {
  const event = { timestamp: new Date().toISOString(), level, requestId };
  if (parameters.length === 1) {
    event.message = parameters[0];
    try {
      return JSON.stringify(event, describeErrors);
    } catch (_) {
      event.message = util.format(event.message);
      return JSON.stringify(event);
    }
  }
  event.message = util.format(...parameters);
  const error = parameters.find((parameter) => parameter instanceof Error);
  if (error !== undefined) {
    event.errorType = (error.constructor && error.constructor.name) || 'UnknownError';
    event.errorMessage = error.message;
    event.stackTrace = typeof error.stack === 'string' ? error.stack.split('\n') : [];
  }
  return JSON.stringify(event);
}

function write(level, parameters) {
  writeEvent(
    json ? jsonText(level, parameters) : `${new Date().toISOString()}\t${requestId}\t${level}\t${util.format(...parameters)}`,
  );
}

/** Replaces the console's methods; called once the function's variables are there. */
function patchConsole() {
  json = (process.env.AWS_LAMBDA_LOG_FORMAT || '').toUpperCase() === 'JSON';
  const least = Math.max(0, LEVELS.indexOf((process.env.AWS_LAMBDA_LOG_LEVEL || '').toUpperCase()));
  const method = (level) =>
    LEVELS.indexOf(level) >= least ? (...parameters) => write(level, parameters) : () => {};
  console.trace = method('TRACE');
  console.debug = method('DEBUG');
  console.info = method('INFO');
  console.log = console.info;
  console.warn = method('WARN');
  console.error = method('ERROR');
  console.fatal = method('FATAL');
}

/** The log event of an error that ended a call or the process. */
function error(title, value) {
  const shown = errors.intoError(value);
  if (json) {
    console.error(shown);
  } else {
    console.error(title, errors.toLogText(shown));
  }
}

module.exports = { error, patchConsole, setRequestId };
