/* The demo in a real Chromium: files that are picked, addresses with ranges, the table, the keyboard. */
import assert from 'node:assert/strict';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { serve } from '../demo/serve.js';
import { Model, PACKAGE, ROOT, raw, safetensors, temporaryFolder } from './support.js';

const DEV = join(PACKAGE, 'dev');
const SHOTS = join(PACKAGE, 'screenshots');
const MODEL = join(DEV, 'model.safetensors'), SHARDED = join(DEV, 'model');
const NAME = 'model.layers.60.mlp.experts.255.down_proj.weight';

function skip(why) {
    console.log(`Skipped: ${why}`);
    process.exit(77);
}

const chrome = [process.env.TARE_CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser',
                '/usr/bin/google-chrome'].find((path) => path && existsSync(path));
if (chrome === undefined) skip('there is no Chromium');
if (!existsSync(join(DEV, 'node_modules/playwright-core'))) skip('playwright-core is not installed');
if (!existsSync(MODEL)) skip(`there is no ${MODEL} (make_model makes it)`);
const { chromium } = createRequire(join(DEV, 'package.json'))('playwright-core');

let server, browser, page, asked = [], complaints = [];

function readAt(path, offset, size) {
    const file = openSync(path, 'r'), bytes = Buffer.alloc(size);
    readSync(file, bytes, 0, size, offset);
    closeSync(file);
    return bytes;
}

async function freshPage(options) {
    await page?.context().close();
    const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, ...options });
    page = await context.newPage();
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('request', (request) => {
        if (!/^(blob|data):/.test(request.url())) asked.push(request);
    });
    asked = [];
    complaints = [];
    await page.goto(server.url);
}

async function opened(count) {
    await page.waitForFunction((text) => document.getElementById('count').textContent === text ||
        !document.getElementById('error').hidden, count, { timeout: 60_000 });
    assert.equal(await page.textContent('#error'), '');
    assert.equal(await page.textContent('#count'), count);
}

const pick = (files) => page.setInputFiles('#files', files);
const rows = () => page.locator('.row.item:visible');

before(async () => {
    mkdirSync(SHOTS, { recursive: true });
    server = await serve({ folders: { '': join(ROOT, 'bindings/wasm/demo'), lib: join(PACKAGE, 'lib'),
                                      models: DEV } });
    const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    browser = await chromium.launch({ executablePath: chrome, args: sandbox });
});
after(async () => {
    await browser?.close();
    await server?.close();
});

test('a picked model of 92,000 tensors: found, shown, its bytes', async () => {
    await freshPage();
    await page.screenshot({ path: join(SHOTS, 'empty.png') });
    await pick(MODEL);
    await opened('91,985');
    await page.fill('#search', NAME);
    await page.waitForFunction(() => document.getElementById('count').textContent.startsWith('2 of'));
    await page.getByText(NAME, { exact: true }).click();
    assert.equal(await page.textContent('#detail-title'), NAME);
    const native = await Model.fromBytes(readFileSync(MODEL));
    const wanted = native.find(NAME);
    assert.match(await page.textContent('#detail-body'), new RegExp(`offset.*${wanted.offset.toLocaleString('en')}`));
    const got = await page.evaluate(async (name) => {
        const { Model: There } = await import('./lib/tare.js');
        const model = await There.fromBlob(document.getElementById('files').files[0]);
        const tensor = model.find(name);
        return { bytes: Array.from(await tensor.read()), dtype: tensor.dtype, count: model.length };
    }, NAME);
    assert.deepEqual(Buffer.from(got.bytes), readAt(MODEL, wanted.offset, wanted.size));
    assert.deepEqual([got.dtype, got.count], [wanted.dtype, 91_985]);
    assert.equal(asked.some((request) => request.method() !== 'GET' ||
        !request.url().startsWith(server.url)), false, 'nothing leaves the page');
    assert.deepEqual(complaints, []);
});

test('few rows are in the page, wherever it is scrolled to', async () => {
    await page.fill('#search', '');
    await page.waitForFunction(() => document.getElementById('count').textContent === '91,985');
    for (const share of [0.25, 0.5, 1]) {
        const last = await page.evaluate(async (part) => {
            const table = document.getElementById('table');
            table.scrollTop = table.scrollHeight * part;
            await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
            return document.querySelectorAll('.row.item').length;
        }, share);
        assert.ok(last < 80, `${last} rows`);
    }
    const native = await Model.fromBytes(readFileSync(MODEL));
    const bottom = await page.evaluate(() => Math.max(...Array.from(
        document.querySelectorAll('.row.item'), (row) => Number(row.dataset.at))));
    assert.equal(bottom, 91_984);
    assert.equal(await page.locator(`[data-at="91984"] .name`).textContent(), native.at(-1).name);
});

test('columns sort, and the keyboard moves', async () => {
    const size = page.getByRole('columnheader', { name: 'Size' }).getByRole('button');
    await size.click();
    await size.click();
    const sizes = await page.evaluate(() => document.querySelector('[data-at="0"] .number')?.textContent);
    await page.locator('#table').focus();
    await page.keyboard.press('Home');
    const largest = await page.textContent('[data-at="0"] .number');
    assert.ok(sizes === undefined || sizes === largest);
    const native = await Model.fromBytes(readFileSync(MODEL));
    const most = Math.max(...Array.from(native, (tensor) => tensor.size));
    assert.match(await page.textContent('#detail-body'), new RegExp(`${most.toLocaleString('en')} bytes`));
    await page.keyboard.press('End');
    assert.equal(await page.getAttribute('#table', 'aria-activedescendant'), 'row-91984');
    await page.keyboard.press('/');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'search');
    await page.getByRole('columnheader', { name: 'Name' }).getByRole('button').click();
    await page.locator('#table').focus();
    await page.keyboard.press('Home');
    assert.equal(await page.textContent('#detail-title'), native.names().sort(
        new Intl.Collator('en', { numeric: true }).compare)[0]);
});

test('charts, metadata, and lookups that are measured', async () => {
    assert.match(await page.textContent('#chart'), /F8_E4M3/);
    await page.getByRole('tab', { name: 'by dtype' }).press('ArrowRight');
    assert.ok(await page.locator('#chart svg.layers g').count() >= 61);
    assert.match(await page.textContent('#metadata'), /format.*pt/);
    await page.getByRole('button', { name: 'Measure' }).click();
    await page.waitForSelector('#speed .bars', { timeout: 60_000 });
    const rates = await page.locator('#speed .size').allTextContents();
    assert.equal(rates.length, 3);
    for (const rate of rates) assert.match(rate, /^[\d,]+ \/s$/);
});

test('an address: the header comes by ranges, then what is looked at', async () => {
    await freshPage();
    await page.fill('#url', `${server.url}models/model.safetensors`);
    await page.getByRole('button', { name: 'Open address' }).click();
    await opened('91,985');
    const ranges = () => asked.filter((request) => request.url().endsWith('model.safetensors'))
        .map((request) => request.headers().range);
    const native = await Model.fromBytes(readFileSync(MODEL));
    const { dataOffset } = native.shards[0];
    assert.deepEqual(ranges(), ['bytes=0-65535', `bytes=65536-${dataOffset - 1}`]);
    const wanted = native.find(NAME);
    const got = await page.evaluate(async ([url, name]) => {
        const { Model: There } = await import('./lib/tare.js');
        return Array.from(await (await There.fromUrl(url)).read(name));
    }, [`${server.url}models/model.safetensors`, NAME]);
    assert.deepEqual(Buffer.from(got), readAt(MODEL, wanted.offset, wanted.size));
    assert.equal(ranges().at(-1), `bytes=${wanted.offset}-${wanted.offset + wanted.size - 1}`);
});

test('shards: by address, and picked together', async () => {
    await freshPage();
    await page.goto(`${server.url}?url=models/model/model.safetensors.index.json`);
    await opened('323');
    assert.match(await page.textContent('#summary'), /Shards3/);
    await freshPage();
    await pick(SHARDED_FILES.map((name) => join(SHARDED, name)));
    await opened('323');
    await page.fill('#search', 'layers.31 q_proj');
    await page.waitForFunction(() => document.getElementById('count').textContent === '1 of 323');
    assert.match(await page.textContent('#metadata'), /^formatstring, in 3 shardspt/);
});

/** As the pointer of a system would, which knows of paths. */
async function drop(files) {
    const session = await page.context().newCDPSession(page);
    for (const type of ['dragEnter', 'dragOver', 'drop'])
        await session.send('Input.dispatchDragEvent', { type, x: 300, y: 300, data: {
            items: [], files, dragOperationsMask: 1 } });
}

test('files and folders are dropped, also a folder of many files beside the model', async () => {
    await freshPage();
    await drop(SHARDED_FILES.map((name) => join(SHARDED, name)));
    await opened('323');
    await freshPage();
    await drop([SHARDED]);
    await opened('323');
    assert.match(await page.textContent('#summary'), /^Modelmodel.*Shards3/);
    await rows().nth(1).click();
    await page.waitForFunction(() => document.querySelector('.values')?.textContent.length > 5);
    assert.deepEqual(complaints, []);
    const folder = temporaryFolder();
    mkdirSync(join(folder, '.git/safetensors'), { recursive: true });
    mkdirSync(join(folder, 'sub'));
    for (let i = 0; i < 250; i++) writeFileSync(join(folder, `note-${i}.txt`), 'no model');
    writeFileSync(join(folder, '.git/other.safetensors'), 'no model');
    writeFileSync(join(folder, 'sub/part.safetensors'), safetensors([['w', 'U8', [2], Buffer.from([7, 9])]]));
    writeFileSync(join(folder, 'z.safetensors.index.json'), '{"weight_map":{"w":"sub/part.safetensors"}}');
    await freshPage();
    await drop([folder]);
    await opened('1');
    await rows().nth(0).click();
    await page.waitForFunction(() => document.querySelector('.values')?.textContent === '7  9');
    await freshPage();
    await drop([join(folder, '.git')]);
    await page.waitForSelector('#error:not([hidden])');
    assert.match(await page.textContent('#error'), /TARE_E_HEADER_SIZE'other\.safetensors'/);
});

const SHARDED_FILES = ['model-00001-of-00003.safetensors', 'model-00002-of-00003.safetensors',
                       'model-00003-of-00003.safetensors', 'model.safetensors.index.json'];

test('what is wrong with a file is told', async () => {
    await freshPage();
    await pick({ name: 'broken.safetensors', mimeType: '', buffer: raw('{"w":!}') });
    await page.waitForSelector('#error:not([hidden])');
    assert.match(await page.textContent('#error'), /TARE_E_FIELD|TARE_E_JSON/);
    assert.match(await page.textContent('#error'), /byte 13/);
});

const HOSTILE = ['<img src=x onerror=alert(1)>', '<script>alert(1)</script>', '"\'&amp;`${1}',
                 '\u202eabc\u0000\n\u001b[31m', '__proto__', 'constructor', 'layers.99999999999999999999999.w', '</td></tr></table><h1>x'];

test('whatever names and metadata hold is shown as text', async () => {
    await freshPage();
    const tensors = HOSTILE.map((name) => [name, 'U8', [1], Buffer.from([7])]);
    const metadata = Object.fromEntries(HOSTILE.flatMap((text, i) => [[`k${i}`, text], [text, 'v']]));
    Object.defineProperty(metadata, '__proto__', { value: 'v', enumerable: true });
    const header = ['__metadata__'].concat(HOSTILE).map((name, i) => JSON.stringify(name) + ':' + JSON.stringify(
        i === 0 ? metadata : { dtype: 'U8', shape: [1], data_offsets: [i - 1, i] }));
    const buffer = raw(`{${header.join(',')}}`, Buffer.concat(tensors.map((tensor) => tensor[3])));
    const name = '<img src=y onerror=alert(2)>.safetensors';
    await pick({ name, mimeType: '', buffer });
    await opened(String(HOSTILE.length));
    assert.deepEqual((await shownNames()).map((shown) => shown.name), HOSTILE);
    assert.equal(await page.locator('#summary dd').first().textContent(), name);
    const shown = await page.locator('#metadata tr').evaluateAll((rows) =>
        rows.map((row) => [row.children[0].firstChild.data, row.children[1].textContent]));
    for (const [i, text] of HOSTILE.entries()) {
        assert.ok(shown.some(([key, value]) => key === `k${i}` && value === text), text);
        assert.ok(shown.some(([key, value]) => key === text && value === 'v'), text);
        await rows().nth(i).click();
        assert.equal(await page.textContent('#detail-title'), text);
    }
    await page.fill('#search', '<SCRIPT>');
    await page.waitForFunction(() => document.getElementById('count').textContent === '1 of 8');
    await page.getByRole('tab', { name: 'by layer' }).click();
    await page.goto(`${server.url}?url=${encodeURIComponent(`models/${HOSTILE[0]}`)}`);
    await page.waitForSelector('#error:not([hidden])');
    await pick({ name, mimeType: '', buffer: raw(`{${JSON.stringify(HOSTILE[0])}:!}`) });
    await page.waitForFunction(() => document.getElementById('error').textContent.includes('TARE_E_FIELD'));
    assert.match(await page.textContent('#error'), /<img src=y.*<img src=x/s);
    const made = await page.evaluate(() => document.querySelectorAll('main img, main script, main h1').length);
    assert.deepEqual([made, complaints.filter((text) => !text.includes('404'))], [0, []]);
});

test('no model keeps the page busy: dimensions, names, layers and metadata without end', async () => {
    await freshPage();
    const empty = { dtype: 'U8', shape: [0], data_offsets: [0, 0] };
    const pickHeader = (header) => pick({ name: 'x.safetensors', mimeType: '', buffer: raw(JSON.stringify(header)) });
    for (const [header, said] of [[{ w: { ...empty, shape: Array(65).fill(0) } }, /'w': more dimensions/],
                                  [{ ['n'.repeat(4097)]: empty }, /its name is longer/]]) {
        await pickHeader(header);
        await page.waitForFunction(() => document.getElementById('error').textContent !== '');
        assert.match(await page.textContent('#error'), said);
        assert.match(await page.textContent('#error'), /up to 64 dimensions.*4,096 bytes/);
        await pickHeader({ w: { ...empty, shape: Array(64).fill(0) }, ['n'.repeat(4096)]: empty });
        await opened('2');
    }
    const pairs = Array.from({ length: 1000 }, (_, i) => [`k${i}`, 'v'.repeat(i)]);
    const layers = Array.from({ length: 1200 }, (_, i) => [`layers.${i}.w`, empty]);
    await pickHeader({ __metadata__: { ['k'.repeat(9999)]: 'v', ...Object.fromEntries(pairs) },
                       ...Object.fromEntries(layers) });
    await opened('1,200');
    assert.match(await page.textContent('#metadata'), /^k{400} …string.*and 601 more$/);
    await page.getByRole('tab', { name: 'by layer' }).click();
    assert.match(await page.textContent('#chart'), /layer 0layer 999.*and 200 layers more/);
    assert.deepEqual(complaints, []);
});

test('a failure says what is still shown, and leaves it usable', async () => {
    await freshPage();
    const files = SHARDED_FILES.map((name) => join(SHARDED, name));
    await pick(files);
    await opened('323');
    await pick({ name: 'broken.safetensors', mimeType: '', buffer: raw('{"w":!}') });
    await page.waitForSelector('#error:not([hidden])');
    assert.match(await page.textContent('#error'), /still 4 files, which was opened before/);
    await rows().nth(1).click();
    await page.waitForFunction(() => document.querySelector('.values')?.textContent.length > 5);
    assert.notEqual(await page.textContent('#detail-title'), 'Tensor');
    await pick(MODEL);
    await opened('91,985');
    assert.equal(await page.isVisible('#error'), false);
});

test('addresses that are none, or that the page may not fetch, are told', async () => {
    for (const [address, wanted] of [['http://[', /no address: http:\/\/\[/],
                                     ['ftp://example.org/m.gguf', /Neither http.*ftp:/],
                                     ['http://127.0.0.1:1/m.gguf', /TARE_E_READ.*No server answers/],
                                     ['models/absent.gguf', /TARE_E_OPEN.*404/]]) {
        await freshPage();
        await page.goto(`${server.url}?url=${encodeURIComponent(address)}`);
        await page.waitForSelector('#error:not([hidden])');
        assert.match(await page.textContent('#error'), wanted);
        assert.equal(await page.inputValue('#url'), address);
        assert.equal(await page.textContent('#status'), '');
        assert.deepEqual(complaints.filter((text) => !/404|ERR_UNSAFE_PORT|REFUSED/.test(text)), [], address);
    }
});

test('models of other servers: http:// too, if they let pages read', async () => {
    const origins = { 'access-control-allow-origin': '*', 'access-control-allow-headers': 'range' };
    for (const headers of [origins, undefined]) {
        const other = await serve({ folders: { '': DEV }, headers });
        await freshPage();
        await page.fill('#url', `${other.url.replace('127.0.0.1', 'localhost')}model.safetensors`);
        await page.getByRole('button', { name: 'Open address' }).click();
        if (headers === undefined) {
            await page.waitForSelector('#error:not([hidden])');
            assert.match(await page.textContent('#error'), /TARE_E_READ.*CORS/);
        } else {
            await opened('91,985');
            await rows().nth(1).click();
            await page.waitForFunction(() => document.querySelector('.values')?.textContent.length > 5);
            assert.deepEqual(complaints, []);
        }
        await other.close();
    }
});

/** Names as they are shown, and how far they stand over their cell. */
const shownNames = () => rows().locator('.name').evaluateAll((cells) => cells.map((cell) => ({
    text: cell.textContent, name: cell.title, label: cell.ariaLabel,
    over: Math.max(cell.scrollWidth - cell.clientWidth, cell.scrollHeight - cell.clientHeight),
})));

test('names on a narrow screen take two lines, are cut in the middle, and differ', async () => {
    await freshPage({ viewport: { width: 360, height: 780 } });
    await pick(MODEL);
    await opened('91,985');
    for (const { text, name, over } of await shownNames()) {
        assert.equal(text, name, 'there is room for all of it');
        assert.ok(over <= 1, `${text} is cut by the cell`);
    }
    await page.screenshot({ path: join(SHOTS, 'names.png') });
    const long = Array.from({ length: 30 }, (_, i) =>
        `${'text_encoder.'.repeat(6)}layers.${i % 3}.${'attention.'.repeat(6)}q\u{1d49c}_${i}.weight`);
    const header = Object.fromEntries(long.map((name) =>
        [name, { dtype: 'U8', shape: [0], data_offsets: [0, 0] }]));
    await pick({ name: 'long.safetensors', mimeType: '', buffer: raw(JSON.stringify(header)) });
    await opened('30');
    const shown = await shownNames();
    assert.ok(shown.length > 5);
    assert.equal(new Set(shown.map(({ text }) => text)).size, shown.length);
    for (const { text, name, label, over } of shown) {
        assert.deepEqual([label, long.includes(name)], [name, true]);
        assert.ok(over <= 1, `${text} is cut by the cell`);
        const [head, tail] = text.split('…');
        assert.ok(name.startsWith(head) && name.endsWith(tail) && tail.length >= 10, text);
        assert.ok(text.isWellFormed?.() ?? true);
    }
});

test('everything to be used has a name, and nothing is wider than a narrow screen', async () => {
    for (const [name, options] of [
        ['light', { colorScheme: 'light' }],
        ['dark', { colorScheme: 'dark' }],
        ['narrow', { colorScheme: 'dark', viewport: { width: 360, height: 780 } }],
    ]) {
        await freshPage(options);
        await pick(MODEL);
        await opened('91,985');
        await rows().nth(3).click();
        const found = await page.evaluate(() => ({
            nameless: Array.from(document.querySelectorAll('button, input, [role="grid"], [role="tabpanel"]'))
                .filter((one) => one.textContent.trim() === '' && !one.ariaLabel && !one.labels?.length &&
                                 !one.hasAttribute('aria-labelledby')).map((one) => one.outerHTML),
            wide: document.documentElement.scrollWidth - innerWidth,
            background: getComputedStyle(document.body).backgroundColor,
        }));
        assert.deepEqual(found.nameless, []);
        assert.ok(found.wide <= 0, `${name}: ${found.wide} pixels too wide`);
        const dark = Number(/\d+/.exec(found.background)[0]) < 128;
        assert.equal(dark, options.colorScheme === 'dark');
        await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: name === 'narrow' });
        assert.deepEqual(complaints, []);
    }
});
