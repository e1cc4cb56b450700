/* Models in files of this machine: openPath of tare-wasm/node. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
    closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync, statSync, utimesSync, writeFileSync, writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { OUT_NAMES, PACKAGE, errorOf, gguf, raw, safetensors, temporaryFolder } from './support.js';

const { openPath } = await import(pathToFileURL(join(PACKAGE, 'lib/node.js')));

const folder = join(temporaryFolder(), 'a #1 %41?é');
mkdirSync(join(folder, 'sub'), { recursive: true });
const at = (name) => join(folder, name);
const write = (name, bytes) => writeFileSync(at(name), bytes);
const weights = Buffer.alloc(3_000_000).map((_, i) => (i * 7) & 255);
const one = safetensors([['w', 'U8', [weights.length], weights], ['none', 'U8', [0], Buffer.alloc(0)]], undefined, 100_000);
write('one.safetensors', one);
write('a b.safetensors', safetensors([['w', 'U8', [3], Buffer.from([1, 2, 3])]]));
write('sub/v.safetensors', safetensors([['v', 'F32', [2], Buffer.alloc(8, 1)]]));
write('model.safetensors.index.json', JSON.stringify({ weight_map: { w: 'a b.safetensors', v: 'sub/v.safetensors' } }));
for (const number of [1, 2])
    write(`m-0000${number}-of-00002.gguf`, gguf([[`t${number}`, 4]],
        [['split.no', 'u16', number - 1], ['split.count', 'u16', 2]]));

test('a file, by its path or URL: tensors are read, and parts of them', async () => {
    for (const path of [at('one.safetensors'), pathToFileURL(at('one.safetensors'))]) {
        const model = await openPath(path);
        assert.equal(model.shards[0].size, one.length);
        assert.equal(model.tensorBytes('w'), null);
        assert.deepEqual(Buffer.from(await model.read('w')), weights);
        assert.deepEqual(Buffer.from(await model.find('w').read({ begin: 9, end: 2_000_000 })),
                         weights.subarray(9, 2_000_000));
        assert.equal((await model.read('none')).length, 0);
    }
});

test('an index, a folder, and parts of a split file bring what belongs to them', async () => {
    for (const path of [folder, `${folder}/`, pathToFileURL(folder), at('model.safetensors.index.json')]) {
        const model = await openPath(path);
        assert.deepEqual(model.names(), ['w', 'v']);
        assert.deepEqual([...await model.read('w')], [1, 2, 3]);
        assert.equal((await model.read('v')).length, 8);
    }
    const split = await openPath(at('m-00002-of-00002.gguf'));
    assert.deepEqual(split.names(), ['t1', 't2']);
    assert.equal((await split.read('t2')).length, 16);
});

test('what is no model file is told, with the errno of the system', async () => {
    const absent = await errorOf(openPath(at('absent.gguf')));
    assert.deepEqual([absent.status, absent.systemError], ['TARE_E_OPEN', 2]);
    assert.match(absent.message, /absent\.gguf: ENOENT/);
    assert.equal((await errorOf(openPath(at('sub')))).status, 'TARE_E_OPEN');
    write('lost.safetensors.index.json', JSON.stringify({ weight_map: { w: 'gone.safetensors' } }));
    assert.match((await errorOf(openPath(at('lost.safetensors.index.json')))).message, /gone\.safetensors: ENOENT/);
    write('empty.safetensors', '');
    assert.equal((await errorOf(openPath(at('empty.safetensors')))).status, 'TARE_E_TRUNCATED');
    write('broken.safetensors', raw('{"w":'));
    const broken = await errorOf(openPath(at('broken.safetensors')));
    assert.deepEqual([broken.status, broken.offset], ['TARE_E_JSON', 13]);
    await assert.rejects(openPath(5), TypeError);
    process.chdir(folder); // which is a model, and not meant
    for (const none of ['', 'a\0b', new URL('http://any.where/m'), new URL('file:///a%2Fb'), new URL('file:///%00')])
        assert.equal((await errorOf(openPath(none))).status, 'TARE_E_OPEN', String(none));
});

test('a FIFO is not opened: who waits at its other end goes on waiting', async (t) => {
    if (spawnSync('mkfifo', [at('pipe.gguf')]).status !== 0) return t.skip('no FIFOs here');
    const writer = spawn('sh', ['-c', 'echo waits; exec 3>"$1"; echo went on', 'sh', at('pipe.gguf')]);
    let said = '';
    writer.stdout.on('data', (data) => { said += data; });
    await once(writer.stdout, 'data');
    await setTimeout(20); // for the shell to be at its next command
    assert.match((await errorOf(openPath(at('pipe.gguf')))).message, /no regular file/);
    await setTimeout(20);
    assert.equal(said, 'waits\n');
    writer.kill();
    await once(writer, 'close');
});

test('no spelling of a shard leads out of the folder of its index', async () => {
    const out = safetensors([['w', 'U8', [1], Buffer.from([1])]]);
    mkdirSync(at('inner/sub'), { recursive: true });
    for (const name of ['out.safetensors', 'inner/in.safetensors']) write(name, out);
    const open = (name) => {
        write('inner/m.json', `{"weight_map":{"w":"${name}"}}`);
        return openPath(at('inner/m.json'));
    };
    assert.equal((await open('in.safetensors')).length, 1);
    for (const name of [...OUT_NAMES, at('out.safetensors')]) {
        const { status } = await errorOf(open(name));
        assert.ok(['TARE_E_SHARD_NAME', 'TARE_E_OPEN'].includes(status), `${name}: ${status}`);
    }
});

test('a file that was written to, cut, replaced or removed is told', async () => {
    const opened = async () => {
        write('changing.safetensors', one);
        utimesSync(at('changing.safetensors'), 1, 1);
        return openPath(at('changing.safetensors'));
    };
    const changes = [() => write('changing.safetensors', one), // at another time
                     () => write('changing.safetensors', one.subarray(0, one.length - 1)),
                     () => write('changing.safetensors', ''),
                     () => {
                         write('other', one);
                         utimesSync(at('other'), 1, 1);
                         renameSync(at('other'), at('changing.safetensors'));
                     }];
    for (const change of changes) {
        const model = await opened();
        change();
        assert.equal((await errorOf(model.read('w'))).status, 'TARE_E_CHANGED', String(change));
    }
    const model = await opened();
    renameSync(at('changing.safetensors'), at('moved.safetensors'));
    assert.equal((await errorOf(model.read('w'))).status, 'TARE_E_OPEN');
});

test('signals stop it, whenever they come', async () => {
    await assert.rejects(openPath(at('one.safetensors'), { signal: AbortSignal.abort() }), { name: 'AbortError' });
    const model = await openPath(at('one.safetensors'));
    for (let turns = 0; turns < 30; turns++) {
        const stop = new AbortController(), reading = model.read('w', { signal: stop.signal });
        const ended = reading.then(() => 'read', (error) => error.message);
        for (let i = 0; i < turns; i++) await new Promise(setImmediate);
        stop.abort(new Error('enough'));
        assert.ok(['enough', 'read'].includes(await ended));
        if (turns === 0) assert.equal(await ended, 'enough');
    }
});

test('no file stays open', { skip: !existsSync('/proc/self/fd') }, async () => {
    const names = new Set(readdirSync(folder).map(at));
    const open = () => spawnSync('ls', ['-l', `/proc/${process.pid}/fd`], { encoding: 'utf8' }).stdout
        .split('\n').filter((line) => names.has(line.split(' -> ')[1]));
    for (let i = 0; open().length > 0 && i < 100; i++) // streams that were stopped close soon after
        await new Promise((resolve) => setTimeout(resolve, 10));
    assert.deepEqual(open(), []);
});

test('offsets beyond 4 GiB', async (t) => {
    const size = 6_000_000_000;
    const head = raw(JSON.stringify({
        big: { dtype: 'U8', shape: [size], data_offsets: [0, size] },
        last: { dtype: 'U8', shape: [4], data_offsets: [size, size + 4] },
    }));
    try {
        const file = openSync(at('big.safetensors'), 'w');
        writeSync(file, head);
        writeSync(file, Buffer.from([1, 2, 3, 4]), 0, 4, head.length + size);
        closeSync(file);
    } catch (error) {
        return t.skip(`no file of 6 GB: ${error.message}`);
    }
    assert.ok(statSync(at('big.safetensors')).size > size);
    assert.deepEqual([...await (await openPath(at('big.safetensors'))).read('last')], [1, 2, 3, 4]);
});
