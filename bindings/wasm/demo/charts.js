/* Bytes by dtype as bars, and by layer as columns stacked by dtype. */
import { formatCount, formatSize } from './values.js';

const SVG = 'http://www.w3.org/2000/svg';
const COLOURS = 6;

function svg(tag, attributes = {}, text) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
}

function html(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
}

/** The number of a layer: that behind "layers", "blk", "h" and their like. */
export function layerOf(name) {
    const found = /(?:^|\.)(?:layers?|blk|blocks?|h|block|encoder|decoder|transformer_blocks)\.(\d+)(?:\.|$)/.exec(name);
    return found === null ? null : Number(found[1]);
}

/** {dtypes: [{dtype, size, count}], layers: [{title, size, parts: Map dtype -> size}]}, largest first. */
export function sumUp(lists) {
    const dtypes = new Map(), layers = new Map();
    for (const [i, name] of lists.name.entries()) {
        const dtype = lists.dtype[i], size = lists.size[i], layer = layerOf(name);
        const sum = dtypes.get(dtype) ?? { dtype, size: 0, count: 0 };
        sum.size += size;
        sum.count++;
        dtypes.set(dtype, sum);
        const column = layers.get(layer) ?? { layer, size: 0, count: 0, parts: new Map() };
        column.size += size;
        column.count++;
        column.parts.set(dtype, (column.parts.get(dtype) ?? 0) + size);
        layers.set(layer, column);
    }
    return {
        dtypes: [...dtypes.values()].sort((a, b) => b.size - a.size),
        layers: [...layers.values()].sort((a, b) => (a.layer ?? -1) - (b.layer ?? -1)),
    };
}

const colourOf = (sums, dtype) =>
    Math.min(sums.dtypes.findIndex((sum) => sum.dtype === dtype), COLOURS - 1) + 1;

export function dtypeChart(sums) {
    const list = html('ul', 'bars');
    const total = sums.dtypes.reduce((sum, { size }) => sum + size, 0);
    for (const { dtype, size, count } of sums.dtypes) {
        const item = html('li');
        item.append(html('span', 'what', dtype), bar(total === 0 ? 0 : size / total, colourOf(sums, dtype)),
                    html('span', 'size', formatSize(size)));
        item.title = `${dtype}: ${formatCount(count)} tensors, ${formatSize(size)}`;
        list.append(item);
    }
    return list;
}

/** A bar that is as long as `share` says, at least a trace of it. */
export function bar(share, colour) {
    const box = svg('svg', { viewBox: '0 0 100 12', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    box.append(svg('rect', { class: 'track', width: 100, height: 12 }),
               svg('rect', { class: `fill-${colour}`, width: Math.max(share * 100, share > 0 ? 0.8 : 0), height: 12 }));
    return box;
}

const WIDTH = 360, HEIGHT = 170, LEFT = 54, BOTTOM = 18;
const COLUMNS_MAX = 1000; // of layers; more are no wider than a hair

function columnTitle({ layer, size, count }) {
    return `${layer === null ? 'outside of layers' : `layer ${layer}`}: ${formatCount(count)} tensors, ${formatSize(size)}`;
}

export function layerChart(sums) {
    const all = sums.layers.filter(({ layer }) => layer !== null);
    const numbered = all.slice(0, COLUMNS_MAX);
    const outside = sums.layers.find(({ layer }) => layer === null);
    const box = html('div');
    if (numbered.length === 0) {
        box.append(html('p', 'muted', 'No name has the number of a layer.'));
        return box;
    }
    const most = numbered.reduce((largest, { size }) => Math.max(largest, size), 1);
    const chart = svg('svg', { class: 'layers', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img',
                               'aria-label': `Bytes of ${numbered.length} layers, up to ${formatSize(most)} each` });
    const height = HEIGHT - BOTTOM - 8, step = (WIDTH - LEFT) / numbered.length;
    for (const share of [0, 0.5, 1]) {
        const y = 8 + height * (1 - share);
        chart.append(svg('line', { class: 'rule', x1: LEFT, x2: WIDTH, y1: y, y2: y }),
                     svg('text', { class: 'axis', x: LEFT - 6, y: y + 4, 'text-anchor': 'end' },
                         share === 0 ? '0' : formatSize(most * share)));
    }
    numbered.forEach((column, i) => {
        const x = LEFT + i * step, group = svg('g');
        let y = 8 + height;
        for (const { dtype } of sums.dtypes) {
            const part = (column.parts.get(dtype) ?? 0) / most * height;
            if (part === 0) continue;
            y -= part;
            group.append(svg('rect', { class: `fill-${colourOf(sums, dtype)}`, x: x + step * 0.1, y,
                                       width: Math.max(step * 0.8, 0.6), height: part }));
        }
        group.append(svg('rect', { class: 'hit', x, y: 8, width: step, height }));
        group.append(svg('title', {}, columnTitle(column)));
        chart.append(group);
    });
    chart.append(svg('text', { class: 'axis', x: LEFT, y: HEIGHT - 3 }, `layer ${numbered[0].layer}`),
                 svg('text', { class: 'axis', x: WIDTH, y: HEIGHT - 3, 'text-anchor': 'end' },
                     `layer ${numbered.at(-1).layer}`));
    const legend = html('p', 'legend');
    sums.dtypes.slice(0, COLOURS).forEach(({ dtype }, i) => legend.append(html('span', `key-${i + 1}`, dtype)));
    box.append(chart, legend);
    if (all.length > numbered.length)
        box.append(html('p', 'note', `and ${formatCount(all.length - numbered.length)} layers more`));
    if (outside) box.append(html('p', 'note', columnTitle(outside)));
    return box;
}
