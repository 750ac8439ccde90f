import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const binary = process.env.REELCASE_BIN ?? join(root, 'target/debug/reelcase');
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const args = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Starts Chromium. */
export function launch() {
  assert.ok(existsSync(executablePath), `Chromium is missing: ${executablePath}`);
  return chromium.launch({ executablePath, args });
}

/** Starts the real server on an empty store. `login` is the link that opens it. */
export async function serve() {
  assert.ok(existsSync(binary), `the server is not built: ${binary}`);
  const data = mkdtempSync(join(tmpdir(), 'reelcase-e2e-'));
  const child = spawn(binary, ['serve', '--data', data, '--listen', '127.0.0.1:0'], {
    env: { ...process.env, REELCASE_LOG: 'warn' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await new Promise((resolve, reject) => {
    createInterface(child.stdout).once('line', (text) => resolve([text]));
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
  });
  const login = line.split(' ').at(-1);
  return {
    login,
    url: new URL(login).origin,
    token: new URL(login).searchParams.get('token'),
    async stop() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
      rmSync(data, { recursive: true, force: true });
    },
  };
}

/** Waits until `probe` answers something, for `waitMs` at most. */
export async function eventually(probe, what, waitMs = 20_000) {
  const until = Date.now() + waitMs;
  for (;;) {
    const found = await probe();
    if (found) return found;
    assert.ok(Date.now() < until, `waited ${waitMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
