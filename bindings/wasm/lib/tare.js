/*
 * Models of safetensors and GGUF files in JavaScript: name -> dtype, shape, bytes. A thin layer
 * over the C library; see README.md. Tensor bytes stay where the caller has them.
 */
import { Instance, init, listFiles, openHeads, openIndex, takeLimits } from './instance.js';
import { Allowance, BytesSource, drop, isBytes, mapSome, openUrl, readAll, room, sourceOf } from './sources.js';
import { Tensor, Metadata, copyNames, listPrefix, placeOf } from './tensor.js';
import { TareError, failure } from './tare_error.js';

export { init, TareError, Tensor, Metadata };

const HEAD_SIZE = 65536; // read of each file first; few headers of shards are longer

/* ------------------------------------------------------------------------------------------------
 * Opening: try, fetch what was missing, try again
 */

function headOf(source, size) {
    return source.view(0, size) ?? source.read(0, size);
}

/** The head with the missing bytes behind it. */
async function extend(source, head, missing) {
    const end = missing.offset + missing.size;
    const viewed = source.view(0, end);
    if (viewed !== null) return viewed;
    const more = await source.read(head.length, end - head.length);
    const longer = room(end);
    longer.set(head);
    longer.set(more, head.length);
    return longer;
}

/** Calls `attempt` with the heads of files until nothing is missing. */
async function complete(files, attempt) {
    for (;;) {
        const result = await attempt(files);
        if (result.missing === undefined) return result;
        const file = files[result.missing.file];
        file.head = await extend(file.source, file.head, result.missing);
    }
}

/** What options say of opening, whatever becomes of them meanwhile: {index, requireIndex, limits}. */
function takeOptions(options) {
    const { index, requireIndex } = options;
    if (index !== undefined && !isBytes(index))
        throw new TypeError('an index is an ArrayBuffer or a view of one');
    return { index: index && new BytesSource(index), requireIndex, limits: takeLimits(options) };
}

/* Each file by itself, many at once, so that headers do not have to wait for each other. What is
 * wrong with a file is told when the model is opened, if the model needs it. */
async function prepare(file, limits) {
    file.head = await headOf(file.source, Math.min(file.size, HEAD_SIZE));
    const alone = [{ ...file, name: '' }];
    try {
        await complete(alone, (files) => openHeads(files, limits));
    } catch (error) {
        if (!(error instanceof TareError) || error.status === 'TARE_E_MEMORY') throw error;
    }
    file.head = alone[0].head;
}

/** The instance, or why the index is of no use, which is thrown where there must be one. */
async function tryIndex(files, { index, requireIndex, limits }) {
    if (index === undefined) {
        if (requireIndex) throw failure('TARE_E_OPEN', 'an index is required, and none was given');
        return {};
    }
    try {
        return { instance: await openIndex(files, index, limits) };
    } catch (error) {
        if (requireIndex || !(error instanceof TareError) || error.status === 'TARE_E_MEMORY')
            throw error;
        return { error };
    }
}

async function openFiles(named, options) {
    return openTaken(named, takeOptions(options));
}

async function openTaken(named, taken) {
    const { limits } = taken;
    const files = named.map(({ name, source }) => {
        if (typeof name !== 'string') throw new TypeError('the name of a file is a string');
        return { name, source, size: source.size, head: new Uint8Array(0) };
    });
    const made = await tryIndex(files, taken);
    if (made.instance !== undefined) return new Model(made.instance, files, null);
    if (files.length === 1) files[0].head = await headOf(files[0].source,
                                                         Math.min(files[0].size, HEAD_SIZE));
    else await mapSome(files, (file) => prepare(file, limits));
    const { instance } = await complete(files, (all) => openHeads(all, limits));
    for (const { source } of files) if (source.head !== undefined) source.head = new Uint8Array(0);
    return new Model(instance, files, made.error ?? null);
}

/** "folder/sub/a" of a picked folder is "sub/a" of the model. */
function nameOf(blob) {
    const path = blob.webkitRelativePath || blob.name || '';
    return blob.webkitRelativePath ? path.slice(path.indexOf('/') + 1) : path;
}

/* ------------------------------------------------------------------------------------------------
 * URLs
 */

function lastSegment(url) {
    const segment = url.pathname.slice(url.pathname.lastIndexOf('/') + 1);
    try {
        const name = decodeURIComponent(segment);
        return name.includes('/') ? segment : name; // files beside it are in its folder
    } catch {
        return segment; // not UTF-8: it is what it is
    }
}

function urlOf(name, base) {
    return new URL(name.split('/').map(encodeURIComponent).join('/'), base);
}

/** What is fetched first: with an index file, of other files than lists no more than their size. */
function headSizeOf(name, { index }) {
    return index === undefined || name.endsWith('.json') ? HEAD_SIZE : 1;
}

/* A folder on a server cannot be listed: these are tried, as tare_open would choose them. */
const USUAL_NAMES = ['model.safetensors.index.json', 'model.safetensors'];

async function openFolderUrl(base, options, allowance) {
    let error;
    for (const name of USUAL_NAMES) {
        const url = new URL(name, base);
        try {
            return [url, await openUrl(url, options, HEAD_SIZE, allowance)];
        } catch (cause) {
            if (cause?.status !== 'TARE_E_OPEN') throw cause;
            error = cause;
        }
    }
    throw error;
}

function parseUrl(text) {
    try {
        return new URL(text, globalThis.location?.href);
    } catch (cause) {
        throw failure('TARE_E_ARGUMENT', `not a URL: ${text}`, { cause });
    }
}

async function openFromUrl(text, options) {
    const taken = takeOptions(options), allowance = new Allowance(options);
    let url = parseUrl(text), source;
    if (url.pathname.endsWith('/')) [url, source] = await openFolderUrl(url, options, allowance);
    else source = await openUrl(url, options, headSizeOf(url.pathname, options), allowance);
    const name = lastSegment(url);
    const file = { name, source, size: source.size, head: await headOf(
        source, Math.min(source.size, headSizeOf(name, options))) };
    const { names } = await complete([file], ([one]) => listFiles(one, taken.limits));
    if (file.head.length === file.size) source = new BytesSource(file.head); // an index, read whole
    const others = await mapSome(names.filter((other) => other !== name), async (other) => {
        const resolved = options.resolve?.(other, url) ?? urlOf(other, url);
        return { name: other,
                 source: await openUrl(resolved, options, headSizeOf(other, options), allowance) };
    });
    return openTaken([{ name, source }, ...others], taken);
}

/* ------------------------------------------------------------------------------------------------
 * The model
 */

export class Model {
    #instance;
    #sources; // by shard
    #shards;
    #indexError;

    /** Not for callers: see the static calls. */
    constructor(instance, files, indexError) {
        this.#instance = instance;
        this.#indexError = indexError;
        const { calls } = instance;
        const byName = new Map(files.map((file) => [file.name, file.source]));
        this.#sources = [];
        this.#shards = [];
        for (let i = 0; i < calls.tare_js_shard_count(); i++) {
            const at = calls.tare_js_shard_at(i);
            const name = instance.text(instance.words[at >>> 2], instance.words[(at >>> 2) + 1]);
            const source = byName.get(name) ?? files[0].source;
            this.#sources.push(source);
            this.#shards.push(Object.freeze({
                name,
                size: instance.number(at + 8),
                dataOffset: instance.number(at + 16),
                format: instance.words[(at + 28) >>> 2] === 2 ? 'gguf' : 'safetensors',
                inMemory: source.view(0, 0) !== null,
            }));
        }
    }

    static async fromBytes(bytes, options = {}) {
        if (!isBytes(bytes)) throw new TypeError('bytes are an ArrayBuffer or a view of one');
        return openFiles([{ name: options.name ?? '', source: new BytesSource(bytes) }], options);
    }

    static async fromBlob(blob, options = {}) {
        if (blob instanceof Blob)
            return openFiles([{ name: nameOf(blob), source: sourceOf(blob) }], options);
        return Model.fromFiles([...blob].map((one) => ({ name: nameOf(one), bytes: one })), options);
    }

    static async fromFiles(files, options = {}) {
        return openFiles([...files].map(({ name, bytes }) => ({ name, source: sourceOf(bytes) })),
                         options);
    }

    static async fromResponse(response, options = {}) {
        const given = await response, { onProgress, wholeSizeMax } = options;
        if (typeof given?.ok !== 'boolean') throw new TypeError('a Response, or a promise of one');
        let allowance; // none: all of it is what the caller asked for
        try {
            takeOptions(options); // before all of it is fetched
            if (wholeSizeMax !== undefined) allowance = new Allowance({ wholeSizeMax });
            if (!given.ok)
                throw failure('TARE_E_OPEN', `${given.url}: HTTP status ${given.status}`);
        } catch (error) {
            await drop(given);
            throw error;
        }
        return Model.fromBytes(await readAll(given, { onProgress, allowance }), options);
    }

    static async fromUrl(url, options = {}) {
        return openFromUrl(url, options);
    }

    /** The instance; tells who uses a model that is closed. */
    #open() {
        if (this.#instance === null) throw failure('TARE_E_ARGUMENT', 'the model is closed');
        return this.#instance;
    }

    #tensor(at) {
        return new Tensor(this.#open(), at, this.#sources);
    }

    close() {
        this.#instance?.close();
        this.#instance = null;
        this.#sources = [];
    }

    get length() {
        return this.#open().calls.tare_js_count();
    }

    get shards() {
        this.#open();
        return this.#shards.slice();
    }

    at(index) {
        const { calls } = this.#open(), place = placeOf(index, calls.tare_js_count());
        return place === -1 ? undefined : this.#tensor(calls.tare_js_at(place));
    }

    find(name) {
        const instance = this.#open(), at = instance.find(name);
        return at === 0 ? undefined : new Tensor(instance, at, this.#sources);
    }

    has(name) {
        return this.#open().find(name) !== 0;
    }

    names() {
        return copyNames(this.#open());
    }

    *[Symbol.iterator]() {
        for (let i = 0; i < this.length; i++) yield this.#tensor(this.#open().calls.tare_js_at(i));
    }

    *prefix(prefix) {
        for (const at of listPrefix(this.#open(), prefix)) yield this.#tensor(at);
    }

    tensorBytes(name) {
        return this.find(name)?.bytes;
    }

    tensorArray(name) {
        return this.find(name)?.array;
    }

    async read(name, options) {
        const tensor = this.find(name);
        if (tensor === undefined) return undefined;
        return tensor.read(options);
    }

    get metadata() {
        return new Metadata(this.#open());
    }

    get indexError() {
        this.#open();
        return this.#indexError;
    }

    get stat() {
        const instance = this.#open();
        const at = instance.calls.tare_js_stat();
        return {
            memorySize: instance.bytes.length,
            modelSize: instance.number(at + 8),
            recordSize: instance.number(at + 16),
            nameSize: instance.number(at + 24),
            shapeSize: instance.number(at + 32),
            indexSize: instance.number(at + 40),
            sorted: instance.words[(at + 52) >>> 2] !== 0,
            indexFileSize: instance.number(at + 64),
        };
    }
}

if (Symbol.dispose !== undefined) Model.prototype[Symbol.dispose] = Model.prototype.close;

/** The version of the C library. */
export async function version() {
    const instance = new Instance(await init());
    return instance.textAt(instance.calls.tare_js_version());
}
