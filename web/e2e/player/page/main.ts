import { mount } from 'svelte';
import Player from '../../../player/src/view/Player.svelte';

const target = document.getElementById('app');
const query = new URLSearchParams(location.search);
if (target !== null) {
  mount(Player, {
    target,
    props: { recordingId: query.get('id') ?? '', startMs: Number(query.get('t') ?? 0) * 1000 },
  });
}
