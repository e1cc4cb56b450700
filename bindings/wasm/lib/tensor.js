/* Tensors, names and metadata of an open model, read from where C puts its answers. */
import { NO_SHARD } from './instance.js';
import { failure } from './tare_error.js';

/* The arrays of JavaScript that have the elements of a dtype as they are. */
const ARRAYS = {
    BOOL: Uint8Array,
    U8: Uint8Array,
    I8: Int8Array,
    I16: Int16Array,
    U16: Uint16Array,
    I32: Int32Array,
    U32: Uint32Array,
    F32: Float32Array,
    F64: Float64Array,
    I64: BigInt64Array,
    U64: BigUint64Array,
};
if (typeof globalThis.Float16Array === 'function') ARRAYS.F16 = globalThis.Float16Array;

const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** A view of bytes as elements of `Type`, or of a copy where they are not aligned for it. */
function arrayOf(Type, bytes) {
    if (!LITTLE_ENDIAN && Type.BYTES_PER_ELEMENT > 1)
        throw failure('TARE_E_UNSUPPORTED', 'typed arrays are big-endian on this host');
    const copied = bytes.byteOffset % Type.BYTES_PER_ELEMENT !== 0;
    const from = copied ? bytes.slice() : bytes;
    return {
        array: new Type(from.buffer, from.byteOffset, from.byteLength / Type.BYTES_PER_ELEMENT),
        copied,
    };
}

/* tare_info, as wasm32 lays it out; it begins with the name and its size. */
const INFO = { shape: 8, rank: 12, dtype: 16, size: 24, offset: 32, shard: 40 };

/* Names of dtypes and kinds, by number: the same in every instance. */
const dtypes = [], kinds = [];

function dtypeName(instance, dtype) {
    return (dtypes[dtype] ??= instance.textAt(instance.calls.tare_js_dtype_name(dtype)));
}

function kindName(instance, kind) {
    return (kinds[kind] ??= instance.textAt(instance.calls.tare_js_kind_name(kind)));
}

export class Tensor {
    #instance;
    #at;
    #sources;

    /** Not for callers: a model gives tensors. */
    constructor(instance, at, sources) {
        this.#instance = instance;
        this.#at = at;
        this.#sources = sources;
    }

    /** Where C says all about it. */
    #info() {
        if (this.#instance.closed) throw failure('TARE_E_ARGUMENT', 'the model is closed');
        const at = this.#instance.calls.tare_js_describe(this.#at);
        if (this.#instance.words[(at + INFO.shard) >>> 2] !== NO_SHARD) return at;
        throw failure('TARE_E_PREBUILT', 'what the index file says of a tensor cannot be');
    }

    #word(place) {
        return this.#instance.words[(this.#info() + place) >>> 2];
    }

    get name() {
        const at = this.#info() >>> 2, { words } = this.#instance;
        return this.#instance.text(words[at], words[at + 1]);
    }

    /** Names in GGUF may be other bytes than UTF-8, which `name` cannot show. */
    get nameBytes() {
        const at = this.#info() >>> 2, { words, bytes } = this.#instance;
        return bytes.slice(words[at], words[at] + words[at + 1]);
    }

    get index() {
        this.#info();
        return this.#instance.calls.tare_js_index_of(this.#at);
    }

    get dtype() {
        return dtypeName(this.#instance, this.#word(INFO.dtype));
    }

    get rank() {
        return this.#word(INFO.rank);
    }

    get shape() {
        const at = this.#info(), { words } = this.#instance;
        const shape = words[(at + INFO.shape) >>> 2], rank = words[(at + INFO.rank) >>> 2];
        return Array.from({ length: rank }, (_, i) => {
            const size = this.#instance.number(shape + 8 * i);
            if (size <= Number.MAX_SAFE_INTEGER) return size;
            throw failure('TARE_E_LIMIT', `tensor '${this.name}': a dimension beyond 2^53, ` +
                          'which a number cannot hold: see shapeBigInt');
        });
    }

    get shapeBigInt() {
        const at = this.#info(), { words } = this.#instance;
        const shape = words[(at + INFO.shape) >>> 2], rank = words[(at + INFO.rank) >>> 2];
        return Array.from({ length: rank }, (_, i) => this.#instance.bigint(shape + 8 * i));
    }

    get size() {
        return this.#instance.number(this.#info() + INFO.size);
    }

    get offset() {
        return this.#instance.number(this.#info() + INFO.offset);
    }

    get shard() {
        return this.#word(INFO.shard);
    }

    get bytes() {
        const at = this.#info(), { words } = this.#instance;
        const source = this.#sources[words[(at + INFO.shard) >>> 2]];
        return source.view(this.#instance.number(at + INFO.offset),
                           this.#instance.number(at + INFO.size));
    }

    get array() {
        const Type = ARRAYS[this.dtype], bytes = this.bytes;
        return Type === undefined || bytes === null ? null : arrayOf(Type, bytes);
    }

    async read(options) {
        const { signal, begin = 0, end } = options ?? {};
        const at = this.#info(), size = this.#instance.number(at + INFO.size);
        const stop = end ?? size;
        if (!(Number.isSafeInteger(begin) && Number.isSafeInteger(stop) && begin >= 0 &&
              begin <= stop && stop <= size))
            throw failure('TARE_E_ARGUMENT', `tensor '${this.name}': it has ${size} bytes, ` +
                          `asked for ${begin} to ${stop}`);
        const source = this.#sources[this.#instance.words[(at + INFO.shard) >>> 2]];
        const offset = this.#instance.number(at + INFO.offset);
        return source.read(offset + begin, stop - begin, signal);
    }

    async readArray(options) {
        const Type = ARRAYS[this.dtype];
        if (Type === undefined) return null;
        const { begin = 0, end = this.size } = options ?? {}, width = Type.BYTES_PER_ELEMENT;
        if (begin % width !== 0 || end % width !== 0)
            throw failure('TARE_E_ARGUMENT', `tensor '${this.name}': its elements have ${width} ` +
                          `bytes, asked for ${begin} to ${end}`);
        return arrayOf(Type, await this.read(options)).array;
    }
}

/* ------------------------------------------------------------------------------------------------
 * Lists
 */

/** The place that an index means, which may count from the end; -1 for none. */
export function placeOf(index, count) {
    const place = index < 0 ? index + count : index;
    return Number.isInteger(place) && place >= 0 && place < count ? place : -1;
}

const BATCH = 4096, BATCH_TEXT = 1 << 18;

function slices(instance, sizes, count, text) {
    const all = instance.text(text, sizes.reduce((sum, size) => sum + size, 0));
    const names = new Array(count);
    const ascii = /^[\0-\x7f]*$/.test(all);
    let at = 0;
    for (let i = 0; i < count; i++) {
        names[i] = ascii ? all.slice(at, at + sizes[i]) : instance.text(text + at, sizes[i]);
        at += sizes[i];
    }
    return names;
}

/** All names, in order: many in one decoding. */
export function copyNames(instance) {
    const names = [], total = instance.calls.tare_js_count();
    let room = BATCH_TEXT;
    while (names.length < total) {
        instance.room(BATCH * 4 + room);
        const sizes = instance.scratch, text = sizes + BATCH * 4;
        const count = instance.calls.tare_js_names(names.length, sizes, BATCH, text, room);
        if (count === 0) room *= 2; // one name alone is longer
        else names.push(...slices(instance,
                                  instance.words.subarray(sizes >>> 2, (sizes >>> 2) + count),
                                  count, text));
    }
    return names;
}

/** Where the tensors are whose names start so. */
export function listPrefix(instance, prefix) {
    const found = [];
    const size = instance.write(prefix);
    if (size < 0) return found;
    const lists = Math.ceil(size / 4) * 4;
    const copy = instance.bytes.slice(instance.scratch, instance.scratch + size);
    instance.room(lists + BATCH * 4); // may move it
    instance.bytes.set(copy, instance.scratch);
    instance.calls.tare_js_prefix(instance.scratch, size);
    const out = instance.scratch + lists;
    for (;;) {
        const count = instance.calls.tare_js_next(out, BATCH);
        for (let i = 0; i < count; i++) found.push(instance.words[(out >>> 2) + i]);
        if (count < BATCH) return found;
    }
}

/* ------------------------------------------------------------------------------------------------
 * Metadata
 */

/* tare_value, as wasm32 lays it out, and where shim.c has it in an entry. */
const VALUE = { kind: 0, itemKind: 4, count: 8, data: 16, size: 20 }, ENTRY_VALUE = 16;

const READERS = {
    u8: ['getUint8', Uint8Array],
    i8: ['getInt8', Int8Array],
    u16: ['getUint16', Uint16Array],
    i16: ['getInt16', Int16Array],
    u32: ['getUint32', Uint32Array],
    i32: ['getInt32', Int32Array],
    f32: ['getFloat32', Float32Array],
    u64: ['getBigUint64', BigUint64Array],
    i64: ['getBigInt64', BigInt64Array],
    f64: ['getFloat64', Float64Array],
};

function scalar(instance, at, kind) {
    const { bytes } = instance;
    const data = instance.words[(at + VALUE.data) >>> 2];
    if (kind === 'string') return instance.text(data, instance.words[(at + VALUE.size) >>> 2]);
    if (kind === 'bool') return bytes[data] !== 0;
    return new DataView(bytes.buffer)[READERS[kind][0]](data, true);
}

function items(instance, at, kind) {
    const count = instance.number(at + VALUE.count);
    if (READERS[kind] !== undefined) {
        const [read, Type] = READERS[kind];
        const data = instance.words[(at + VALUE.data) >>> 2];
        const view = new DataView(instance.bytes.buffer), array = new Type(count);
        for (let i = 0; i < count; i++)
            array[i] = view[read](data + i * Type.BYTES_PER_ELEMENT, true);
        return array;
    }
    const array = [];
    instance.calls.tare_js_walk();
    for (let item; (item = instance.calls.tare_js_walk_next()) !== 0;)
        array.push(scalar(instance, item, kind));
    if (array.length !== count) throw damagedValue();
    return array;
}

/* Of headers that were read everything is known to be right. */
function damagedValue() {
    return failure('TARE_E_PREBUILT', 'what the index file says of a value cannot be');
}

function valueOf(instance, entry) {
    const at = entry + ENTRY_VALUE;
    const kind = kindName(instance, instance.words[(at + VALUE.kind) >>> 2]);
    if (kind === null) throw damagedValue();
    if (kind !== 'array') return scalar(instance, at, kind);
    return items(instance, at, kindName(instance, instance.words[(at + VALUE.itemKind) >>> 2]));
}

/** The metadata of a model, much like a Map; a value is made each time that it is asked for. */
export class Metadata {
    #instance;

    constructor(instance) {
        this.#instance = instance;
    }

    #calls() {
        if (this.#instance.closed) throw failure('TARE_E_ARGUMENT', 'the model is closed');
        return this.#instance.calls;
    }

    #find(key) {
        const calls = this.#calls(), size = this.#instance.write(key);
        return size < 0 ? 0 : calls.tare_js_metadata_find(this.#instance.scratch, size);
    }

    get size() {
        return this.#calls().tare_js_metadata_count();
    }

    has(key) {
        return this.#find(key) !== 0;
    }

    get(key) {
        const entry = this.#find(key);
        return entry === 0 ? undefined : valueOf(this.#instance, entry);
    }

    /** {key, kind, itemKind, count, shard, value} of an entry, in the order of the file. */
    at(index) {
        const instance = this.#instance, place = placeOf(index, this.size);
        if (place === -1) return undefined;
        const entry = this.#calls().tare_js_metadata_at(place);
        const { words } = instance, word = entry >>> 2, at = entry + ENTRY_VALUE;
        const itemKind = words[(at + VALUE.itemKind) >>> 2];
        const kind = kindName(instance, words[(at + VALUE.kind) >>> 2]);
        if (kind === null) throw damagedValue();
        const calls = () => this.#calls();
        return {
            key: instance.text(words[word], words[word + 1]),
            kind,
            itemKind: itemKind === 0 ? null : kindName(instance, itemKind),
            count: instance.number(at + VALUE.count),
            shard: words[word + 2],
            get value() {
                return valueOf(instance, calls().tare_js_metadata_at(place));
            },
        };
    }

    *[Symbol.iterator]() {
        for (let i = 0; i < this.size; i++) yield this.at(i);
    }
}
