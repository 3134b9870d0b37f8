// Preloaded into Omniboard (node --require): it serves one user of this machine and no foreign web page, shows files of
// runs without letting them act, and answers what would end Omniboard.
//
// OSTINATO_LISTEN_FD   the listening loopback socket that the launcher opened; Omniboard's own choice is ignored
// OSTINATO_PARENT      the launcher's process id; when it is gone, so are we and the scratch folder
// OSTINATO_SCRATCH     that folder; the file with the database's address in it goes once Omniboard has read it
// OSTINATO_VIEW        the table's first view, for `omniboard_page.js`
'use strict';

const fs = require('fs');
const http = require('http');
const page = require('./omniboard_page.js');
const { problem } = require('./omniboard_requests.js');

const LOOPBACK = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/;
const FOREIGN = /^(cross-site|same-site)$/; // another port of this machine is same-site
const ESTABLISHED = '01';
const listen = http.Server.prototype.listen;
const setHeader = http.ServerResponse.prototype.setHeader;
const writeHead = http.ServerResponse.prototype.writeHead;
const emit = http.Server.prototype.emit;

// What comes from the database may be a page that somebody else wrote: it gets no script, no origin and no network.
const DATA_POLICY =
  "sandbox; default-src 'none'; img-src data:; media-src data:; font-src data:; style-src 'unsafe-inline'; " +
  "form-action 'none'; frame-ancestors 'self'";
// Omniboard draws names of metrics as HTML: of scripts, only its own files run. Its plots evaluate text of their own.
const PAGE_POLICY =
  "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; " +
  "img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const pending = new Set(); // answers that Omniboard owes

// The user behind a loopback connection, from the kernel's table; undefined where there is no such table.
function peerUser(socket) {
  let table;
  try {
    table = fs.readFileSync('/proc/net/tcp', 'latin1').split('\n').slice(1);
  } catch {
    return undefined;
  }
  const hex = (address, port) =>
    address.split('.').reverse().map((part) => Number(part).toString(16).padStart(2, '0')).join('').toUpperCase() +
    ':' + port.toString(16).padStart(4, '0').toUpperCase();
  const from = hex(socket.remoteAddress || '0.0.0.0', socket.remotePort || 0);
  const to = hex(socket.localAddress || '0.0.0.0', socket.localPort || 0);
  const row = table.map((line) => line.trim().split(/\s+/)).find((cells) => cells[1] === from && cells[2] === to);
  return row && row[3] === ESTABLISHED ? Number(row[7]) : null;
}

function refusal(request, isPage) {
  const { host = '', origin, 'sec-fetch-site': site, 'sec-fetch-dest': dest } = request.headers;
  if (!request.socket.trusted) return 'This run browser belongs to another user of this machine.';
  if (!LOOPBACK.test(host)) return 'Open the run browser as 127.0.0.1 or localhost, not under another name.';
  if (origin !== undefined && origin !== `http://${host}`) return 'Requests from other web pages are refused.';
  if (FOREIGN.test(site) && !(isPage && dest === 'document')) return 'Requests from other web pages are refused.';
  return null;
}

function answer(response, status, message) {
  response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8', Connection: 'close' });
  response.end(JSON.stringify({ message }));
}

async function serve(server, request, response) {
  const isPage = page.owns(request);
  setHeader.call(response, 'X-Content-Type-Options', 'nosniff');
  setHeader.call(response, 'Referrer-Policy', 'same-origin');
  setHeader.call(response, 'Cross-Origin-Resource-Policy', 'same-origin');
  setHeader.call(response, 'Content-Security-Policy', isPage ? PAGE_POLICY : DATA_POLICY);
  const reason = refusal(request, isPage);
  if (reason) return answer(response, 403, reason);
  if (page.serve(request, response)) return undefined;
  pending.add(response);
  response.once('close', () => pending.delete(response));
  const found = isPage ? null : await problem(request);
  if (found) return answer(response, ...found);
  return emit.call(server, 'request', request, response);
}

http.Server.prototype.listen = function (port, ...rest) {
  fs.rmSync(process.env.OMNIBOARD_CONFIG, { force: true });
  return listen.call(this, { fd: Number(process.env.OSTINATO_LISTEN_FD) }, ...rest);
};

http.Server.prototype.emit = function (event, request, response) {
  if (event === 'connection') {
    const user = peerUser(request);
    request.trusted = user === undefined || user === 0 || user === process.getuid();
  }
  if (event !== 'request') return emit.apply(this, arguments);
  serve(this, request, response).catch(fail);
  return true;
};

http.ServerResponse.prototype.setHeader = function (name, value) {
  if (/^access-control-/i.test(name)) return this;
  return setHeader.call(this, name, /^content-disposition$/i.test(name) ? disposition(value) : value);
};

http.ServerResponse.prototype.writeHead = function (...head) {
  const plain = this.hasHeader('Content-Disposition') ? 'application/octet-stream' : 'text/plain; charset=utf-8';
  if (!this.hasHeader('Content-Type')) setHeader.call(this, 'Content-Type', plain);
  return writeHead.apply(this, head);
};

// Omniboard writes file names as they are; any but the plainest have a form of their own in a header (RFC 6266).
function disposition(value) {
  const name = /^attachment; filename=(.*)$/s.exec(value);
  if (!name) return value;
  const escaped = encodeURIComponent(name[1]).replace(/['()*]/g, (c) => '%' + c.charCodeAt(0).toString(16));
  return `attachment; filename="${name[1].replace(/[^\w .+-]/g, '_')}"; filename*=UTF-8''${escaped}`;
}

// After an error that nobody caught, whatever Omniboard still owes is refused, and the launcher starts it anew.
function fail(error) {
  console.error(error);
  for (const response of pending) {
    if (response.headersSent) response.destroy();
    else answer(response, 500, 'Omniboard failed and is started anew: reload the page.');
  }
  setTimeout(() => process.exit(1), 50);
}
process.on('uncaughtException', fail);

setInterval(() => {
  if (process.ppid === Number(process.env.OSTINATO_PARENT)) return;
  fs.rmSync(process.env.OSTINATO_SCRATCH, { recursive: true, force: true });
  process.exit(0);
}, 1000).unref();
