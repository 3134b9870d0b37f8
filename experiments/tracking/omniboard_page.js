// Omniboard's page, with the table's first view for a browser that has not been here before (`omniboard_view.js`).
'use strict';

const fs = require('fs');
const path = require('path');

const VIEW = process.env.OSTINATO_VIEW || '{}'; // see `omniboard.py`: the database, and columns with their widths
const { database = '' } = JSON.parse(VIEW);
const VIEW_SCRIPT = '/static/first_view.js';
const STATIC = /^\/(static\/[\w./-]+|favicon\.ico)$/;
const OWN_SCRIPT = /<script[^>]* src="(\/static\/js\/main\.[\w.]+)"><\/script>/;

function placed(request) {
  try {
    return decodeURIComponent(request.url.split('?', 1)[0]);
  } catch {
    return '';
  }
}

function isTable(place) {
  return place === `/${database}` || place === `/${database}/`;
}

// Whether a request is for the page or a file of it; all else comes from the database.
function owns(request) {
  const place = placed(request);
  return ['GET', 'HEAD'].includes(request.method) && (place === '/' || isTable(place) || STATIC.test(place));
}

function escaped(text) {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}

// Omniboard's page, in which the script of the first view starts Omniboard's own; null where its form is not known.
function html() {
  const start = fs.realpathSync(process.argv[1]);
  const original = fs.readFileSync(path.join(path.dirname(start), '..', 'web', 'build', 'index.html'), 'utf-8');
  const script = OWN_SCRIPT.exec(original);
  if (!script) return null;
  const own = `<script src="${VIEW_SCRIPT}" data-main="${script[1]}" data-view="${escaped(VIEW)}"></script>`;
  return original.replace(script[0], () => own);
}

// Answers a request for the page or the script of its first view.
function serve(request, response) {
  const place = placed(request);
  if (!owns(request) || !(isTable(place) || place === VIEW_SCRIPT)) return false;
  const body = place === VIEW_SCRIPT ? fs.readFileSync(path.join(__dirname, 'omniboard_view.js')) : html();
  if (body === null) return false;
  const type = place === VIEW_SCRIPT ? 'text/javascript' : 'text/html';
  response.writeHead(200, { 'Content-Type': `${type}; charset=utf-8`, 'Cache-Control': 'no-cache' });
  response.end(request.method === 'HEAD' ? undefined : body);
  return true;
}

module.exports = { owns, serve };
