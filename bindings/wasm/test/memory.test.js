/* Memory that is refused, buffers that go while a model is opened, and what a failure leaves behind. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { Model, PACKAGE, ROOT, TareError, errorOf, gguf, safetensors, tare, temporaryFolder } from './support.js';

const { Instance } = await import(pathToFileURL(join(PACKAGE, 'lib/instance.js')));
const bytes = readFileSync(join(PACKAGE, 'lib/tare.wasm'));

function number(at) {
    let value = 0, shift = 0, byte;
    do {
        byte = bytes[at++];
        value |= (byte & 127) << shift;
        shift += 7;
    } while (byte > 127);
    return [value, at];
}

/** The module with a memory of at most so many pages; null where it has more to begin with. */
function moduleOf(pages) {
    const parts = [bytes.subarray(0, 8)];
    for (let at = 8, next; at < bytes.length; at = next) {
        const [size, body] = number(at + 1);
        next = body + size;
        if (bytes[at] !== 5) {
            parts.push(bytes.subarray(at, next));
            continue;
        }
        assert.deepEqual([...bytes.subarray(body, body + 2)], [1, 0], 'one memory without a maximum');
        const [least] = number(body + 2);
        assert.ok(least < 128 && pages < 128);
        if (pages < least) return null;
        parts.push(Buffer.from([5, 4, 1, 1, least, pages]));
    }
    return WebAssembly.compile(Buffer.concat(parts));
}

const tensors = Array.from({ length: 3000 }, (_, i) => [`model.layers.${i}.weight`, 'U8', [1], Buffer.alloc(1, i)]);
const large = safetensors(tensors, { format: 'pt' });
const words = gguf([['a', 4], ['b', 4]],
                   [['words', 'array', Array.from({ length: 20_000 }, (_, i) => `w${i}`), 'string']]);

function makeIndex(file) {
    if (!process.env.TARE_PROGRAM) return undefined;
    const folder = temporaryFolder(), path = join(folder, 'm.safetensors');
    writeFileSync(path, file);
    const { status, stderr } = spawnSync(process.env.TARE_PROGRAM, ['index', path, '-o', join(folder, 'made')]);
    assert.equal(status, 0, String(stderr));
    return readFileSync(join(folder, 'made'));
}

test('however little memory there is, it opens or says so', async (t) => {
    t.after(() => tare.init(bytes));
    const index = makeIndex(large), opens = {
        safetensors: () => Model.fromBytes(large),
        gguf: () => Model.fromBlob(new Blob([words])),
        ...index && { index: () => Model.fromBytes(large, { index, requireIndex: true }) },
    };
    const least = {};
    const done = () => Object.keys(opens).every((what) => least[what] !== undefined);
    for (let pages = 1; pages < 128 && !done(); pages += 2) {
        const module = await moduleOf(pages);
        if (module === null) continue;
        await tare.init(module);
        for (const [what, open] of Object.entries(opens)) {
            let model;
            try {
                model = await open();
            } catch (error) {
                assert.ok(error instanceof TareError, error.stack);
                assert.equal(error.status, 'TARE_E_MEMORY', `${what}, ${pages} pages: ${error.message}`);
                assert.equal(least[what], undefined, `${what}: ${pages} pages are too few, and less were enough`);
                continue;
            }
            if (least[what] !== undefined) continue;
            least[what] = pages;
            for (const use of [() => model.find('x'.repeat(5_000_000)), () => model.has(new Uint8Array(5_000_000)),
                               () => [...model.prefix('x'.repeat(5_000_000))],
                               () => model.metadata.get('x'.repeat(5_000_000))])
                assert.throws(use, (error) => error.status === 'TARE_E_MEMORY');
            const last = model.at(-1);
            assert.equal(model.find(last.name).index, last.index, 'it goes on');
            if (what === 'gguf') assert.equal(model.metadata.get('words').at(-1), 'w19999');
        }
    }
    assert.ok(done() && Object.values(least).every((pages) => pages > 3), JSON.stringify(least));
});

test('an engine that makes no memory for a model is told', async (t) => {
    t.mock.method(WebAssembly, 'Instance', function () {
        throw new RangeError('WebAssembly.Instance(): Out of memory');
    });
    for (const open of [() => Model.fromBytes(large), () => Model.fromBlob(new Blob([large])), tare.version]) {
        const error = await errorOf(open());
        assert.equal(error.status, 'TARE_E_MEMORY');
        assert.ok(error.cause instanceof RangeError);
    }
});

test('so is one that has none for a header', async (t) => {
    const { Uint8Array: Real } = globalThis;
    t.after(() => {
        globalThis.Uint8Array = Real;
    });
    const file = safetensors([['w', 'U8', [1], Buffer.alloc(1)]], undefined, 300_000);
    const reader = { size: file.length, read: (offset, size) => new Real(file).subarray(offset, offset + size) };
    globalThis.Uint8Array = new Proxy(Real, { construct: (target, given) => {
        if (given[0] > 300_000) throw new RangeError('Array buffer allocation failed');
        return Reflect.construct(target, given);
    } });
    const error = await errorOf(Model.fromFiles([{ name: '', bytes: reader }]));
    assert.deepEqual([error.status, error.cause.constructor], ['TARE_E_MEMORY', RangeError]);
});

test('buffers that are transferred while a model is opened are told', async () => {
    const small = safetensors([['w', 'U8', [2], Buffer.from([1, 2])]]);
    const named = (buffer) => [{ name: 'a.safetensors', bytes: buffer }, { name: 'b.json', bytes: Buffer.from('{}') }];
    const list = JSON.stringify({ weight_map: { w: 'a.safetensors' } });
    const index = makeIndex(small);
    const answers = async (url) => new Response(String(url).endsWith('.json') ? list : small);
    const ways = {
        bytes: [small, (buffer) => Model.fromBytes(buffer)],
        files: [small, (buffer) => Model.fromFiles(named(buffer))],
        index: [index, (buffer) => Model.fromBytes(small, { index: buffer, requireIndex: true })],
        'index, fetched': [index, (buffer) => Model.fromUrl('http://any.where/m.safetensors',
            { index: buffer, requireIndex: true, fetch: answers })],
    };
    for (const [what, [from, open]] of Object.entries(ways)) {
        if (from === undefined) continue; // there is no program to make it
        const seen = new Set();
        for (let turns = 0; turns < 60; turns++) {
            const { buffer } = new Uint8Array(from);
            const opening = open(buffer).then((model) => model.length, (error) => error.status ?? error.stack);
            for (let i = 0; i < turns; i++) await null;
            structuredClone(buffer, { transfer: [buffer] });
            seen.add(await opening);
        }
        assert.ok(seen.has('TARE_E_CHANGED'), what);
        seen.delete('TARE_E_CHANGED');
        seen.delete(1); // it was open by then
        assert.deepEqual([...seen], [], what);
    }
});

/** What is wrong with files, tried twice in one instance, whose heap is as it was each time. */
function checkFailure(module, name, file, what) {
    const instance = new Instance(module);
    const table = instance.table([{ name, head: file, size: file.length }], 1 << 20);
    const top = instance.calls.tare_js_top(), said = [];
    for (let turn = 0; turn < 2; turn++) {
        if (instance.calls.tare_js_open(table, 1) === 0) return false;
        instance.look();
        const { status, offset, message } = instance.error();
        said.push([status, offset, message]);
        assert.equal(instance.calls.tare_js_top(), top, `${what}: ${message}`);
    }
    assert.deepEqual(said[0], said[1], what);
    return true;
}

test('a failure leaves nothing on the heap', async () => {
    const module = await tare.init();
    const corpus = join(ROOT, 'tests/data/corpus');
    let failed = 0;
    for (const format of ['safetensors', 'gguf'])
        for (const name of readdirSync(join(corpus, format, 'bad')))
            failed += checkFailure(module, '', readFileSync(join(corpus, format, 'bad', name)), name);
    assert.ok(failed > 150, `${failed} files`);
    const good = gguf([['a', 2], ['bb', 2]], [['k', 'string', 'text'], ['n', 'array', ['x', 'yy'], 'string']]);
    for (let size = 0; size < good.length - 24; size++) // padding
        assert.ok(checkFailure(module, 'm.gguf', good.subarray(0, size), `${size} bytes`), `${size} bytes`);
});
