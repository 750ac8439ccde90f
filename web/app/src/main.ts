import { mount } from 'svelte';
import App from './App.svelte';
import './tokens.css';
import './base.css';
import { paintTheme, storedTheme } from './lib/theme';

paintTheme(storedTheme());

const target = document.getElementById('app');
if (target) mount(App, { target });
