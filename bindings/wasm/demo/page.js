/* The page: opens what is dropped, picked or typed, and shows it. */
import { Model, TareError } from './lib/tare.js';
import { bar, dtypeChart, layerChart, sumUp } from './charts.js';
import { droppedFolder, isModelFile } from './dropped.js';
import { measureLookups } from './measure.js';
import { Table } from './table.js';
import { firstValues, formatCount, formatSize } from './values.js';

const at = (id) => document.getElementById(id);

function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
}

let current = null; // {what, model, lists, table, sums}
let opening = 0; // the newest attempt, which alone may show something

/* ------------------------------------------------------------------------------------------------
 * Opening
 */

/* What no model has, and would keep the page busy for long. */
const LIMITS = { rankMax: 64, nameSizeMax: 4096 };
const LIMITED = `This page shows tensors of up to ${LIMITS.rankMax} dimensions, and names of up to ` +
    `${formatCount(LIMITS.nameSizeMax)} bytes.`;

/* Browsers tell no more than that it failed. */
const UNREACHED = 'No server answers there, or it does not let pages of other sites read its files (CORS)' +
    (location.protocol === 'https:' ? ', or its address is one of http://.' : '.');

function showError(error) {
    const box = at('error');
    if (error instanceof TareError) {
        box.append(make('strong', '', error.status), error.message);
        if (error.offset !== null) box.append(` (byte ${formatCount(error.offset)})`);
        if (error.status === 'TARE_E_LIMIT') box.append(make('p', 'hint', LIMITED));
        if (error.cause instanceof TypeError) box.append(make('p', 'hint', UNREACHED));
    } else {
        box.append(String(error?.message ?? error));
    }
    if (current !== null)
        box.append(make('p', 'kept', `Shown below is still ${current.what}, which was opened before.`));
    box.hidden = false;
}

async function open(what, attempt) {
    const number = ++opening;
    at('error').hidden = true;
    at('error').replaceChildren();
    at('status').textContent = `Opening ${what} …`;
    const begin = performance.now();
    try {
        const model = await attempt();
        if (number !== opening) return model.close();
        show(model, what, performance.now() - begin);
        at('status').textContent = '';
    } catch (error) {
        if (number !== opening) return undefined;
        at('status').textContent = '';
        showError(error);
    }
    return undefined;
}

function describeFiles(files) {
    if (files.length === 1) return files[0].name;
    const folder = files[0].webkitRelativePath?.split('/')[0];
    return folder || `${formatCount(files.length)} files`;
}

function openFiles(given) {
    if (given.length === 0) return;
    const files = given.length === 1 ? given : given.filter((file) => isModelFile(file.name));
    open(describeFiles(given), () => Model.fromBlob(files.length === 1 ? files[0] : files, LIMITS));
}

function parseUrl(text) {
    try {
        return new URL(text, location.href);
    } catch {
        throw new Error(`This is no address: ${text}`);
    }
}

async function fetchModel(text) {
    const url = parseUrl(text);
    if (!/^https?:$/.test(url.protocol)) throw new Error(`Neither http:// nor https://: ${url.href}`);
    return Model.fromUrl(url, {
        ...LIMITS,
        onProgress: (done, total) => {
            const of = total === null ? '' : ` of ${formatSize(total)}`;
            at('status').textContent = `The server sends no parts: all of it, ${formatSize(done)}${of} …`;
        },
    });
}

function openUrl(text) {
    const [path] = text.split(/[?#]/);
    open(path.split('/').filter(Boolean).at(-1) ?? text, () => fetchModel(text));
}

/* ------------------------------------------------------------------------------------------------
 * Showing
 */

function listFacts(model) {
    const count = model.length, name = model.names();
    const lists = { name, dtype: new Array(count), shape: new Array(count),
                    elements: new Float64Array(count), size: new Float64Array(count),
                    shard: new Uint32Array(count) };
    let i = 0;
    for (const tensor of model) {
        const shape = tensor.shapeBigInt;
        lists.dtype[i] = tensor.dtype;
        lists.shape[i] = `[${shape.join(', ')}]`;
        lists.elements[i] = shape.reduce((product, size) => product * Number(size), 1);
        lists.size[i] = tensor.size;
        lists.shard[i] = tensor.shard;
        i++;
    }
    return lists;
}

function showSummary(model, what, lists, time) {
    const { shards, stat } = model;
    const bytes = lists.size.reduce((sum, size) => sum + size, 0);
    const parameters = lists.elements.reduce((sum, count) => sum + count, 0);
    const facts = [
        ['Model', what],
        ['Format', shards[0]?.format ?? 'none'],
        ['Tensors', formatCount(model.length)],
        ['Elements', formatCount(parameters)],
        ['Bytes', formatSize(bytes)],
        ['Opened in', `${time.toFixed(time < 10 ? 1 : 0)} ms`],
        ['Memory', formatSize(stat.memorySize)],
    ];
    if (shards.length > 1) facts.splice(2, 0, ['Shards', formatCount(shards.length)]);
    at('summary').replaceChildren(...facts.map(([title, value]) => {
        const pair = make('div');
        pair.append(make('dt', '', title), make('dd', '', value));
        return pair;
    }));
}

function shorten(value) {
    const list = typeof value === 'string' ? null : value?.length === undefined ? null : value;
    const text = list === null ? String(value)
        : Array.from(list.slice(0, 12), String).join(', ') + (list.length > 12 ? ', …' : '');
    return text.length > 400 ? `${text.slice(0, 400)} …` : text;
}

const METADATA_MAX = 400;

function showMetadata(metadata) {
    at('metadata-count').textContent = metadata.size === 0 ? '' : formatCount(metadata.size);
    if (metadata.size === 0) {
        at('metadata').replaceChildren(make('p', 'muted', 'There is none.'));
        return;
    }
    const { rows, more } = metadataRows(metadata), table = make('table'), body = make('tbody');
    for (const { entry, text, count } of rows) {
        const row = make('tr'), key = make('th', '', shorten(entry.key));
        key.scope = 'row';
        key.append(make('span', 'kind', (entry.kind === 'array'
            ? `${formatCount(entry.count)} × ${entry.itemKind}` : entry.kind) +
            (count > 1 ? `, in ${formatCount(count)} shards` : '')));
        row.append(key, make('td', '', text));
        body.append(row);
    }
    table.append(body);
    at('metadata').replaceChildren(table);
    if (more > 0) at('metadata').append(make('p', 'note', `and ${formatCount(more)} more`));
}

/** {rows, more}: rows are {entry, text, count}, of which what several shards say alike is one; and
 *  how many entries there are besides. */
function metadataRows(metadata) {
    const rows = new Map();
    let more = 0;
    for (const entry of metadata) {
        const text = shorten(entry.value), { key, kind, itemKind, count } = entry;
        const alike = JSON.stringify([key, kind, itemKind, count, text]);
        const row = rows.get(alike);
        if (row !== undefined) row.count++;
        else if (rows.size < METADATA_MAX) rows.set(alike, { entry, text, count: 1 });
        else more++;
    }
    return { rows: [...rows.values()], more };
}

function showChart(kind) {
    for (const one of ['dtype', 'layer']) {
        at(`tab-${one}`).setAttribute('aria-selected', one === kind);
        at(`tab-${one}`).tabIndex = one === kind ? 0 : -1;
    }
    at('chart').setAttribute('aria-labelledby', `tab-${kind}`);
    at('chart').replaceChildren(kind === 'dtype' ? dtypeChart(current.sums) : layerChart(current.sums));
}

async function showTensor(place) {
    const { model } = current, tensor = model.at(place);
    const shard = model.shards[tensor.shard];
    at('detail-title').textContent = tensor.name;
    const facts = make('dl', 'facts');
    for (const [title, value] of [
        ['dtype', tensor.dtype],
        ['shape', `[${tensor.shapeBigInt.join(', ')}]`],
        ['size', `${formatSize(tensor.size)} (${formatCount(tensor.size)} bytes)`],
        ['offset', formatCount(tensor.offset)],
        ['file', shard.name || 'the one'],
    ]) facts.append(make('dt', '', title), make('dd', '', value));
    const values = make('pre', 'values', '…');
    values.tabIndex = 0;
    const title = make('p', 'muted', 'first values');
    at('detail-body').replaceChildren(facts, title, values);
    try {
        const first = await firstValues(tensor);
        values.textContent = first.text === '' ? 'no bytes' : first.text;
        title.textContent = first.what;
    } catch (error) {
        values.textContent = error.message;
    }
}

function updateCount(shown) {
    const { model } = current;
    at('count').textContent = shown === model.length ? formatCount(shown)
        : `${formatCount(shown)} of ${formatCount(model.length)}`;
}

function show(model, what, time) {
    const lists = listFacts(model);
    current?.table.close();
    current?.model.close();
    current = { what, model, lists, sums: sumUp(lists) };
    at('model').hidden = false;
    at('open').classList.add('opened');
    document.title = `${what}: tare`;
    at('search').value = '';
    at('detail-title').textContent = 'Tensor';
    at('detail-body').replaceChildren(make('p', 'muted', 'Select a row to see its first values.'));
    at('speed').replaceChildren(make('p', 'muted',
        'Lookups by name, a second: tare, a JavaScript Map, and a scan of the list.'));
    showSummary(model, what, lists, time);
    showMetadata(model.metadata);
    showChart('dtype');
    current.table = new Table(at('table'), lists, {
        format: formatSize, onSelect: showTensor, shards: model.shards.length > 1,
    });
    updateCount(model.length);
}

async function measure() {
    const { model, lists } = current, button = at('measure');
    button.disabled = true;
    at('speed').replaceChildren(make('p', 'muted', 'Measuring, about 2 seconds …'));
    try {
        if (model.length === 0) throw new Error('There is no name to look up.');
        const results = await measureLookups(model, lists.name);
        const most = Math.max(...results.map(({ rate }) => rate));
        const list = make('ul', 'bars');
        results.forEach(({ what, rate }, i) => {
            const item = make('li');
            item.append(make('span', 'what', what), bar(rate / most, i + 1),
                        make('span', 'size', `${formatCount(Math.round(rate))} /s`));
            list.append(item);
        });
        const [tare, map, scan] = results.map(({ rate }) => rate);
        const than = tare >= map ? `${(tare / map).toFixed(1)} times a Map` : `a Map is ${(map / tare).toFixed(1)} times faster`;
        at('speed').replaceChildren(list, make('p', 'note',
            `tare: ${formatCount(Math.round(tare / scan))} times a scan; ${than}. Every name was found.`));
    } catch (error) {
        at('speed').replaceChildren(make('p', 'muted', error.message));
    }
    button.disabled = false;
}

/* ------------------------------------------------------------------------------------------------
 * What people do
 */

at('files').addEventListener('change', (event) => openFiles([...event.target.files]));
at('folder').addEventListener('change', (event) => openFiles([...event.target.files]));
at('url-form').addEventListener('submit', (event) => {
    event.preventDefault();
    openUrl(at('url').value);
});
at('measure').addEventListener('click', measure);
for (const kind of ['dtype', 'layer']) at(`tab-${kind}`).addEventListener('click', () => showChart(kind));
document.querySelector('.tabs').addEventListener('keydown', (event) => {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
    const other = at('tab-dtype').ariaSelected === 'true' ? 'layer' : 'dtype';
    showChart(other);
    at(`tab-${other}`).focus();
});

let searching = 0;
at('search').addEventListener('input', () => {
    cancelAnimationFrame(searching);
    searching = requestAnimationFrame(() => updateCount(current.table.search(at('search').value)));
});
document.addEventListener('keydown', (event) => {
    if (event.key !== '/' || current === null || /^(INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
    event.preventDefault();
    at('search').focus();
});

for (const kind of ['dragover', 'dragenter']) {
    document.addEventListener(kind, (event) => {
        event.preventDefault();
        at('drop').classList.add('over');
    });
}
document.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) at('drop').classList.remove('over');
});
document.addEventListener('drop', (event) => {
    event.preventDefault();
    at('drop').classList.remove('over');
    const folder = droppedFolder(event.dataTransfer);
    if (folder === null) openFiles([...event.dataTransfer.files]);
    else open(folder.what, async () => Model.fromFiles(await folder.files, LIMITS));
});

const asked = new URLSearchParams(location.search).get('url');
if (asked !== null) {
    at('url').value = asked;
    openUrl(asked);
}
