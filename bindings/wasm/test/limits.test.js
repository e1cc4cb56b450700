/* What a model may have at most: both sides of each limit, in every way of opening. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { serve } from '../demo/serve.js';
import { Model, PACKAGE, errorOf, gguf, raw, safetensors, temporaryFolder } from './support.js';

const { openPath } = await import(pathToFileURL(join(PACKAGE, 'lib/node.js')));
const NAMES = ['headerSizeMax', 'tensorCountMax', 'rankMax', 'nameSizeMax', 'metadataSizeMax'];
const folder = temporaryFolder();
const at = (name) => join(folder, name);
let server, asked = [];

before(async () => {
    server = await serve({ folders: { '': folder }, onRequest: (url) => asked.push(url.pathname.slice(1)) });
});
after(() => server.close());

/** One file in every way of opening it. */
const WAYS = {
    bytes: (file, options) => Model.fromBytes(file, options),
    Blob: (file, options) => Model.fromBlob(new Blob([file]), options),
    reader: (file, options) => Model.fromFiles([{ name: '', bytes: { size: file.length,
        read: (offset, size) => new Uint8Array(file).subarray(offset, offset + size) } }], options),
    response: (file, options) => Model.fromResponse(new Response(file), options),
    URL: (file, options) => {
        writeFileSync(at('one'), file);
        return Model.fromUrl(`${server.url}one`, options);
    },
    path: (file, options) => {
        writeFileSync(at('one'), file);
        return openPath(at('one'), options);
    },
};

/** `most` is fine, one less is refused there. */
async function check(what, file, name, most, { status = 'TARE_E_LIMIT', offset, message }) {
    for (const [way, open] of Object.entries(WAYS)) {
        for (const fine of [most, undefined])
            assert.ok((await open(file, { [name]: fine })).length >= 0, `${what}: ${way}, ${fine}`);
        const error = await errorOf(open(file, { [name]: most - 1 }));
        assert.deepEqual([error.status, error.offset, error.shard], [status, offset, 0], `${what}: ${way}`);
        assert.match(error.message, message, `${what}: ${way}`);
    }
}

const one = (byte) => Buffer.alloc(1, byte);
const model = safetensors([['a', 'U8', [1], one(1)], ['b2', 'U8', [1, 1], one(2)], ['c33', 'U8', [1], one(3)]],
                          { k: '123', l: '4' });
const place = (text, file = model) => file.indexOf(text);

test('safetensors: the header, tensors, dimensions, a name, metadata', async () => {
    await check('header', model, 'headerSizeMax', Number(model.readBigUInt64LE()),
                { status: 'TARE_E_HEADER_SIZE', offset: 0, message: /header/ });
    await check('tensors', model, 'tensorCountMax', 3,
                { offset: place('"c33"'), message: /'c33': more tensors than tensor_count_max/ });
    await check('dimensions', model, 'rankMax', 2,
                { offset: place('"b2"'), message: /'b2': more dimensions than rank_max/ });
    await check('a name', model, 'nameSizeMax', 3,
                { offset: place('"c33"'), message: /'c33': its name is longer than name_size_max/ });
    await check('metadata', model, 'metadataSizeMax', 6,
                { offset: place('"l"'), message: /'l': more metadata than metadata_size_max/ });
});

test('GGUF: the header, tensors before any of them, a name, metadata', async () => {
    const file = gguf([['a', 1], ['b2', 1]], [['k', 'string', '12'], ['l', 'u32', 5]]);
    const name = place('b2', file) - 8, end = place('b2', file) + 2 + 4 + 8 + 4 + 8;
    await check('header', file, 'headerSizeMax', end,
                { status: 'TARE_E_HEADER_SIZE', offset: end - 8, message: /'b2'/ });
    await check('tensors', file, 'tensorCountMax', 2, { offset: 8, message: /limit of 1/ });
    await check('a name', file, 'nameSizeMax', 2, { offset: name, message: /'b2': its name is longer/ });
    await check('metadata', file, 'metadataSizeMax', 8,
                { offset: file.indexOf('l') - 8, message: /'l': more metadata/ });
});

test('all of them at once, and numbers beyond 2^32', async () => {
    const all = { headerSizeMax: model.readUInt32LE(), tensorCountMax: 3, rankMax: 2, nameSizeMax: 3,
                  metadataSizeMax: 6 };
    assert.equal((await Model.fromBytes(model, all)).length, 3);
    for (const name of NAMES) {
        const { status } = await errorOf(Model.fromBytes(model, { ...all, [name]: all[name] - 1 }));
        assert.equal(status, name === 'headerSizeMax' ? 'TARE_E_HEADER_SIZE' : 'TARE_E_LIMIT');
        if (name === 'headerSizeMax') continue; // which is at most 2^31-1
        for (const wide of [all[name] + 1, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER])
            assert.equal((await Model.fromBytes(model, { ...all, [name]: wide })).length, 3, `${name} ${wide}`);
    }
    const { rankMax, ...others } = all;
    assert.equal((await Model.fromBytes(model, others)).find('b2').rank, rankMax, 'none stays of an earlier one');
});

const LIST = 'model.safetensors.index.json';
/* Two shards, of which the second has a tensor that the list does not have. */
const listing = JSON.stringify({ weight_map: { a: '1.safetensors', b: '2.safetensors' } });
const SHARDS = [['1.safetensors', safetensors([['a', 'U8', [1], one(1)]], { k: '1' })],
                ['2.safetensors', safetensors([['b', 'U8', [1, 1], one(2)], ['cd', 'U8', [0], Buffer.alloc(0)]],
                                              { k: '12' })]];
const PARTS = [['m-00001-of-00002.gguf', ['a', 'b']], ['m-00002-of-00002.gguf', ['c']]].map(([name, tensors], i) =>
    [name, gguf(tensors.map((tensor) => [tensor, 1]), [['split.no', 'u16', i], ['split.count', 'u16', 2]])]);

/** The files of a model in every way of opening them; `first` is the one that names the others. */
async function checkSeveral(first, files, name, most, offset, shard) {
    mkdirSync(at('several'), { recursive: true });
    for (const [file, bytes] of files) writeFileSync(at(`several/${file}`), bytes);
    const ways = {
        files: (options) => Model.fromFiles(files.map(([file, bytes]) =>
            ({ name: file, bytes: Buffer.from(bytes) })), options),
        Blobs: (options) => Model.fromBlob(files.map(([file, bytes]) =>
            Object.assign(new Blob([bytes]), { name: file })), options),
        URL: (options) => Model.fromUrl(`${server.url}several/${first}`, options),
        path: (options) => openPath(at(`several/${first}`), options),
    };
    for (const [way, open] of Object.entries(ways)) {
        assert.equal((await open({ [name]: most })).length, 3, `${way}: ${name} ${most}`);
        const error = await errorOf(open({ [name]: most - 1 }));
        assert.deepEqual([error.status, error.offset, error.shard], ['TARE_E_LIMIT', offset, shard],
                         `${way}: ${name} ${most - 1}: ${error.message}`);
    }
}

test('shards and parts together', async () => {
    const files = [[LIST, listing], ...SHARDS], [, second] = SHARDS[1];
    await checkSeveral(LIST, files, 'tensorCountMax', 3, place('"cd"', second), 1);
    await checkSeveral(LIST, files, 'rankMax', 2, place('"b"', second), 1);
    await checkSeveral(LIST, files, 'nameSizeMax', 2, place('"cd"', second), 1);
    await checkSeveral(LIST, files, 'metadataSizeMax', 5, place('"k"', second), 1);
    await checkSeveral(PARTS[1][0], PARTS, 'tensorCountMax', 3, 8, 1);
    await checkSeveral(PARTS[0][0], PARTS, 'metadataSizeMax', 2 * (8 + 2 + 11 + 2),
                       PARTS[1][1].indexOf('split.count') - 8, 1);
});

test('what a list has is refused before any shard is fetched', async () => {
    mkdirSync(at('listed'), { recursive: true });
    writeFileSync(at(`listed/${LIST}`), listing);
    asked = [];
    for (const open of [(options) => Model.fromUrl(`${server.url}listed/`, options),
                        (options) => openPath(at('listed'), options)]) {
        const error = await errorOf(open({ tensorCountMax: 1 }));
        assert.deepEqual([error.status, error.offset, error.shard],
                         ['TARE_E_LIMIT', listing.indexOf('"b"'), null]);
        assert.match(error.message, /'b'/);
    }
    assert.deepEqual(asked, [`listed/${LIST}`]);
});

test('index files', async (t) => {
    const program = process.env.TARE_PROGRAM;
    if (!program) return t.skip('TARE_PROGRAM does not name the tare program');
    writeFileSync(at('indexed.safetensors'), model);
    const { status, stderr } = spawnSync(program, ['index', '--force', at('indexed.safetensors'), '-o', at('made.idx')],
                                         { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    const index = readFileSync(at('made.idx'));
    const ways = [(options) => Model.fromBytes(model, options),
                  (options) => Model.fromUrl(`${server.url}indexed.safetensors`, options),
                  (options) => openPath(at('indexed.safetensors'), options)];
    for (const open of ways) {
        for (const [name, most, tensor] of [['tensorCountMax', 3, 'c33'], ['rankMax', 2, 'b2'],
                                            ['nameSizeMax', 3, 'c33'], ['metadataSizeMax', 6, 'l']]) {
            const fine = await open({ index, requireIndex: true, [name]: most });
            assert.equal(fine.indexError, null);
            assert.equal(fine.find('b2').rank, 2);
            const less = { index, [name]: most - 1 };
            const required = await errorOf(open({ ...less, requireIndex: true }));
            assert.equal(required.status, 'TARE_E_LIMIT');
            if (name !== 'tensorCountMax') assert.match(required.message, new RegExp(`'${tensor}'`));
            const error = await errorOf(open(less));
            assert.deepEqual([error.status, error.offset], ['TARE_E_LIMIT', place(`"${tensor}"`)],
                             'its headers are read, which say where');
        }
        const most = Number(Buffer.from(model).readBigUInt64LE()); // of the header, which is not read
        assert.equal((await open({ index, requireIndex: true, headerSizeMax: most })).indexError, null);
        const error = await errorOf(open({ index, requireIndex: true, headerSizeMax: most - 1 }));
        assert.deepEqual([error.status, error.message.includes(`${most} bytes, of at most ${most - 1}`)],
                         ['TARE_E_HEADER_SIZE', true]);
    }
});

test('what is no limit is an argument error, before anything is read', async () => {
    asked = [];
    const untouched = { size: 10, read: () => assert.fail('it was read') };
    const opens = [(options) => Model.fromBytes(model, options),
                   (options) => Model.fromBlob(new Blob([model]), options),
                   (options) => Model.fromFiles([{ name: '', bytes: untouched }], options),
                   (options) => Model.fromUrl(`${server.url}one`, options),
                   (options) => openPath(folder, { ...options, requireIndex: true })];
    for (const name of NAMES) {
        const wrongs = [-1, 0, NaN, 1.5, Infinity, 2 ** 53, '100', null, 5n, true];
        if (name === 'headerSizeMax') wrongs.push(2 ** 31);
        for (const wrong of wrongs) {
            for (const open of wrong === 2 ** 31 ? opens.slice(0, 2) : opens) {
                const error = await errorOf(open({ [name]: wrong }));
                assert.equal(error.status, 'TARE_E_ARGUMENT', `${name}: ${String(wrong)}`);
                if (wrong !== 2 ** 31)
                    assert.equal(error.message, `${name} is a whole number from 1, not ${String(wrong)}`);
            }
        }
        let cancelled = false;
        const body = new ReadableStream({ cancel: () => (cancelled = true) });
        const error = await errorOf(Model.fromResponse(new Response(body), { [name]: 0 }));
        assert.deepEqual([error.status, cancelled], ['TARE_E_ARGUMENT', true]);
    }
    assert.deepEqual(asked, []);
});

test('limits are those of the call, whatever becomes of its options', async () => {
    const options = { rankMax: 2, tensorCountMax: 3 };
    const opening = Model.fromBlob(new Blob([model]), options);
    Object.assign(options, { rankMax: 1, tensorCountMax: -1, headerSizeMax: 'x' });
    assert.equal((await opening).length, 3);
});

test('of a header beyond its limit no more is read than the first piece', async () => {
    const text = JSON.stringify({ w: { dtype: 'U8', shape: [0], data_offsets: [0, 0] } });
    const file = raw(text + ' '.repeat(200_000)), ranges = [];
    const reader = { size: file.length, read: (offset, size) => {
        ranges.push([offset, size]);
        return new Uint8Array(file).subarray(offset, offset + size);
    } };
    const open = (headerSizeMax) => Model.fromFiles([{ name: '', bytes: reader }], { headerSizeMax });
    assert.equal((await errorOf(open(file.length - 9))).status, 'TARE_E_HEADER_SIZE');
    assert.deepEqual(ranges, [[0, 65536]]);
    assert.equal((await open(file.length - 8)).length, 1);
});
