/* What was dropped: files, and the files of folders, named as in them. */

/** Of all that is in the folder of a model these alone are looked at. */
export const isModelFile = (name) => /\.(safetensors|gguf|json)$/i.test(name);

async function listFolder(folder) {
    const reader = folder.createReader(), entries = [];
    const some = () => new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    for (let more; (more = await some()).length > 0;) entries.push(...more); // they come by hundreds
    return entries;
}

/** Adds the files below an entry: {name, bytes}. Hidden folders are those of other programs. */
async function addFiles(files, entry, name) {
    if (entry.isFile) {
        if (isModelFile(name))
            files.push({ name, bytes: await new Promise((resolve, reject) => entry.file(resolve, reject)) });
        return;
    }
    for (const below of await listFolder(entry))
        if (!below.name.startsWith('.'))
            await addFiles(files, below, name === '' ? below.name : `${name}/${below.name}`);
}

/**
 * {what, files}: a title, and a promise of the files of a folder as Model.fromFiles takes them; null where no
 * folder was dropped. To be called in the event itself, behind which browsers forget what was dropped.
 */
export function droppedFolder(transfer) {
    const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry?.() ?? null)
        .filter((entry) => entry !== null);
    if (!entries.some((entry) => entry.isDirectory)) return null;
    const read = async () => {
        const files = [];
        for (const entry of entries) await addFiles(files, entry, entry.isDirectory ? '' : entry.name);
        return files;
    };
    return { what: entries.map((entry) => entry.name).join(', '), files: read() };
}
