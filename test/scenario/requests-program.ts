/** A program for a client's namespace: `node -e REQUESTS HOST PORT COUNT`. */

/** Requests one after another; prints for each the host that answered, and the client as the member saw it. */
export const REQUESTS = `
const http = require('node:http');
const [host, port, count] = process.argv.slice(1);
const one = () => new Promise((resolve, reject) => {
  http.get({ host, port: +port, agent: false, timeout: 5000 }, (response) => {
    const { 'x-weft-host': at, 'x-weft-client': client } = response.headers;
    response.resume().on('end', () => resolve([at, client]));
  }).on('timeout', () => reject(new Error('no answer'))).on('error', reject);
});
(async () => { const all = []; for (let i = 0; i < +count; i++) all.push(await one()); console.log(JSON.stringify(all)); })();
`;

/**
 * A program for a client's namespace: `node -e KEPT_REQUESTS CONNECTIONS MS HOST...`. Requests for so long, on connections that
 * are kept for 1 to 40 of them and never repeated; prints their number, the slowest in ms, and the errors as `HOST: what`.
 */
export const KEPT_REQUESTS = `
const http = require('node:http');
const [connections, ms, ...hosts] = process.argv.slice(1);
const endsAt = Date.now() + +ms;
const errors = [];
let requests = 0;
let slowestMs = 0;
const one = (host, agent) => new Promise((resolve) => {
  const beganAt = performance.now();
  const done = (error) => {
    requests++;
    slowestMs = Math.max(slowestMs, performance.now() - beganAt);
    if (error) errors.push(host + ': ' + error);
    resolve();
  };
  http.get({ host, agent, timeout: 5000 }, (response) => {
    response.on('error', (error) => done(error.code));
    response.resume().on('end', () => done(response.statusCode === 200 ? '' : 'status ' + response.statusCode));
  }).on('timeout', function () { this.destroy(new Error('no answer within 5 s')); }).on('error', (error) => done(error.code ?? error.message));
});
const keep = async (host) => {
  while (Date.now() < endsAt) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (let n = 1 + Math.random() * 40; n > 0 && Date.now() < endsAt; n--) {
      await one(host, agent);
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
    agent.destroy();
  }
};
Promise.all(Array.from({ length: +connections }, (_, n) => keep(hosts[n % hosts.length]))).then(() =>
  console.log(JSON.stringify({ requests, slowestMs, errors })));
`;
