/** The verbs there are. Each is loaded when it is used, so that `weft get` does not wait for the engine's code. */
import type { Command } from 'commander';
import type { Terminal } from './terminal.ts';

/** Adds a verb to the program. */
export type Register = (program: Command, terminal: Terminal) => void | Promise<void>;

export interface Verb {
  name: string;
  summary: string;
  /** Left out of help and completion: not for people. */
  isHidden?: boolean;
  load(): Promise<Register>;
}

export const VERBS: readonly Verb[] = [
  {
    name: 'get',
    summary: 'show objects: what is wanted (spec) and what is (status)',
    load: async () => (await import('./get.ts')).register,
  },
  {
    name: 'apply',
    summary: 'create or change the objects in files, all of them or none',
    load: async () => (await import('./apply.ts')).register,
  },
  {
    name: 'delete',
    summary: 'delete an object, or those that files name',
    load: async () => (await import('./delete.ts')).register,
  },
  {
    name: 'plan',
    summary: 'show the steps that applying files would cause, or that are still to be done',
    load: async () => (await import('./plan.ts')).register,
  },
  {
    name: 'spec',
    summary: 'explain the attributes of a kind: type, default, meaning',
    load: async () => (await import('./spec.ts')).register,
  },
  {
    name: 'explain',
    summary: 'say why: a choice of member, the members of a pool, the place of a host',
    load: async () => (await import('./explain.ts')).register,
  },
  {
    name: 'firewall',
    summary: 'show what the rules of a firewall policy do, and what they log',
    load: async () => (await import('./firewall.ts')).register,
  },
  {
    name: 'trace',
    summary: 'follow a packet through the engines; nothing is sent or changed',
    load: async () => (await import('./trace.ts')).register,
  },
  {
    name: 'flows',
    summary: 'list the flows that the engines hold, the largest first',
    load: async () => (await import('./flows.ts')).register,
  },
  {
    name: 'purge',
    summary: 'take stored responses out of the caches of all engines',
    load: async () => (await import('./purge.ts')).register,
  },
  {
    name: 'capture',
    summary: 'write the packets of a service to a file, with what the engines did to each',
    load: async () => (await import('./capture.ts')).register,
  },
  {
    name: 'top',
    summary: 'show what a proxied service does now: requests, times, members, components',
    load: async () => (await import('./top.ts')).register,
  },
  {
    name: 'status',
    summary: 'show hosts, engines, services and members at a glance',
    load: async () => (await import('./status.ts')).register,
  },
  {
    name: 'scale',
    summary: 'show how large a pool is and why, or say how large it shall be',
    load: async () => (await import('./scale.ts')).register,
  },
  {
    name: 'drain',
    summary: 'let a member keep its connections, but give it no new ones',
    load: async () => (await import('./drain.ts')).register,
  },
  {
    name: 'undrain',
    summary: 'give a member that drains new connections again',
    load: async () => (await import('./undrain.ts')).register,
  },
  {
    name: 'lab',
    summary: 'the built-in platform: bring it up and down, look at it, inject faults',
    load: async () => (await import('./lab.ts')).registerLab,
  },
  {
    name: 'cloud',
    summary: 'make a vCenter a cloud, look at its certificate, take a cloud over from another controller',
    load: async () => (await import('./cloud.ts')).registerCloud,
  },
  {
    name: 'plugin',
    summary: 'register the plug-in for the vSphere Client with a vCenter, and remove it again',
    load: async () => (await import('./plugin.ts')).registerPlugin,
  },
  {
    name: 'console',
    summary: 'show the address of the web console',
    load: async () => (await import('./console.ts')).register,
  },
  {
    name: 'certificate',
    summary: 'give a certificate with its key, or list those there are',
    load: async () => (await import('./certificate.ts')).register,
  },
  {
    name: 'adopt',
    summary: 'take over what an earlier controller left in a cloud: shows it first, then asks',
    load: async () => (await import('./adopt.ts')).register,
  },
  {
    name: 'backup',
    summary: "write everything that the controller's store holds to a file",
    load: async () => (await import('./backup.ts')).registerBackup,
  },
  {
    name: 'restore',
    summary: "put a backup in the place of a controller's store",
    load: async () => (await import('./backup.ts')).registerRestore,
  },
  {
    name: 'controller',
    summary: 'run a controller',
    load: async () => (await import('./controller.ts')).registerController,
  },
  {
    name: 'engine',
    summary: 'run a service engine (the appliance and the lab start it)',
    load: async () => (await import('./engine.ts')).registerEngine,
  },
  {
    name: 'proxy',
    summary:
      'proxy the HTTP/1.1, HTTP/2 and gRPC of one virtual service on this machine, without controller or engines',
    load: async () => (await import('./proxy.ts')).registerProxy,
  },
  {
    name: 'image',
    summary: 'build the appliance that engines are deployed from, and check one',
    load: async () => (await import('./image.ts')).registerImage,
  },
  {
    name: 'completion',
    summary: 'print the tab completion of a shell',
    load: async () => (await import('./completion.ts')).register,
  },
  {
    name: 'complete',
    summary: 'what may stand at the end of a command line',
    isHidden: true,
    load: async () => (await import('./completion.ts')).registerComplete,
  },
  {
    name: 'docs',
    summary: 'regenerate the parts of docs/ that are made from the code',
    isHidden: true,
    load: async () => (await import('./docs.ts')).register,
  },
];
