import type { Store } from './store.ts';
export interface EmbeddedStoreOptions {
  /** Changes kept for watchers. Default 10,000. */
  historyLimit?: number;
}
export declare function openEmbeddedStore(file: string, options?: EmbeddedStoreOptions): Promise<Store>;
