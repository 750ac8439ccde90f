import { expect, test } from 'vitest';
import { countBefore, merged, Ordered } from '../src/core/ordered.ts';

type Item = { readonly at: number; readonly name: string };
const items = (...list: [at: number, name: string][]): Item[] => list.map(([at, name]) => ({ at, name }));
const names = (list: readonly Item[]) => list.map(({ name }) => name).join('');

test('runs in any order are one list in order of time, and of one time what came first is first', () => {
  const list = new Ordered<Item>();
  list.add(items([5, 'e'], [3, 'c']));
  list.add([]);
  list.add(items([9, 'j'], [5, 'f']));
  list.add(items([1, 'a'], [4, 'd'], [6, 'h'], [5, 'g']));
  list.add(items([1, 'b'], [8, 'i']));
  expect(names(list.all)).toBe('abcdefghij');
  expect(list.length).toBe(10);
});

test('what was handed out stays as it was', () => {
  const list = new Ordered<Item>();
  list.add(items([2, 'b']));
  const before = list.all;
  list.add(items([3, 'c']));
  list.add(items([1, 'a']));
  expect(names(before)).toBe('b');
  expect(names(list.all)).toBe('abc');
  list.clear();
  expect(list.all).toEqual([]);
});

test('what is told twice is one, wherever its twin already stands', () => {
  const joined = (all: readonly Item[]) =>
    all.filter((item, i) => !all.slice(0, i).some(({ at, name }) => at === item.at && name === item.name));
  const list = new Ordered<Item>(joined);
  list.add(items([1, 'a'], [2, 'b'], [2, 'c'], [3, 'd']));
  list.add(items([2, 'c'], [2, 'x']));
  list.add(items([3, 'd'], [4, 'e']));
  expect(names(list.all)).toBe('abcxde');
});

test('lists are joined in order, and counted up to a time', () => {
  expect(names(merged(items([1, 'a'], [3, 'c']), items([1, 'b'], [3, 'd'], [9, 'e'])))).toBe('abcde');
  const list = items([1, 'a'], [3, 'b'], [3, 'c'], [5, 'd']);
  expect([0, 1, 3, 4, 9].map((at) => countBefore(list, at))).toEqual([0, 0, 1, 3, 4]);
  expect([0, 1, 3, 4, 9].map((at) => countBefore(list, at, true))).toEqual([0, 1, 3, 3, 4]);
});
