// Loaded into the program by NODE_OPTIONS: writes down every connection that its threads begin and every name that they look up, also
// those that fail before the kernel's tables show them. One JSON object a line in the file that CONNECTIONS_FILE names. To be required, not
// imported: an import before it keeps the engine that is a Node program from starting.
const dgram = require('node:dgram');
const dns = require('node:dns');
const { appendFileSync } = require('node:fs');
const net = require('node:net');
const process = require('node:process');

const file = process.env.CONNECTIONS_FILE;
// Engines that are Node programs, too, are not told of the file.
const note = (entry) => {
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(entry)}\n`);
};

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const [first] = Array.isArray(given[0]) ? given[0] : given;
  const options = typeof first === 'object' && first !== null ? first : { port: first, host: given[1] };
  // A path is that of a local socket; HTTP agents say null.
  if (typeof options.path !== 'string')
    note({ host: String(options.host ?? 'localhost'), port: Number(options.port) });
  return connect.apply(this, given);
};

const send = dgram.Socket.prototype.send;
dgram.Socket.prototype.send = function (...given) {
  note({ host: String(given.findLast((value) => typeof value === 'string')), port: 0 });
  return send.apply(this, given);
};

for (const name of ['lookup', 'resolve', 'resolve4', 'resolve6', 'reverse']) {
  for (const module of [dns, dns.promises]) {
    const original = module[name];
    module[name] = (host, ...rest) => {
      note({ host: String(host), port: 0 });
      return original.call(module, host, ...rest);
    };
  }
}
