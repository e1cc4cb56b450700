/* Is never run: tsc must accept it, as whoever uses the types would write it. */
import {
    Model, TareError, Tensor, init, version, type Limits, type OpenOptions, type TypedArray, type Value,
} from 'tare-wasm';

export async function use(file: File, files: FileList, bytes: ArrayBuffer): Promise<number> {
    await init(fetch('tare.wasm'));
    const text: string = await version();
    const opened: Model[] = [
        await Model.fromBytes(bytes, { name: 'm.gguf', headerSizeMax: 1000, index: bytes }),
        await Model.fromBytes(new Uint8Array(bytes)),
        await Model.fromBlob(file),
        await Model.fromBlob(files),
        await Model.fromFiles([{ name: 'a', bytes }, { name: 'b', bytes: file }]),
        await Model.fromFiles([{ name: '', bytes: { size: 9, read: async (_, size) => new Uint8Array(size) } }]),
        await Model.fromResponse(fetch('m'), { onProgress: (done, total) => done + (total ?? 0) }),
        await Model.fromUrl('m/', { wholeSizeMax: 9 }),
        await Model.fromUrl('m/', { index: new Uint8Array(bytes), requireIndex: true, resolve: (name, url) => new URL(name, url) }),
    ];
    const limits: Limits = { headerSizeMax: 1000, tensorCountMax: 9, rankMax: 8, nameSizeMax: 99, metadataSizeMax: 5 };
    opened.push(await Model.fromBytes(bytes, limits), await Model.fromBlob(file, limits),
                await Model.fromFiles([], { ...limits, requireIndex: true }), await Model.fromUrl('m', limits),
                await Model.fromResponse(fetch('m'), { ...limits, name: 'm', wholeSizeMax: 9 }));
    // @ts-expect-error: what is no answer of a server has none
    opened.push(await Model.fromBytes(bytes, { wholeSizeMax: 9 }));
    // @ts-expect-error: numbers alone are limits
    const wide: OpenOptions = { tensorCountMax: 5n };
    // @ts-expect-error: nor is text
    const text9: OpenOptions = { rankMax: '9', nameSizeMax: wide.nameSizeMax ?? 1 };
    // @ts-expect-error: there is no such limit
    opened.push(await Model.fromBytes(bytes, { shardCountMax: 5, rankMax: text9.rankMax ?? 1 }));
    let sum = text.length;
    for (const model of opened) {
        const tensor: Tensor | undefined = model.find('w');
        const view: Uint8Array | null | undefined = model.tensorBytes('w');
        const array: TypedArray | null = (await tensor?.readArray()) ?? null;
        const value: Value | undefined = model.metadata.get('general.alignment');
        for (const one of model) sum += one.shape[0] ?? 0;
        for (const one of model.prefix('a')) sum += Number(one.shapeBigInt[0] ?? 0n);
        for (const { key, kind } of model.metadata) sum += kind === 'u32' ? key.length : 0;
        sum += (view?.length ?? 0) + (array?.length ?? 0) + Number(value ?? 0) + model.stat.memorySize;
        sum += model.indexError?.code ?? model.stat.indexFileSize;
        // @ts-expect-error: names are strings or bytes
        model.find(5);
        // @ts-expect-error: nobody but a model makes tensors
        new Tensor();
        model.close();
    }
    return sum;
}

export function tell(error: unknown): string {
    if (!(error instanceof TareError)) return 'another';
    return `${error.status} ${error.code} at ${error.offset ?? 'no place'}: ${error.message}`;
}
