/* Index files, made by the native program, in place of headers. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { serve } from '../demo/serve.js';
import { Model, PACKAGE, errorOf, gguf, safetensors, temporaryFolder } from './support.js';

const program = process.env.TARE_PROGRAM;
if (!program) {
    console.log('Skipped: TARE_PROGRAM does not name the tare program, which makes index files');
    process.exit(77);
}
const folder = temporaryFolder();
const read = (name) => readFileSync(join(folder, name));

/** The index file of what is in the folder. */
function makeIndex(name) {
    const path = join(folder, 'made.idx');
    const { status, stderr } = spawnSync(program, ['index', '--force', join(folder, name), '-o', path],
                                         { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    return readFileSync(path);
}

const one = safetensors([['a.weight', 'F32', [2, 2], Buffer.from(Float32Array.of(1, 2, 3, 4).buffer)],
                         ['a.bias', 'U8', [3], Buffer.from([7, 8, 9])],
                         ['é', 'I8', [0, 5], Buffer.alloc(0)]], { format: 'pt', 'ké': 'vé' }, 100_000);
const LIST = 'model.safetensors.index.json', SHARDS = ['1.safetensors', 'sub/2.safetensors'];
const PARTS = ['m-00001-of-00002.gguf', 'm-00002-of-00002.gguf'];
let server, asked = [];

before(async () => {
    server = await serve({ folders: { '': folder },
        onRequest: (url, { headers }) => asked.push([url.pathname.slice(1), headers.range]) });
    writeFileSync(join(folder, 'one.safetensors'), one);
    mkdirSync(join(folder, 'sub'));
    SHARDS.forEach((name, i) => writeFileSync(join(folder, name),
        safetensors([[`t${i}`, 'U8', [4], Buffer.alloc(4, i + 1)]], { shard: `${i}` }, 70_000)));
    writeFileSync(join(folder, LIST), JSON.stringify({ weight_map: { t0: SHARDS[0], t1: SHARDS[1] } }));
    PARTS.forEach((name, i) => writeFileSync(join(folder, name), gguf([[`g${i}`, 4]],
        [['split.no', 'u16', i], ['split.count', 'u16', 2], ['words', 'array', ['x', `${i}`], 'string'],
         ['n', 'u64', 2n ** 63n]])));
});
after(() => server.close());

/** A tensor is not found by its name, or a value by its key. */
class Lost extends Error {}

/** All that a model tells. */
async function tell(model) {
    const tensors = await Promise.all(Array.from(model, async (tensor) => {
        if (model.find(tensor.nameBytes)?.index !== tensor.index) throw new Lost(tensor.name);
        return [tensor.name, tensor.dtype, tensor.shape, tensor.offset, tensor.shard,
                Buffer.from(await tensor.read()).toString('hex')];
    }));
    const metadata = Array.from(model.metadata, ({ key, kind, itemKind, count, shard, value }) => {
        if (shard === 0 && !isDeepStrictEqual(model.metadata.get(key), value)) throw new Lost(key);
        return [key, kind, itemKind, count, shard, value];
    });
    const shards = model.shards.map(({ name, size, dataOffset, format }) => [name, size, dataOffset, format]);
    return { tensors, metadata, shards, names: model.names(),
             prefix: Array.from(model.prefix('a.'), ({ name }) => name) };
}

async function checkSame(open, index) {
    const model = await open({ index, requireIndex: true }), parsed = await open({});
    assert.equal(model.indexError, null);
    assert.deepEqual([model.stat.indexFileSize, parsed.stat.indexFileSize], [index.length, 0]);
    assert.deepEqual(await tell(model), await tell(parsed));
    assert.equal(model.find('nothing'), undefined);
    return model;
}

test('one file: bytes, Blobs and readers', async () => {
    const index = makeIndex('one.safetensors'), ranges = [];
    const model = await checkSame((options) => Model.fromBytes(one, options), index);
    assert.equal(model.tensorBytes('a.bias').buffer, one.buffer, 'the caller\'s own buffer');
    await checkSame((options) => Model.fromBlob(new Blob([one]), options), index);
    const reader = { size: one.length, read: (offset, size) => {
        ranges.push([offset, size]);
        return one.subarray(offset, offset + size);
    } };
    const open = (options) => Model.fromFiles([{ name: 'one.safetensors', bytes: reader }], options);
    await open({ index, requireIndex: true });
    assert.deepEqual(ranges, [], 'nothing is read to open it');
    await checkSame(open, index);
});

test('sharded and split models', async () => {
    for (const [name, files] of [[LIST, [LIST, ...SHARDS]], [PARTS[0], PARTS]]) {
        const index = makeIndex(name);
        const named = files.map((file) => ({ name: file, bytes: read(file) }));
        await checkSame((options) => Model.fromFiles(named, options), index);
        await checkSame((options) => Model.fromFiles(named.map((file) =>
            ({ name: file.name, bytes: new Blob([file.bytes]) })), options), index);
    }
});

test('URLs: of files no more is fetched than their size, then what is read', async () => {
    for (const [name, wanted] of [
        ['one.safetensors', [['one.safetensors', 'bytes=0-0']]],
        [LIST, [[LIST, 'bytes=0-65535'], ...SHARDS.map((shard) => [shard, 'bytes=0-0'])]],
        [PARTS[1], [PARTS[1], PARTS[0]].map((part) => [part, 'bytes=0-0'])],
    ]) {
        const index = makeIndex(name);
        asked = [];
        const model = await Model.fromUrl(server.url + name, { index, requireIndex: true });
        assert.deepEqual(asked.sort(), wanted.sort());
        assert.equal(model.tensorBytes(model.at(0).name), null);
        await checkSame((options) => Model.fromUrl(server.url + name, options), index);
    }
    const index = makeIndex(LIST);
    assert.equal((await Model.fromUrl(server.url, { index })).indexError, null);
});

test('an index that does not fit is passed over, and says why', async () => {
    const index = makeIndex('one.safetensors'), longer = Buffer.concat([one, Buffer.alloc(1)]);
    const bad = Buffer.from(index), version = Buffer.from(index), other = makeIndex(LIST);
    bad[100] ^= 1;
    version[12] = 9;
    for (const [what, file, given, status] of [
        ['another size', safetensors([['b', 'U8', [1], Buffer.alloc(1)]]), index, 'TARE_E_STALE'],
        ['another model', one, other, 'TARE_E_STALE'],
        ['damaged', one, bad, 'TARE_E_PREBUILT'],
        ['cut off', one, index.subarray(0, index.length - 64), 'TARE_E_PREBUILT'],
        ['empty', one, new Uint8Array(0), 'TARE_E_PREBUILT'],
        ['another version', one, version, 'TARE_E_VERSION'],
        ['no index at all', one, one, 'TARE_E_PREBUILT'],
    ]) {
        for (const open of [(options) => Model.fromBytes(file, options),
                            (options) => Model.fromBlob(new Blob([file]), options)]) {
            const model = await open({ index: given });
            assert.equal(model.indexError?.status, status, what);
            assert.deepEqual(await tell(model), await tell(await open({})));
            assert.equal((await errorOf(open({ index: given, requireIndex: true }))).status, status);
        }
    }
    assert.equal((await errorOf(Model.fromBytes(longer, { index }))).status, 'TARE_E_COVER',
                 'what is wrong with the file itself is the error');
    const none = await errorOf(Model.fromBytes(one, { requireIndex: true }));
    assert.equal(none.status, 'TARE_E_OPEN');
    await assert.rejects(Model.fromBytes(one, { index: 'text' }), TypeError);
    assert.equal((await Model.fromBytes(one)).indexError, null);
    const fetched = await Model.fromUrl(`${server.url}one.safetensors`, { index: bad });
    assert.equal(fetched.indexError.status, 'TARE_E_PREBUILT');
    assert.equal(fetched.length, 3);
});

test('hostile ones give errors or wrong answers, and nothing else', async () => {
    const small = gguf([['a.weight', 4], ['b', 8]], [['words', 'array', ['x', 'yy'], 'string'],
                                                     ['n', 'array', [1, 2, 3], 'u16']]);
    writeFileSync(join(folder, 'small.gguf'), small);
    const index = makeIndex('small.gguf');
    let opened = 0, told = 0;
    for (let at = 0; at < index.length; at++) {
        const bad = Buffer.from(index);
        bad[at] ^= 0xff;
        const model = await Model.fromBytes(small, { index: bad });
        if (model.indexError !== null) continue;
        opened++;
        model.names();
        for (const name of ['a.weight', 'b', 'c']) model.find(name);
        Array.from(model.prefix('a'));
        try {
            await tell(model);
        } catch (error) {
            if (!(error instanceof Lost))
                assert.equal(error.status, 'TARE_E_PREBUILT', `byte ${at}: ${error.stack}`);
            told++;
        }
    }
    assert.ok(opened > 100 && told > 50, `${opened} opened, ${told} told`);
});

test('92,000 tensors from an index', async (t) => {
    const path = join(PACKAGE, 'dev/model.safetensors');
    if (!existsSync(path)) return t.skip(`there is no ${path}`);
    const index = join(folder, 'large.idx');
    assert.equal(spawnSync(program, ['index', path, '-o', index]).status, 0);
    const bytes = readFileSync(path), given = readFileSync(index);
    const model = await Model.fromBytes(bytes, { index: given, requireIndex: true });
    assert.ok(model.stat.memorySize < given.length + 5 * 65536,
              `${model.stat.memorySize} for ${given.length}`);
    const parsed = await Model.fromBytes(bytes);
    const names = parsed.names();
    assert.deepEqual(model.names(), names);
    for (const [i, name] of names.entries()) assert.equal(model.find(name).index, i);
});
