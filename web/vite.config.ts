import { fileURLToPath } from 'node:url';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';
import { precompress } from './precompress.ts';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Where `npm run dev` finds a server that answers the API: `reelcase serve`, or `npm run stub`. */
const server = process.env['REELCASE_SERVER'] ?? 'http://127.0.0.1:8787';

export default defineConfig({
  root: here('.'),
  plugins: [
    svelte({ configFile: here('./svelte.config.js') }),
    {
      // The playground's source lies with the app; the server looks for it beside index.html.
      name: 'playground-at-the-root',
      enforce: 'post',
      generateBundle(_options, bundle) {
        for (const file of Object.values(bundle)) {
          if (file.fileName === 'app/playground.html') file.fileName = 'playground.html';
        }
      },
    },
    precompress((file) => file.endsWith('.html')),
  ],
  // Scripts and styles find each other from where they are; in pages the server writes where it is mounted.
  experimental: {
    renderBuiltUrl: (file, { hostType }) => (hostType === 'html' ? `/${file}` : { relative: true }),
  },
  build: {
    outDir: here('./dist'),
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    // Inlined files would need `data:` in the content security policy.
    assetsInlineLimit: 0,
    rolldownOptions: {
      input: {
        index: here('./index.html'),
        share: here('./share.html'),
        playground: here('./app/playground.html'),
      },
    },
  },
  server: {
    proxy: Object.fromEntries(
      ['/api', '/s', '/e', '/i', '/static', '/array', '/flags', '/player'].map((path) => [
        `^${path}(/|\\?|$)`,
        { target: server },
      ]),
    ),
  },
});
