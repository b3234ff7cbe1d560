/**
 * The same service for each of the proxies of bench/l7.ts: members, keep-alive both sides, and one feature: `full` is a log
 * of every request and changed header fields, `gzip` compression at level 5, `cache` a cache in which all is found,
 * `tls` TLS 1.3 with clients, of one certificate.
 */

export type Feature = 'plain' | 'full' | 'gzip' | 'cache' | 'tls';

export interface Sites {
  readonly port: number;
  readonly memberPort: number;
  readonly members: number;
  readonly folder: string;
}

const membersOf = ({ memberPort, members }: Sites): string[] =>
  Array.from({ length: members }, (_, n) => `127.0.0.1:${memberPort + n}`);

export function nginxConfig(sites: Sites, feature: Feature): string {
  const isFull = feature === 'full';
  const gzip = `
        gzip on;
        gzip_comp_level 5;
        gzip_min_length 1024;
        gzip_proxied any;
        gzip_types text/plain;`;
  const cache = `
        proxy_cache responses;
        open_file_cache max=1000;
        open_file_cache_min_uses 1;`;
  const full = `
    log_format json escape=json '{"time":"$time_iso8601","client":"$remote_addr","request":"$request_method $request_uri",'
      '"status":$status,"sent":$body_bytes_sent,"s":$request_time,"member":"$upstream_addr"}';
    access_log ${sites.folder}/nginx-access.log json buffer=64k flush=1s;`;
  const changes = `
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Bench-Request 1;
        proxy_hide_header Server;
        add_header X-Bench-Response 1;`;
  const tls = `
    ssl_certificate ${sites.folder}/bench.pem;
    ssl_certificate_key ${sites.folder}/bench.key;
    ssl_protocols TLSv1.3;`;
  return `
daemon off;
master_process off;
worker_processes 1;
pid ${sites.folder}/nginx.pid;
error_log ${sites.folder}/nginx-error.log;
events { worker_connections 8192; }
http {
  ${isFull ? full : 'access_log off;'}
  ${feature === 'cache' ? `proxy_cache_path ${sites.folder}/responses keys_zone=responses:8m;` : ''}
  client_body_temp_path ${sites.folder}/body;
  proxy_temp_path ${sites.folder}/proxy;
  fastcgi_temp_path ${sites.folder}/fastcgi;
  uwsgi_temp_path ${sites.folder}/uwsgi;
  scgi_temp_path ${sites.folder}/scgi;
  keepalive_requests 1000000000;
  upstream members {
    least_conn;
    ${membersOf(sites)
      .map((member) => `server ${member} max_fails=0;`)
      .join('\n    ')}
    keepalive 256;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${sites.port} backlog=4096${feature === 'tls' ? ' ssl' : ''};${feature === 'tls' ? tls : ''}
    location / {
        proxy_pass http://members;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;${isFull ? changes : ''}${feature === 'gzip' ? gzip : ''}${feature === 'cache' ? cache : ''}
    }
  }
}
`;
}

export function haproxyConfig(sites: Sites, feature: Feature): string {
  const isFull = feature === 'full';
  const gzip = `
  compression algo gzip
  compression type text/plain`;
  const cache = `
  http-request cache-use responses
  http-response cache-store responses`;
  const full = `
  log global
  option httplog
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Bench-Request 1
  http-response del-header Server
  http-response set-header X-Bench-Response 1`;
  const tls = ` ssl crt ${sites.folder}/bench-both.pem ssl-min-ver TLSv1.3`;
  return `
global
  nbthread 1
  maxconn 8000
  ${isFull ? 'log stdout format raw local0' : ''}
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
  option http-keep-alive
  http-reuse always
${feature === 'cache' ? 'cache responses\n  total-max-size 64\n  max-object-size 100000\n  max-age 600' : ''}
frontend bench
  bind 127.0.0.1:${sites.port} backlog 4096${feature === 'tls' ? tls : ''}${isFull ? full : ''}${feature === 'gzip' ? gzip : ''}${feature === 'cache' ? cache : ''}
  default_backend members
backend members
  balance leastconn
  ${membersOf(sites)
    .map((member, n) => `server m${n} ${member}`)
    .join('\n  ')}
`;
}

export function weftPolicy(sites: Sites, feature: Feature): string {
  const plain = { clientAddress: 'none', via: false };
  const http = {
    plain,
    full: {
      requestFields: { set: [{ name: 'X-Bench-Request', value: '1' }] },
      responseFields: { set: [{ name: 'X-Bench-Response', value: '1' }], remove: ['Server'] },
    },
    gzip: { ...plain, compression: { codings: ['gzip'], levels: { gzip: 5, br: 4, zstd: 3 } } },
    cache: { ...plain, cache: {} },
    tls: {
      ...plain,
      tls: {
        certificates: [
          { certificateFile: `${sites.folder}/bench.pem`, keyFile: `${sites.folder}/bench.key` },
        ],
        minVersion: '1.3',
      },
    },
  }[feature];
  return `
kind: virtual-service
name: bench
spec:
  engineGroup: any
  tiers: [{ name: web, addresses: [127.0.0.1], port: ${sites.port}, pool: web }]
  components: [{ type: load-balancer, method: least-connections }]
  http: ${JSON.stringify(http)}
---
kind: pool
name: web
spec:
  cloud: any
  members: { addresses: [127.0.0.1] }
  port: ${sites.memberPort}
`;
}
