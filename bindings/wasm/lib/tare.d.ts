/** Where the bytes of one file are, if the caller has them. */
export type Bytes = ArrayBuffer | SharedArrayBuffer | ArrayBufferView;

/* As "dom" and "esnext.disposable" of TypeScript have them, for projects without: those of Node need
 * @types/node, for Response and the others, and no more. */
declare global {
    namespace WebAssembly {
        interface Module {}
    }
    interface SymbolConstructor {
        readonly dispose: unique symbol;
    }
}

/** What the module may be compiled from. */
export type ModuleSource =
    | WebAssembly.Module
    | Bytes
    | Response
    | Promise<WebAssembly.Module | Bytes | Response>;

/**
 * Compiles the module, once. Needed only where `tare.wasm` is not beside the scripts (bundlers) or
 * where a moment for compiling is to be chosen; every way to open a model does it otherwise.
 */
export function init(source?: ModuleSource): Promise<WebAssembly.Module>;

/** The version of the C library: "0.1.0". */
export function version(): Promise<string>;

/**
 * A status of tare.h, with its place. Failures of the network, of a Blob, of a buffer that was
 * transferred and of the module itself are told so too. Other errors are an argument of a wrong
 * type (TypeError), and what a signal was aborted with.
 */
export class TareError extends Error {
    /** "TARE_E_JSON" and its like; see tare.h. */
    readonly status: string;
    /** Its number, pinned. */
    readonly code: number;
    /** Bytes from the start of the shard (or of the index file); null where there is no place. */
    readonly offset: number | null;
    /** The number of the shard; null where it is about none. */
    readonly shard: number | null;
    readonly systemError: number;
}

/**
 * What a model may have at most, in whole numbers from 1 (others are TARE_E_ARGUMENT): opening one
 * with more is TARE_E_LIMIT, with the place in the header. Numbers beyond what format and library
 * have for limits count as those, and so does none.
 */
export interface Limits {
    /** Bytes of the header of one file: default 100,000,000, at most 2^31-1 (TARE_E_ARGUMENT). More
     *  are TARE_E_HEADER_SIZE, and are not read, but for the first 64 KiB of the file; the same where a
     *  model is opened from an index file. */
    headerSizeMax?: number;
    /** Tensors of all shards: default 2^30-1. */
    tensorCountMax?: number;
    /** Dimensions of a tensor: default 4 in GGUF, else what a header can hold. */
    rankMax?: number;
    /** Bytes of a tensor's name, in UTF-8: default 63 in GGUF, else what a header can hold. */
    nameSizeMax?: number;
    /** Bytes of all keys and values of metadata, of all shards: default what headers can hold. */
    metadataSizeMax?: number;
}

export interface OpenOptions extends Limits {
    /**
     * An index file of the model, of `tare index` or `tare_index_save`. The model is opened from it
     * alone: of its own files only the sizes are looked at, which must be those that the index was
     * built from. One that does not fit is passed over, and headers are read: see
     * `Model.indexError`. It is copied to WebAssembly memory. Damage is told where it is met, as
     * TARE_E_PREBUILT.
     */
    index?: Bytes;
    /** An index that is missing or does not fit is an error. */
    requireIndex?: boolean;
}

export interface BytesOptions extends OpenOptions {
    /** Of the file. Where it ends in `.safetensors` or `.gguf` it must be right. */
    name?: string;
}

export interface ResponseOptions extends BytesOptions {
    /** Bytes that came, and how many there are: null where the response does not say. */
    onProgress?: (done: number, total: number | null) => void;
    /** Bytes of the response at most, a whole number from 1: more are TARE_E_LIMIT. Default: no limit,
     *  since all of it is what the caller asked for. */
    wholeSizeMax?: number;
}

export interface UrlOptions extends OpenOptions {
    headers?: Record<string, string>;
    /** Stops opening, and every later read that is given no signal of its own. */
    signal?: AbortSignal;
    /** In place of the global one. */
    fetch?: (url: string | URL, init?: RequestInit) => Promise<Response>;
    /** The URL of another file of the model, where it is not beside the first. */
    resolve?: (name: string, url: URL) => string | URL | undefined;
    /** Of a server that ignores ranges, so that all of a file is fetched. */
    onProgress?: (done: number, total: number | null) => void;
    /** Bytes that are taken at most of servers that ignore ranges, a whole number from 1: default 2^30, of
     *  all files of the model together while it is opened, and again of each later answer. More are
     *  TARE_E_LIMIT, which is told before they come where the answer says how many it has. */
    wholeSizeMax?: number;
}

/** A file that the caller reads, such as one behind a file handle. */
export interface Reader {
    readonly size: number;
    /** Just these bytes, in memory that stays as it is. What it throws is told as TARE_E_READ. */
    read(offset: number, size: number, signal?: AbortSignal): Promise<Uint8Array> | Uint8Array;
}

export interface NamedBytes {
    /** As in its folder: "model.safetensors", "sub/part.safetensors". */
    name: string;
    bytes: Bytes | Blob | Reader;
}

export interface Shard {
    /** "" where the bytes had no name. */
    readonly name: string;
    readonly size: number;
    readonly dataOffset: number;
    readonly format: 'safetensors' | 'gguf';
    /** Whether `Tensor.bytes` gives its bytes; else they must be read. */
    readonly inMemory: boolean;
}

export interface Stat {
    /** Bytes of WebAssembly memory that the model has. */
    readonly memorySize: number;
    /** Of these, what is in use; and of that, what for. */
    readonly modelSize: number;
    readonly recordSize: number;
    readonly nameSize: number;
    readonly shapeSize: number;
    readonly indexSize: number;
    /** True when the names defeated hashing and are searched by order. */
    readonly sorted: boolean;
    /** Of the index file that the model was opened from; its parts above are 0 then. */
    readonly indexFileSize: number;
}

export type TypedArray =
    | Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array
    | Float32Array | Float64Array | BigUint64Array | BigInt64Array;

export interface TensorArray {
    readonly array: TypedArray;
    /** The bytes are not aligned for this array where they lie: these are a copy. */
    readonly copied: boolean;
}

export interface ReadOptions {
    signal?: AbortSignal;
    /** A part of the tensor, in bytes; default all. */
    begin?: number;
    end?: number;
}

/** One tensor of a model. Usable until the model is closed. */
export class Tensor {
    private constructor();
    readonly name: string;
    /** Its bytes, a copy: names in GGUF may be no UTF-8, which `name` shows as U+FFFD. */
    readonly nameBytes: Uint8Array;
    /** Its place in the model: by shard, then by offset. */
    readonly index: number;
    /** As safetensors or ggml spell it: "BF16", "Q4_K". */
    readonly dtype: string;
    readonly rank: number;
    /** The slowest dimension first. Throws TARE_E_LIMIT for one beyond 2^53, which only a tensor
     *  without elements can have. */
    readonly shape: number[];
    readonly shapeBigInt: bigint[];
    /** In bytes. */
    readonly size: number;
    /** From the start of its shard. */
    readonly offset: number;
    readonly shard: number;
    /** A view of the caller's own buffer, not a copy; null where the file is not in memory. */
    readonly bytes: Uint8Array | null;
    /**
     * The same as elements: null where the file is not in memory or JavaScript has no such element
     * (BF16, 8 bits and less, quantized; F16 where the engine lacks Float16Array). BOOL is a
     * Uint8Array. A view where the bytes are aligned for it, else a copy, which `copied` tells.
     */
    readonly array: TensorArray | null;
    /** Its bytes, wherever they are: fetched, or a view of the caller's buffer as `bytes`. */
    read(options?: ReadOptions): Promise<Uint8Array>;
    /** The same as elements, between two of which `begin` and `end` must lie (TARE_E_ARGUMENT);
     *  null where JavaScript has no such element. */
    readArray(options?: ReadOptions): Promise<TypedArray | null>;
}

export type Kind = 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'f32' | 'bool' | 'string'
    | 'array' | 'u64' | 'i64' | 'f64';

/**
 * A value of metadata: of safetensors always a string. Of GGUF: numbers, those of u64 and i64 as
 * bigint; booleans; strings; arrays as the typed array of their items, or as an array of booleans
 * or strings.
 */
export type Value = number | bigint | boolean | string | boolean[] | string[] | TypedArray;

export interface Entry {
    readonly key: string;
    readonly kind: Kind;
    /** Of an array, else null. */
    readonly itemKind: Kind | null;
    /** Items of an array, else 1. */
    readonly count: number;
    readonly shard: number;
    /** Made each time that it is asked for. */
    readonly value: Value;
}

/** Metadata, in the order of the file, shard by shard. */
export class Metadata implements Iterable<Entry> {
    private constructor();
    readonly size: number;
    has(key: string | Uint8Array): boolean;
    /** The value of a key, from the first shard that has it. */
    get(key: string | Uint8Array): Value | undefined;
    /** By place; below 0 from the end. */
    at(index: number): Entry | undefined;
    [Symbol.iterator](): IterableIterator<Entry>;
}

/**
 * An open model. Headers are parsed in WebAssembly; bytes of tensors do not enter it, but those
 * behind a header of GGUF, whose size nobody knows before: within the first 64 KiB of the file, or
 * as many more as the header is long, and gone once the model is open. A name is a string, or its
 * bytes; no tensor has a name with half of a UTF-16 pair.
 */
export class Model implements Iterable<Tensor> {
    private constructor();

    /** A file in memory. The bytes are borrowed: do not change its header meanwhile. */
    static fromBytes(bytes: Bytes, options?: BytesOptions): Promise<Model>;

    /** One file, or the files of one model (a picked folder): headers are read, no more. */
    static fromBlob(blob: Blob | Iterable<Blob>, options?: OpenOptions): Promise<Model>;

    /** Files by their names: one, an index and its shards, or the parts of a split one. Others are
     *  ignored. */
    static fromFiles(files: Iterable<NamedBytes>, options?: OpenOptions): Promise<Model>;

    /** Fetches all of a file into memory. */
    static fromResponse(response: Response | Promise<Response>,
                        options?: ResponseOptions): Promise<Model>;

    /**
     * A file, an index and its shards beside it, any part of a split file, or a folder, whose URL
     * ends in a slash. Headers are fetched by ranges, tensors when they are read. Files of servers
     * that ignore ranges are fetched whole.
     */
    static fromUrl(url: string | URL, options?: UrlOptions): Promise<Model>;

    /** Number of tensors. */
    readonly length: number;
    readonly shards: Shard[];
    readonly metadata: Metadata;
    readonly stat: Stat;
    /** Why the index that was given is not used; null where it is, or where none was given. */
    readonly indexError: TareError | null;

    /** By place; below 0 from the end. */
    at(index: number): Tensor | undefined;
    find(name: string | Uint8Array): Tensor | undefined;
    has(name: string | Uint8Array): boolean;
    /** All names, in order. */
    names(): string[];
    /** All tensors whose names start so, in order. */
    prefix(prefix: string | Uint8Array): IterableIterator<Tensor>;
    [Symbol.iterator](): IterableIterator<Tensor>;

    /** find(name)?.bytes: undefined for no such tensor, null where they are not in memory. */
    tensorBytes(name: string | Uint8Array): Uint8Array | null | undefined;
    tensorArray(name: string | Uint8Array): TensorArray | null | undefined;
    /** Its bytes, fetched if need be; undefined for no such tensor. */
    read(name: string | Uint8Array, options?: ReadOptions): Promise<Uint8Array | undefined>;

    /** Lets go of all that the model has. Any call after that throws TARE_E_ARGUMENT. A model that
     *  is forgotten instead goes when garbage is collected. */
    close(): void;

    /** The same, of `using`, in engines that have the symbol. */
    [Symbol.dispose](): void;
}
