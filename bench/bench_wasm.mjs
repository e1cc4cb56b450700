/*
 * The npm package against JSON.parse and a Map, in Node and in Chromium: ./x bench wasm [--save]
 *     [--rounds N]
 * With and without an index file, in turn, in one process each. Figures are medians. --save keeps every round in
 * bench/results/.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, '..');
const PACKAGE = join(ROOT, 'build/wasm');
const MODEL = join(PACKAGE, 'dev/model.safetensors'), INDEX = `${MODEL}.tareidx`;
const WAYS = ['tare', 'tare_index', 'json_map'];
const CHROMIUM = process.env.TARE_CHROMIUM ?? '/usr/bin/chromium';

/** Without a copy, whose memory the process would keep and use for what is measured. */
function load(path) {
    const { buffer, byteOffset, length } = readFileSync(path);
    return new Uint8Array(buffer, byteOffset, length);
}

async function measureHere(task, rounds) {
    const { measureMemory, measureTimes } = await import('./wasm_measure.mjs');
    const begin = performance.now();
    const { Model, init } = await import(pathToFileURL(join(PACKAGE, 'lib/tare.js')));
    await init();
    const start = performance.now() - begin;
    const file = load(MODEL), index = load(INDEX);
    if (task === 'times') return { start, samples: await measureTimes(Model, file, index, rounds) };
    const before = process.resourceUsage().maxRSS;
    const held = await measureMemory(Model, file, index, task, () => {
        globalThis.gc();
        globalThis.gc();
        return process.memoryUsage().heapUsed;
    });
    return { ...held, peak: (process.resourceUsage().maxRSS - before) * 1024 };
}

/** In a process of its own, so that neither sees the other's garbage. */
function inNode(task, rounds) {
    const done = spawnSync(process.execPath,
                           ['--expose-gc', fileURLToPath(import.meta.url), `--task=${task}`,
                            `--rounds=${rounds}`],
                           { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
    if (done.status !== 0) throw new Error(`node failed: ${done.status}`);
    return JSON.parse(done.stdout);
}

async function inChromium(rounds) {
    const { chromium } = createRequire(join(PACKAGE, 'dev/package.json'))('playwright-core');
    const { serve } = await import('../bindings/wasm/demo/serve.js');
    const server = await serve({ folders: { '': join(ROOT, 'bindings/wasm/demo'), bench: HERE,
                                            lib: join(PACKAGE, 'lib'), models: join(PACKAGE, 'dev') } });
    const browser = await chromium.launch({
        executablePath: CHROMIUM, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
    });
    const run = async (task) => {
        const page = await browser.newPage();
        const session = await page.context().newCDPSession(page);
        await page.exposeFunction('heapUsed', async () => {
            await session.send('HeapProfiler.collectGarbage');
            return (await session.send('Runtime.getHeapUsage')).usedSize;
        });
        await page.goto(server.url);
        const result = await page.evaluate(async ([what, count]) => {
            const measure = await import('./bench/wasm_measure.mjs');
            const begin = performance.now();
            const { Model, init } = await import('./lib/tare.js');
            await init();
            const start = performance.now() - begin;
            const load = async (name) => new Uint8Array(await (await fetch(name)).arrayBuffer());
            const file = await load('models/model.safetensors');
            const index = await load('models/model.safetensors.tareidx');
            if (what !== 'times')
                return measure.measureMemory(Model, file, index, what, window.heapUsed);
            return { start, samples: await measure.measureTimes(Model, file, index, count) };
        }, [task, rounds]);
        await page.close();
        return result;
    };
    const result = { version: browser.version(), times: await run('times'), memory: {} };
    for (const way of WAYS) result.memory[way] = await run(way);
    await browser.close();
    await server.close();
    return result;
}

function median(values) {
    const sorted = [...values].sort((a, b) => a - b);
    return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

function report(where, { version, times, memory }) {
    console.log(`\n${where} ${version}: module ready after ${times.start.toFixed(1)} ms`);
    const row = (what, of, unit) => {
        const [tare, index, other] = WAYS.map(of);
        console.log(`  ${what.padEnd(34)}${WAYS.map((way) => of(way).toFixed(1).padStart(11)).join('')} ` +
                    `${unit.padEnd(4)}  tare / JSON+Map ${(tare / other).toFixed(2)}` +
                    `, index / headers ${(index / tare).toFixed(3)}`);
    };
    console.log(`  ${''.padEnd(34)}${['tare', 'with index', 'JSON+Map'].map((text) =>
        text.padStart(11)).join('')}`);
    for (const [key, what, unit] of [['open_ms', 'open', 'ms'],
                                     ['find_first_ns', 'lookup, names not seen before', 'ns'],
                                     ['find_again_ns', 'lookup, the same strings again', 'ns']])
        row(what, (way) => median(times.samples[`${key}/${way}`]), unit);
    row('memory held', (way) => memory[way].total / 1048576, 'MiB');
    if (memory.tare.peak !== undefined)
        row('growth of the process at most', (way) => memory[way].peak / 1048576, 'MiB');
}

function git(...what) {
    try {
        return execFileSync('git', ['-C', ROOT, ...what], { encoding: 'utf8' }).trim();
    } catch {
        return null;
    }
}

function parseArguments() {
    const { values } = parseArgs({ options: {
        rounds: { type: 'string', default: '15' }, save: { type: 'boolean' }, task: { type: 'string' },
    } });
    const rounds = Number(values.rounds);
    if (!Number.isSafeInteger(rounds) || rounds < 1)
        throw new Error(`--rounds is a number from 1 on, not '${values.rounds}'`);
    return { ...values, rounds };
}

let asked;
try {
    asked = parseArguments();
} catch (error) {
    console.error(`bench wasm: ${error.message}`);
    process.exit(2);
}
const { rounds, save, task } = asked;
if (task !== undefined) {
    console.log(JSON.stringify(await measureHere(task, rounds)));
} else {
    const result = {
        what: 'wasm', date: new Date().toISOString(), commit: git('rev-parse', 'HEAD'),
        cpu: cpus()[0]?.model, processors: cpus().length, set: 'L, 91,985 tensors, in memory',
        module_size: readFileSync(join(PACKAGE, 'lib/tare.wasm')).length, rounds,
        node: { version: process.version, times: inNode('times', rounds),
                memory: Object.fromEntries(WAYS.map((way) => [way, inNode(way, 1)])) },
    };
    report('Node', result.node);
    if (existsSync(CHROMIUM) && existsSync(join(PACKAGE, 'dev/node_modules/playwright-core'))) {
        result.chromium = await inChromium(rounds);
        report('Chromium', result.chromium);
    } else {
        console.log('\nChromium is left out: there is none, or no playwright-core');
    }
    if (save) {
        const path = join(ROOT, 'bench/results', `${result.date.slice(0, 10)}-wasm.json`);
        writeFileSync(path, `${JSON.stringify(result, null, 1)}\n`);
        console.log(`\nsaved as ${path.slice(ROOT.length + 1)}`);
    }
}
