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
