// What the drivers of STOMP clients for Node.js share: see ../stomp_drivers.py.
'use strict';
const fs = require('node:fs');
const readline = require('node:readline');

const [ports, version, options] = process.argv.slice(2);

exports.version = version;
exports.options = JSON.parse(options);
exports.beats = exports.options.beats || [0, 0];
exports.port = () => JSON.parse(fs.readFileSync(ports)).stomp; // where the gateway listens now
exports.say = (what, more) => process.stdout.write(`${what} ${JSON.stringify(more || {})}\n`);
exports.hex = (bytes) => Buffer.from(bytes || '').toString('hex');

exports.serve = (verbs) => {
  readline.createInterface({ input: process.stdin }).on('line', (line) => {
    const { do: verb, ...more } = JSON.parse(line);
    verbs[verb](more);
  });
};
