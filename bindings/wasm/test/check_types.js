/* tsc accepts types.ts against the types of the package. */
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
writeFileSync(settings, JSON.stringify({
    compilerOptions: {
        strict: true, noEmit: true, target: 'es2022', module: 'nodenext', moduleResolution: 'nodenext',
        lib: ['es2022', 'dom', 'dom.iterable'], types: [],
        paths: { 'tare-wasm': [join(PACKAGE, 'lib/tare.d.ts')] },
    },
    files: [join(ROOT, 'bindings/wasm/test/types.ts')],
}));
const { status } = spawnSync(process.execPath, [compiler, '-p', settings], { stdio: 'inherit' });
process.exit(status);
