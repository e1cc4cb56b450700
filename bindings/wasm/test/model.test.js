/* Models of bytes, Blobs and files: names, facts, bytes without a copy, metadata, errors, the end. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import {
    Model, PACKAGE, TareError, errorOf, gguf, raw, safetensors, tare, temporaryFolder,
} from './support.js';

const floats = Buffer.from(Float32Array.of(1, -2, 3.5, 0).buffer);
const small = safetensors([
    ['a.weight', 'F32', [2, 2], floats],
    ['a.bias', 'U8', [3], Buffer.from([7, 8, 9])],
    ['b.none', 'F16', [0, 5], Buffer.alloc(0)],
    ['b.é', 'I8', [1], Buffer.from([255])],
], { format: 'pt', name: 'né' });

test('the module is at most 100 KB, asks for no files, and tells its version', async () => {
    const bytes = readFileSync(join(PACKAGE, 'lib/tare.wasm'));
    assert.ok(bytes.length <= 100_000, `${bytes.length} bytes`);
    const compressed = gzipSync(bytes, { level: 9 }).length;
    assert.ok(compressed <= 45_000, `${compressed} bytes, compressed`);
    const said = readFileSync(join(PACKAGE, 'README.md'), 'utf8');
    assert.match(said, /module of at most 100 KB\s+\(45 KB compressed\)/);
    const imports = WebAssembly.Module.imports(await WebAssembly.compile(bytes));
    assert.deepEqual(imports.map(({ name }) => name).filter((name) => !name.startsWith('fd_')),
                     ['missing', 'visit', 'random_get']);
    const header = readFileSync(new URL('../../../include/tare.h', import.meta.url), 'utf8');
    const part = (name) => new RegExp(`TARE_VERSION_${name} (\\d+)`).exec(header)[1];
    assert.equal(await tare.version(), `${part('MAJOR')}.${part('MINOR')}.${part('PATCH')}`);
});

test('npm packs the library, its types and the module, and no more', (t) => {
    const { stdout, error } = spawnSync('npm', ['pack', '--dry-run', '--json', '--offline'],
                                        { cwd: PACKAGE, encoding: 'utf8' });
    if (error !== undefined) return t.skip(`npm: ${error.message}`);
    const [{ files }] = JSON.parse(stdout);
    assert.deepEqual(files.map(({ path }) => path).sort(), [
        'LICENSE', 'README.md', 'lib/instance.js', 'lib/node.d.ts', 'lib/node.js', 'lib/sources.js', 'lib/tare.d.ts', 'lib/tare.js',
        'lib/tare.wasm', 'lib/tare_error.js', 'lib/tensor.js', 'package.json']);
});

test('names, facts and prefixes', async () => {
    const model = await Model.fromBytes(small);
    assert.equal(model.length, 4);
    assert.deepEqual(model.names(), ['a.weight', 'a.bias', 'b.none', 'b.é']);
    const tensor = model.find('a.bias');
    assert.deepEqual([tensor.name, tensor.dtype, tensor.shape, tensor.rank, tensor.size, tensor.shard],
                     ['a.bias', 'U8', [3], 1, 3, 0]);
    assert.equal(tensor.offset, model.shards[0].dataOffset + 16);
    assert.equal(tensor.index, 1);
    assert.equal(model.find('a.bia'), undefined);
    assert.equal(model.find(''), undefined);
    assert.equal(model.find('x'.repeat(100_000)), undefined);
    assert.equal(model.find('b.é').index, 3);
    assert.equal(model.find(new TextEncoder().encode('b.é')).index, 3);
    assert.ok(model.has('b.none') && !model.has('b'));
    assert.throws(() => model.find(7), TypeError);
    assert.deepEqual([...model.prefix('a.')].map(({ name }) => name), ['a.weight', 'a.bias']);
    assert.deepEqual([...model.prefix('b.é')].map(({ name }) => name), ['b.é']);
    assert.deepEqual([...model.prefix('c')], []);
    assert.deepEqual([...model].map(({ index }) => index), [0, 1, 2, 3]);
    assert.equal(model.at(-1).name, 'b.é');
    assert.equal(model.at(4), undefined);
    assert.equal(model.at(0.5), undefined);
    assert.deepEqual(model.shards, [{ name: '', size: small.length, dataOffset: model.shards[0].dataOffset,
                                      format: 'safetensors', inMemory: true }]);
});

test('bytes are views of the caller\'s own buffer', async () => {
    const own = new Uint8Array(small.length + 100);
    own.set(small, 37);
    const model = await Model.fromBytes(own.subarray(37, 37 + small.length));
    const bytes = model.tensorBytes('a.bias');
    assert.equal(bytes.buffer, own.buffer);
    assert.deepEqual([...bytes], [7, 8, 9]);
    own[bytes.byteOffset] = 1;
    assert.equal(bytes[0], 1, 'no copy');
    assert.equal(model.tensorBytes('b.none').length, 0);
    assert.equal(model.tensorBytes('absent'), undefined);
    assert.deepEqual(await model.read('a.bias'), bytes);
    assert.equal(await model.read('absent'), undefined);
    assert.deepEqual([...await model.find('a.bias').read({ begin: 1, end: 2 })], [8]);
    const error = await errorOf(model.find('a.bias').read({ begin: 1, end: 4 }));
    assert.equal(error.status, 'TARE_E_ARGUMENT');
});

test('typed arrays are views where aligned, copies where not, and say which', async () => {
    for (let shift = 0; shift < 8; shift++) {
        const own = new Uint8Array(small.length + 8);
        own.set(small, shift);
        const model = await Model.fromBytes(own.subarray(shift, shift + small.length));
        const { array, copied } = model.tensorArray('a.weight');
        assert.ok(array instanceof Float32Array);
        assert.deepEqual([...array], [1, -2, 3.5, 0]);
        const aligned = (shift + model.find('a.weight').offset) % 4 === 0;
        assert.equal(copied, !aligned, `shift ${shift}`);
        assert.equal(array.buffer === own.buffer, aligned, `shift ${shift}`);
        assert.deepEqual([...model.tensorArray('b.é').array], [-1]);
    }
    const types = { BOOL: Uint8Array, U8: Uint8Array, I8: Int8Array, I16: Int16Array, U16: Uint16Array,
                    I32: Int32Array, U32: Uint32Array, F32: Float32Array, F64: Float64Array,
                    I64: BigInt64Array, U64: BigUint64Array };
    for (const [dtype, Type] of Object.entries(types)) {
        const size = Type.BYTES_PER_ELEMENT;
        const model = await Model.fromBytes(safetensors([['x', dtype, [2], Buffer.alloc(2 * size, 1)]]));
        const { array } = model.tensorArray('x');
        assert.ok(array instanceof Type && array.length === 2, dtype);
    }
    const model = await Model.fromBytes(safetensors([['x', 'BF16', [1], Buffer.alloc(2)]]));
    assert.equal(model.tensorArray('x'), null);
    assert.equal(await model.find('x').readArray(), null);
});

test('arrays begin and end between elements', async () => {
    for (const from of [small, new Blob([small])]) {
        const model = await (from instanceof Blob ? Model.fromBlob(from) : Model.fromBytes(from));
        const tensor = model.find('a.weight');
        assert.deepEqual([...await tensor.readArray({ begin: 4, end: 12 })], [-2, 3.5]);
        assert.deepEqual([...await tensor.readArray({ begin: 8 })], [3.5, 0]);
        assert.equal((await tensor.readArray({ begin: 16, end: 16 })).length, 0);
        for (const options of [{ begin: 1 }, { end: 15 }, { begin: 1, end: 9 }, { begin: 2, end: 6 },
                               { begin: 0.5, end: 4 }, { begin: NaN }, { begin: -4 }, { end: 20 },
                               { begin: 8, end: 4 }]) {
            const error = await errorOf(tensor.readArray(options));
            assert.equal(error.status, 'TARE_E_ARGUMENT', JSON.stringify(options));
            assert.match(error.message, /a\.weight/);
        }
        assert.deepEqual([...await model.find('a.bias').readArray({ begin: 1, end: 2 })], [8]);
    }
});

test('Blobs: headers are read, and then what is asked for', async () => {
    class CountingBlob extends Blob {
        ranges = [];
        slice(begin, end) {
            this.ranges.push([begin, end]);
            return super.slice(begin, end);
        }
    }
    const pad = 150_000;
    const file = safetensors([['w', 'U8', [300_000], Buffer.alloc(300_000, 5)]], undefined, pad);
    const blob = new CountingBlob([file]);
    const model = await Model.fromBlob(blob);
    const { dataOffset } = model.shards[0];
    assert.deepEqual(blob.ranges, [[0, 65536], [65536, dataOffset]], 'the header and no more');
    assert.equal(model.tensorBytes('w'), null, 'not in memory');
    assert.equal(model.tensorArray('w'), null);
    assert.equal(model.shards[0].inMemory, false);
    const bytes = await model.read('w');
    assert.equal(bytes.length, 300_000);
    assert.ok(bytes.every((byte) => byte === 5));
    assert.deepEqual(blob.ranges.at(-1), [dataOffset, dataOffset + 300_000]);
    assert.equal((await model.find('w').readArray()).length, 300_000);
});

test('readers: a file handle, beyond 4 GiB, and what they get wrong', async (t) => {
    const path = join(temporaryFolder(), 'big.safetensors'), size = 6_000_000_000;
    const head = raw(JSON.stringify({
        big: { dtype: 'U8', shape: [size], data_offsets: [0, size] },
        last: { dtype: 'U8', shape: [4], data_offsets: [size, size + 4] },
    }));
    const handle = await open(path, 'w+');
    t.after(() => handle.close());
    await handle.write(head);
    try {
        await handle.write(Buffer.from([1, 2, 3, 4]), 0, 4, head.length + size);
    } catch (error) {
        return t.skip(`no file of 6 GB: ${error.message}`);
    }
    const asked = [];
    const reader = {
        size: (await handle.stat()).size,
        read: async (offset, count) => {
            asked.push([offset, count]);
            return (await handle.read(Buffer.alloc(count), 0, count, offset)).buffer;
        },
    };
    const model = await Model.fromFiles([{ name: 'big.safetensors', bytes: reader }]);
    assert.equal(model.tensorBytes('last'), null);
    assert.deepEqual([...await model.read('last')], [1, 2, 3, 4]);
    assert.deepEqual(asked, [[0, 65536], [head.length + size, 4]]);
    const fromReader = (read) => errorOf(Model.fromFiles([{ name: '', bytes: { size: 100, read } }]));
    const broken = await fromReader(() => Promise.reject(new Error('gone')));
    assert.deepEqual([broken.status, broken.offset, broken.cause.message], ['TARE_E_READ', 0, 'gone']);
    assert.equal((await fromReader(() => new Uint8Array(99))).status, 'TARE_E_CHANGED');
    await assert.rejects(fromReader(() => 'text'), TypeError);
    for (const bytes of [{ size: -1, read() {} }, { size: 5 }, { size: 0.5, read() {} }, null])
        await assert.rejects(Model.fromFiles([{ name: '', bytes }]), TypeError);
    const stop = new AbortController();
    const waiting = await Model.fromFiles([{ name: '', bytes: { size: small.length,
        read: (offset, count, signal) => {
            if (signal === undefined) return new Uint8Array(small).subarray(offset, offset + count);
            stop.abort(new Error('enough'));
            throw signal.reason;
        } } }]);
    await assert.rejects(waiting.read('a.bias', { signal: stop.signal }), /enough/);
});

test('GGUF: headers of several pieces, typed metadata, arrays that outlive the header', async () => {
    const words = Array.from({ length: 30_000 }, (_, i) => `word ${i} é`);
    const file = gguf([['t.weight', 3], ['u', 8]], [
        ['general.architecture', 'string', 'llama'],
        ['n', 'u32', 4_000_000_000],
        ['big', 'u64', 2n ** 63n + 5n],
        ['small', 'i64', -(2n ** 62n)],
        ['x', 'f32', 0.5],
        ['y', 'f64', 0.1],
        ['yes', 'bool', true],
        ['tiny', 'i8', -3],
        ['words', 'array', words, 'string'],
        ['scores', 'array', Array.from({ length: 1001 }, (_, i) => i / 4), 'f32'],
        ['flags', 'array', [true, false], 'bool'],
        ['ids', 'array', [1n, 2n ** 64n - 1n], 'u64'],
        ['nothing', 'array', [], 'string'],
    ]);
    assert.ok(file.length > 400_000);
    for (const model of [await Model.fromBytes(file), await Model.fromBlob(new Blob([file])),
                         await Model.fromFiles([{ name: 'm.gguf', bytes: file }])]) {
        const { metadata } = model;
        assert.equal(metadata.size, 13);
        assert.equal(metadata.get('general.architecture'), 'llama');
        assert.equal(metadata.get('n'), 4_000_000_000);
        assert.equal(metadata.get('big'), 2n ** 63n + 5n);
        assert.equal(metadata.get('small'), -(2n ** 62n));
        assert.equal(metadata.get('x'), 0.5);
        assert.equal(metadata.get('y'), 0.1);
        assert.equal(metadata.get('yes'), true);
        assert.equal(metadata.get('tiny'), -3);
        assert.equal(metadata.get('absent'), undefined);
        assert.deepEqual(metadata.get('words'), words);
        assert.deepEqual(metadata.get('scores'),
                         Float32Array.from({ length: 1001 }, (_, i) => i / 4));
        assert.deepEqual(metadata.get('flags'), [true, false]);
        assert.deepEqual(metadata.get('ids'), BigUint64Array.of(1n, 2n ** 64n - 1n));
        assert.deepEqual(metadata.get('nothing'), []);
        assert.ok(metadata.has('words') && !metadata.has('word'));
        const entries = [...metadata];
        assert.deepEqual(entries.map(({ kind }) => kind),
                         ['string', 'u32', 'u64', 'i64', 'f32', 'f64', 'bool', 'i8', 'array', 'array',
                          'array', 'array', 'array']);
        assert.deepEqual([entries[8].itemKind, entries[8].count, entries[0].itemKind],
                         ['string', 30_000, null]);
        assert.equal(entries[9].value.length, 1001);
        for (const index of [13, -14, 2 ** 32, 0.5, NaN, '0'])
            assert.equal(metadata.at(index), undefined, String(index));
        assert.equal(metadata.at(-1).key, 'nothing');
        assert.deepEqual(metadata.at(-4).value, metadata.get('scores'));
        assert.deepEqual(model.find('t.weight').shape, [3]);
        assert.equal(model.shards[0].format, 'gguf');
        assert.equal((await model.read('u')).length, 32);
    }
    const text = await Model.fromBytes(small);
    assert.equal(text.metadata.get('name'), 'né');
    assert.deepEqual([...text.metadata].map(({ key, kind }) => [key, kind]),
                     [['format', 'string'], ['name', 'string']]);
});

test('names that are no UTF-8 are found by their bytes', async () => {
    const name = Buffer.from([0x77, 0xff, 0xfe]);
    const model = await Model.fromBytes(gguf([[name, 1], ['w.é', 1]]));
    assert.equal(model.at(0).name, 'w\ufffd\ufffd');
    assert.deepEqual(model.at(0).nameBytes, new Uint8Array(name));
    assert.equal(model.find(new Uint8Array(name)).index, 0);
    assert.deepEqual(model.names(), ['w\ufffd\ufffd', 'w.é']);
});

test('U+FEFF at the start of names, keys and values stays', async () => {
    const names = ['\ufeff', '\ufeffa', 'b', '\ufeffc\ufeff', 'd'];
    const bytes = (i) => Buffer.from([i]);
    for (const model of [
        await Model.fromBytes(safetensors(names.map((name, i) => [name, 'U8', [1], bytes(i)]),
                                          { '\ufeffkey': '\ufeffvalue' })),
        await Model.fromBytes(gguf(names.map((name) => [name, 1]),
                                   [['\ufeffkey', 'string', '\ufeffvalue']])),
    ]) {
        assert.deepEqual(model.names(), names);
        for (const [i, name] of names.entries()) {
            assert.equal(model.at(i).name, name);
            assert.equal(model.find(name).index, i);
        }
        assert.equal(model.metadata.at(0).key, '\ufeffkey');
        assert.equal(model.metadata.get('\ufeffkey'), '\ufeffvalue');
    }
});

test('bytes of tensors never enter WebAssembly memory; of GGUF none stay', async (t) => {
    const mark = Buffer.from('these bytes are those of a tensor');
    const memories = [];
    const { Instance } = WebAssembly;
    t.mock.method(WebAssembly, 'Instance', function (module, imports) {
        const instance = new Instance(module, imports);
        memories.push(instance.exports.memory);
        return instance;
    });
    const marked = () => memories.map((memory) => Buffer.from(memory.buffer).includes(mark));
    const data = Buffer.concat([mark, Buffer.alloc(31), mark]);
    const file = safetensors([['w', 'U8', [data.length], data]]);
    const whole = [{ name: 'a.safetensors', bytes: file }, { name: 'model.safetensors.index.json',
        bytes: Buffer.from(JSON.stringify({ weight_map: { w: 'a.safetensors' } })) }];
    for (const open of [() => Model.fromBytes(file), () => Model.fromBlob(new Blob([file])),
                        () => Model.fromFiles(whole)]) {
        memories.length = 0;
        const model = await open();
        assert.deepEqual(Buffer.from(await model.read('w')), data);
        assert.ok(memories.length >= 2);
        assert.deepEqual(marked().filter(Boolean), []);
    }
    const other = gguf([['w', 100]]);
    mark.copy(other, other.length - 200);
    memories.length = 0;
    assert.ok(Buffer.from(await (await Model.fromBytes(other)).read('w')).includes(mark));
    assert.deepEqual([marked()[0], marked().at(-1)], [true, false]);
});

test('halves of UTF-16 pairs are in no name, also where U+FFFD is', async () => {
    const model = await Model.fromBytes(safetensors(
        [['\ufffd', 'U8', [1], Buffer.alloc(1)], ['a\u{1f600}', 'U8', [1], Buffer.alloc(1)]],
        { '\ufffd': 'value' }));
    for (const half of ['\ud800', '\udc00', `${'x'.repeat(200)}\ud800`]) {
        assert.equal(model.find(half), undefined);
        assert.equal(model.has(half), false);
        assert.equal(model.metadata.get(half), undefined);
        assert.equal(model.metadata.has(half), false);
        assert.equal(model.tensorBytes(half), undefined);
        assert.deepEqual([...model.prefix(half)], []);
    }
    assert.deepEqual([...model.prefix('a\ud83d')], []);
    assert.equal(model.find('\ufffd').index, 0);
    assert.equal(model.find('a\u{1f600}').index, 1);
    assert.equal(model.metadata.get('\ufffd'), 'value');
    const files = [{ name: '\ufffd.gguf', bytes: gguf([['a', 1]]) },
                   { name: '\ud800.gguf', bytes: gguf([['a', 2]]) }];
    assert.equal((await errorOf(Model.fromFiles(files))).status, 'TARE_E_ARGUMENT');
});

const shard = (name, byte) => safetensors([[name, 'U8', [4], Buffer.alloc(4, byte)]]);
const index = (map) => Buffer.from(JSON.stringify({ weight_map: map }));

test('shards may be separate buffers, and Blobs of a picked folder', async () => {
    const files = [
        { name: 'config.json', bytes: Buffer.from('{}') },
        { name: 's2.safetensors', bytes: shard('two', 2) },
        { name: 'model.safetensors.index.json',
          bytes: index({ one: 's1.safetensors', two: 's2.safetensors' }) },
        { name: 's1.safetensors', bytes: shard('one', 1) },
    ];
    const model = await Model.fromFiles(files);
    assert.deepEqual(model.shards.map(({ name }) => name), ['s1.safetensors', 's2.safetensors']);
    assert.equal(model.tensorBytes('two').buffer, files[1].bytes.buffer);
    assert.deepEqual([...model.tensorBytes('one')], [1, 1, 1, 1]);
    const picked = files.map(({ name, bytes }) => Object.assign(new Blob([bytes]),
        { name: name.split('/').at(-1), webkitRelativePath: `my model/${name}` }));
    const other = await Model.fromBlob(picked);
    assert.deepEqual(other.names(), ['one', 'two']);
    assert.deepEqual([...await other.read('two')], [2, 2, 2, 2]);

    const missing = await errorOf(Model.fromFiles(files.slice(0, 3)));
    assert.deepEqual([missing.status, missing.shard], ['TARE_E_OPEN', 0]);
    assert.match(missing.message, /s1\.safetensors/);
    const several = await errorOf(Model.fromFiles([files[1], files[3]]));
    assert.equal(several.status, 'TARE_E_AMBIGUOUS');
    assert.equal((await errorOf(Model.fromFiles([]))).status, 'TARE_E_NO_MODEL');
});

test('split GGUF files, in buffers and Blobs', async () => {
    const part = (number, tensors) => gguf(tensors, [
        ['split.no', 'u16', number], ['split.count', 'u16', 2],
        ['words', 'array', Array.from({ length: 9000 }, (_, i) => `word ${i}`), 'string']]);
    const parts = [part(0, [['a', 4]]), part(1, [['b', 8]])];
    const names = ['m-00001-of-00002.gguf', 'm-00002-of-00002.gguf'];
    for (const wrap of [(bytes) => bytes, (bytes) => new Blob([bytes])]) {
        const model = await Model.fromFiles(names.map((name, i) => ({ name, bytes: wrap(parts[i]) })));
        assert.deepEqual(model.names(), ['a', 'b']);
        assert.equal(model.find('b').shard, 1);
        assert.equal((await model.read('b')).length, 32);
        assert.equal(model.metadata.at(5).shard, 1);
        assert.equal(model.metadata.at(5).value[8999], 'word 8999');
    }
});

test('errors have status, code, place and message', async () => {
    const text = '{"w":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}}';
    const error = await errorOf(Model.fromBytes(raw(text, Buffer.alloc(1)), { name: 'm.safetensors' }));
    assert.ok(error instanceof TareError && error instanceof Error);
    assert.deepEqual([error.name, error.status, error.code, error.shard, error.systemError],
                     ['TareError', 'TARE_E_SIZE', 56, 0, 0]);
    assert.equal(error.offset, 8 + text.indexOf('[0,1]'));
    assert.match(error.message, /^'m\.safetensors': tensor 'w': /);
    const empty = await errorOf(Model.fromBytes(new ArrayBuffer(0)));
    assert.equal(empty.status, 'TARE_E_TRUNCATED');
    const limit = await errorOf(Model.fromBytes(small, { headerSizeMax: 50 }));
    assert.equal(limit.status, 'TARE_E_HEADER_SIZE');
    for (const headerSizeMax of [-1, 0, NaN, 1.5, Infinity, 2 ** 53, '100', null, 2 ** 31])
        for (const open of [() => Model.fromBytes(small, { headerSizeMax }),
                            () => Model.fromBlob(new Blob([small]), { headerSizeMax })])
            assert.equal((await errorOf(open())).status, 'TARE_E_ARGUMENT', String(headerSizeMax));
    assert.equal((await Model.fromBytes(small, { headerSizeMax: 2 ** 31 - 1 })).length, 4);
    await assert.rejects(Model.fromBytes('text'), TypeError);
    await assert.rejects(Model.fromFiles([{ name: 'a', bytes: 5 }]), TypeError);
    for (const name of [5, null, undefined])
        await assert.rejects(Model.fromFiles([{ name, bytes: small }]), TypeError, String(name));
    await assert.rejects(Model.fromBytes(small, { name: 5 }), TypeError);
    for (const open of [Model.fromFiles, Model.fromBlob, Model.fromResponse])
        for (const wrong of [5, null, undefined, {}])
            await assert.rejects(open(wrong), TypeError, `${open.name} of ${wrong}`);
    const zero = await errorOf(Model.fromFiles([{ name: 'a\0b', bytes: small }]));
    assert.equal(zero.status, 'TARE_E_ARGUMENT');
});

test('statuses that JavaScript gives have the numbers of tare.h', () => {
    const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8');
    const header = read('../../../include/tare.h');
    const given = [...read('../lib/tare_error.js').matchAll(/^    (TARE_E_\w+): (\d+),$/gm)];
    assert.ok(given.length >= 9);
    for (const [, name, code] of given) assert.match(header, new RegExp(`X\\(${name.slice(5)}, ${code},`), name);
});

test('dimensions beyond 2^53 are refused as numbers, and given as bigint', async () => {
    const text = '{"w":{"dtype":"F32","shape":[0,9007199254740993],"data_offsets":[0,0]}}';
    const model = await Model.fromBytes(raw(text));
    assert.deepEqual(model.find('w').shapeBigInt, [0n, 9007199254740993n]);
    assert.throws(() => model.find('w').shape, (error) => error.status === 'TARE_E_LIMIT');
});

/* A Blob of more than there is memory for. */
class HugeBlob extends Blob {
    constructor(head, size) {
        super([head]);
        this.head = head;
        this.whole = size;
    }
    get size() {
        return this.whole;
    }
    slice(begin, end) {
        const piece = new Uint8Array(end - begin);
        for (let i = 0; i < piece.length; i++)
            piece[i] = begin + i < this.head.length ? this.head[begin + i] : (begin + i) % 251;
        return new Blob([piece]);
    }
}

test('offsets beyond 4 GiB are right', async () => {
    const first = 6_000_000_001;
    const text = JSON.stringify({
        big: { dtype: 'U8', shape: [first], data_offsets: [0, first] },
        small: { dtype: 'U8', shape: [1000], data_offsets: [first, first + 1000] },
    });
    const head = raw(text);
    const model = await Model.fromBlob(new HugeBlob(head, head.length + first + 1000));
    assert.equal(model.find('big').size, first);
    const { offset } = model.find('small');
    assert.equal(offset, head.length + first);
    const bytes = await model.read('small');
    assert.deepEqual([...bytes], Array.from({ length: 1000 }, (_, i) => (offset + i) % 251));
});

test('a closed model says so, and tensors of it too', async () => {
    const model = await Model.fromBytes(small);
    const tensor = model.find('a.bias'), { metadata } = model, entry = metadata.at(0);
    assert.equal(entry.value, 'pt');
    model.close();
    model.close();
    for (const use of [() => model.length, () => model.find('a.bias'), () => model.names(),
                       () => model.shards, () => tensor.name, () => tensor.bytes,
                       () => metadata.get('format'), () => metadata.at(0), () => entry.value,
                       () => [...model], () => [...model.prefix('a')], () => model.stat])
        assert.throws(use, (error) => error.status === 'TARE_E_ARGUMENT' && /closed/.test(error.message));
    assert.equal((await errorOf(tensor.read())).status, 'TARE_E_ARGUMENT');
});

test('a buffer that was transferred is told', async () => {
    const { buffer } = new Uint8Array(small);
    const model = await Model.fromBytes(buffer);
    const tensor = model.find('a.weight');
    structuredClone(buffer, { transfer: [buffer] });
    for (const use of [() => model.tensorBytes('a.weight'), () => model.tensorArray('a.weight'),
                       () => tensor.bytes, () => model.tensorBytes('b.none')])
        assert.throws(use, (error) => error instanceof TareError && error.status === 'TARE_E_CHANGED');
    assert.equal((await errorOf(tensor.read())).status, 'TARE_E_CHANGED');
    assert.equal((await errorOf(tensor.readArray())).status, 'TARE_E_CHANGED');
    assert.deepEqual(tensor.shape, [2, 2], 'what is told of it stays');
});

test('a module that cannot be had is told, and can be tried again', async () => {
    const error = await errorOf(tare.init(new Uint8Array([0, 97, 115, 109, 9, 0, 0, 0])));
    assert.equal(error.status, 'TARE_E_UNSUPPORTED');
    assert.ok(error.cause instanceof WebAssembly.CompileError);
    assert.equal((await Model.fromBytes(small)).length, 4);
    await assert.rejects(tare.init(5), TypeError);
    const own = new Error('mine');
    await assert.rejects(tare.init(Promise.reject(own)), own);
    const module = await tare.init(readFileSync(join(PACKAGE, 'lib/tare.wasm')));
    assert.equal(await tare.init(module), module);
    assert.equal((await Model.fromBytes(small)).length, 4);
});

test('engines whose globals lack crypto, as those of Node 18 do', () => {
    const path = pathToFileURL(join(PACKAGE, 'lib/tare.js')).href;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', `
        delete globalThis.crypto;
        const { Model } = await import(${JSON.stringify(path)});
        console.log(typeof crypto, (await Model.fromBytes(Buffer.from('${small.toString('base64')}',
                                                                      'base64'))).length);`],
                                         { encoding: 'utf8' });
    assert.deepEqual([stdout, stderr], ['undefined 4\n', '']);
});

test('models are forgotten without being closed', async () => {
    for (let i = 0; i < 1500; i++) {
        const model = await Model.fromBytes(small);
        assert.equal(model.length, 4);
    }
});

test('many names, and memory that is a small multiple of them', async () => {
    const tensors = Array.from({ length: 20_000 }, (_, i) =>
        [`model.layers.${i >> 8}.mlp.experts.${i & 255}.weight`, 'U8', [1], Buffer.from([i & 255])]);
    const model = await Model.fromBytes(safetensors(tensors));
    assert.equal(model.length, 20_000);
    assert.deepEqual(model.names(), tensors.map(([name]) => name));
    for (const [i, [name]] of tensors.entries()) {
        const tensor = model.find(name);
        assert.equal(tensor.index, i);
        assert.equal(tensor.bytes[0], i & 255);
    }
    assert.equal([...model.prefix('model.layers.3.')].length, 256);
    assert.equal([...model.prefix('')].length, 20_000);
    const { memorySize, modelSize, nameSize } = model.stat;
    assert.ok(modelSize < memorySize && memorySize < 3_000_000, `${memorySize} bytes`);
    assert.ok(nameSize > 20_000 * 30);
});
