'use strict';
// Error objects, as the caller gets them and as the log shows them.

const util = require('util');

function looksLikeError(value) {
  return Boolean(
    value && typeof value === 'object' && typeof value.name === 'string' && typeof value.message === 'string' && typeof value.stack === 'string',
  );
}

/** DEL cannot travel in AWS's headers and is written as %7F. */
function clean(text) {
  return typeof text === 'string' ? text.replace(/\x7F/g, '%7F') : text;
}

/** What the caller gets: errorType, errorMessage, trace. */
function toPayload(error) {
  try {
    if (util.types.isNativeError(error) || looksLikeError(error)) {
      return { errorType: clean(error.name), errorMessage: clean(error.message), trace: clean(error.stack).split('\n') };
    }
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  } catch (_) {
    return {
      errorType: 'handled',
      errorMessage:
        'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack',
    };
  }
}

function intoError(value) {
  return value instanceof Error ? value : new Error(value);
}

function withOwnProperties(_key, value) {
  if (!(value instanceof Error)) {
    return value;
  }
  const shown = Object.assign({ errorType: value.name, errorMessage: value.message, code: value.code }, value);
  if (typeof value.stack === 'string') {
    shown.stack = value.stack.split('\n');
  }
  return shown;
}

/** The JSON behind `Invoke Error` in the log. */
function toLogText(error) {
  try {
    return '\t' + JSON.stringify(error, withOwnProperties);
  } catch (_) {
    return '\t' + JSON.stringify(toPayload(error));
  }
}

/** JSON text. Throws an error with AWS's message when the value has none (cycles, BigInt). */
function stringify(value) {
  try {
    const text = JSON.stringify(value);
    // A function or symbol has no JSON; the caller gets an empty answer's null.
    return text === undefined ? 'null' : text;
  } catch (_) {
    throw new Error('Unable to stringify response body');
  }
}

class RuntimeFault extends Error {}

function fault(name) {
  const made = class extends RuntimeFault {};
  Object.defineProperty(made, 'name', { value: name });
  made.prototype.name = `Runtime.${name}`;
  return made;
}

const UnhandledPromiseRejection = class extends Error {
  constructor(reason, promise) {
    super(typeof reason === 'symbol' ? String(reason) : reason);
    this.reason = reason;
    this.promise = promise;
  }
};
UnhandledPromiseRejection.prototype.name = 'Runtime.UnhandledPromiseRejection';

module.exports = {
  HandlerNotFound: fault('HandlerNotFound'),
  ImportModuleError: fault('ImportModuleError'),
  InvalidEntrypoint: fault('InvalidEntrypoint'),
  MalformedHandlerName: fault('MalformedHandlerName'),
  MalformedStreamingHandler: fault('MalformedStreamingHandler'),
  UnhandledPromiseRejection,
  UserCodeStuck: fault('ExitError'),
  UserCodeSyntaxError: fault('UserCodeSyntaxError'),
  intoError,
  stringify,
  toLogText,
  toPayload,
};
