import { unpacked } from './pack.ts';

/**
 * Unpacks the player and starts it. Everything that runs in the file stands in its policy by its hash: this script, the
 * player, and the document that replays.
 */
async function boot(): Promise<void> {
  const packed = document.getElementById('player');
  const plain = new Blob([unpacked((packed?.textContent ?? '').trim(), Number(packed?.dataset['bytes']))])
    .stream()
    .pipeThrough(new DecompressionStream('deflate-raw'));
  const script = document.createElement('script');
  script.textContent = await new Response(plain).text();
  document.head.append(script);
}

boot().catch(() => {
  const target = document.getElementById('app');
  if (target !== null) target.textContent = 'This browser is too old to play the recording in this file.';
});
