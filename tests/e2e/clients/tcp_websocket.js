// A TCP connection that looks like the WebSocket that @stomp/stompjs wants.
'use strict';
const net = require('node:net');

const CONNECTING = 0, OPEN = 1, CLOSING = 2, CLOSED = 3;

class TcpWebSocket {
  constructor(port) {
    this.url = `tcp://127.0.0.1:${port}`;
    this.readyState = CONNECTING;
    this.socket = net.connect(port, '127.0.0.1');
    this.socket.setNoDelay(true);
    this.socket.on('connect', () => {
      this.readyState = OPEN;
      this.onopen();
    });
    this.socket.on('data', (data) => this.onmessage({ data: new Uint8Array(data).buffer }));
    this.socket.on('error', (error) => this.onerror(error));
    this.socket.on('close', (failed) => {
      this.readyState = CLOSED;
      this.onclose({ code: failed ? 1006 : 1000, reason: '', wasClean: !failed });
    });
  }

  send(data) {
    this.socket.write(typeof data === 'string' ? data : new Uint8Array(data));
  }

  close() {
    this.readyState = CLOSING;
    this.socket.end();
  }

  terminate() {
    this.socket.destroy();
  }
}

module.exports = TcpWebSocket;
