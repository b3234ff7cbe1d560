/** One virtual service as the proxy of a thread runs it: its settings compiled, its components, its figures. */
import type { HttpService } from '../../policy/http-service.ts';
import type { BalancingMethod } from '../../policy/virtual-service.ts';
import type { HttpComponent } from './component.ts';
import type { HeadLimits } from './parse-fields.ts';
import { createComponents } from './registry.ts';

/** What the main thread hands a worker: plain data. */
export interface ServiceSettings {
  readonly name: string;
  readonly tier: string;
  readonly listeners: readonly { readonly address: string; readonly port: number }[];
  readonly method: BalancingMethod;
  readonly members: readonly MemberSettings[];
  readonly http: HttpService;
  /** What the caches of all threads share; each has its own where it is left out. */
  readonly cacheMemory?: SharedArrayBuffer;
}

export interface MemberSettings {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  /** Keeps its requests, gets no new ones. */
  readonly isDraining: boolean;
  /** Its health monitors say so. */
  readonly isDown?: boolean;
}

/** The request side, which a reload replaces: a request keeps the one that it began with. */
export class Service {
  readonly settings: ServiceSettings;
  readonly limits: HeadLimits;
  readonly components: readonly HttpComponent[];
  /** Those that want to know of time. */
  readonly ticking: readonly HttpComponent[];

  constructor(settings: ServiceSettings) {
    this.settings = settings;
    const { http } = settings;
    this.limits = {
      headBytes: http.maxHeadBytes,
      fields: http.maxFields,
      allowsEncodedSlash: http.allowsEncodedSlash,
    };
    this.components = createComponents(http, settings.cacheMemory);
    this.ticking = this.components.filter(({ tick }) => tick !== undefined);
  }
}
