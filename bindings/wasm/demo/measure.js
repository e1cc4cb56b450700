/* Lookups a second, of names in random order: tare, a Map, and a scan of the list. */

const SLICE_MS = 240;

/** Names as a caller has them: strings of their own, not those that are keys. */
function freshNames(names) {
    const copies = JSON.parse(JSON.stringify(names));
    let state = 12345;
    for (let i = copies.length - 1; i > 0; i--) {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0;
        const j = state % (i + 1);
        [copies[i], copies[j]] = [copies[j], copies[i]];
    }
    return copies;
}

function rate(find, names) {
    let done = 0, found = 0;
    const begin = performance.now();
    let now = begin;
    while (now - begin < SLICE_MS) {
        const batch = Math.max(1, Math.min(512, names.length));
        for (let i = 0; i < batch; i++) if (find(names[(done + i) % names.length])) found++;
        done += batch;
        now = performance.now();
    }
    if (found !== done) throw new Error('a name was not found');
    return done / (now - begin) * 1000;
}

function scanRate(list, names) {
    let done = 0, found = 0;
    const begin = performance.now();
    let now = begin;
    for (; now - begin < SLICE_MS; now = performance.now()) {
        const name = names[done++ % names.length];
        if (list.findIndex((entry) => entry.name === name) >= 0) found++;
    }
    if (found !== done) throw new Error('a name was not found');
    return done / (now - begin) * 1000;
}

const breathe = () => new Promise((resolve) => setTimeout(resolve, 0));

/** [{what, rate}]: each in turn, three times, of which the best counts. */
export async function measureLookups(model, list) {
    const names = freshNames(list);
    const entries = list.map((name, i) => ({ name, i }));
    const map = new Map(entries.map((entry) => [entry.name, entry]));
    const results = [
        { what: 'tare', run: () => rate((name) => model.find(name) !== undefined, names), rate: 0 },
        { what: 'Map', run: () => rate((name) => map.get(name) !== undefined, names), rate: 0 },
        { what: 'scan', run: () => scanRate(entries, names), rate: 0 },
    ];
    for (let turn = 0; turn < 3; turn++) {
        for (const result of results) {
            await breathe(); // the page stays alive
            result.rate = Math.max(result.rate, result.run());
        }
    }
    return results;
}
