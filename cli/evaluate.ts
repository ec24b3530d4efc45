/** An author's file and those it imports, run here. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { compileFunction } from 'node:vm';
import { isFeatureStoreError } from './errors.js';

/**
 * What the file exports by default; each file anew whenever it is asked for. "almanac" is this very installation, wherever the file lies.
 * SWC translates a hundred times as fast as jiti, which also tries some 170 places for each import of a `.js` that is a `.ts`. But jiti
 * knows more, await at the top of modules and packages in TypeScript, and tells errors well: what fails here it does again.
 */
export async function evaluate(path: string): Promise<unknown> {
  const [{ transformSync }, almanac] = await Promise.all([import('@swc/core'), import('../core/index.js')]);
  const translate = (source: string): string =>
    transformSync(source, {
      jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
      module: { type: 'commonjs' },
    }).code;
  try {
    const exported = run(path, almanac, translate);
    return exported.default ?? exported;
  } catch (error) {
    if (isFeatureStoreError(error)) throw error;
    const { createJiti } = await import('jiti');
    const jiti = createJiti(pathToFileURL(path).href, { virtualModules: { almanac }, moduleCache: false });
    return jiti.import(path, { default: true });
  }
}

interface Module {
  exports: Record<string, unknown>;
}

/** What the file exports. Files that it imports by relative paths run before it, each once; the rest Node loads. */
function run(path: string, almanac: object, translate: (source: string) => string): Module['exports'] {
  const modules = new Map<string, Module>();
  const load = (file: string): Module['exports'] => {
    const known = modules.get(file);
    if (known) return known.exports;
    const module: Module = { exports: {} };
    modules.set(file, module);
    const native = createRequire(file);
    const require = (name: string): unknown => {
      if (name === 'almanac') return almanac;
      const source = name.startsWith('.') ? findSource(resolve(dirname(file), name)) : undefined;
      return source === undefined ? native(name) : load(source);
    };
    const code = translate(readFileSync(file, 'utf8'));
    const parameters = ['exports', 'require', 'module', '__filename', '__dirname'];
    compileFunction(code, parameters, { filename: file })(
      module.exports,
      require,
      module,
      file,
      dirname(file),
    );
    return module.exports;
  };
  return load(path);
}

/** The file that an import of a path means; none for what is no source: JSON. */
function findSource(path: string): string | undefined {
  return [
    path,
    path.replace(/\.([cm]?)js$/, '.$1ts'),
    `${path}.ts`,
    `${path}.js`,
    join(path, 'index.ts'),
  ].find((file) => /\.[cm]?[jt]s$/.test(file) && existsSync(file));
}
