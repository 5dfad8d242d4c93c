// @stomp/stompjs on a string, over TCP: see ../stomp_drivers.py. The module is where NODE_PATH says.
'use strict';
const { Client, Versions } = require('@stomp/stompjs');
const TcpWebSocket = require('./tcp_websocket.js');
const { version, options, beats, port, say, hex, serve } = require('./stomp_lines.js');

const messages = [];
let stands = false, leaving = false;

const onMessage = (message) => {
  messages.push(message);
  say('message', { headers: message.headers, hex: hex(message.binaryBody) });
};

const client = new Client({
  webSocketFactory: () => new TcpWebSocket(port()),
  connectHeaders: options.headers || {},
  stompVersions: new Versions([version]),
  reconnectDelay: options.reconnect ? 50 : 0,
  heartbeatOutgoing: beats[0],
  heartbeatIncoming: beats[1],
  discardWebsocketOnCommFailure: true,
  onConnect: (frame) => {
    stands = true;
    say('connected', { headers: frame.headers });
  },
  onUnhandledMessage: onMessage,
  onUnhandledReceipt: (frame) => say('receipt', { id: frame.headers['receipt-id'] }),
  onStompError: (frame) => say('error', { message: frame.headers.message, hex: hex(frame.binaryBody) }),
  onHeartbeatReceived: () => say('beat'),
  onWebSocketClose: () => {
    if (stands) say(leaving ? 'left' : 'lost');
    stands = false;
  },
});

serve({
  send: ({ to, hex: body, headers }) =>
    client.publish({ destination: to, binaryBody: new Uint8Array(Buffer.from(body, 'hex')), headers }),
  subscribe: ({ to, id, ack, headers }) => client.subscribe(to, onMessage, { ...headers, id, ack }),
  unsubscribe: ({ id, headers }) => client.unsubscribe(id, headers),
  ack: ({ n, headers }) => messages[n].ack(headers),
  nack: ({ n, headers }) => messages[n].nack(headers),
  begin: ({ transaction }) => client.begin(transaction),
  commit: ({ transaction }) => client.commit(transaction),
  abort: ({ transaction }) => client.abort(transaction),
  expect: () => {}, // what has no subscription goes to onUnhandledMessage
  disconnect: () => {
    leaving = true;
    client.deactivate().then(() => process.exit(0));
  },
});
client.activate();
