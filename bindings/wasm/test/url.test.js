/* Models behind URLs, from a server on this machine: ranges, servers without them, failures. */
import assert from 'node:assert/strict';
import { truncateSync, writeFileSync, mkdirSync, openSync, writeSync, closeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { serve } from '../demo/serve.js';
import { Model, OUT_NAMES, errorOf, gguf, raw, safetensors, temporaryFolder } from './support.js';

const folder = temporaryFolder();
let server, asked = [];

const write = (name, bytes) => writeFileSync(join(folder, name), bytes);
const weights = Buffer.alloc(500_000).map((_, i) => (i * 7) & 255);

before(async () => {
    server = await serve({
        folders: { '': folder },
        onRequest: (url, { headers, method }) => asked.push([method, url.pathname.slice(1), headers.range]),
    });
    write('one.safetensors', safetensors([['w', 'U8', [500_000], weights]], undefined, 100_000));
    write('model.safetensors.index.json', JSON.stringify(
        { weight_map: { w: 'a b.safetensors', v: 'sub/v.safetensors' } }));
    write('a b.safetensors', safetensors([['w', 'U8', [500_000], weights]]));
    mkdirSync(join(folder, 'sub'));
    write('sub/v.safetensors', safetensors([['v', 'F32', [2], Buffer.alloc(8, 1)]]));
    write('broken.safetensors', raw('{"w":'));
    write('empty.safetensors', '');
    for (const number of [1, 2])
        write(`m-0000${number}-of-00002.gguf`, gguf([[`t${number}`, 4]],
            [['split.no', 'u16', number - 1], ['split.count', 'u16', 2]]));
});
after(() => server.close());

const open = (path, options) => Model.fromUrl(server.url + path, options);

test('of a file the header is fetched, then one tensor', async () => {
    asked = [];
    const model = await open('one.safetensors');
    const { dataOffset } = model.shards[0];
    assert.deepEqual(asked.map(([, , range]) => range), ['bytes=0-65535', `bytes=65536-${dataOffset - 1}`]);
    assert.equal(model.tensorBytes('w'), null);
    assert.deepEqual(Buffer.from(await model.read('w')), weights);
    assert.equal(asked.at(-1)[2], `bytes=${dataOffset}-${dataOffset + 499_999}`);
    assert.deepEqual(Buffer.from(await model.find('w').read({ begin: 10, end: 20 })),
                     weights.subarray(10, 20));
});

test('a server that ignores ranges sends all of it, once', async () => {
    asked = [];
    const seen = [];
    const model = await open('one.safetensors?ignore-ranges',
                             { onProgress: (done, total) => seen.push([done, total]) });
    assert.equal(asked.length, 1);
    assert.deepEqual(Buffer.from(model.tensorBytes('w')), weights);
    assert.equal(model.shards[0].inMemory, true);
    assert.deepEqual(seen[0], [0, model.shards[0].size]);
    assert.deepEqual(seen.at(-1), [model.shards[0].size, model.shards[0].size]);
});

test('an index brings its shards, and a folder its index', async () => {
    for (const path of ['model.safetensors.index.json', '']) {
        const model = await open(path);
        assert.deepEqual(model.names(), ['w', 'v']);
        assert.deepEqual(model.shards.map(({ name }) => name), ['a b.safetensors', 'sub/v.safetensors']);
        assert.deepEqual([...(await model.find('v').readArray())], [...new Float32Array(
            new Uint8Array(8).fill(1).buffer)]);
    }
    const moved = await open('model.safetensors.index.json', {
        resolve: (name) => (name === 'a b.safetensors' ? `${server.url}one.safetensors` : undefined),
    });
    assert.ok(moved.has('w'));
});

test('any part of a split file brings all', async () => {
    const model = await open('m-00002-of-00002.gguf');
    assert.deepEqual(model.names(), ['t1', 't2']);
    assert.equal((await model.read('t2')).length, 16);
});

test('fetch and headers are the caller\'s to choose', async () => {
    const seen = [];
    const model = await open('one.safetensors', {
        headers: { authorization: 'Bearer x' },
        fetch: (url, init) => {
            seen.push(init.headers.authorization);
            return fetch(url, init);
        },
    });
    await model.find('w').read({ end: 5 });
    assert.deepEqual(seen, ['Bearer x', 'Bearer x', 'Bearer x']);
});

test('sizes that another site hides are asked for by HEAD', async () => {
    asked = [];
    const hiding = async (url, init) => {
        const response = await fetch(url, init);
        const headers = new Headers(response.headers);
        headers.delete('content-range');
        headers.delete('etag');
        return new Response(init?.method === 'HEAD' ? null : response.body,
                            { status: response.status, headers });
    };
    const model = await open('one.safetensors', { fetch: hiding });
    assert.equal(asked.filter(([method]) => method === 'HEAD').length, 1);
    assert.deepEqual(Buffer.from(await model.read('w')), weights);
    const packed = async (url, init) => {
        const response = await hiding(url, init);
        if (init.method === 'HEAD') response.headers.set('content-encoding', 'gzip');
        return response;
    };
    const error = await errorOf(open('one.safetensors', { fetch: packed }));
    assert.equal(error.status, 'TARE_E_UNSUPPORTED', 'the length of what is packed is none of the file');
});

test('a file that changes is told', async () => {
    write('changing.safetensors', safetensors([['w', 'U8', [500_000], weights]]));
    const model = await open('changing.safetensors');
    write('changing.safetensors', safetensors([['w', 'U8', [400_000], weights.subarray(0, 400_000)]]));
    assert.equal((await errorOf(model.read('w'))).status, 'TARE_E_CHANGED');
});

test('a file of another size is told, also by a server that then sends all of it, without an ETag', async () => {
    const file = (size) => safetensors([['w', 'U8', [size], weights.subarray(0, size)]]);
    let now = null;
    const answer = (url, init) => {
        if (now !== null) return Promise.resolve(new Response(now));
        const from = file(100_000), [, begin, end] = /(\d+)-(\d+)/.exec(init.headers.range).map(Number);
        const part = from.subarray(begin, end + 1);
        return Promise.resolve(new Response(part, { status: 206, headers: {
            'content-range': `bytes ${begin}-${begin + part.length - 1}/${from.length}` } }));
    };
    const model = await Model.fromUrl('http://any.where/m.safetensors', { fetch: answer });
    assert.deepEqual(Buffer.from(await model.read('w')), weights.subarray(0, 100_000));
    now = file(100_000);
    assert.deepEqual(Buffer.from(await model.read('w')), weights.subarray(0, 100_000), 'the same, whole');
    for (now of [file(99_999), file(200_000), Buffer.alloc(100_000)]) {
        const error = await errorOf(model.read('w'));
        assert.deepEqual([error.status, error.offset], ['TARE_E_CHANGED', model.find('w').offset]);
    }
});

test('failures have a status', async () => {
    assert.equal((await errorOf(open('absent.safetensors'))).status, 'TARE_E_OPEN');
    assert.match((await errorOf(open('absent.safetensors'))).message, /404/);
    assert.equal((await errorOf(open('broken.safetensors'))).status, 'TARE_E_JSON');
    assert.equal((await errorOf(open('empty.safetensors'))).status, 'TARE_E_TRUNCATED');
    assert.equal((await errorOf(open('sub/'))).status, 'TARE_E_OPEN');
    const refused = await errorOf(Model.fromUrl('http://127.0.0.1:1/x.safetensors'));
    assert.equal(refused.status, 'TARE_E_READ');
    const stop = new AbortController();
    stop.abort();
    await assert.rejects(open('one.safetensors', { signal: stop.signal }), { name: 'AbortError' });
    const soon = await open('one.safetensors'), later = new AbortController();
    const reading = soon.read('w', { signal: later.signal });
    later.abort(new Error('enough'));
    await assert.rejects(reading, /enough/);
    const short = () => Promise.resolve(new Response(new Uint8Array(5), { status: 206 }));
    assert.equal((await errorOf(open('one.safetensors', { fetch: short }))).status,
                 'TARE_E_UNSUPPORTED', 'no size is told');
});

test('what fetch refuses is told, also of the size and of a body', async () => {
    const refuse = (method) => async (url, init) => {
        if (init.method === method) throw new TypeError('refused');
        const { body } = await fetch(url, init);
        return new Response(body, { status: 206 });
    };
    for (const method of ['GET', 'HEAD']) {
        const error = await errorOf(open('one.safetensors', { fetch: refuse(method) }));
        assert.equal(error.status, 'TARE_E_READ', method);
        assert.match(error.message, /one\.safetensors: refused/);
        assert.ok(error.cause instanceof TypeError);
    }
    const torn = async () => new Response(new ReadableStream({
        pull: (controller) => controller.error(new TypeError('torn')),
    }), { status: 200 });
    const error = await errorOf(open('one.safetensors', { fetch: torn }));
    assert.deepEqual([error.status, error.cause.message], ['TARE_E_READ', 'torn']);
    const failed = async () => new Response(new ReadableStream({
        start: (controller) => controller.error(new TypeError('torn')),
    }), { status: 500 });
    assert.equal((await errorOf(open('one.safetensors', { fetch: failed }))).status, 'TARE_E_OPEN');
    for (const text of ['http://[', 'no scheme'])
        assert.equal((await errorOf(Model.fromUrl(text))).status, 'TARE_E_ARGUMENT');
    assert.equal((await errorOf(open('one.safetensors', { headerSizeMax: -1 }))).status,
                 'TARE_E_ARGUMENT');
});

/** A body that never ends, of which `pulled` is told. */
function endless(state) {
    return new ReadableStream({
        pull: (controller) => {
            state.pulled += 10_000;
            if (state.pulled > 2_000_000) controller.error(new Error('nobody stops it'));
            else controller.enqueue(new Uint8Array(10_000));
        },
        cancel: () => (state.cancelled = true),
    });
}

test('of a body that never ends no more is taken than was asked for', async () => {
    const file = safetensors([['w', 'U8', [100_000], weights.subarray(0, 100_000)]]);
    const headers = (begin, end) => ({ 'content-range': `bytes ${begin}-${end - 1}/${file.length}` });
    const head = () => new Response(file.subarray(0, 65536), { status: 206, headers: headers(0, 65536) });
    for (const [what, wanted, answers] of [
        ['head', 'TARE_E_READ', (body) => [new Response(body, { status: 206, headers: headers(0, 65536) })]],
        ['tensor', 'TARE_E_CHANGED', (body) => [head(), new Response(body, { status: 206 })]],
        ['whole', 'TARE_E_CHANGED', (body) => [head(), new Response(body, { status: 200 })]],
    ]) {
        const state = { pulled: 0, cancelled: false }, left = answers(endless(state));
        const opening = Model.fromUrl('http://any.where/m', { fetch: async () => left.shift() });
        const error = await errorOf(opening.then((model) => model.read('w')));
        assert.equal(error.status, wanted, `${what}: ${error.message}`);
        assert.ok(state.cancelled && state.pulled < file.length + 50_000, `${what}: ${state.pulled}`);
    }
});

/* Servers that ignore ranges: those that say how much comes, and those that do not. */
const ignoring = (files, { told }) => async (url) => {
    const file = files[String(url).split('/').at(-1)];
    return new Response(file, { headers: told ? { 'content-length': String(file.length) } : {} });
};

test('of a server that ignores ranges no more is taken than is allowed', async () => {
    const file = safetensors([['w', 'U8', [100_000], weights.subarray(0, 100_000)]]);
    const open = (fetch, wholeSizeMax) => Model.fromUrl('http://any.where/m', { fetch, wholeSizeMax });
    for (const told of [true, false]) {
        const fetch = ignoring({ m: file }, { told });
        for (const enough of [file.length, file.length + 1, undefined])
            assert.deepEqual(Buffer.from((await open(fetch, enough)).tensorBytes('w')), weights.subarray(0, 100_000));
        const error = await errorOf(open(fetch, file.length - 1));
        assert.equal(error.status, 'TARE_E_LIMIT');
        assert.match(error.message, new RegExp(`wholeSizeMax \\(${file.length - 1} bytes\\)`));
    }
    for (const [length, wholeSizeMax, most] of [[null, 100_000, 100_000], ['9', 100_000, 100_000],
                                                ['100001', 100_000, 0], [String(2 ** 30 + 1), undefined, 0]]) {
        const state = { pulled: 0, cancelled: false }, headers = length === null ? {} : { 'content-length': length };
        const error = await errorOf(open(async () => new Response(endless(state), { headers }), wholeSizeMax));
        assert.equal(error.status, 'TARE_E_LIMIT', `${length}: ${error.message}`);
        assert.ok(state.cancelled && state.pulled <= most + 20_000, `${length}: ${state.pulled}`);
    }
});

test('that is of all files of a model together', async () => {
    const [a, b] = ['a', 'b'].map((name) => safetensors([[name, 'U8', [50_000], weights.subarray(0, 50_000)]]));
    const list = JSON.stringify({ weight_map: { a: 'a.safetensors', b: 'b.safetensors' } });
    const first = 'm.safetensors.index.json';
    const files = { [first]: Buffer.from(list), 'a.safetensors': a, 'b.safetensors': b };
    const all = list.length + a.length + b.length;
    for (const told of [true, false]) {
        const fetch = ignoring(files, { told });
        const open = (wholeSizeMax) => Model.fromUrl(`http://any.where/${first}`, { fetch, wholeSizeMax });
        assert.equal((await open(all)).length, 2);
        assert.equal((await errorOf(open(all - 1))).status, 'TARE_E_LIMIT');
    }
});

test('and of each later answer, whatever becomes of the options', async () => {
    const file = safetensors([['w', 'U8', [100_000], weights.subarray(0, 100_000)]]);
    for (const [wholeSizeMax, fine] of [[file.length, true], [file.length - 1, false]]) {
        const state = { pulled: 0, cancelled: false };
        const left = [new Response(file.subarray(0, 65536), { status: 206, headers: {
            'content-range': `bytes 0-65535/${file.length}` } }), new Response(fine ? file : endless(state))];
        const options = { fetch: async () => left.shift(), wholeSizeMax };
        const model = await Model.fromUrl('http://any.where/m', options);
        options.wholeSizeMax = fine ? 1 : undefined;
        if (fine) {
            assert.equal((await model.read('w')).length, 100_000);
        } else {
            assert.equal((await errorOf(model.read('w'))).status, 'TARE_E_LIMIT');
            assert.ok(state.cancelled && state.pulled <= 20_000, String(state.pulled));
        }
    }
});

test('all of a response is what was asked for, unless a limit is', async () => {
    const file = safetensors([['w', 'U8', [4], Buffer.alloc(4, 1)]]);
    for (const most of [undefined, file.length])
        assert.equal((await Model.fromResponse(new Response(file), { wholeSizeMax: most })).length, 1);
    const state = { pulled: 0, cancelled: false };
    const error = await errorOf(Model.fromResponse(new Response(endless(state)), { wholeSizeMax: 50_000 }));
    assert.deepEqual([error.status, state.cancelled], ['TARE_E_LIMIT', true]);
    assert.ok(state.pulled <= 80_000, String(state.pulled));
    for (const wrong of [0, -1, 1.5, NaN, Infinity, 2 ** 53, '9', null, 5n]) {
        const body = { pulled: 0, cancelled: false }, options = {
            wholeSizeMax: wrong, fetch: () => assert.fail('it was fetched') };
        for (const opening of [Model.fromUrl('http://any.where/m', options),
                               Model.fromResponse(new Response(endless(body)), options)])
            assert.equal((await errorOf(opening)).message,
                         `wholeSizeMax is a whole number from 1, not ${String(wrong)}`);
        assert.ok(body.cancelled);
    }
});

test('a length that is a lie takes no memory', async () => {
    const file = safetensors([['w', 'U8', [4], Buffer.alloc(4, 1)]]), sizes = [];
    const { Uint8Array: Real } = globalThis;
    const fetch = async () => new Response(file, { status: 206, headers: {
        'content-length': '8000000000', 'content-range': `bytes 0-${file.length - 1}/${file.length}` } });
    globalThis.Uint8Array = new Proxy(Real, { construct: (target, given) => {
        if (typeof given[0] === 'number') sizes.push(given[0]);
        return Reflect.construct(target, given);
    } });
    try {
        assert.equal((await errorOf(Model.fromUrl('http://any.where/m', { fetch }))).status, 'TARE_E_TRUNCATED');
    } finally {
        globalThis.Uint8Array = Real;
    }
    assert.ok(sizes.length > 0 && Math.max(...sizes) <= 65536, String(sizes));
});

test('sizes that no file has are told', async () => {
    const file = safetensors([['w', 'U8', [4], Buffer.alloc(4, 1)]], undefined, 70_000);
    for (const [size, status] of [['100000000000000000000', 'TARE_E_UNSUPPORTED'],
                                  ['9007199254740992', 'TARE_E_UNSUPPORTED'],
                                  ['9007199254740991', 'TARE_E_LIMIT'], ['70368744177665', 'TARE_E_LIMIT'],
                                  ['-1', 'TARE_E_UNSUPPORTED'], ['x', 'TARE_E_UNSUPPORTED']]) {
        const fetch = async (url, { method }) => (method === 'HEAD'
            ? new Response(null, { headers: { 'content-length': size } })
            : new Response(file.subarray(0, 65536), { status: 206, headers: {
                'content-range': `bytes 0-65535/${size}` } }));
        assert.equal((await errorOf(Model.fromUrl('http://any.where/m', { fetch }))).status, status, size);
        const whole = new Response(file, { headers: { 'content-length': size.startsWith('-') ? size : '' } });
        assert.equal((await Model.fromResponse(whole)).length, 1, 'what a response says too little of is read');
    }
});

test('once a shard is missing no others are asked for', async () => {
    const names = Array.from({ length: 200 }, (_, i) => `s${String(i).padStart(3, '0')}.safetensors`);
    const list = JSON.stringify({ weight_map: Object.fromEntries(names.map((name, i) => [`t${i}`, name])) });
    const seen = [];
    const fetch = async (url) => {
        if (String(url).endsWith('.json')) return new Response(list);
        seen.push(String(url));
        await new Promise(setImmediate);
        if (String(url).endsWith('s009.safetensors')) return new Response(null, { status: 404 });
        return new Response(safetensors([['w', 'U8', [1], Buffer.alloc(1)]]));
    };
    assert.equal((await errorOf(Model.fromUrl('http://any.where/m.json', { fetch }))).status, 'TARE_E_OPEN');
    for (let i = 0; i < 50; i++) await new Promise(setImmediate);
    assert.ok(seen.length >= 10 && seen.length < 30, `${seen.length} requests`);
});

test('no spelling of a shard leads out of the folder of its index', async () => {
    const base = 'http://any.where/models/one/';
    let fetched = 0;
    for (const name of OUT_NAMES) {
        const list = `{"weight_map":{"a":"a.safetensors","w":"${name}"}}`;
        const fetch = async (url) => {
            const { href, pathname, search, hash } = new URL(url);
            assert.deepEqual([href.startsWith(base), search + hash], [true, ''], `${name}: ${href}`);
            fetched += pathname.endsWith('out.safetensors');
            return pathname.endsWith('.json') ? new Response(list) : new Response(null, { status: 404 });
        };
        const { status } = await errorOf(Model.fromUrl(`${base}m.json`, { fetch }));
        assert.ok(['TARE_E_SHARD_NAME', 'TARE_E_OPEN', 'TARE_E_JSON'].includes(status), `${name}: ${status}`);
    }
    assert.ok(fetched >= 5, `${fetched} that are names of files below`);
    const asked = [];
    const fetch = async (url) => {
        asked.push(new URL(url).pathname);
        return asked.length > 1 ? new Response(null, { status: 404 }) : new Response(gguf([['a', 1]]));
    };
    await errorOf(Model.fromUrl(`${base}..%2Fm-00001-of-00002.gguf`, { fetch }));
    assert.ok(asked.length === 2 && asked.every((path) => path.startsWith('/models/one/')), String(asked));
});

test('a body is let go of where its progress throws', async () => {
    const own = new Error('mine'), options = { onProgress: () => { throw own; } };
    for (const open of [(response) => Model.fromResponse(response, options), (response) =>
        Model.fromUrl('http://any.where/m', { ...options, fetch: async () => response })]) {
        const state = { pulled: 0, cancelled: false };
        await assert.rejects(open(new Response(endless(state))), own);
        assert.ok(state.cancelled);
    }
});

test('responses are fetched whole, with progress', async () => {
    const seen = [];
    const model = await Model.fromResponse(fetch(`${server.url}one.safetensors`),
        { onProgress: (done, total) => seen.push([done, total]), name: 'one.safetensors' });
    assert.deepEqual(Buffer.from(model.tensorBytes('w')), weights);
    const { size } = model.shards[0];
    assert.deepEqual([seen[0], seen.at(-1)], [[0, size], [size, size]]);
    const streamed = new Response(new Blob([safetensors([['w', 'U8', [1], Buffer.alloc(1)]])]).stream());
    assert.equal((await Model.fromResponse(streamed)).length, 1);
    const error = await errorOf(Model.fromResponse(fetch(`${server.url}absent`)));
    assert.equal(error.status, 'TARE_E_OPEN');
});

test('a file of 6 GB: offsets beyond 4 GiB over HTTP', async (t) => {
    const size = 6_000_000_000;
    const head = raw(JSON.stringify({
        big: { dtype: 'U8', shape: [size], data_offsets: [0, size] },
        last: { dtype: 'U8', shape: [4], data_offsets: [size, size + 4] },
    }));
    const path = join(folder, 'big.safetensors');
    try {
        const file = openSync(path, 'w');
        writeSync(file, head);
        writeSync(file, Buffer.from([1, 2, 3, 4]), 0, 4, head.length + size);
        closeSync(file);
    } catch (error) {
        return t.skip(`no file of 6 GB: ${error.message}`);
    }
    const model = await open('big.safetensors');
    assert.deepEqual([...await model.read('last')], [1, 2, 3, 4]);
    truncateSync(path, 0);
});
