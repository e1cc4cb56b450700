/* The package as it is built, files to open, and a folder that goes when the tests end. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { after } from 'node:test';

export const ROOT = join(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../../..');
export const PACKAGE = process.env.TARE_WASM_PACKAGE ?? join(ROOT, 'build/wasm');
if (!existsSync(join(PACKAGE, 'lib/tare.wasm'))) {
    console.log(`Skipped: ${PACKAGE} has no module; build it with ./x build wasm`);
    process.exit(77);
}
export const tare = await import(pathToFileURL(join(PACKAGE, 'lib/tare.js')));
export const { Model, TareError } = tare;

/** A safetensors file of [name, dtype, shape, bytes]. */
export function safetensors(tensors, metadata, pad = 0) {
    const header = metadata === undefined ? {} : { __metadata__: metadata };
    let end = 0;
    for (const [name, dtype, shape, bytes] of tensors) {
        header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
        end += bytes.length;
    }
    return raw(JSON.stringify(header) + ' '.repeat(pad), Buffer.concat(tensors.map((t) => t[3])));
}

/** A file of this header text, whatever it is. */
export function raw(text, data = Buffer.alloc(0)) {
    const header = Buffer.from(text);
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(header.length));
    return Buffer.concat([size, header, data]);
}

const KINDS = { u8: 0, i8: 1, u16: 2, i16: 3, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9,
                u64: 10, i64: 11, f64: 12 };

function packed(kind, value) {
    if (kind === 'string') return text(value);
    const out = Buffer.alloc(8);
    const size = { u8: 1, i8: 1, u16: 2, i16: 2, u32: 4, i32: 4, f32: 4, bool: 1 }[kind] ?? 8;
    const view = new DataView(out.buffer, out.byteOffset, 8);
    const set = { u8: 'Uint8', i8: 'Int8', u16: 'Uint16', i16: 'Int16', u32: 'Uint32', i32: 'Int32',
                  f32: 'Float32', bool: 'Uint8', u64: 'BigUint64', i64: 'BigInt64', f64: 'Float64' };
    view[`set${set[kind]}`](0, kind === 'bool' ? Number(value) : value, true);
    return out.subarray(0, size);
}

function text(value) {
    const bytes = Buffer.isBuffer(value) ? value : Buffer.from(value);
    return Buffer.concat([packed('u64', BigInt(bytes.length)), bytes]);
}

/** A GGUF file of F32 tensors [name, count] and metadata [key, kind, value, itemKind]. */
export function gguf(tensors, metadata = []) {
    const pieces = [Buffer.from('GGUF'), packed('u32', 3), packed('u64', BigInt(tensors.length)),
                    packed('u64', BigInt(metadata.length))];
    for (const [key, kind, value, itemKind] of metadata) {
        pieces.push(text(key), packed('u32', KINDS[kind]));
        if (kind !== 'array') pieces.push(packed(kind, value));
        else pieces.push(packed('u32', KINDS[itemKind]), packed('u64', BigInt(value.length)),
                         ...value.map((item) => packed(itemKind, item)));
    }
    let at = 0;
    for (const [name, count] of tensors) {
        pieces.push(text(name), packed('u32', 1), packed('u64', BigInt(count)), packed('u32', 0),
                    packed('u64', BigInt(at)));
        at += Math.ceil(count * 4 / 32) * 32;
    }
    const head = Buffer.concat(pieces);
    const padding = tensors.length === 0 ? 0 : -head.length & 31;
    return Buffer.concat([head, Buffer.alloc(padding), Buffer.alloc(at).map((_, i) => i & 255)]);
}

export function temporaryFolder() {
    const folder = mkdtempSync(join(tmpdir(), 'tare-wasm-'));
    after(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
}

/** Names of shards, as JSON strings without quotes, that might lead out of their folder to out.safetensors. */
export const OUT_NAMES = [
    '../out.safetensors', 'sub/../../out.safetensors', '..\\/out.safetensors', '\\u002e\\u002e/out.safetensors',
    '..\\u002fout.safetensors', '..\\\\out.safetensors', './../out.safetensors', '//any.where/out.safetensors',
    '/out.safetensors', '../out.safetensors\\u0000.safetensors', '..\\n/out.safetensors', '..\\t/out.safetensors',
    '\\t../out.safetensors', 'http://any.where/out.safetensors', 'https:out.safetensors', 'file:///out.safetensors',
    '%2e%2e/out.safetensors', '.%2e/out.safetensors', '..%2fout.safetensors', '%2e%2e%2fout.safetensors',
    '..%5cout.safetensors', '..%c0%afout.safetensors', '..\\u2215out.safetensors', '\\u2025/out.safetensors',
    '\\uff0e\\uff0e/out.safetensors', '?/../../out.safetensors', '#/../out.safetensors', '..;/out.safetensors',
    '@any.where/out.safetensors', '..?/out.safetensors', '..#/out.safetensors', '.. /out.safetensors',
];

/** What a call throws, which must be a TareError. */
export async function errorOf(promise) {
    try {
        await promise;
    } catch (error) {
        if (error instanceof TareError) return error;
        throw error;
    }
    throw new Error('nothing was thrown');
}
