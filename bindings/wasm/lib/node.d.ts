import { Model, OpenOptions } from './tare.js';

export interface PathOptions extends OpenOptions {
    /** Stops opening, and every later read that is given no signal of its own. */
    signal?: AbortSignal;
}

/**
 * Opens a file of this machine (a path, or a URL of file:): safetensors or GGUF, an index with its
 * shards beside it, any part of a split file, or a folder with `model.safetensors.index.json` or
 * `model.safetensors`. Headers are read, tensors when they are asked for. Files are opened for each
 * read and closed behind it; one that was written to or replaced meanwhile is TARE_E_CHANGED.
 */
export function openPath(path: string | URL, options?: PathOptions): Promise<Model>;
