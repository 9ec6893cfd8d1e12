'use strict';
// One call: its context object and the ways in which a handler can complete it (execution contract, sections 4 and 8). The first
// completion wins; callbacks work on every Node.js version, though AWS dropped them in 24.

function parse(text, name) {
  if (!text) {
    return undefined;
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Cannot parse ${name} as json: ${error.toString()}`);
  }
}

class Call {
  /** `ends` has `result(value)`, `error(error)` and `waitForEmptyLoop(action)`. */
  constructor(facts, ends) {
    this._facts = facts;
    this._ends = ends;
    this._completed = false;
    this._waitForEmptyLoop = true;
    this.succeed = (value) => this._done(null, value);
    this.fail = (error) => this._done(error === undefined || error === null ? 'handled' : error);
    this.done = (error, value) => this._done(error, value);
    this.callback = (error, value) => this._callback(error, value);
  }

  _first() {
    if (this._completed) {
      return false;
    }
    this._completed = true;
    this._ends.waitForEmptyLoop(null);
    return true;
  }

  _done(error, value) {
    if (!this._first()) {
      return;
    }
    if (error !== undefined && error !== null) {
      this._ends.error(error);
    } else {
      this._ends.result(value);
    }
  }

  _callback(error, value) {
    if ((error !== undefined && error !== null) || !this._waitForEmptyLoop) {
      this._done(error, value);
    } else if (this._first()) {
      this._ends.waitForEmptyLoop(() => this._ends.result(value));
    }
  }

  /** The event loop is empty and nobody completed the call. */
  completeEmpty() {
    this._done(null, null);
  }

  /** The handler's second argument: a new object for each call. */
  context() {
    const call = this;
    const facts = this._facts;
    const environment = process.env;
    const clientContext = parse(facts.client_context, 'ClientContext');
    let w3c = {};
    if (clientContext && typeof clientContext === 'object' && clientContext.w3c !== undefined) {
      w3c = clientContext.w3c;
      delete clientContext.w3c;
    }
    return {
      get callbackWaitsForEmptyEventLoop() {
        return call._waitForEmptyLoop;
      },
      set callbackWaitsForEmptyEventLoop(value) {
        call._waitForEmptyLoop = value;
      },
      succeed: this.succeed,
      // Not AWS's, but an alias that older tools have.
      success: this.succeed,
      fail: this.fail,
      done: this.done,
      functionVersion: environment.AWS_LAMBDA_FUNCTION_VERSION,
      functionName: environment.AWS_LAMBDA_FUNCTION_NAME,
      memoryLimitInMB: environment.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
      logGroupName: environment.AWS_LAMBDA_LOG_GROUP_NAME,
      logStreamName: environment.AWS_LAMBDA_LOG_STREAM_NAME,
      clientContext,
      identity: parse(facts.identity, 'CognitoIdentity'),
      invokedFunctionArn: facts.arn,
      awsRequestId: facts.id,
      tenantId: undefined,
      xRayTraceId: facts.trace || undefined,
      getRemainingTimeInMillis: () => facts.deadline_ms - Date.now(),
      w3c: () => {
        const fields = {};
        for (const name of ['traceparent', 'tracestate', 'baggage']) {
          if (w3c && typeof w3c[name] === 'string') {
            fields[name] = w3c[name];
          }
        }
        return fields;
      },
    };
  }
}

module.exports = { Call };
