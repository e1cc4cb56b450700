/*
 * A server of files with ranges, for the demo and the tests: node serve.js [--port=N] [--open=QUERY] NAME=FOLDER...
 * It listens on 127.0.0.1 only, and serves what is below the folders.
 */
import { createReadStream } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const TYPES = {
    '.html': 'text/html; charset=utf-8',
    '.js': 'text/javascript; charset=utf-8',
    '.mjs': 'text/javascript; charset=utf-8',
    '.css': 'text/css; charset=utf-8',
    '.json': 'application/json',
    '.wasm': 'application/wasm',
    '.svg': 'image/svg+xml',
};

/** The file that a path of a URL leads to; null where there is none, or where it leads outside. */
async function findFile(folders, path) {
    try {
        const [first, ...rest] = decodeURIComponent(path).split('/').slice(1);
        const inFolder = Object.hasOwn(folders, first);
        const folder = await realpath(inFolder ? folders[first] : folders['']);
        const name = inFolder ? rest.join('/') : [first, ...rest].join('/');
        const file = await realpath(join(folder, name === '' ? 'index.html' : name));
        if (file !== folder && !file.startsWith(folder + sep)) return null;
        const facts = await stat(file);
        return facts.isFile() ? { file, size: facts.size, tag: `"${facts.mtimeMs}-${facts.size}"` }
                              : null;
    } catch {
        return null;
    }
}

/** [start, end] of "bytes=0-99" within the size; null for what is not to be had. */
function parseRange(text, size) {
    const found = /^bytes=(\d+)-(\d*)$/.exec(text);
    if (found === null) return null;
    const start = Number(found[1]);
    const end = found[2] === '' ? size - 1 : Math.min(Number(found[2]), size - 1);
    return start < size && start <= end ? [start, end] : null;
}

async function answer(options, request, response) {
    const url = new URL(request.url, 'http://127.0.0.1');
    const found = await findFile(options.folders, url.pathname);
    options.onRequest?.(url, request);
    if (found === null || !['GET', 'HEAD'].includes(request.method)) {
        response.writeHead(found === null ? 404 : 405).end();
        return;
    }
    const headers = {
        'content-type': TYPES[extname(found.file)] ?? 'application/octet-stream',
        'cache-control': 'no-cache',
        'x-content-type-options': 'nosniff',
        etag: found.tag,
        ...options.headers,
    };
    const ranged = request.headers.range !== undefined && !url.searchParams.has('ignore-ranges');
    const range = ranged ? parseRange(request.headers.range, found.size) : [0, found.size - 1];
    if (range === null) {
        response.writeHead(416, { ...headers, 'content-range': `bytes */${found.size}` }).end();
        return;
    }
    const [start, end] = range;
    headers['accept-ranges'] = 'bytes';
    headers['content-length'] = end - start + 1;
    if (ranged) headers['content-range'] = `bytes ${start}-${end}/${found.size}`;
    response.writeHead(ranged ? 206 : 200, headers);
    if (request.method === 'HEAD' || end < start) response.end();
    else createReadStream(found.file, { start, end }).on('error', () => response.destroy())
        .pipe(response);
}

/**
 * Serves folders by the first part of the path; '' has all others. Adding ?ignore-ranges to a URL
 * makes the server a simple one; `headers` are sent with each file. `close` ends it.
 */
export async function serve(options) {
    const server = createServer((request, response) => {
        answer(options, request, response).catch(() => response.destroy());
    });
    await new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(options.port ?? 0, '127.0.0.1', resolve);
    });
    return {
        url: `http://127.0.0.1:${server.address().port}/`,
        close: () => new Promise((resolve) => {
            server.close(resolve);
            server.closeAllConnections();
        }),
    };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    const folders = {};
    let port = 8000, open = '';
    for (const argument of process.argv.slice(2)) {
        const at = argument.indexOf('=');
        if (argument.startsWith('--port=')) port = Number(argument.slice(at + 1));
        else if (argument.startsWith('--open=')) open = argument.slice(at + 1);
        else folders[argument.slice(0, at)] = argument.slice(at + 1);
    }
    let running;
    try {
        running = await serve({ folders, port });
    } catch (error) {
        if (error.code !== 'EADDRINUSE') throw error;
        running = await serve({ folders, port: 0 });
    }
    console.log(running.url + open);
}
