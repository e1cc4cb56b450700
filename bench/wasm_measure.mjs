/*
 * What bench_wasm.mjs measures, in Node and in a page alike: a header opened, every name looked up
 * once, and what is held afterwards; tare, tare with an index file, and JSON.parse with a Map in turn.
 */

/** The other way: the text of the header parsed, its tensors in a Map. */
function parseToMap(file) {
    const size = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
    const tensors = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + size)));
    const map = new Map();
    for (const name in tensors) if (name !== '__metadata__') map.set(name, tensors[name]);
    return map;
}

/** Strings of their own, in one random order: what a caller has who did not take names from a list. */
function freshNames(names, seed) {
    const copies = JSON.parse(JSON.stringify(names));
    let state = seed;
    for (let i = copies.length - 1; i > 0; i--) {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0;
        const j = Math.floor((state / 4294967296) * (i + 1));
        [copies[i], copies[j]] = [copies[j], copies[i]];
    }
    return copies;
}

function nanoseconds(names, find) {
    let found = 0;
    const begin = performance.now();
    for (let i = 0; i < names.length; i++) if (find(names[i]) !== undefined) found++;
    const time = performance.now() - begin;
    if (found !== names.length) throw new Error(`${found} of ${names.length} names found`);
    return (time * 1e6) / names.length;
}

/**
 * `rounds` of each. A lookup gives a tensor, or an entry of the Map, and its names are new strings
 * (`find_first`, whose hash no Map has seen) or were looked up before (`find_again`).
 */
export async function measureTimes(Model, file, index, rounds) {
    const samples = {};
    const note = (what, value) => (samples[what] ??= []).push(value);
    const names = (await Model.fromBytes(file)).names();
    for (let round = 0; round < rounds; round++) {
        const ways = [
            ['tare', () => Model.fromBytes(file), (model, name) => model.find(name)],
            ['tare_index', () => Model.fromBytes(file, { index, requireIndex: true }),
             (model, name) => model.find(name)],
            ['json_map', () => parseToMap(file), (map, name) => map.get(name)],
        ];
        if (round % 2 === 1) ways.reverse();
        for (const [way, open, find] of ways) {
            const begin = performance.now();
            const opened = await open();
            note(`open_ms/${way}`, performance.now() - begin);
            const fresh = freshNames(names, round + 1);
            note(`find_first_ns/${way}`, nanoseconds(fresh, (name) => find(opened, name)));
            note(`find_again_ns/${way}`, nanoseconds(fresh, (name) => find(opened, name)));
            opened.close?.();
            await new Promise((resolve) => setTimeout(resolve, 0));
        }
    }
    return samples;
}

let kept = null; // what is measured must be reachable

/** Bytes held by one of them: of the JavaScript heap, and of WebAssembly. `heap` collects garbage. */
export async function measureMemory(Model, file, index, way, heap) {
    kept = null;
    const before = await heap();
    if (way === 'json_map') kept = parseToMap(file);
    else kept = await Model.fromBytes(file, way === 'tare' ? {} : { index, requireIndex: true });
    const held = (await heap()) - before;
    const wasm = kept instanceof Model ? kept.stat.memorySize : 0;
    return { heap: held, wasm, total: held + wasm, count: kept.length ?? kept.size };
}
