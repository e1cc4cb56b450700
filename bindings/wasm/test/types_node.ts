/* Is never run: tsc must accept it in a project of Node, which has no types of browsers. */
import { readFile } from 'node:fs/promises';
import { openPath } from 'tare-wasm/node';
import { Model, TareError, init, type Reader } from 'tare-wasm';

export async function count(path: string, signal: AbortSignal): Promise<number> {
    await init(readFile('tare.wasm'));
    using model = await openPath(path, { signal, headerSizeMax: 1 << 20, tensorCountMax: 1e5, rankMax: 8, nameSizeMax: 99,
                                         metadataSizeMax: 1e6 });
    const reader: Reader = { size: 9, read: (_, size) => Buffer.alloc(size) };
    const others: Model[] = [
        await openPath(new URL('model/', import.meta.url)),
        await Model.fromBytes(await readFile(path)),
        await Model.fromFiles([{ name: 'a.gguf', bytes: reader }, { name: 'b', bytes: new Blob([]) }]),
        await Model.fromResponse(fetch('http://localhost/m')),
    ];
    others[0]?.[Symbol.dispose]();
    // @ts-expect-error: a path is text or a URL
    await openPath(5);
    return model.length;
}

export const place = (error: unknown): number | null => (error instanceof TareError ? error.offset : null);
