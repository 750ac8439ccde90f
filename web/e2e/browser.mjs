import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
/** The command under test. */
export const binary = process.env.REELCASE_BIN ?? join(root, 'target/debug/reelcase');
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const chromiumArgs = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // Names under .test lead here, so that a test can have a site that is not localhost.
  '--host-resolver-rules=MAP *.test 127.0.0.1',
];

/** How long to wait for what takes a second or two, on machines that do much else. Nothing that works waits so long. */
export const PATIENCE_MS = 90_000;

/** Starts Chromium, with more switches where a test needs them; of two of one name the later counts. */
export function launch(more = []) {
  assert.ok(existsSync(executablePath), `Chromium is missing: ${executablePath}`);
  return chromium.launch({ executablePath, args: [...chromiumArgs, ...more] });
}

/**
 * Starts the real server, on an empty store unless `data` names one. `login` is the link that opens it. `flags` go to
 * the command as they are.
 */
export async function serve({ data, listen = '127.0.0.1:0', flags = [] } = {}) {
  const dir = data ?? mkdtempSync(join(tmpdir(), 'reelcase-e2e-'));
  const server = await start(['serve', '--data', dir, '--listen', listen, ...flags]);
  return {
    ...server,
    data: dir,
    async stop() {
      await server.stop();
      if (data === undefined) rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Opens files with the real command, which serves them until it is stopped. */
export const openFiles = (files) => start(['open', ...files]);

async function start(args) {
  assert.ok(existsSync(binary), `the server is not built: ${binary}`);
  const child = spawn(binary, args, {
    env: { ...process.env, REELCASE_LOG: process.env.REELCASE_LOG ?? 'warn' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const [line] = await new Promise((resolve, reject) => {
    createInterface(child.stdout).once('line', (text) => resolve([text]));
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
  });
  const login = line.split(' ').at(-1);
  return {
    login,
    line,
    url: new URL(login).origin,
    token: new URL(login).searchParams.get('token'),
    /** Ends it as a power cut would. The store stays. */
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** Waits until `probe` answers something, for `waitMs` at most. */
export async function eventually(probe, what, waitMs = PATIENCE_MS) {
  const until = Date.now() + waitMs;
  for (;;) {
    const found = await probe();
    if (found) return found;
    assert.ok(Date.now() < until, `waited ${waitMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
