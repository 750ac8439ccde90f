import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Writes the module beside its package.json. It stays as readable as its source: whoever bundles it packs it. */
export default defineConfig({
  root: here('.'),
  publicDir: false,
  build: {
    outDir: here('.'),
    emptyOutDir: false,
    target: 'es2022',
    minify: false,
    lib: { entry: here('../src/element/element.ts'), formats: ['es'], fileName: 'reelcase-player' },
  },
});
