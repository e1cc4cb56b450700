/*
 * The WebAssembly module and its instances: one to a model. An instance that opens a model has the
 * heads of its files behind its heap; the one that serves it afterwards has no more than it keeps.
 */
import { TareError, failure } from './tare_error.js';

const PAGE = 65536;
const SAFE_MAX = Number.MAX_SAFE_INTEGER;
export const NO_SHARD = 0xffffffff;
const BAD_DESCRIPTOR = 8; // of WASI

/** @type {Promise<WebAssembly.Module> | null} */
let compiled = null;

async function compileBeside() {
    const url = new URL('tare.wasm', import.meta.url);
    if (url.protocol === 'file:') {
        const { readFile } = await import('node:fs/promises');
        return WebAssembly.compile(await readFile(url));
    }
    const response = await fetch(url);
    if (!response.ok) throw failure('TARE_E_OPEN', `${url}: HTTP status ${response.status}`);
    if (response.headers.get('content-type')?.startsWith('application/wasm'))
        return WebAssembly.compileStreaming(response);
    return WebAssembly.compile(await response.arrayBuffer());
}

let random = globalThis.crypto; // which Node 18 hides

async function load(source) {
    const given = source !== undefined;
    try {
        random ??= (await import('node:crypto')).webcrypto;
        return await (given ? compileGiven(source) : compileBeside());
    } catch (cause) {
        throw explain(cause, given);
    }
}

/** Compiles the module, once; without `source` it is fetched from beside this file. */
export function init(source) {
    if (source !== undefined || compiled === null) {
        const loading = load(source);
        compiled = loading;
        loading.catch(() => {
            if (compiled === loading) compiled = null; // so that it can be tried again
        });
    }
    return compiled;
}

async function compileGiven(source) {
    const given = await source;
    if (typeof Response === 'function' && given instanceof Response)
        return WebAssembly.compile(await given.arrayBuffer());
    return given instanceof WebAssembly.Module ? given : WebAssembly.compile(given);
}

/** Why there is no module. What the caller's own promise fails with is the caller's. */
function explain(cause, given) {
    if (cause instanceof WebAssembly.CompileError)
        return failure('TARE_E_UNSUPPORTED', `tare.wasm cannot be compiled: ${cause.message}`,
                       { cause });
    if (given || cause instanceof TareError) return cause;
    return failure('TARE_E_OPEN', `tare.wasm cannot be loaded: ${cause?.message ?? cause}`,
                   { cause });
}

/** An instance; its memory may be more than there is. */
function instantiate(module, imports) {
    try {
        return new WebAssembly.Instance(module, imports);
    } catch (cause) {
        if (!(cause instanceof RangeError)) throw cause;
        throw failure('TARE_E_MEMORY', `no memory for a model: ${cause.message}`, { cause });
    }
}

const NO_NAME = -1;

/** Half of a pair of UTF-16 has no UTF-8, and encoders put U+FFFD in its place. */
function isText(name) {
    return !/\p{Surrogate}/u.test(name);
}

/* U+FEFF at the start of a name is a part of it. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const encoder = new TextEncoder();

/* Options of opening that say what a model may have at most, and where tare_options of wasm32 has
 * them, which shim.c compares. */
const LIMITS = { headerSizeMax: 24, tensorCountMax: 56, rankMax: 64, nameSizeMax: 72,
                 metadataSizeMax: 80 };

/** Those among options, as openHeads and the others take them: [place, number]. */
export function takeLimits(options) {
    const limits = Object.entries(LIMITS).map(([name, place]) => [place, options[name], name])
        .filter(([, most]) => most !== undefined);
    for (const [, most, name] of limits)
        if (!(Number.isSafeInteger(most) && most > 0))
            throw failure('TARE_E_ARGUMENT', `${name} is a whole number from 1, not ${String(most)}`);
    return limits;
}

/** One instance, with views of its memory. */
export class Instance {
    /** @param {WebAssembly.Module} module */
    constructor(module) {
        this.module = module;
        this.closed = false;
        this.missing = null; // {file, offset, size} of the bytes that were wanted last
        this.names = []; // of tare_list_files
        const instance = instantiate(module, {
            tare: {
                missing: (file, offset, size) => {
                    this.missing = { file, offset, size };
                },
                visit: (name, size) => {
                    this.names.push(this.text(name, size));
                },
            },
            wasi_snapshot_preview1: {
                random_get: (target, size) => {
                    const memory = new Uint8Array(instance.exports.memory.buffer, target, size);
                    for (let at = 0; at < size; at += 65536)
                        random.getRandomValues(memory.subarray(at, at + 65536));
                    return 0;
                },
                /* Of libc's printf, for the error that it has no floats, which nobody prints. */
                fd_close: () => BAD_DESCRIPTOR,
                fd_seek: () => BAD_DESCRIPTOR,
                fd_write: () => BAD_DESCRIPTOR,
            },
        });
        this.calls = instance.exports;
        this.scratch = 0; // where names and lists are handed over, and how many bytes of that
        this.scratchSize = 0;
        this.look();
    }

    /** Lets go of the memory, whoever still holds tensors of it. */
    close() {
        this.closed = true;
        this.calls = this.bytes = this.words = null;
    }

    /** Views, anew: growing a memory takes it away from those there are. */
    look() {
        const buffer = this.calls.memory.buffer;
        this.bytes = new Uint8Array(buffer);
        this.words = new Uint32Array(buffer);
    }

    /** Adds room for that many bytes at the end of the memory; where. */
    grow(size) {
        const at = this.bytes.length;
        try {
            this.calls.memory.grow(Math.ceil(size / PAGE));
        } catch (cause) {
            throw failure('TARE_E_MEMORY', `no memory for ${size} bytes more`, { cause });
        }
        this.look();
        return at;
    }

    /** A number of 64 bits; beyond 2^53 it is the nearest that there is. */
    number(at) {
        return this.words[at >>> 2] + this.words[(at >>> 2) + 1] * 4294967296;
    }

    bigint(at) {
        return BigInt(this.words[at >>> 2]) | (BigInt(this.words[(at >>> 2) + 1]) << 32n);
    }

    text(at, size) {
        return decoder.decode(this.bytes.subarray(at, at + size));
    }

    /** Text up to its terminator; null for NULL. */
    textAt(at) {
        return at === 0 ? null : this.text(at, this.bytes.indexOf(0, at) - at);
    }

    /** Makes sure that there are so many bytes to hand things over in. */
    room(size) {
        if (size <= this.scratchSize) return;
        this.scratch = this.grow(size);
        this.scratchSize = this.bytes.length - this.scratch;
    }

    /** Writes a name, or key, to where it is handed over; its size, or NO_NAME: nothing has it. */
    write(name) {
        if (typeof name !== 'string') {
            if (!(name instanceof Uint8Array))
                throw new TypeError('a name is a string or a Uint8Array');
            this.room(name.length);
            this.bytes.set(name, this.scratch);
            return name.length;
        }
        const length = name.length;
        if (length <= 128 && length <= this.scratchSize) {
            const { bytes, scratch } = this;
            let at = 0;
            for (; at < length; at++) {
                const unit = name.charCodeAt(at);
                if (unit > 127) break;
                bytes[scratch + at] = unit;
            }
            if (at === length) return length;
        }
        if (!isText(name)) return NO_NAME;
        this.room(length * 3);
        return encoder.encodeInto(name, this.bytes.subarray(this.scratch)).written;
    }

    /** Where the tensor of that name is; 0 where there is none. */
    find(name) {
        const size = this.write(name);
        return size < 0 ? 0 : this.calls.tare_js_find(this.scratch, size);
    }

    /** The error of the call that failed last. */
    error() {
        const at = this.calls.tare_js_error();
        const code = this.words[at >>> 2] | 0;
        const shard = this.words[(at >>> 2) + 2];
        const offset = this.number(at + 16);
        return new TareError(this.textAt(at + 24), {
            code,
            status: this.textAt(this.calls.tare_js_status_name(code)),
            systemError: this.words[(at >>> 2) + 1] | 0,
            shard: shard === NO_SHARD ? null : shard,
            offset: offset > SAFE_MAX ? null : offset,
        });
    }

    /** Makes an attempt to open heed these limits. */
    limit(limits) {
        const options = this.calls.tare_js_options();
        for (const [place, most] of limits) {
            const word = (options + place) >>> 2;
            this.words[word] = most; // modulo 2^32
            this.words[word + 1] = most / 4294967296;
        }
    }

    /** Puts files where C finds them: {name, head, size}; where. C has `room` for what it makes. */
    table(files, room) {
        const names = files.map((file) => encoder.encode(file.name));
        for (const [i, name] of names.entries())
            if (name.includes(0) || !isText(files[i].name))
                throw failure('TARE_E_ARGUMENT',
                              `file ${i}: its name is no text, or holds a zero byte`);
        const round = (size) => Math.ceil(size / 64) * 64;
        const tableSize = round(this.calls.tare_js_table_size(files.length));
        const nameSize = names.reduce((sum, name) => sum + name.length + 1, 0);
        const headSize = files.reduce((sum, file) => sum + round(file.head.length), 0);
        if (!this.calls.tare_js_reserve(room))
            throw failure('TARE_E_MEMORY', `no memory: ${room} bytes to open a model`);
        this.look();
        const table = this.grow(tableSize + headSize + nameSize);
        let head = table + tableSize, name = head + headSize;
        for (const [i, file] of files.entries()) {
            this.bytes.set(file.head, head);
            this.bytes.set(names[i], name); // new memory is zero: it has its terminator
            this.calls.tare_js_table_set(table, files.length, i, name, head, file.head.length,
                                         file.size);
            head += round(file.head.length);
            name += names[i].length + 1;
        }
        return table;
    }

    /**
     * An instance with a memory of its own, as small as can be, that holds the model of this one.
     * What an instance is, is in its memory: between calls all else is as it was at the start.
     */
    moved() {
        const top = Math.ceil((this.calls.tare_js_top() >>> 0) / 64) * 64;
        const fresh = new Instance(this.module);
        const lack = top + 4096 - fresh.bytes.length;
        if (lack > 0) fresh.grow(lack);
        fresh.bytes.set(this.bytes.subarray(0, top));
        fresh.scratch = top;
        fresh.scratchSize = fresh.bytes.length - top;
        return fresh;
    }
}

/**
 * The head of a safetensors file without what was read of its tensors; any other file's as it is:
 * in what begins with text, or "GGUF", the first 8 bytes are a number beyond every head.
 */
function headerOf(head) {
    if (head.length < 8) return head;
    const size = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true);
    return size <= head.length - 8 ? head.subarray(0, 8 + Number(size)) : head;
}

/** Runs `call(instance, table)` on files: the instance, with what it says or which bytes lack. */
async function attempt(files, limits, call) {
    const module = await init();
    for (const { source } of files) source.view(0, 0); // throws where a buffer is gone meanwhile
    for (const cut of [headerOf, (head) => head]) {
        const instance = new Instance(module);
        instance.limit(limits);
        const heads = files.map((file) => ({ ...file, head: cut(file.head) }));
        /* What a model keeps is less than its headers, and so is what opening needs beside. */
        const headSize = heads.reduce((sum, { head }) => sum + head.length, 0);
        const table = instance.table(heads, headSize * 2 + 16 * PAGE);
        const status = call(instance, table);
        instance.look();
        if (status === 0) return { instance };
        const { missing } = instance;
        if (missing === null) throw instance.error();
        /* What lacks only since it was cut off is handed in: no safetensors file after all. */
        if (missing.offset + missing.size > files[missing.file].head.length) return { missing };
    }
    throw failure('TARE_E_READ', 'bytes of a head are wanted that it has');
}

/**
 * Opens the model that is among files, as far as their heads go: an instance that has it, or which
 * bytes are missing, to be fetched before it is tried again.
 * @param {{name: string, head: Uint8Array, size: number, source: object}[]} files
 * @returns {Promise<{instance?: Instance,
 *                    missing?: {file: number, offset: number, size: number}}>}
 */
export async function openHeads(files, limits) {
    const { instance, missing } = await attempt(files, limits, (opening, table) =>
        opening.calls.tare_js_open(table, files.length));
    return instance === undefined ? { missing } : { instance: instance.moved() };
}

/**
 * Opens a model from its index file, without a byte of its own files. The index stays where it is
 * put, so that nothing is moved.
 * @param {{name: string, size: number}[]} files
 * @param {BytesSource} source of the index
 */
export async function openIndex(files, source, limits) {
    const instance = new Instance(await init());
    const index = source.view(0, source.size);
    instance.limit(limits);
    const bare = files.map(({ name, size }) => ({ name, size, head: new Uint8Array(0) }));
    const table = instance.table(bare, PAGE);
    const at = instance.grow(index.length);
    instance.bytes.set(index, at);
    const status = instance.calls.tare_js_open_index(table, files.length, at, index.length);
    instance.look();
    if (status !== 0) throw instance.error();
    return instance;
}

/** The names of the files that a model is made of, told from one; or which bytes are missing. */
export async function listFiles(file, limits) {
    const { instance, missing } = await attempt([file], limits, (opening, table) =>
        opening.calls.tare_js_list(table));
    return instance === undefined ? { missing } : { names: instance.names };
}
