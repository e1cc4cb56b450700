/* Every file of the corpus gets the verdict that its manifest states, and holds what it must. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { test } from 'node:test';
import { Model, ROOT, TareError, errorOf } from './support.js';

const CORPUS = join(ROOT, 'tests/data/corpus');

function table(name) {
    return readFileSync(join(CORPUS, name), 'utf8').trimEnd().split('\n')
        .map((line) => line.split('\t'));
}

const cases = table('manifest.tsv').map(([path, format, verdict, rule]) =>
    ({ path, format, accept: verdict === 'accept', rule }));
const facts = new Map(cases.map(({ path }) => [path, []]));
for (const [path, ...fact] of table('expect.tsv')) facts.get(path).push(fact);

function filesBelow(folder, prefix = '') {
    return readdirSync(folder).flatMap((name) => {
        const path = join(folder, name);
        return statSync(path).isDirectory() ? filesBelow(path, `${prefix}${name}/`)
                                            : [[prefix + name, readFileSync(path)]];
    });
}

/** The files that a case is made of, by name. */
function filesOf({ path, format }) {
    const full = join(CORPUS, path);
    return new Map(format === 'index' ? filesBelow(dirname(full))
                                      : [[basename(path), readFileSync(full)]]);
}

const hex = (bytes) => Buffer.from(bytes).toString('hex');

const SIZES = { u8: 1, i8: 1, u16: 2, i16: 2, u32: 4, i32: 4, f32: 4, bool: 1 };

/** A value as expect.tsv has its bytes. */
function itemHex(kind, value) {
    if (kind === 'string') return hex(Buffer.from(value));
    const view = new DataView(new ArrayBuffer(SIZES[kind] ?? 8));
    if (kind === 'f32') view.setFloat32(0, value, true);
    else if (kind === 'f64') view.setFloat64(0, value, true);
    else if (kind === 'bool') view.setUint8(0, Number(value));
    else if (SIZES[kind] !== undefined)
        for (let i = 0; i < view.byteLength; i++) view.setUint8(i, (value >> (8 * i)) & 255);
    else view.setBigUint64(0, BigInt.asUintN(64, value), true);
    return hex(new Uint8Array(view.buffer));
}

function checkTensor(path, tensor, [name, dtype, shape, shard, offset, size], files, model) {
    assert.equal(hex(tensor.nameBytes) || '-', name, path);
    assert.equal(tensor.dtype, dtype, path);
    assert.equal(tensor.shapeBigInt.join(',') || '-', shape, path);
    assert.equal(tensor.shard, Number(shard), path);
    assert.equal(tensor.offset, Number(offset), path);
    assert.equal(tensor.size, Number(size), path);
    const file = files.get(model.shards[tensor.shard].name);
    assert.equal(hex(tensor.bytes), hex(file.subarray(tensor.offset, tensor.offset + tensor.size)));
    assert.equal(tensor.bytes.buffer, file.buffer, `${path}: the caller's buffer`);
    assert.equal(model.find(tensor.nameBytes).index, tensor.index, path);
}

function checkEntry(path, entry, [key, kind, shard, items]) {
    assert.equal(hex(Buffer.from(entry.key)) || '-', key, path);
    assert.equal(entry.shard, Number(shard), path);
    const isArray = kind.startsWith('['), itemKind = isArray ? kind.slice(1) : kind;
    assert.equal(entry.kind, isArray ? 'array' : kind, path);
    assert.equal(entry.itemKind, isArray ? itemKind : null, path);
    const values = isArray ? Array.from(entry.value) : [entry.value];
    assert.equal(entry.count, values.length, path);
    const text = values.map((value) => itemHex(itemKind, value) || '-').join(',');
    /* Any byte but 0 is true, as in C; which one it was JavaScript's booleans cannot tell. */
    const wanted = itemKind === 'bool' ? items.replace(/\b(?!00)[0-9a-f]{2}\b/g, '01') : items;
    assert.equal(`${values.length}:${text}`, wanted, path);
}

async function open(one, files) {
    const named = Array.from(files, ([name, bytes]) => ({ name, bytes }));
    return Model.fromFiles(named);
}

test('the manifest is there as a whole', () => {
    assert.equal(cases.length, 300);
    assert.equal(cases.filter(({ accept }) => accept).length, 53);
});

for (const format of ['safetensors', 'gguf', 'index']) {
    test(`${format}: verdicts, and what good files hold`, async () => {
        let count = 0;
        for (const one of cases.filter((c) => c.format === format)) {
            const files = filesOf(one);
            let model = null, error = null;
            try {
                model = await open(one, files);
            } catch (thrown) {
                error = thrown;
            }
            count++;
            if (!one.accept) {
                assert.equal(model, null, `${one.path}: accepted, against rule ${one.rule}`);
                assert.ok(error instanceof TareError, `${one.path}: ${error?.stack}`);
                assert.match(error.status, /^TARE_E_/);
                continue;
            }
            assert.equal(error, null, `${one.path}: ${error?.message}`);
            let tensors = 0, entries = 0;
            for (const [what, ...fact] of facts.get(one.path)) {
                if (what === 'tensor') checkTensor(one.path, model.at(tensors++), fact, files, model);
                else checkEntry(one.path, model.metadata.at(entries++), fact);
            }
            assert.equal(model.length, tensors, one.path);
            assert.equal(model.metadata.size, entries, one.path);
            model.close();
        }
        assert.ok(count >= 39, `${count} cases`);
    });
}

/* `tare check --json` of a native build says which status and place each file has. */
test('statuses, offsets and shards are those of the native library', async (t) => {
    const program = process.env.TARE_PROGRAM;
    if (!program) return t.skip('TARE_PROGRAM does not name the tare program');
    const bad = cases.filter(({ accept }) => !accept);
    const { stdout } = spawnSync(program,
                                 ['check', '--json', ...bad.map(({ path }) => join(CORPUS, path))],
                                 { encoding: 'utf8', maxBuffer: 1 << 26 });
    const { results } = JSON.parse(stdout);
    assert.equal(results.length, bad.length);
    for (const [i, one] of bad.entries()) {
        const error = await errorOf(open(one, filesOf(one)));
        const wanted = results[i];
        assert.deepEqual([error.status, error.code, error.offset, error.shard],
                         [wanted.status, wanted.value, wanted.offset ?? null, wanted.shard ?? null],
                         `${one.path}: ${error.message} | ${wanted.message}`);
    }
});
