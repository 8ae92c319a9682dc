import { describe, expect, it } from 'vitest';
import { loadUws } from './uws.js';

const failing = (message: string) => ({
  name: `package of ${message}`,
  load: () => {
    throw new Error(`${message}\nwith a stack`);
  },
});

describe('loadUws', () => {
  it('finds a build on the machine that runs the tests', () => {
    expect(typeof loadUws().uws.App).toBe('function');
  });

  it('goes on to the next when one does not load or is something else', () => {
    const usable = { name: 'usable', load: () => loadUws().uws };
    expect(loadUws([failing('GLIBC_2.38 not found'), { name: 'other', load: () => ({}) }, usable]).from).toBe(
      'usable',
    );
  });

  it('says what was tried and what to do when none fits', () => {
    const load = () => loadUws([failing('GLIBC_2.38 not found'), failing('no such module')]);
    expect(load).toThrow(/GLIBC_2\.38 not found\n.*no such module/);
    expect(load).toThrow(new RegExp(`Node ${process.version.replaceAll('.', '\\.')}`));
    expect(load).toThrow(/Node 20 on Linux/);
    expect(load).toThrow(/musl/);
    expect(load).not.toThrow(/with a stack/);
  });
});
