/** The policy of a lab: read from files, and what is missing until its services serve. */
import { readFileSync } from 'node:fs';
import { DEFAULT_LAB, labPaths } from '../lab/world/names.ts';
import type { SystemStatus } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import { type PolicyDocument, parseDocuments } from '../policy/parse.ts';
import { readLabCloud } from './lab-cloud.ts';

/** Reads policy documents. Throws what parsing throws, and ERR_BODY_INVALID for a file that cannot be read. */
export function readLabPolicies(files: readonly string[]): PolicyDocument[] {
  return files.flatMap((file) => parseDocuments(readText(file), file));
}

/**
 * A cloud that names the socket of the lab `lab` is given that of this lab, or the vCenter by which this lab is
 * driven, so that one file serves every lab, and the controller of one never drives another.
 */
export function meantForLab(documents: readonly PolicyDocument[], lab: string): PolicyDocument[] {
  const common = labPaths(DEFAULT_LAB).socket;
  const vcenter = readLabCloud(lab);
  return documents.map((document) => {
    const spec = (document.spec ?? {}) as { platform?: unknown; address?: unknown };
    const isCommon = document.kind === 'cloud' && spec.platform === 'lab' && spec.address === common;
    return isCommon ? { ...document, spec: vcenter ?? { ...spec, address: labPaths(lab).socket } } : document;
  });
}

/** How far the services are, in one line: `2 of 3 engines ready, 1 of 2 services serving`. */
export function progressOf(status: SystemStatus, services: readonly string[]): string {
  const ready = status.engines.filter((engine) => engine.state === 'ready').length;
  const serving = services.filter((name) => isServing(status, name)).length;
  return `${ready} of ${status.engines.length} engines ready, ${serving} of ${services.length} services serving`;
}

/** What is missing until every named service serves, a reason each; empty when nothing is. */
export function missingFor(status: SystemStatus, services: readonly string[]): string[] {
  const waiting = services.filter((name) => !isServing(status, name));
  if (waiting.length === 0) return [];
  const described = (noun: string, name: string, state: string, message: string) =>
    `${noun} ${name} is ${state}${message === '' ? '' : ` (${message})`}`;
  return [
    ...waiting.map((name) => {
      const service = status.services.find((one) => one.name === name);
      return service
        ? described('service', name, service.state, service.message)
        : `service ${name} is not known`;
    }),
    ...status.clouds
      .filter((cloud) => cloud.state !== 'connected')
      .map((cloud) => described('cloud', cloud.name, cloud.state, cloud.message)),
    ...status.engines
      .filter((engine) => engine.state !== 'ready')
      .map((engine) => described('engine', engine.id, engine.state, engine.message)),
    ...(status.controller.lastError === null ? [] : [`the controller says: ${status.controller.lastError}`]),
  ];
}

function isServing(status: SystemStatus, name: string): boolean {
  return status.services.some((service) => service.name === name && service.state === 'serving');
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new WeftError('ERR_BODY_INVALID', `${file} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
