/*
 * Where the bytes of a file are. A source has a size, and gives bytes in one of two ways:
 *
 *   view(offset, size)    at once and without a copy, or null where the file is not in memory
 *   read(offset, size)    a promise of them
 */
import { TareError, failure } from './tare_error.js';

export class BytesSource {
    /** @param {ArrayBuffer | SharedArrayBuffer | ArrayBufferView} bytes */
    constructor(bytes) {
        this.bytes = ArrayBuffer.isView(bytes)
            ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
            : new Uint8Array(bytes);
        this.size = this.bytes.length;
    }

    view(offset, size) {
        if (this.bytes.length < this.size)
            throw failure('TARE_E_CHANGED', 'the buffer was transferred or has shrunk', { offset });
        return this.bytes.subarray(offset, offset + size);
    }

    async read(offset, size) {
        return this.view(offset, size);
    }
}

class BlobSource {
    /** @param {Blob} blob */
    constructor(blob) {
        this.blob = blob;
        this.size = blob.size;
    }

    view() {
        return null;
    }

    async read(offset, size) {
        let bytes;
        try {
            bytes = new Uint8Array(await this.blob.slice(offset, offset + size).arrayBuffer());
        } catch (cause) { // a file that was picked and is gone, or was written to since
            throw failure('TARE_E_READ', `reading failed (${size} bytes at ${offset}): ${cause}`,
                          { cause, offset });
        }
        if (bytes.length !== size)
            throw failure('TARE_E_CHANGED', `the data ends early (${size} bytes at ${offset})`,
                          { offset });
        return bytes;
    }
}

/** What a caller reads: {size, read(offset, size, signal)}. */
class ReaderSource {
    constructor(reader) {
        this.reader = reader;
        this.size = reader.size;
    }

    view() {
        return null;
    }

    async read(offset, size, signal) {
        let bytes;
        try {
            bytes = await this.reader.read(offset, size, signal);
        } catch (cause) {
            signal?.throwIfAborted();
            if (cause instanceof TareError) throw cause;
            throw failure('TARE_E_READ', `reading failed (${size} bytes at ${offset}): ` +
                          `${cause?.message ?? cause}`, { cause, offset });
        }
        if (!(bytes instanceof Uint8Array)) throw new TypeError('a reader gives a Uint8Array');
        if (bytes.length !== size)
            throw failure('TARE_E_CHANGED', `${bytes.length} bytes came, not ${size}`, { offset });
        return bytes;
    }
}

export function sourceOf(from) {
    if (isBytes(from)) return new BytesSource(from);
    if (typeof Blob === 'function' && from instanceof Blob) return new BlobSource(from);
    if (typeof from?.read === 'function' && Number.isSafeInteger(from.size) && from.size >= 0)
        return new ReaderSource(from);
    throw new TypeError('the bytes of a file are an ArrayBuffer, a view of one, a Blob, ' +
                        'or {size, read}');
}

/* ------------------------------------------------------------------------------------------------
 * HTTP
 */

/** A response, whatever its status. */
async function send(url, options, headers, method = 'GET') {
    try {
        const get = options.fetch ?? fetch;
        return await get(url, { method, headers, signal: options.signal });
    } catch (cause) {
        options.signal?.throwIfAborted();
        if (cause instanceof TareError) throw cause;
        throw failure('TARE_E_READ', `${url}: ${cause?.message ?? cause}`, { cause });
    }
}

/** Lets go of a body that nobody reads; one that has failed by then is none the worse. */
export async function drop(response) {
    await response.body?.cancel().catch(() => {});
}

async function request(url, options, headers) {
    const response = await send(url, options, { ...options.headers, ...headers });
    if (response.ok) return response;
    await drop(response);
    if (response.status === 416) return response;
    throw failure('TARE_E_OPEN', `${url}: HTTP status ${response.status}`);
}

export function room(size) {
    try {
        return new Uint8Array(size);
    } catch (cause) {
        throw failure('TARE_E_MEMORY', `no memory for ${size} bytes`, { cause });
    }
}

/** How many bytes a response says it has; null where it does not. */
function lengthOf(response) {
    /* Of a compressed body it is another number than that of what comes out. */
    const encoding = response.headers.get('content-encoding') ?? 'identity';
    const length = Number(response.headers.get('content-length') ?? NaN);
    const told = encoding === 'identity' && Number.isSafeInteger(length) && length >= 0;
    return told ? length : null;
}

const WHOLE_SIZE_MAX = 2 ** 30;

/** What may be taken of files that nobody asked for as a whole; those of a model share it. */
export class Allowance {
    constructor({ wholeSizeMax = WHOLE_SIZE_MAX }) {
        if (!(Number.isSafeInteger(wholeSizeMax) && wholeSizeMax > 0))
            throw failure('TARE_E_ARGUMENT', 'wholeSizeMax is a whole number from 1, not ' +
                                             String(wholeSizeMax));
        this.most = wholeSizeMax;
        this.left = wholeSizeMax;
    }

    take(size, url) {
        if (size > this.left) throw beyondWhole(url, this.most);
        this.left -= size;
    }
}

function beyondWhole(url, most) {
    return failure('TARE_E_LIMIT', `${url}: the server sends all of the file, and that is more ` +
                                   `than wholeSizeMax (${most} bytes)`);
}

/** The next piece of a body; null behind the last. */
async function nextPiece(response, reader, signal) {
    try {
        const piece = await reader?.read();
        return piece === undefined || piece.done ? null : piece.value;
    } catch (cause) {
        signal?.throwIfAborted();
        if (cause?.name === 'AbortError') throw cause;
        throw failure('TARE_E_READ', `${response.url}: ${cause?.message ?? cause}`, { cause });
    }
}

/** All pieces in one. More than `most` are wanted by nobody: it stops behind the first such. */
async function join(response, reader, { onProgress, signal, most, allowance }) {
    const total = lengthOf(response);
    let taken = total ?? 0; // of the allowance: first what is stated, which may be too little
    allowance?.take(taken, response.url);
    let bytes = room(Math.min(total ?? 65536, most)), done = 0;
    onProgress?.(0, total);
    while (done <= most) {
        const piece = await nextPiece(response, reader, signal);
        if (piece === null) {
            if (total === null || done >= total) break;
            throw failure('TARE_E_TRUNCATED', `${response.url}: ${done} bytes came, not ${total}`);
        }
        if (done + piece.length > taken) {
            allowance?.take(done + piece.length - taken, response.url);
            taken = done + piece.length;
        }
        if (done + piece.length > bytes.length) {
            const larger = room(Math.max(bytes.length * 2, done + piece.length));
            larger.set(bytes.subarray(0, done));
            bytes = larger;
        }
        bytes.set(piece, done);
        done += piece.length;
        onProgress?.(done, total);
    }
    return done === bytes.length ? bytes : bytes.slice(0, done);
}

/**
 * All bytes of a response; more than `most` where it has more than that, and an error where there is
 * an allowance and it has more. `onProgress(done, total)` has null as total where none is stated.
 */
export async function readAll(response, { onProgress, signal, most = Infinity, allowance }) {
    const reader = response.body?.getReader();
    try {
        return await join(response, reader, { onProgress, signal, most, allowance });
    } finally {
        reader?.cancel().catch(() => {}); // which does nothing behind the end
    }
}

/** The start and the size of the whole file, from "bytes 0-99/1234". */
function parseContentRange(text) {
    const found = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+|\*)$/.exec(text ?? '');
    if (found === null) return { start: null, size: null };
    const number = (digits) => (Number.isSafeInteger(Number(digits)) ? Number(digits) : null);
    return { start: number(found[1]), size: number(found[3]) };
}

/** Other sites hide Content-Range unless they say otherwise, but never the length of a HEAD. */
async function askSize(url, options) {
    const response = await send(url, options, options.headers, 'HEAD');
    const size = lengthOf(response);
    if (!response.ok || size === null)
        throw failure('TARE_E_UNSUPPORTED', `${url}: the server does not tell the file's size`);
    return size;
}

class UrlSource {
    constructor(url, options, wholeSizeMax, size, tag, head) {
        this.url = url;
        this.options = options;
        this.wholeSizeMax = wholeSizeMax;
        this.size = size;
        this.tag = tag; // the ETag, which tells when the file is another one
        this.head = head;
    }

    view() {
        return null;
    }

    fail(status, what, offset) {
        return failure(status, `${this.url}: ${what}`, { offset });
    }

    async read(offset, size, signal) {
        if (offset + size <= this.head.length) return this.head.slice(offset, offset + size);
        if (size === 0) return new Uint8Array(0);
        const options = signal === undefined ? this.options : { ...this.options, signal };
        const response = await request(this.url, options,
                                       { range: `bytes=${offset}-${offset + size - 1}` });
        const tag = response.headers.get('etag');
        const range = parseContentRange(response.headers.get('content-range'));
        if ((this.tag !== null && tag !== null && tag !== this.tag) ||
            (range.size !== null && range.size !== this.size) || response.status === 416) {
            await drop(response);
            throw this.fail('TARE_E_CHANGED', 'the file changed since it was opened', offset);
        }
        const whole = response.status === 200; // a server may at any time send all of it instead
        if (whole && this.size > this.wholeSizeMax) {
            await drop(response);
            throw beyondWhole(this.url, this.wholeSizeMax);
        }
        const bytes = await readAll(response, { signal: options.signal,
                                                most: whole ? this.size : size });
        if (whole && bytes.length === this.size) return bytes.slice(offset, offset + size);
        if (whole)
            throw this.fail('TARE_E_CHANGED', `${bytes.length} bytes came, and it had ${this.size}`,
                            offset);
        if (range.start !== null && range.start !== offset)
            throw this.fail('TARE_E_READ', `bytes from ${range.start} came, not ${offset}`, offset);
        if (bytes.length !== size)
            throw this.fail('TARE_E_CHANGED', `${bytes.length} bytes came, not ${size}`, offset);
        return bytes;
    }
}

/**
 * A file behind a URL, with its first `headSize` bytes. A server that ignores ranges has sent all
 * of it by then, and it is in memory, as far as the allowance goes.
 */
export async function openUrl(url, options, headSize, allowance = new Allowance(options)) {
    const response = await request(url, options, { range: `bytes=0-${headSize - 1}` });
    if (response.status === 200)
        return new BytesSource(await readAll(response, {
            onProgress: options.onProgress, signal: options.signal, allowance }));
    if (response.status === 416) { // it has no byte 0
        const { size } = parseContentRange(response.headers.get('content-range'));
        if ((size ?? await askSize(url, options)) === 0) return new BytesSource(new Uint8Array(0));
        throw failure('TARE_E_READ', `${url}: HTTP status 416`);
    }
    const range = parseContentRange(response.headers.get('content-range'));
    const head = await readAll(response, { signal: options.signal, most: headSize });
    const size = range.size ?? await askSize(url, options);
    if ((range.start ?? 0) !== 0 || head.length !== Math.min(headSize, size))
        throw failure('TARE_E_READ', `${url}: other bytes came than were asked for`);
    return new UrlSource(url, options, allowance.most, size, response.headers.get('etag'), head);
}

/* ------------------------------------------------------------------------------------------------
 * Whatever it is that a caller has
 */

export function isBytes(from) {
    return from instanceof ArrayBuffer || ArrayBuffer.isView(from) ||
           (typeof SharedArrayBuffer === 'function' && from instanceof SharedArrayBuffer);
}

/** Runs `work` for each item, some at a time; results in the order of the items. */
export async function mapSome(items, work, atOnce = 6) {
    const results = new Array(items.length);
    let next = 0;
    const worker = async () => {
        while (next < items.length) {
            const i = next++;
            try {
                results[i] = await work(items[i], i);
            } catch (error) {
                next = items.length; // no more is begun
                throw error;
            }
        }
    };
    await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
    return results;
}
