/* heap.c by itself: what it gives lies apart and is reused, also where others grow the memory. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { PACKAGE } from './support.js';

const path = join(PACKAGE, 'cmake/heap.wasm');
if (!existsSync(path)) {
    console.log(`Skipped: there is no ${path}`);
    process.exit(77);
}
const module = new WebAssembly.Module(readFileSync(path));

function makeHeap() {
    const { exports } = new WebAssembly.Instance(module, {});
    exports._initialize?.();
    return exports;
}

/** Numbers that are the same in each run. */
function makeRandom(state) {
    return (below) => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor(state / 2 ** 32 * below);
    };
}

const bytesOf = (heap) => new Uint8Array(heap.memory.buffer);

/** Takes and gives at random; every block keeps what was written to it. */
function churn(heap, random, steps, beside = () => {}) {
    const held = [];
    const check = ({ at, size, mark }) => {
        const bytes = bytesOf(heap).subarray(at, at + size);
        assert.ok(bytes.every((byte) => byte === mark), `${size} bytes at ${at}`);
    };
    for (let step = 0; step < steps; step++) {
        if (held.length > 0 && random(100) < 48) {
            const [one] = held.splice(random(held.length), 1);
            check(one);
            heap.heap_give(one.at);
        } else {
            const size = random(20) === 0 ? random(300_000) : random(700);
            const at = heap.heap_take(size), mark = step & 255;
            assert.ok(at !== 0 && at % 64 === 0, `${at}`);
            assert.ok(at + size <= heap.heap_top() && heap.heap_top() <= bytesOf(heap).length);
            bytesOf(heap).fill(mark, at, at + size);
            held.push({ at, size, mark });
        }
        beside(step);
    }
    return () => {
        for (const one of held.splice(0)) {
            check(one);
            heap.heap_give(one.at);
        }
    };
}

test('blocks keep their bytes, and all that is given comes back', () => {
    for (let seed = 1; seed <= 20; seed++) {
        const heap = makeHeap(), start = heap.heap_top();
        const empty = churn(heap, makeRandom(seed), 2000);
        empty();
        assert.equal(heap.heap_top(), start);
        const { length } = bytesOf(heap);
        churn(heap, makeRandom(seed), 2000)();
        assert.equal(bytesOf(heap).length, length, 'the same again takes no more');
    }
});

test('neighbours that are free become one, in any order', () => {
    for (const order of [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]) {
        const heap = makeHeap();
        const parts = [heap.heap_take(1000), heap.heap_take(2000), heap.heap_take(3000)];
        heap.heap_take(1);
        const top = heap.heap_top();
        for (const i of order) heap.heap_give(parts[i]);
        assert.equal(heap.heap_take(6000), parts[0]);
        assert.equal(heap.heap_top(), top);
    }
});

test('memory that others grow is left to them', () => {
    for (let seed = 1; seed <= 10; seed++) {
        const heap = makeHeap(), others = [];
        const empty = churn(heap, makeRandom(seed), 1500, (step) => {
            if (step % 300 !== 299) return;
            others.push(bytesOf(heap).length);
            heap.memory.grow(1);
            bytesOf(heap).fill(255, others.at(-1), others.at(-1) + 65536);
        });
        empty();
        churn(heap, makeRandom(seed + 100), 500)();
        assert.equal(others.length, 5);
        for (const at of others)
            assert.ok(bytesOf(heap).subarray(at, at + 65536).every((byte) => byte === 255));
    }
});

test('what was reserved follows at once, and is taken without growing', () => {
    const heap = makeHeap();
    assert.equal(heap.heap_reserve(500_000), 1);
    const at = bytesOf(heap).length;
    heap.memory.grow(2);
    heap.heap_take(499_000);
    assert.ok(heap.heap_top() <= at);
    assert.equal(bytesOf(heap).length, at + 2 * 65536);
    heap.heap_give(heap.heap_take(1_000_000)); // behind the two pages
    assert.ok(heap.heap_top() <= at);
});

test('sizes that there is no memory for are refused', () => {
    const heap = makeHeap();
    for (const size of [2 ** 32 - 1, 2 ** 32 - 64, 2 ** 31, 2 ** 31 - 1].map((one) => one | 0)) {
        const before = heap.heap_take(10);
        if (heap.heap_take(size) !== 0) assert.ok(bytesOf(heap).length > 2 ** 31);
        assert.ok(heap.heap_take(10) !== 0 && before !== 0);
    }
    heap.heap_give(0);
});
