/*
 * Models in files of this machine, for Node: `Model.fromUrl` with a fetch that answers as a server with
 * ranges does.
 */
import { constants, open, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { Model } from './tare.js';
import { failure } from './tare_error.js';

const PIECE = 1 << 20; // of a stream
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0); // a pipe is no reason to wait

/** Makes a call of the system, and tells what it fails with. */
async function system(url, call) {
    try {
        return await call();
    } catch (cause) {
        throw failure('TARE_E_OPEN', `${url}: ${cause.message}`,
                      { cause, systemError: Math.abs(cause.errno ?? 0) });
    }
}

async function answer(handle, url, range, signal) {
    const facts = await handle.stat({ bigint: true }), size = Number(facts.size);
    if (!facts.isFile()) throw failure('TARE_E_OPEN', `${url}: no regular file`); // replaced just then
    const [, begin, last] = /^bytes=(\d+)-(\d+)$/.exec(range).map(Number);
    if (begin >= size) {
        await handle.close();
        return new Response(null, { status: 416, headers: { 'content-range': `bytes */${size}` } });
    }
    const end = Math.min(last, size - 1);
    signal?.throwIfAborted(); // nobody would hear of it from a stream that was never looked at
    /* It closes the file at its end, or when it is cancelled. */
    const stream = handle.createReadStream({ start: begin, end, highWaterMark: PIECE, signal });
    return new Response(Readable.toWeb(stream), { status: 206, headers: {
        'content-range': `bytes ${begin}-${end}/${size}`,
        'content-length': String(end - begin + 1),
        etag: `"${facts.dev}-${facts.ino}-${facts.mtimeNs}"`,
    } });
}

/** Looked at first: opening a FIFO lets go on who waits at its other end. */
async function openFile(url) {
    if (!(await stat(url)).isFile()) throw new Error('no regular file');
    return open(url, FLAGS);
}

async function fetchFile(url, { headers, signal }) {
    signal?.throwIfAborted();
    const handle = await system(url, () => openFile(url));
    try {
        return await answer(handle, url, headers.range, signal);
    } catch (error) {
        await handle.close();
        throw error;
    }
}

/** Opens a file, an index and its shards, any part of a split file, or a folder with usual names. */
export async function openPath(path, options = {}) {
    const url = path instanceof URL ? new URL(path) : pathToFileURL(path);
    const isFolder = (await system(url, () => stat(path))).isDirectory(); // "" is none
    if (isFolder && !url.pathname.endsWith('/')) url.pathname += '/';
    return Model.fromUrl(url, { ...options, fetch: fetchFile });
}
