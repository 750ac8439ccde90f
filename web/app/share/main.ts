import { mount } from 'svelte';
import '../src/tokens.css';
import '../src/base.css';
import { paintTheme, storedTheme } from '../src/lib/theme';
import { linkOf } from './link';
import Share from './Share.svelte';

paintTheme(storedTheme());

const target = document.getElementById('app');
const link = linkOf(location.pathname);
if (target !== null && link !== null) mount(Share, { target, props: { link } });
