/** An HTTPS server with a certificate of its own that answers vim25 calls with whatever a test wants. */
import { X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import forge from 'node-forge';

export interface HostileVcenter {
  url: string;
  thumbprint: string;
  /** Methods that arrived, in order. */
  calls: string[];
  stop(): Promise<void>;
}

export type Responder = (
  method: string,
  response: ServerResponse,
  request: IncomingMessage,
  body: string,
) => void;

export const envelope = (body: string): string =>
  `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>${body}</soapenv:Body></soapenv:Envelope>`;

/** A fault as vCenter words it. */
export const fault = (name: string, inner = ''): string =>
  envelope(
    `<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>no</faultstring><detail>` +
      `<${name}Fault xmlns="urn:vim25" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="${name}">${inner}</${name}Fault>` +
      `</detail></soapenv:Fault>`,
  );

/** What a well-behaved vCenter answers to the calls of a login; null for other methods. */
export function loginAnswer(method: string): string | null {
  if (method === 'RetrieveServiceContent') {
    const refs = ['rootFolder', 'propertyCollector', 'viewManager'].map(
      (name) => `<${name} type="X">${name}</${name}>`,
    );
    return envelope(
      `<RetrieveServiceContentResponse xmlns="urn:vim25"><returnval>${refs.join('')}` +
        `<about><name>v</name><fullName>v 8</fullName><vendor>v</vendor><version>8</version><build>1</build><osType>l</osType><productLineId>v</productLineId><apiType>VirtualCenter</apiType><apiVersion>8</apiVersion></about>` +
        `<sessionManager type="SessionManager">SessionManager</sessionManager></returnval></RetrieveServiceContentResponse>`,
    );
  }
  if (method !== 'Login') return null;
  return envelope(
    '<LoginResponse xmlns="urn:vim25"><returnval><key>k</key><userName>u</userName></returnval></LoginResponse>',
  );
}

/** `at`: the address of one that was stopped, to take its place. */
export async function startHostileVcenter(respond: Responder, at?: string): Promise<HostileVcenter> {
  const { cert, key } = certificate();
  const calls: string[] = [];
  const server = createServer({ cert, key }, (request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body = Buffer.concat(parts).toString();
      const method = /<soapenv:Body><(\w+)/.exec(body)?.[1] ?? '';
      calls.push(method);
      respond(method, response, request, body);
    });
  });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((done) => server.listen(at ? Number(new URL(at).port) : 0, '127.0.0.1', done));
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    thumbprint: new X509Certificate(cert).fingerprint256,
    calls,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

function certificate(): { cert: string; key: string } {
  const keys = forge.pki.rsa.generateKeyPair(2048);
  const made = forge.pki.createCertificate();
  made.publicKey = keys.publicKey;
  made.serialNumber = '01';
  made.validity.notBefore = new Date(Date.now() - 60_000);
  made.validity.notAfter = new Date(Date.now() + 3_600_000);
  made.setSubject([{ name: 'commonName', value: 'vcenter.test' }]);
  made.setIssuer([{ name: 'commonName', value: 'vcenter.test' }]);
  made.sign(keys.privateKey, forge.md.sha256.create());
  return { cert: forge.pki.certificateToPem(made), key: forge.pki.privateKeyToPem(keys.privateKey) };
}
