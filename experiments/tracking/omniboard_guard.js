// Preloaded into Omniboard (node --require): it serves one user of this machine and no foreign web page.
//
// OSTINATO_LISTEN_FD   the listening loopback socket that the launcher opened; Omniboard's own choice is ignored
// OSTINATO_PARENT      the launcher's process id; when it is gone, so are we and the scratch folder
// OSTINATO_SCRATCH     that folder; the file with the database's address in it goes once Omniboard has read it
'use strict';

const fs = require('fs');
const http = require('http');

const LOOPBACK = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/;
const FOREIGN = /^(cross-site|same-site)$/; // another port of this machine is same-site
const ESTABLISHED = '01';
const listen = http.Server.prototype.listen;
const setHeader = http.ServerResponse.prototype.setHeader;
const emit = http.Server.prototype.emit;

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

function refusal(request) {
  const { host = '', origin, 'sec-fetch-site': site, 'sec-fetch-dest': dest } = request.headers;
  if (!request.socket.trusted) return 'This run browser belongs to another user of this machine.';
  if (!LOOPBACK.test(host)) return 'Open the run browser as 127.0.0.1 or localhost, not under another name.';
  if (origin !== undefined && origin !== `http://${host}`) return 'Requests from other web pages are refused.';
  if (FOREIGN.test(site) && dest !== 'document') return 'Requests from other web pages are refused.';
  return null;
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
  const reason = event === 'request' ? refusal(request) : null;
  if (!reason) return emit.apply(this, arguments);
  response.writeHead(403, { 'Content-Type': 'text/plain', Connection: 'close' });
  response.end(reason + '\n');
  return true;
};

http.ServerResponse.prototype.setHeader = function (name, value) {
  return /^access-control-/i.test(name) ? this : setHeader.call(this, name, value);
};

setInterval(() => {
  if (process.ppid === Number(process.env.OSTINATO_PARENT)) return;
  fs.rmSync(process.env.OSTINATO_SCRATCH, { recursive: true, force: true });
  process.exit(0);
}, 1000).unref();
