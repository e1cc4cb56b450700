/* tsc accepts types.ts and types_node.ts against the types of the package, with the libraries that
 * projects have. */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGE, ROOT } from './support.js';

const compiler = join(PACKAGE, 'dev/node_modules/typescript/bin/tsc');
if (!existsSync(compiler)) {
    console.log(`Skipped: there is no ${compiler}`);
    process.exit(77);
}
const settings = join(PACKAGE, 'dev/tsconfig.json');

function check(file, lib, types) {
    writeFileSync(settings, JSON.stringify({
        compilerOptions: {
            strict: true, noEmit: true, exactOptionalPropertyTypes: true, skipDefaultLibCheck: true,
            target: 'es2022', module: 'nodenext', moduleResolution: 'nodenext',
            lib, types, typeRoots: [join(PACKAGE, 'dev/node_modules/@types')],
            paths: { 'tare-wasm': [join(PACKAGE, 'lib/tare.d.ts')],
                     'tare-wasm/node': [join(PACKAGE, 'lib/node.d.ts')] },
        },
        files: [join(ROOT, 'bindings/wasm/test', file)],
    }));
    const { status } = spawnSync(process.execPath, [compiler, '-p', settings], { stdio: 'inherit' });
    if (status !== 0) throw new Error(`tsc: ${status}, of ${file} with ${lib} and types of ${types}`);
}

const browser = ['es2022', 'dom', 'dom.iterable'];
check('types.ts', browser, []);
check('types_node.ts', ['es2022'], ['node']);
check('types_node.ts', ['esnext', ...browser], ['node']);
