// MQTT.js on a string: see ../drivers.py. The module is where NODE_PATH says.
'use strict';
const readline = require('node:readline');
const mqtt = require('mqtt');

const EXPIRY_S = 3600;
const [port, version, clientId, clean, ...will] = process.argv.slice(2);
const bytes = (word) => (word === '-' ? Buffer.alloc(0) : Buffer.from(word, 'hex'));
const say = (...words) => process.stdout.write(words.join(' ') + '\n');
const fail = (error) => {
  process.stderr.write(`${error}\n`);
  process.exit(1);
};

const options = {
  protocolVersion: Number(version),
  clientId,
  clean: clean === '1',
  keepalive: 30,
  reconnectPeriod: 0,
  resubscribe: false,
};
if (version === '5' && clean !== '1') options.properties = { sessionExpiryInterval: EXPIRY_S };
if (will.length === 4) {
  options.will = { topic: will[0], qos: Number(will[1]), retain: will[2] === '1', payload: bytes(will[3]) };
}

const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, options);
client.on('error', fail);
client.on('message', (topic, payload, packet) =>
  say('message', topic, packet.qos, packet.retain ? 1 : 0, payload.toString('hex') || '-'));

const commands = {
  sub: ([filter, qos]) => client.subscribe(filter, { qos: Number(qos) }, (error, granted) =>
    (error ? fail(error) : say('subscribed', granted[0].qos))),
  pub: ([topic, qos, retain, payload]) =>
    client.publish(topic, bytes(payload), { qos: Number(qos), retain: retain === '1' }, (error) =>
      (error ? fail(error) : say('published', 0))),
  quit: () => client.end(false, {}, () => process.exit(0)),
};

client.once('connect', (connack) => {
  say('connected', connack.sessionPresent ? 1 : 0);
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const [what, ...words] = line.split(' ');
    commands[what](words);
  });
});
