'use strict';
// Frames over descriptor 3, blocking: `length:u32be | kind:u8 | meta_length:u24be`, meta, payload.

const fs = require('fs');

const CHANNEL = 3;

const Kind = Object.freeze({
  INIT: 1,
  INVOKE: 2,
  HELLO: 16,
  STARTED: 17,
  INIT_ERROR: 18,
  RESULT: 19,
  ERROR: 20,
  BAD_EVENT: 21,
});

let incoming = Buffer.allocUnsafeSlow(64 * 1024);
const outgoing = Buffer.allocUnsafeSlow(64 * 1024);
// For the rare case that someone made a descriptor non-blocking.
let bell = null;

function waitAMoment() {
  bell = bell || new Int32Array(new SharedArrayBuffer(4));
  Atomics.wait(bell, 0, 0, 1);
}

function readSome(buffer, from, to) {
  for (;;) {
    try {
      const read = fs.readSync(CHANNEL, buffer, from, to - from, null);
      if (read === 0) {
        // The node is gone.
        process.reallyExit(0);
      }
      return read;
    } catch (error) {
      if (error.code !== 'EAGAIN' && error.code !== 'EINTR') {
        throw error;
      }
      waitAMoment();
    }
  }
}

function writeAll(fd, buffer, length) {
  let from = 0;
  while (from < length) {
    try {
      from += fs.writeSync(fd, buffer, from, length - from);
    } catch (error) {
      if (error.code === 'EPIPE') {
        process.reallyExit(0);
      }
      if (error.code !== 'EAGAIN' && error.code !== 'EINTR') {
        throw error;
      }
      waitAMoment();
    }
  }
}

/** The next frame: its kind, its meta and payload as text. Blocks the whole process until it is there. */
function receive() {
  let buffer = incoming;
  let have = 0;
  while (have < 8) {
    have += readSome(buffer, have, buffer.length);
  }
  const length = buffer.readUInt32BE(0);
  const kind = buffer[4];
  const metaEnd = 8 + ((buffer[5] << 16) | (buffer[6] << 8) | buffer[7]);
  const end = 8 + length;
  if (end > buffer.length) {
    buffer = Buffer.allocUnsafeSlow(end);
    incoming.copy(buffer, 0, 0, have);
  }
  while (have < end) {
    have += readSome(buffer, have, end);
  }
  return {
    kind,
    meta: metaEnd === 8 ? '{}' : buffer.toString('utf8', 8, metaEnd),
    payload: buffer.toString('utf8', metaEnd, end),
  };
}

/** Sends one frame, whole. `payload` is text; `meta` an object or nothing. */
function send(kind, payload, meta) {
  const head = meta === undefined ? '' : JSON.stringify(meta);
  // A UTF-16 unit becomes at most three bytes.
  const roomy = 8 + 3 * (head.length + payload.length) <= outgoing.length;
  const headBytes = head === '' ? 0 : Buffer.byteLength(head);
  const buffer = roomy ? outgoing : Buffer.allocUnsafeSlow(8 + headBytes + Buffer.byteLength(payload));
  if (headBytes !== 0) {
    buffer.write(head, 8, 'utf8');
  }
  const payloadBytes = payload === '' ? 0 : buffer.write(payload, 8 + headBytes, 'utf8');
  buffer.writeUInt32BE(headBytes + payloadBytes, 0);
  buffer[4] = kind;
  buffer[5] = headBytes >>> 16;
  buffer[6] = (headBytes >>> 8) & 0xff;
  buffer[7] = headBytes & 0xff;
  writeAll(CHANNEL, buffer, 8 + headBytes + payloadBytes);
}

module.exports = { CHANNEL, Kind, receive, send, writeAll };
