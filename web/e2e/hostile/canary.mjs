import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';

const GIF = Buffer.from('R0lGODlhAQABAAAAACw=', 'base64');
const TYPES = {
  image: 'image/gif',
  style: 'text/css',
  script: 'text/javascript',
  font: 'font/woff2',
  document: 'text/html',
};

/** Listens for whatever a recording makes a browser send, and answers so that more may follow. */
export async function startCanary() {
  const hits = [];
  const server = createServer((request, response) => {
    const { headers, method, url } = request;
    const dest = String(headers['sec-fetch-dest'] ?? '');
    const host = String(headers.host ?? '');
    hits.push({
      host,
      path: url,
      method,
      dest,
      mode: headers['sec-fetch-mode'],
      cookie: headers.cookie,
      referer: headers.referer,
    });
    response.writeHead(200, {
      'content-type': TYPES[dest] ?? 'text/html',
      'access-control-allow-origin': '*',
      'cache-control': 'no-store',
    });
    if (dest === 'script') response.end(`try{__ran(${JSON.stringify(host)})}catch(e){}`);
    else if (dest === 'image') response.end(GIF);
    else response.end(' ');
  });
  // What opens a connection and says nothing, or says something else than HTTP, is noticed here.
  const silent = [];
  const tcp = createTcpServer((socket) => {
    silent.push({ port: socket.remotePort });
    socket.on('error', () => {});
  });
  await Promise.all(
    [server, tcp].map((item) => new Promise((done) => item.listen(0, '127.0.0.1', () => done(undefined)))),
  );
  return {
    hits,
    silent,
    port: server.address().port,
    silentPort: tcp.address().port,
    /** Takes the hits so far. */
    take: () => hits.splice(0),
    stop() {
      server.closeAllConnections();
      server.close();
      tcp.close();
    },
  };
}
