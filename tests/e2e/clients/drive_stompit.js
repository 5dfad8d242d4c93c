// stompit on a string: see ../stomp_drivers.py. The module is where NODE_PATH says.
'use strict';
const stompit = require('stompit');
const { version, options, beats, port, say, hex, serve } = require('./stomp_lines.js');

const messages = [];
const subscriptions = new Map();
const transactions = new Map();
let client;

// It gives names to receipts itself; those that the test asks for are said by their own.
const asked = ({ receipt, ...headers }) =>
  [headers, receipt === undefined ? undefined : { onReceipt: () => say('receipt', { id: receipt }) }];

const onMessage = (error, message) => {
  if (error) return;
  const parts = [];
  message.on('data', (part) => parts.push(part));
  message.on('end', () => {
    messages.push(message);
    say('message', { headers: message.headers, hex: hex(Buffer.concat(parts)) });
  });
};

// Of an ERROR in plain text it destroys the frame where it means the client (1.0.0), and nobody
// listens to a frame's errors. The end of the connection comes after it.
process.on('uncaughtException', (error) => {
  if (error.longMessage === undefined) throw error;
  say('error', { message: error.message, hex: hex(error.longMessage) });
});

const connected = (error, fresh, reconnect) => {
  if (error) {
    process.stderr.write(`${error}\n`);
    process.exit(1);
  }
  client = fresh;
  client.on('error', () => {
    say('lost');
    if (options.reconnect) reconnect();
  });
  client.getTransportSocket().setNoDelay(true); // it writes a frame in pieces
  client.getTransportSocket().on('data', (data) => {
    if (data.equals(Buffer.from('\n'))) say('beat');
  });
  say('connected', { headers: client.headers });
};

const verbs = {
  send: ({ to, hex: body, headers }) => {
    const [rest, receipt] = asked(headers);
    const bytes = Buffer.from(body, 'hex');
    client.send({ ...rest, destination: to, 'content-length': bytes.length }, receipt).end(bytes);
  },
  subscribe: ({ to, id, ack, headers }) =>
    subscriptions.set(id, client.subscribe({ ...headers, destination: to, id, ack }, onMessage)),
  unsubscribe: ({ id }) => subscriptions.get(id).unsubscribe(),
  ack: ({ n, headers }) => client.ack(messages[n], ...asked(headers)),
  nack: ({ n, headers }) => client.nack(messages[n], ...asked(headers)),
  begin: ({ transaction }) => transactions.set(transaction, client.begin(transaction)),
  commit: ({ transaction, headers }) => transactions.get(transaction).commit(asked(headers)[1]),
  abort: ({ transaction, headers }) => transactions.get(transaction).abort(asked(headers)[1]),
  expect: ({ id }) => client.setImplicitSubscription(id, 'auto', onMessage),
  disconnect: () => {
    client.disconnect((error) => {
      say(error ? 'lost' : 'left');
      process.exit(0);
    });
  },
};

const connectHeaders = {
  host: 'e2e', 'accept-version': version, 'heart-beat': beats.join(','), ...options.headers,
};
const manager = new stompit.ConnectFailover([{ host: '127.0.0.1', connectHeaders }], {
  initialReconnectDelay: 50,
  useExponentialBackOff: false,
  maxReconnects: options.reconnect ? -1 : 1,
  connectFunction: (server, callback) => stompit.connect({ ...server, port: port() }, callback),
});
manager.connect(connected);
serve(verbs);
